"""What a field's annotation says: its type, constraints, column type, and what of it only pydantic understands."""

# ruff: noqa: ANN401, what an annotation, a bound or a default may be is for the row model to say

import collections.abc
import dataclasses
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePath, PurePosixPath
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin
from uuid import UUID

import annotated_types as at
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    EmailStr,
    IPvAnyAddress,
    IPvAnyInterface,
    IPvAnyNetwork,
    Json,
    NaiveDatetime,
    PlainValidator,
    SecretBytes,
    SecretStr,
    Strict,
    WrapValidator,
)
from pydantic.fields import FieldInfo

from rowledger.contract.rules import Bound, Kind
from rowledger.contract.target import accepts
from rowledger.contract.types import SqlType, char, pg_enum, varchar
from rowledger.errors import ContractError
from rowledger.spec import ColumnType, TypeName

__all__ = ["Draft", "gather", "kind_and_type", "unwrap"]

_KINDS: dict[Any, tuple[Kind, TypeName]] = {
    bool: (Kind.BOOL, TypeName.BOOLEAN),
    int: (Kind.INT, TypeName.BIGINT),
    float: (Kind.FLOAT, TypeName.DOUBLE),
    Decimal: (Kind.DECIMAL, TypeName.NUMERIC),
    str: (Kind.TEXT, TypeName.TEXT),
    bytes: (Kind.BYTES, TypeName.BYTEA),
    UUID: (Kind.UUID, TypeName.UUID),
    date: (Kind.DATE, TypeName.DATE),
    # A datetime without further word is what PostgreSQL calls timestamp: values with a zone are refused, never shifted.
    datetime: (Kind.TIMESTAMP, TypeName.TIMESTAMP),
    NaiveDatetime: (Kind.TIMESTAMP, TypeName.TIMESTAMP),
    AwareDatetime: (Kind.TIMESTAMPTZ, TypeName.TIMESTAMPTZ),
    time: (Kind.TIME, TypeName.TIME),
    timedelta: (Kind.INTERVAL, TypeName.INTERVAL),
    IPv4Address: (Kind.IP_ADDRESS, TypeName.INET),
    IPv6Address: (Kind.IP_ADDRESS, TypeName.INET),
    IPvAnyAddress: (Kind.IP_ADDRESS, TypeName.INET),
    IPv4Interface: (Kind.IP_INTERFACE, TypeName.INET),
    IPv6Interface: (Kind.IP_INTERFACE, TypeName.INET),
    IPvAnyInterface: (Kind.IP_INTERFACE, TypeName.INET),
    IPv4Network: (Kind.IP_NETWORK, TypeName.CIDR),
    IPv6Network: (Kind.IP_NETWORK, TypeName.CIDR),
    IPvAnyNetwork: (Kind.IP_NETWORK, TypeName.CIDR),
}

_DECIMAL_DIGITS = 38  # unless declared: what a 128-bit decimal holds
_DECIMAL_DIGITS_MAX = 1000  # that PostgreSQL takes in a declaration
_COLLECTIONS = {
    list,
    tuple,
    set,
    frozenset,
    collections.abc.Sequence,
    collections.abc.Set,
    collections.abc.MutableSequence,
}
_SETS = {set, frozenset, collections.abc.Set}
_MAPPINGS = {
    dict,
    collections.abc.Mapping,
    collections.abc.MutableMapping,
    collections.OrderedDict,
    collections.defaultdict,
}
_JSON: Any = Json  # a class, whatever type checkers are told
_PATHS = {Path, PurePath, PurePosixPath}
_VALIDATORS = (AfterValidator, BeforeValidator, PlainValidator, WrapValidator)


@dataclass
class Draft:
    """What was gathered about a field so far. `validators` are the Python functions that stand in its annotation."""

    where: str
    config: Mapping[str, Any]
    base: Any = None
    nullable: bool = False
    is_json: bool = False
    item: Any = None  # what a list is of
    alternatives: "tuple[Draft, ...]" = ()
    allowed: tuple[Any, ...] | None = None
    constraints: dict[str, Any] = field(default_factory=dict)
    pinned: ColumnType | None = None
    by_value: str | None = None
    validators: list[str] = field(default_factory=list)
    is_taken_charge_of: bool = False
    within: tuple[type[BaseModel], ...] = ()  # the models around it, any of which may come again inside itself

    def refuse(self, construct: str, remedy: str) -> ContractError:
        return ContractError(f"{self.where}: {construct} has no column; {remedy}")

    def go_by_value(self, construct: str) -> None:
        self.by_value = self.by_value or construct


def unwrap(draft: Draft, annotation: Any) -> None:  # noqa: C901, PLR0912, one branch a construct
    """Find the type below Optional, Annotated, NewType and type aliases."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *metadata = arguments
        unwrap(draft, inner)
        gather(draft, metadata)
    elif origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not type(None)]
        if len(members) == 1:
            unwrap(draft, members[0])
        else:
            draft.alternatives = tuple(_alternative(draft, member) for member in members)
            draft.nullable = draft.nullable or any(member.nullable for member in draft.alternatives)
            draft.go_by_value("a union of types")
        draft.nullable = draft.nullable or len(members) < len(arguments)
    elif origin is Literal:
        draft.nullable = draft.nullable or None in arguments
        _set_allowed(draft, "a Literal", [value for value in arguments if value is not None])
    elif isinstance(annotation, NewType):
        unwrap(draft, annotation.__supertype__)
    elif hasattr(annotation, "__value__"):  # the `type` statement of Python 3.12
        unwrap(draft, annotation.__value__)
    elif hasattr(origin, "__value__"):  # the same, of a generic alias
        unwrap(draft, origin.__value__[arguments])
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        if "_missing_" in vars(annotation):
            draft.go_by_value("an Enum with _missing_")
        _set_allowed(draft, "an Enum", [member.value for member in annotation])
    elif annotation is _JSON:
        draft.is_json = True
        draft.go_by_value("Json")
    elif origin in _COLLECTIONS and (origin is not tuple or arguments[1:] == (...,)):
        draft.base, draft.item = origin, arguments[0]
        if origin in _SETS:
            draft.go_by_value("a set")
    else:
        draft.base = annotation
        draft.nullable = draft.nullable or annotation in (Any, object)
        draft.is_json = draft.is_json or _is_document(annotation, origin)


def _is_document(annotation: Any, origin: Any) -> bool:
    """Whether it holds several values, or any: what PostgreSQL keeps as jsonb."""
    base = origin or annotation
    return (
        base in (Any, object)
        or base in _MAPPINGS
        or base in _COLLECTIONS
        or hasattr(base, "__required_keys__")  # a TypedDict, of whichever module
        or dataclasses.is_dataclass(base)
        or (isinstance(base, type) and (issubclass(base, BaseModel) or hasattr(base, "_fields")))
    )


def _alternative(draft: Draft, annotation: Any) -> Draft:
    member = Draft(draft.where, draft.config)
    unwrap(member, annotation)
    draft.validators += member.validators
    draft.is_taken_charge_of |= member.is_taken_charge_of
    return member


def _set_allowed(draft: Draft, construct: str, values: list[Any]) -> None:
    """The values of a Literal or an Enum: a rule where all are of a type that compares as pydantic does."""
    if any(isinstance(value, Enum) for value in values):  # a Literal of an Enum's members
        draft.go_by_value(f"{construct} of an Enum's members")
        values = [value.value if isinstance(value, Enum) else value for value in values]
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= set(_KINDS):
        draft.is_json = True
        draft.go_by_value(f"{construct} of {sorted(kind.__name__ for kind in kinds)}")
        return
    draft.base = kinds.pop()
    draft.allowed = tuple(values)
    if draft.base not in (str, int, bool):
        draft.go_by_value(f"{construct} of {draft.base.__name__}")


def gather(draft: Draft, metadata: Iterable[Any]) -> None:  # noqa: C901, PLR0912, one branch a marker
    """Collect constraints from annotated-types and pydantic markers; what has no column form leaves values to pydantic."""
    found = draft.constraints
    for item in metadata:
        match item:
            case None | str() | at.Unit() | at.DocInfo():
                pass
            case SqlType(type=pinned):
                draft.pinned = pinned
            case varchar(length=length):
                draft.pinned = ColumnType(TypeName.VARCHAR, length=length)
                _add(found, "max_length", length)
            case char(length=length):
                draft.pinned = ColumnType(TypeName.CHAR, length=length)
                _add(found, "max_length", length)
            case pg_enum():
                draft.pinned = ColumnType(TypeName.ENUM, of=item.sql)
            case FieldInfo():
                gather(draft, item.metadata)
            case at.Ge() | at.Gt() | at.Le() | at.Lt():
                op = type(item).__name__.lower()
                found.setdefault("bounds", []).append(Bound(op, getattr(item, op)))  # type: ignore[arg-type]
            case at.MultipleOf(multiple_of=value):
                _add(found, "multiple_of", value)
            case at.MinLen(min_length=value):
                _add(found, "min_length", value)
            case at.MaxLen(max_length=value):
                _add(found, "max_length", value)
            case at.GroupedMetadata() if not hasattr(item, "pattern"):
                gather(draft, item)
            case Strict(strict=strict):
                found["is_strict"] = strict
            case _ if isinstance(item, _VALIDATORS):
                draft.validators.append(f"{type(item).__name__} {getattr(item.func, '__name__', 'of its own')}")
                draft.is_taken_charge_of |= not isinstance(item, AfterValidator)
            case _ if item is _JSON or isinstance(item, _JSON):
                draft.is_json, draft.nullable = True, False  # null is no JSON text
                draft.go_by_value("Json")
            case _ if hasattr(item, "__dict__") and _is_constraint_holder(item):
                for key, value in vars(item).items():
                    _add_general(draft, found, key, value)
            case _ if _means_something(item):
                draft.go_by_value(f"{getattr(item, '__name__', type(item).__name__)} in its annotation")
            case _:
                pass  # a marker of somebody else's: pydantic ignores it too


def _means_something(item: Any) -> bool:
    """Whether pydantic reads a marker that has no rule here; serializers say nothing about a scalar's value."""
    is_ours_to_read = isinstance(item, at.BaseMetadata) or hasattr(item, "__get_pydantic_core_schema__")
    return is_ours_to_read and "Serializer" not in type(item).__name__


def _is_constraint_holder(item: Any) -> bool:
    """Whether a marker only holds constraints by name, as pydantic's own do."""
    known = {
        "max_digits", "decimal_places", "allow_inf_nan", "pattern", "strict", "min_length", "max_length", "strip_whitespace",
        "coerce_numbers_to_str", "union_mode", "fail_fast",
    }  # fmt: skip
    return type(item).__module__.startswith("pydantic") and bool(known & set(vars(item)))


def _add_general(draft: Draft, found: dict[str, Any], key: str, value: Any) -> None:
    match key, value:
        case _, None:
            pass
        case "max_digits" | "decimal_places" | "min_length" | "max_length", _:
            _add(found, key, value)
        case "allow_inf_nan", bool():
            found["finite"] = not value
        case "strict", bool():
            found["is_strict"] = value
        case (("strip_whitespace" | "to_lower" | "to_upper"), bool()):
            found[key] = value
        case "pattern", str():
            _add(found, key, value)
        case "pattern", re.Pattern():
            draft.go_by_value("a compiled pattern")
        case (("fail_fast" | "union_mode"), _):
            pass
        case _, False:
            pass
        case _:
            draft.go_by_value(key)


def _add(found: dict[str, Any], key: str, value: Any) -> None:
    """The tighter one of two lengths holds; of anything else the second declaration is one too many."""
    old = found.get(key)
    if old is None:
        found[key] = value
    elif old != value:
        if key not in {"min_length", "max_length"}:
            raise ContractError(f"{key} is declared twice, as {old!r} and {value!r}; keep one")
        found[key] = max(old, value) if key == "min_length" else min(old, value)


def kind_and_type(draft: Draft) -> tuple[Kind, ColumnType]:  # noqa: PLR0911, one line a kind of declaration
    """What the field holds, and its column's type; raises ContractError when none can be named."""
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
    if draft.base in _KINDS:
        kind, type_name = _KINDS[draft.base]
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
    """What a union holds: one column type for the values of all its members, or the one that is pinned."""
    if draft.pinned is not None:
        return Kind.ANY, draft.pinned
    found = [kind_and_type(member) for member in draft.alternatives]
    kinds, column_types = {kind for kind, _ in found}, {column_type for _, column_type in found}
    if kinds & {Kind.JSON, Kind.LIST}:
        return Kind.JSON, ColumnType(TypeName.JSONB)
    if len(kinds) == 1:
        kind = kinds.pop()
        widest = next(name for found_kind, name in _KINDS.values() if found_kind is kind)
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
    constraints = draft.constraints or {}
    if draft.pinned is not None:
        return _pinned_type(draft, draft.pinned, kind)
    if kind is not Kind.DECIMAL:
        return ColumnType(type_name)
    digits, places = constraints.get("max_digits"), constraints.get("decimal_places")
    if places is None:
        return ColumnType(TypeName.NUMERIC)
    digits = _DECIMAL_DIGITS if digits is None else digits
    if not 0 <= places <= digits <= _DECIMAL_DIGITS_MAX:
        raise draft.refuse(
            f"Decimal with {digits} digits, {places} of them decimals", f"stay within {_DECIMAL_DIGITS_MAX} digits"
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
        return ColumnType(TypeName.OTHER, of=pinned.sql)  # the field's text is what the type's input function reads
    return pinned
