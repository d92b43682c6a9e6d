"""Compile a pydantic row model into rules, one a column, and refuse by name what has no PostgreSQL column.

The model stays the truth: each rule keeps pydantic's own validator of its field, which has the last word on every value
that the column-speed pass in `check` finds suspicious, and on every value of a field that has no column form.
"""

# ruff: noqa: ANN401, what an annotation, a bound or a default may be is for the row model to say

import collections.abc
import dataclasses
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePath, PurePosixPath
from typing import Annotated, Any, Literal, NewType, Union, cast, get_args, get_origin
from uuid import UUID

import annotated_types as at
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    IPvAnyAddress,
    IPvAnyInterface,
    IPvAnyNetwork,
    Json,
    NaiveDatetime,
    PlainValidator,
    RootModel,
    SecretBytes,
    SecretStr,
    Strict,
    TypeAdapter,
    WrapValidator,
)
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, SchemaError

from pipeline.contract.defaults import constant_of, refuse_volatile
from pipeline.contract.rules import Bound, FieldRules, Kind
from pipeline.contract.target import accepts
from pipeline.contract.types import SqlType, char, pg_enum, varchar
from pipeline.errors import ContractError
from pipeline.model.column import Column, ColumnType, TypeName
from pipeline.model.source import RESERVED_PREFIX

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


# Settings of a model that change no verdict and no value. `_EFFECTIVE` ones reach every field through its validator.
_HARMLESS_CONFIG = {
    "alias_generator", "arbitrary_types_allowed", "cache_strings", "defer_build", "extra", "field_title_generator",
    "from_attributes", "frozen", "hide_input_in_errors", "ignored_types", "json_encoders", "json_schema_extra",
    "json_schema_mode_override", "json_schema_serialization_defaults_required", "loc_by_alias", "model_title_generator",
    "plugin_settings", "polymorphic_serialization", "populate_by_name", "protected_namespaces", "revalidate_instances",
    "schema_generator", "ser_json_bytes", "ser_json_inf_nan", "ser_json_temporal", "ser_json_timedelta", "serialize_by_alias",
    "title", "use_attribute_docstrings", "use_enum_values", "val_json_bytes", "validate_assignment", "validate_by_alias",
    "validate_by_name", "validate_default", "validate_return", "validation_error_cause",
}  # fmt: skip
_EFFECTIVE_CONFIG = {
    "allow_inf_nan", "coerce_numbers_to_str", "regex_engine", "str_max_length", "str_min_length", "str_strip_whitespace",
    "str_to_lower", "str_to_upper", "strict", "url_preserve_empty_path", "val_temporal_unit",
}  # fmt: skip

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
_PLAIN_JSON = {Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.TEXT}  # kinds that polars writes as JSON just as pydantic does
_FIELD_CONFIG = {
    *_EFFECTIVE_CONFIG, "arbitrary_types_allowed", "json_encoders", "ser_json_bytes", "ser_json_inf_nan", "ser_json_temporal",
    "ser_json_timedelta", "serialize_by_alias", "use_enum_values",
}  # fmt: skip


@dataclass
class _Draft:
    """What was gathered about a field so far. `validators` are the Python functions that stand in its annotation."""

    where: str
    config: Mapping[str, Any]
    base: Any = None
    nullable: bool = False
    is_json: bool = False
    item: Any = None  # what a list is of
    alternatives: "tuple[_Draft, ...]" = ()
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


def compile_model(row: type[BaseModel]) -> tuple[tuple[FieldRules, ...], str | None]:
    """One rule a field, in model order, and why rows go through pydantic one by one, if they do.

    Raises ContractError that names model, field, construct and remedy.
    """
    if not row.__pydantic_complete__:
        row.model_rebuild()
    _refuse_model_constructs(row)
    validators = _model_validators(row)
    rules: list[FieldRules] = []
    for name, info in row.model_fields.items():
        draft = _draft_of(row, name, info)
        validators += [f"{found} of {name}" for found in draft.validators]
        draft.is_taken_charge_of |= _takes_charge(row, name)
        rules.append(_field_rules(draft, row, name, info))
    if not rules:
        raise ContractError(f"{row.__name__}: a row model needs at least one field")
    names = [rule.name for rule in rules]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ContractError(f"{row.__name__}: two fields name the same column {doubled}; give them distinct aliases")
    return tuple(rules), f"{row.__name__} has {', '.join(validators)}" if validators else None


def _refuse_model_constructs(row: type[BaseModel]) -> None:
    where = _Draft(row.__name__, row.model_config)
    if issubclass(row, RootModel):
        raise where.refuse("RootModel", "declare a BaseModel with one field a column")
    if row.model_computed_fields:
        raise where.refuse(
            f"computed_field {next(iter(row.model_computed_fields))}",
            "make it a plain property, and fill such a column by a transform or as a generated column of the table",
        )
    if row.model_config.get("extra") == "allow":
        raise where.refuse("model_config extra='allow'", "say drift=Drift.EVOLVE in the table spec")
    for setting, value in row.model_config.items():
        if setting not in _HARMLESS_CONFIG | _EFFECTIVE_CONFIG and value not in (None, False):
            raise where.refuse(f"model_config {setting}", "remove it, or say it field by field")


def _model_validators(row: type[BaseModel]) -> list[str]:
    """The Python code that validating a row runs, as far as the model itself has it."""
    decorators = row.__pydantic_decorators__
    found = [
        f"validator {name}"
        for kind in ("validators", "field_validators", "root_validators", "model_validators")
        for name in getattr(decorators, kind)
    ]
    if (
        row.model_post_init is not BaseModel.model_post_init
        and row.model_post_init.__name__ != "init_private_attributes"
    ):
        found.append("model_post_init")
    if row.__pydantic_custom_init__:
        found.append("an __init__ of its own")
    return found


def _takes_charge(row: type[BaseModel], name: str) -> bool:
    """Whether a validator of the model gets the field's values before pydantic converts them."""
    decorators = row.__pydantic_decorators__
    return (
        row.__pydantic_custom_init__
        or any(found.info.mode in ("before", "wrap") for found in decorators.model_validators.values())
        or any(found.info.mode == "before" for found in decorators.root_validators.values())
        or any(
            found.info.mode != "after" and {name, "*"} & set(found.info.fields)
            for kind in (decorators.field_validators, decorators.validators)
            for found in kind.values()
        )
    )


def _draft_of(row: type[BaseModel], name: str, info: FieldInfo) -> _Draft:
    draft = _Draft(f"{row.__name__}.{name}", row.model_config)
    _unwrap(draft, info.annotation)
    _gather(draft, info.metadata)
    return draft


def _field_rules(draft: _Draft, row: type[BaseModel], name: str, info: FieldInfo) -> FieldRules:
    adapter = _adapter(draft, _annotation(info))
    kind, column_type = _kind_and_type(draft)
    column = info.alias or name
    if column.startswith(RESERVED_PREFIX):
        raise ContractError(f"{draft.where}: names that begin with {RESERVED_PREFIX!r} are reserved")
    rules = _compiled(draft, kind, column_type, adapter)
    return replace(
        rules,
        field=name,
        column=replace(rules.column, name=column),
        sources=_sources(draft, row, name, info),
        default=constant_of(draft.where, info, adapter),
    )


def _annotation(info: FieldInfo) -> Any:
    """The field's type with all that validates it; its default and its aliases are not in it."""
    metadata = [*info.metadata, *([Field(discriminator=info.discriminator)] if info.discriminator else [])]
    return Annotated[(info.annotation, *metadata)] if metadata else info.annotation


def _compiled(draft: _Draft, kind: Kind, column_type: ColumnType, adapter: TypeAdapter[Any]) -> FieldRules:
    """The rules of a field, or of what is inside one: a list's elements, a nested model's field."""
    element = members = None
    constraints = dict(draft.constraints)
    if draft.base is tuple and constraints.get("is_strict", draft.config.get("strict")):
        draft.go_by_value("a strict tuple")  # sources have lists
    if draft.item is not None:
        element = _inner(draft, draft.item)
        if element is None:
            draft.go_by_value("a list of values that have no column form")
    elif kind is Kind.JSON and not draft.by_value:
        members = _members(draft)
        if members is None:
            draft.go_by_value("a JSON document")
    if draft.item is not None or kind in {Kind.JSON, Kind.ANY} or draft.by_value:
        # What a column of its form could be held against; pydantic alone sees to the rest.
        usable = {"min_length", "max_length", "is_strict"} if element is not None else {"is_strict"}
        constraints = {key: value for key, value in constraints.items() if key in usable}
    else:
        constraints = _scalar_rules(draft, kind, constraints)
    return FieldRules(
        field="", column=Column("", column_type, draft.nullable), kind=kind, adapter=adapter, default=PydanticUndefined,
        element=element, members=members, by_value=draft.by_value, allowed=None if draft.by_value else draft.allowed,
        alternatives=tuple(_kind_and_type(member)[0] for member in draft.alternatives),
        is_taken_charge_of=draft.is_taken_charge_of, **constraints,
    )  # fmt: skip


def _inner(draft: _Draft, annotation: Any) -> FieldRules | None:
    """The rules of what a list is made of or a nested field; None when it has no column form where it stands."""
    inner = _Draft(draft.where, draft.config, is_taken_charge_of=draft.is_taken_charge_of, within=draft.within)
    _unwrap(inner, annotation)
    draft.validators += inner.validators
    adapter = _adapter(inner, annotation)
    kind, column_type = _kind_and_type(inner)
    rules = _compiled(inner, kind, column_type, adapter)
    if inner.by_value or inner.validators:
        return None
    nests = rules.element is not None or rules.members is not None
    is_json = _kind_and_type(draft)[0] is Kind.JSON
    return rules if (nests or kind in _PLAIN_JSON if is_json else not nests) else None


def _members(draft: _Draft) -> tuple[FieldRules, ...] | None:
    """The rules of a nested model's fields; None where validating or writing it is more than that of its fields."""
    model = draft.base
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or issubclass(model, RootModel):
        return None
    decorators = model.__pydantic_decorators__
    own_ways = _model_validators(model) or decorators.field_serializers or decorators.model_serializers
    odd = {name for name, value in model.model_config.items() if value not in (None, False, "ignore")} - {
        "frozen",
        "title",
    }
    if own_ways or odd or model.model_computed_fields or model in draft.within:
        return None
    members: list[FieldRules] = []
    for name, info in model.model_fields.items():
        if info.exclude or isinstance(info.validation_alias, AliasChoices | AliasPath):
            return None
        inner = _inner(
            _Draft(draft.where, model.model_config, is_json=True, within=(*draft.within, model)), _annotation(info)
        )
        if inner is None:
            return None
        source = info.validation_alias or name
        members.append(replace(inner, field=name, column=replace(inner.column, name=name), sources=(source,)))
    return tuple(members) or None


def _adapter(draft: _Draft, annotation: Any) -> TypeAdapter[Any]:
    config = {key: value for key, value in draft.config.items() if key in _FIELD_CONFIG}
    try:
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(cast("type[Any]", annotation), config=cast("ConfigDict", config))
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            # A dataclass or a TypedDict that is a field follows the model's config, which pydantic takes for no root type.
            adapter = TypeAdapter(cast("type[Any]", annotation | None), config=cast("ConfigDict", config))
        refuse_volatile(draft.where, adapter.core_schema)
    except (PydanticSchemaGenerationError, PydanticUserError, SchemaError, TypeError) as error:
        raise ContractError(f"{draft.where}: pydantic refuses the declaration: {error}") from None
    return adapter


def _sources(draft: _Draft, row: type[BaseModel], name: str, info: FieldInfo) -> tuple[str, ...]:
    """The names under which pydantic looks for the field's value, in its order."""
    config, alias = row.model_config, info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
    names: list[str] = []
    for choice in choices:
        if isinstance(choice, AliasPath):
            if len(choice.path) > 1:
                raise draft.refuse(f"AliasPath {choice.path}", "take the value out of its document by a transform")
            choice = str(choice.path[0])  # noqa: PLW2901 - the same choice, as a plain name
        names.append(str(choice))
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    if config.get("validate_by_alias") is False:
        names = [name]
    elif by_name:
        names.append(name)
    return tuple(dict.fromkeys(names))


def _unwrap(draft: _Draft, annotation: Any) -> None:  # noqa: C901, PLR0912, one branch a construct
    """Find the type below Optional, Annotated, NewType and type aliases."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *metadata = arguments
        _unwrap(draft, inner)
        _gather(draft, metadata)
    elif origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not type(None)]
        if len(members) == 1:
            _unwrap(draft, members[0])
        else:
            draft.alternatives = tuple(_alternative(draft, member) for member in members)
            draft.nullable = draft.nullable or any(member.nullable for member in draft.alternatives)
            draft.go_by_value("a union of types")
        draft.nullable = draft.nullable or len(members) < len(arguments)
    elif origin is Literal:
        draft.nullable = draft.nullable or None in arguments
        _set_allowed(draft, "a Literal", [value for value in arguments if value is not None])
    elif isinstance(annotation, NewType):
        _unwrap(draft, annotation.__supertype__)
    elif hasattr(annotation, "__value__"):  # the `type` statement of Python 3.12
        _unwrap(draft, annotation.__value__)
    elif hasattr(origin, "__value__"):  # the same, of a generic alias
        _unwrap(draft, origin.__value__[arguments])
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


def _alternative(draft: _Draft, annotation: Any) -> _Draft:
    member = _Draft(draft.where, draft.config)
    _unwrap(member, annotation)
    draft.validators += member.validators
    draft.is_taken_charge_of |= member.is_taken_charge_of
    return member


def _set_allowed(draft: _Draft, construct: str, values: list[Any]) -> None:
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


def _gather(draft: _Draft, metadata: Iterable[Any]) -> None:  # noqa: C901, PLR0912, one branch a marker
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


def _add_general(draft: _Draft, found: dict[str, Any], key: str, value: Any) -> None:
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


def _kind_and_type(draft: _Draft) -> tuple[Kind, ColumnType]:  # noqa: PLR0911, one line a kind of declaration
    """What the field holds, and its column's type; raises ContractError when none can be named."""
    pinned = draft.pinned
    if draft.base in (SecretStr, SecretBytes):
        raise draft.refuse(draft.base.__name__, "declare str or bytes, and name the column in the spec's `sensitive`")
    if draft.alternatives:
        return _common(draft)
    if draft.item is not None and not draft.is_json and (pinned is None or pinned.array):
        element = _Draft(draft.where, draft.config)
        _unwrap(element, draft.item)
        kind, column_type = _kind_and_type(element)
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


def _common(draft: _Draft) -> tuple[Kind, ColumnType]:
    """What a union holds: one column type for the values of all its members, or the one that is pinned."""
    if draft.pinned is not None:
        return Kind.ANY, draft.pinned
    found = [_kind_and_type(member) for member in draft.alternatives]
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


def _scalar_rules(draft: _Draft, kind: Kind, constraints: dict[str, Any]) -> dict[str, Any]:
    """The constraints as FieldRules takes them; those that mean nothing in columns leave the values to pydantic."""
    config, found = draft.config, constraints
    found.pop("max_digits", None)
    found.pop("decimal_places", None)
    found.setdefault("is_strict", bool(config.get("strict")))
    bounds = tuple(found.pop("bounds", ()))
    strips, lower, upper = (found.pop(key, None) for key in ("strip_whitespace", "to_lower", "to_upper"))
    if kind is Kind.TEXT and draft.allowed is None:
        found["strips"] = config.get("str_strip_whitespace", False) if strips is None else strips
        lower = config.get("str_to_lower", False) if lower is None else lower
        upper = config.get("str_to_upper", False) if upper is None else upper
        found["case"] = "lower" if lower else "upper" if upper else None
        for key in ("min_length", "max_length"):
            if config.get(f"str_{key}"):
                found.setdefault(key, config[f"str_{key}"])
        if config.get("coerce_numbers_to_str"):
            draft.go_by_value("coerce_numbers_to_str")
    if kind is Kind.FLOAT and config.get("allow_inf_nan") is False:
        found.setdefault("finite", True)
    if bounds and (kind not in _ORDERED or draft.allowed is not None):
        draft.go_by_value(f"a bound on {kind}")
    if {"min_length", "max_length"} & set(found) and kind not in _SIZED:
        draft.go_by_value(f"a length of {kind}")
    if "pattern" in found and (kind is not Kind.TEXT or config.get("regex_engine") == "python-re"):
        draft.go_by_value(f"a pattern on {kind}" if kind is not Kind.TEXT else "a pattern of Python's engine")
    step = found.get("multiple_of")
    if step is not None and not ((kind is Kind.INT and isinstance(step, int)) or kind is Kind.DECIMAL):
        draft.go_by_value(f"multiple_of on {kind}")
    bounds = tuple(_as_column_value(draft, kind, bound) for bound in bounds)
    return {"is_strict": found["is_strict"]} if draft.by_value else {**found, "bounds": bounds}


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
