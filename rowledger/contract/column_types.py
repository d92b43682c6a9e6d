"""The column type that a field becomes, and the kind of value it holds."""

from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from pydantic import EmailStr, SecretBytes, SecretStr

from rowledger.contract.annotations import unwrap
from rowledger.contract.column_fit import accepts
from rowledger.contract.draft import Draft
from rowledger.contract.kinds import SCALARS, Kind
from rowledger.errors import ContractError
from rowledger.spec import DECIMAL_DIGITS_MAX, ColumnType, TypeName

__all__ = ["kind_and_type"]

_DECLARED_DIGITS_MAX = 1000  # PostgreSQL's limit
_PATHS = {Path, PurePath, PurePosixPath}


def kind_and_type(draft: Draft) -> tuple[Kind, ColumnType]:  # noqa: PLR0911, one line per kind of declaration
    """The field's kind and its column's type; raises ContractError if it has none."""
    pinned = draft.pinned
    if draft.base in (SecretStr, SecretBytes):
        raise draft.refuse(draft.base.__name__, "declare str or bytes, and name the column in the spec's `sensitive`")
    if draft.alternatives:
        return _common(draft)
    if draft.item is not None and not draft.is_json and (pinned is None or pinned.array):
        element = Draft(draft.where, draft.config)
        unwrap(element, draft.item)
        kind, column_type = kind_and_type(element)
        if not (kind in {Kind.JSON, Kind.LIST} or column_type.array):
            return Kind.LIST, pinned or replace(column_type, array=True)
        return Kind.JSON, ColumnType(TypeName.JSONB)
    if draft.is_json or draft.item is not None:
        return Kind.JSON, pinned or ColumnType(TypeName.JSONB)
    if draft.base in SCALARS:
        kind, type_name = SCALARS[draft.base]
        return kind, _column_type(draft, kind, type_name)
    if draft.base is EmailStr or hasattr(draft.base, "unicode_string") or draft.base in _PATHS:
        draft.go_by_value(f"type {draft.base.__name__}")
        return Kind.ANY, pinned or ColumnType(TypeName.TEXT)
    if pinned is not None:
        draft.go_by_value(f"type {getattr(draft.base, '__name__', draft.base)}")
        return Kind.ANY, pinned
    raise draft.refuse(
        f"type {getattr(draft.base, '__name__', draft.base)}",
        "use a scalar type that PostgreSQL has, or pin the column's type: Annotated[…, SqlType(ColumnType(…))]",
    )


def _common(draft: Draft) -> tuple[Kind, ColumnType]:
    """A union's kind and type: one column type for the values of all its members, or the pinned one."""
    if draft.pinned is not None:
        return Kind.ANY, draft.pinned
    found = [kind_and_type(member) for member in draft.alternatives]
    kinds, column_types = {kind for kind, _ in found}, {column_type for _, column_type in found}
    if kinds & {Kind.JSON, Kind.LIST}:
        return Kind.JSON, ColumnType(TypeName.JSONB)
    if len(kinds) == 1:
        kind = kinds.pop()
        widest = next(name for found_kind, name in SCALARS.values() if found_kind is kind)
        return kind, column_types.pop() if len(column_types) == 1 else ColumnType(widest)
    if kinds == {Kind.INT, Kind.FLOAT}:
        return Kind.FLOAT, ColumnType(TypeName.DOUBLE)
    if kinds == {Kind.INT, Kind.DECIMAL}:
        return Kind.DECIMAL, ColumnType(TypeName.NUMERIC)
    raise draft.refuse(
        f"a union of {' and '.join(sorted(kinds))}",
        "choose one type (None may stand beside it), or pin one that holds all: Annotated[…, SqlType(ColumnType(…))]",
    )


def _column_type(draft: Draft, kind: Kind, type_name: TypeName) -> ColumnType:
    if draft.pinned is not None:
        return _pinned_type(draft, draft.pinned, kind)
    if kind is not Kind.DECIMAL:
        return ColumnType(type_name)
    digits, places = draft.constraints.get("max_digits"), draft.constraints.get("decimal_places")
    if places is None:
        return ColumnType(TypeName.NUMERIC)
    digits = DECIMAL_DIGITS_MAX if digits is None else digits
    if not 0 <= places <= digits <= _DECLARED_DIGITS_MAX:
        raise draft.refuse(
            f"Decimal with {digits} digits, {places} of them decimals", f"stay within {_DECLARED_DIGITS_MAX} digits"
        )
    return ColumnType(TypeName.NUMERIC, precision=digits, scale=places)


def _pinned_type(draft: Draft, pinned: ColumnType, kind: Kind) -> ColumnType:
    if pinned.name is TypeName.ENUM:
        if kind is not Kind.TEXT or draft.allowed is None:
            raise draft.refuse(f"pg_enum on {kind}", "put it on a Literal or an Enum of texts, which are its labels")
        return replace(pinned, labels=draft.allowed)
    if not accepts(kind, pinned):
        if kind is not Kind.TEXT:
            raise ContractError(f"{draft.where}: a column of type {pinned.sql} never holds a {kind}; pin another type")
        return ColumnType(TypeName.OTHER, of=pinned.sql)  # the type's input function reads the field's text
    return pinned
