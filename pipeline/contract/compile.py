"""Compile a pydantic row model into rules, one a column, and refuse by name what has no rule.

The model stays the truth: each rule keeps pydantic's own validator of its field, which has the last word on every value
that the column-speed pass in `check` finds suspicious.
"""

# ruff: noqa: ANN401, what an annotation, a bound or a default may be is for the row model to say

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Annotated, Any, Literal, NewType, Union, cast, get_args, get_origin
from uuid import UUID

import annotated_types as at
from pydantic import (
    AwareDatetime,
    BaseModel,
    IPvAnyAddress,
    IPvAnyInterface,
    IPvAnyNetwork,
    NaiveDatetime,
    RootModel,
    TypeAdapter,
    ValidationError,
)
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, SchemaError

from pipeline.contract.rules import Bound, FieldRules, Kind
from pipeline.contract.target import accepts
from pipeline.contract.types import SqlType, char, pg_enum, varchar
from pipeline.errors import ContractError
from pipeline.model.column import Column, ColumnType, TypeName

__all__ = ["compile_model"]


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

_ORDERED = {Kind.INT, Kind.FLOAT, Kind.DECIMAL, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TIME, Kind.INTERVAL}
_DECIMAL_DIGITS_MAX = 38  # what a 128-bit decimal holds
_SIZED = {Kind.TEXT, Kind.BYTES}

# Settings of a model that change no verdict and no value. Any other one that is set is refused.
_HARMLESS_CONFIG = {
    "arbitrary_types_allowed", "defer_build", "extra", "from_attributes", "frozen", "hide_input_in_errors",
    "json_schema_extra", "populate_by_name", "protected_namespaces", "revalidate_instances", "ser_json_bytes",
    "ser_json_inf_nan", "ser_json_timedelta", "title", "use_attribute_docstrings", "use_enum_values", "validate_assignment",
    "validate_by_alias", "validate_by_name", "validate_default",
}  # fmt: skip


@dataclass
class _Draft:
    """What was gathered about a field so far."""

    where: str
    base: Any = None
    nullable: bool = False
    allowed: tuple[Any, ...] | None = None
    constraints: dict[str, Any] | None = None
    pinned: ColumnType | None = None

    def refuse(self, construct: str, remedy: str) -> ContractError:
        return ContractError(f"{self.where}: {construct} is not yet supported in columns; {remedy}")


def compile_model(row: type[BaseModel]) -> tuple[FieldRules, ...]:
    """One rule a field, in model order; raises ContractError that names model, field, construct and remedy."""
    _refuse_model_constructs(row)
    rules = tuple(_compile_field(row, name, field) for name, field in row.model_fields.items())
    if not rules:
        raise ContractError(f"{row.__name__}: a row model needs at least one field")
    names = [rule.name for rule in rules]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ContractError(f"{row.__name__}: two fields name the same column {doubled}; give them distinct aliases")
    return rules


def _refuse_model_constructs(row: type[BaseModel]) -> None:
    where = _Draft(row.__name__)
    if issubclass(row, RootModel):
        raise where.refuse("RootModel", "declare a BaseModel with one field a column")
    decorators = row.__pydantic_decorators__
    for found in (
        decorators.validators,
        decorators.field_validators,
        decorators.root_validators,
        decorators.model_validators,
    ):
        if found:
            raise where.refuse(f"validator {next(iter(found))}", "say it with bounds, a pattern or a Literal")
    if row.model_post_init is not BaseModel.model_post_init and not row.__private_attributes__:
        raise where.refuse("model_post_init", "remove it: rows are checked in columns, no instance is made")
    for setting, value in row.model_config.items():
        if setting not in _HARMLESS_CONFIG and value not in (None, False):
            raise where.refuse(f"model_config {setting}", "remove it, or say it field by field")


def _compile_field(row: type[BaseModel], name: str, field: FieldInfo) -> FieldRules:
    draft = _Draft(f"{row.__name__}.{name}", constraints={})
    if field.validation_alias is not None and field.validation_alias != field.alias:
        raise draft.refuse("validation_alias", "name the column with alias")
    if field.default_factory is not None:
        raise draft.refuse("default_factory", "give a constant default: a retry must find the same values")
    _unwrap(draft, field.annotation)
    _gather(draft, field.metadata)
    if draft.base not in _KINDS:
        raise draft.refuse(
            f"type {getattr(draft.base, '__name__', draft.base)}", "use a scalar type that PostgreSQL has"
        )
    kind, type_name = _KINDS[draft.base]
    try:
        annotated = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        adapter: TypeAdapter[Any] = TypeAdapter(cast("type[Any]", annotated))
    except (PydanticSchemaGenerationError, PydanticUserError, SchemaError, TypeError) as error:
        raise ContractError(f"{draft.where}: pydantic refuses the declaration: {error}") from None
    default = field.default
    if default is not PydanticUndefined:
        try:
            default = adapter.validate_python(default)
        except ValidationError as error:
            raise ContractError(
                f"{draft.where}: its default breaks its own rules: {error.errors()[0]['msg']}"
            ) from None
    column = Column(field.alias or name, _column_type(draft, kind, type_name), draft.nullable)
    return FieldRules(
        field=name, column=column, kind=kind, adapter=adapter, default=default, allowed=draft.allowed,
        **_rules(draft, kind),
    )  # fmt: skip


def _unwrap(draft: _Draft, annotation: Any) -> None:
    """Find the scalar type below Optional, Annotated, NewType and type aliases."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        _unwrap(draft, inner)
        _gather(draft, metadata)
    elif origin in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) != 1:
            raise draft.refuse("a union of types", "choose one type; None may stand beside it")
        draft.nullable = True
        _unwrap(draft, members[0])
    elif origin is Literal:
        draft.nullable = draft.nullable or None in get_args(annotation)
        _set_allowed(draft, "Literal", [value for value in get_args(annotation) if value is not None])
    elif isinstance(annotation, NewType):
        _unwrap(draft, annotation.__supertype__)
    elif hasattr(annotation, "__value__"):  # the `type` statement of Python 3.12
        _unwrap(draft, annotation.__value__)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        if "_missing_" in vars(annotation):
            raise draft.refuse("an Enum with _missing_", "list the accepted values")
        _set_allowed(draft, "Enum", [member.value for member in annotation])
    else:
        draft.base = annotation


def _set_allowed(draft: _Draft, construct: str, values: list[Any]) -> None:
    members = {type(value) for value in values}
    if len(members) != 1 or not members <= {str, int, bool}:
        raise draft.refuse(
            f"{construct} of {sorted(t.__name__ for t in members)}", "use values of one type: str, int or bool"
        )
    draft.base = members.pop()
    draft.allowed = tuple(values)


def _gather(draft: _Draft, metadata: Iterable[Any]) -> None:  # noqa: C901, PLR0912, one branch a marker
    """Collect constraints from annotated-types and pydantic markers; refuse those that are unknown."""
    found = draft.constraints if draft.constraints is not None else {}
    for item in metadata:
        match item:
            case None | str():
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
                _gather(draft, item.metadata)
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
                _gather(draft, item)
            case _ if hasattr(item, "__dict__") and _is_constraint_holder(item):
                for key, value in _set_members(vars(item)).items():
                    _add_general(draft, found, key, value)
            case _:
                raise draft.refuse(
                    f"{type(item).__name__} in Annotated", "say it with bounds, lengths, a pattern or a Literal"
                )


def _is_constraint_holder(item: Any) -> bool:
    """Whether a marker only holds constraints by name, as pydantic's own do."""
    known = {"max_digits", "decimal_places", "allow_inf_nan", "pattern", "strict", "min_length", "max_length"}
    return type(item).__module__.startswith("pydantic") and bool(known & set(vars(item)))


def _set_members(members: Mapping[str, Any]) -> dict[str, Any]:
    # By identity: decimal_places=0 says something, though 0 == False.
    return {
        key: value
        for key, value in members.items()
        if value is not None and (value is not False or key == "allow_inf_nan")
    }


def _add_general(draft: _Draft, found: dict[str, Any], key: str, value: Any) -> None:
    match key:
        case "max_digits" | "decimal_places" | "min_length" | "max_length":
            _add(found, key, value)
        case "allow_inf_nan":
            found["finite"] = value is False
        case "pattern" if isinstance(value, str):
            _add(found, key, value)
        case "pattern":
            raise draft.refuse("a compiled pattern", "give the pattern as a string")
        case _:
            raise draft.refuse(f"{key}={value!r}", "leave it out")


def _add(found: dict[str, Any], key: str, value: Any) -> None:
    """The tighter one of two lengths holds; of anything else the second declaration is one too many."""
    old = found.get(key)
    if old is None:
        found[key] = value
    elif old != value:
        if key not in {"min_length", "max_length"}:
            raise ContractError(f"{key} is declared twice, as {old!r} and {value!r}; keep one")
        found[key] = max(old, value) if key == "min_length" else min(old, value)


def _rules(draft: _Draft, kind: Kind) -> dict[str, Any]:
    """The constraints as FieldRules takes them, each checked to make sense for the kind."""
    found = dict(draft.constraints or {})
    found.pop("max_digits", None)
    found.pop("decimal_places", None)
    bounds = tuple(found.pop("bounds", ()))
    if bounds and (kind not in _ORDERED or draft.allowed is not None):
        raise draft.refuse(f"a bound on {kind}", "use a Literal or a pattern")
    bounds = tuple(_as_column_value(draft, kind, bound) for bound in bounds)
    if {"min_length", "max_length"} & set(found) and kind not in _SIZED:
        raise draft.refuse(f"a length of {kind}", "use bounds")
    if "pattern" in found and kind is not Kind.TEXT:
        raise draft.refuse(f"a pattern on {kind}", "use bounds or a Literal")
    step = found.get("multiple_of")
    if step is not None and not ((kind is Kind.INT and isinstance(step, int)) or kind is Kind.DECIMAL):
        raise draft.refuse(f"multiple_of on {kind}", "use an int or a Decimal")
    return {**found, "bounds": bounds}


def _as_column_value(draft: _Draft, kind: Kind, bound: Bound) -> Bound:
    """The bound in a form that compares with the column's values: instants in UTC, others as they are."""
    if kind not in {Kind.TIMESTAMP, Kind.TIMESTAMPTZ}:
        return bound
    aware = isinstance(bound.value, datetime) and bound.value.tzinfo is not None
    if aware != (kind is Kind.TIMESTAMPTZ) or not isinstance(bound.value, datetime):
        raise ContractError(
            f"{draft.where}: a bound of a {kind} must be a datetime {'with' if not aware else 'without'} a zone"
        )
    return Bound(bound.op, bound.value.astimezone(UTC)) if aware else bound


def _column_type(draft: _Draft, kind: Kind, type_name: TypeName) -> ColumnType:
    constraints = draft.constraints or {}
    if draft.pinned is not None:
        return _pinned_type(draft, draft.pinned, kind)
    if kind is not Kind.DECIMAL:
        return ColumnType(type_name)
    digits, places = constraints.get("max_digits"), constraints.get("decimal_places")
    if places is None:
        return ColumnType(TypeName.NUMERIC)
    digits = _DECIMAL_DIGITS_MAX if digits is None else digits
    if not 0 <= places <= digits <= _DECIMAL_DIGITS_MAX:
        raise draft.refuse(
            f"Decimal with {digits} digits, {places} of them decimals", f"stay within {_DECIMAL_DIGITS_MAX} digits"
        )
    return ColumnType(TypeName.NUMERIC, precision=digits, scale=places)


def _pinned_type(draft: _Draft, pinned: ColumnType, kind: Kind) -> ColumnType:
    if pinned.name is TypeName.ENUM:
        if kind is not Kind.TEXT or draft.allowed is None:
            raise draft.refuse(f"pg_enum on {kind}", "put it on a Literal or an Enum of texts, which are its labels")
        return replace(pinned, labels=draft.allowed)
    if not accepts(kind, pinned):
        if kind is not Kind.TEXT:
            raise ContractError(f"{draft.where}: a column of type {pinned.sql} never holds a {kind}; pin another type")
        return ColumnType(TypeName.OTHER, of=pinned.sql)  # the field's text is what the type's input function reads
    return pinned
