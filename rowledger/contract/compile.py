"""Compile a pydantic row model into one rule per column, and refuse constructs that have no PostgreSQL column.

The model remains authoritative: each rule keeps pydantic's validator of its field, which decides about every value that the
column pass in `check` finds suspicious, and about every value of a field that has no column form.
"""

# ruff: noqa: ANN401, the row model decides what an annotation, a bound or a default may be

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, RootModel, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, SchemaError

from rowledger.contract.annotations import part_of, unwrap
from rowledger.contract.column_types import kind_and_type
from rowledger.contract.constraints import gather
from rowledger.contract.core_schema import reads_json_text
from rowledger.contract.defaults import constant_of, refuse_volatile
from rowledger.contract.draft import Draft
from rowledger.contract.kinds import Kind
from rowledger.contract.rules import Bound, FieldRules
from rowledger.errors import ContractError
from rowledger.spec import (
    RESERVED_PREFIX,
    TABLE_COLUMNS_MAX,
    Column,
    ColumnType,
    column_name,
    name_problem,
    source_names,
)

__all__ = ["compile_model"]

_ORDERED = {Kind.INT, Kind.FLOAT, Kind.DECIMAL, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TIME, Kind.INTERVAL}


_SIZED = {Kind.TEXT, Kind.BYTES}
_OF_TEXTS = ("strip_whitespace", "to_lower", "to_upper", "min_length", "max_length")  # also settings of a model


# Settings that change no verdict and no value. The `_EFFECTIVE_CONFIG` ones reach every field through its validator.
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

# As pydantic names its collections of a model's decorated functions.
_FIELD_VALIDATORS = ("validators", "field_validators")
_ROW_VALIDATORS = ("root_validators", "model_validators")

_PLAIN_JSON = {Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.TEXT}  # kinds that polars and pydantic write as the same JSON
_FIELD_CONFIG = {
    *_EFFECTIVE_CONFIG, "arbitrary_types_allowed", "json_encoders", "ser_json_bytes", "ser_json_inf_nan", "ser_json_temporal",
    "ser_json_timedelta", "serialize_by_alias", "use_enum_values",
}  # fmt: skip


def compile_model(row: type[BaseModel]) -> tuple[tuple[FieldRules, ...], str | None]:
    """One rule per field, in model order, and the Python code that requires validation row by row, if any.

    Raises ContractError, which names model, field, construct and remedy.
    """
    if not row.__pydantic_complete__:
        row.model_rebuild()
    _refuse_model_constructs(row)
    validators = _model_validators(row)
    rules: list[FieldRules] = []
    for name, info in row.model_fields.items():
        draft = Draft(f"{row.__name__}.{name}", row.model_config, is_taken_charge_of=_takes_charge(row, name))
        unwrap(draft, info.annotation)
        gather(draft, info.metadata)
        rules.append(_field_rules(draft, row, name, info))
        of_field = [f"{found} of {name}" for found in dict.fromkeys(draft.validators)]
        rules[-1] = replace(rules[-1], validators=(*_validators_of(row, name), *of_field))
        validators += of_field
    if not rules:
        raise ContractError(f"{row.__name__}: a row model needs at least one field")
    if len(rules) > TABLE_COLUMNS_MAX:
        raise ContractError(
            f"{row.__name__}: {len(rules):,} fields, but a PostgreSQL table has at most {TABLE_COLUMNS_MAX:,} columns; put "
            "some of them into a nested model, which is one jsonb column, or into another table"
        )
    names = [rule.name for rule in rules]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ContractError(f"{row.__name__}: two fields name the same column {doubled}; give them distinct names")
    return tuple(rules), ", ".join(validators) or None


def _refuse_model_constructs(row: type[BaseModel]) -> None:
    where = Draft(row.__name__, row.model_config)
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
    """The Python code of the model itself that validating a row runs."""
    decorators = row.__pydantic_decorators__
    of_fields = [f"validator {name}" for kind in _FIELD_VALIDATORS for name in getattr(decorators, kind)]
    return of_fields + _whole_row_code(row)


def _validators_of(row: type[BaseModel], field: str) -> list[str]:
    """The Python code of the model that may change a field's value."""
    decorators = row.__pydantic_decorators__
    of_field = [
        f"validator {name}"
        for kind in _FIELD_VALIDATORS
        for name, found in getattr(decorators, kind).items()
        if {field, "*"} & {*found.info.fields}
    ]
    return of_field + _whole_row_code(row)


def _whole_row_code(row: type[BaseModel]) -> list[str]:
    """The Python code of the model that may change any field's value."""
    decorators = row.__pydantic_decorators__
    found = [f"validator {name}" for kind in _ROW_VALIDATORS for name in getattr(decorators, kind)]
    if (
        row.model_post_init is not BaseModel.model_post_init
        and row.model_post_init.__name__ != "init_private_attributes"
    ):
        found.append("model_post_init")
    if row.__pydantic_custom_init__:
        found.append("an __init__ of its own")
    return found


def _takes_charge(row: type[BaseModel], name: str) -> bool:
    """Whether a validator of the model receives the field's values before pydantic converts them."""
    decorators = row.__pydantic_decorators__
    return (
        row.__pydantic_custom_init__
        or any(found.info.mode in ("before", "wrap") for found in decorators.model_validators.values())
        or any(found.info.mode == "before" for found in decorators.root_validators.values())
        or any(
            found.info.mode != "after" and {name, "*"} & set(found.info.fields)
            for kind in _FIELD_VALIDATORS
            for found in getattr(decorators, kind).values()
        )
    )


def _field_rules(draft: Draft, row: type[BaseModel], name: str, info: FieldInfo) -> FieldRules:
    adapter = _adapter(draft, _annotation(info))
    kind, column_type = kind_and_type(draft)
    column = column_name(name, info)
    sources = _sources(draft, row, name, info)
    if problem := name_problem(column):
        raise ContractError(
            f"{draft.where}: no column can be named {column!r}: {problem}; name the field otherwise, and give the "
            "source's name as its alias"
        )
    if any(given.startswith(RESERVED_PREFIX) for given in (column, *sources)):
        raise ContractError(f"{draft.where}: names that begin with {RESERVED_PREFIX!r} are reserved")
    rules = _compiled(draft, kind, column_type, adapter)
    return replace(
        rules,
        field=name,
        column=replace(rules.column, name=column),
        sources=sources,
        default=constant_of(draft.where, info, adapter),
    )


def _annotation(info: FieldInfo) -> Any:
    """The field's type with everything that validates it, without its default and its aliases."""
    metadata = [*info.metadata, *([Field(discriminator=info.discriminator)] if info.discriminator else [])]
    return Annotated[(info.annotation, *metadata)] if metadata else info.annotation


def _compiled(draft: Draft, kind: Kind, column_type: ColumnType, adapter: TypeAdapter[Any]) -> FieldRules:
    """The rules of a field or of a part of one: a list's elements, a nested model's field."""
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
    if kind is Kind.DECIMAL and not _declares_digits(column_type, constraints):
        draft.go_by_value("digits that the column's type does not have")
    if draft.item is not None or kind in {Kind.JSON, Kind.ANY} or draft.by_value:
        # Only these can be checked on a column of this form; pydantic checks the rest.
        usable = {"min_length", "max_length", "is_strict"} if element is not None else {"is_strict"}
        constraints = {key: value for key, value in constraints.items() if key in usable}
    else:
        constraints = _scalar_rules(draft, kind, constraints)
    return FieldRules(
        field="", column=Column("", column_type, draft.nullable), kind=kind, adapter=adapter, default=PydanticUndefined,
        element=element, members=members, by_value=draft.by_value, allowed=None if draft.by_value else draft.allowed,
        alternatives=tuple(kind_and_type(member)[0] for member in draft.alternatives),
        is_taken_charge_of=draft.is_taken_charge_of, **constraints,
    )  # fmt: skip


def _declares_digits(column_type: ColumnType, constraints: dict[str, Any]) -> bool:
    """Whether every value that fits the column's type also fits the field's digits."""
    digits, places = constraints.get("max_digits"), constraints.get("decimal_places")
    declared = column_type.precision, column_type.scale
    return (digits is None or declared[0] == digits) and (places is None or declared[1] == places)


def _inner(draft: Draft, annotation: Any) -> FieldRules | None:
    """The rules of a list's elements or of a nested field; None if it has no column form in this place."""
    inner = part_of(draft, annotation)
    adapter = _adapter(inner, annotation)
    kind, column_type = kind_and_type(inner)
    rules = _compiled(inner, kind, column_type, adapter)
    if inner.by_value or inner.validators:
        return None
    nests = rules.element is not None or rules.members is not None
    is_json = kind_and_type(draft)[0] is Kind.JSON
    return rules if (nests or kind in _PLAIN_JSON if is_json else not nests) else None


def _members(draft: Draft) -> tuple[FieldRules, ...] | None:
    """The rules of a nested model's fields; None if validating or writing the model does more than its fields do."""
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
            Draft(draft.where, model.model_config, is_json=True, within=(*draft.within, model)), _annotation(info)
        )
        if inner is None:
            return None
        source = info.validation_alias or name
        members.append(replace(inner, field=name, column=replace(inner.column, name=name), sources=(source,)))
    return tuple(members) or None


def _adapter(draft: Draft, annotation: Any) -> TypeAdapter[Any]:
    config = {key: value for key, value in draft.config.items() if key in _FIELD_CONFIG}
    try:
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(cast("type[Any]", annotation), config=cast("ConfigDict", config))
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            # As a field, a dataclass or a TypedDict follows the model's config; as a root type, pydantic refuses the config.
            adapter = TypeAdapter(cast("type[Any]", annotation | None), config=cast("ConfigDict", config))
        refuse_volatile(draft.where, adapter.core_schema)
        if reads_json_text(adapter.core_schema):
            from rowledger.contract.json_fields import lossless_validator  # noqa: PLC0415, few models have such fields

            adapter.validator = lossless_validator(adapter.core_schema, config)
    except (PydanticSchemaGenerationError, PydanticUserError, SchemaError, TypeError) as error:
        raise ContractError(f"{draft.where}: pydantic refuses the declaration: {error}") from None
    return adapter


def _sources(draft: Draft, row: type[BaseModel], name: str, info: FieldInfo) -> tuple[str, ...]:
    """The names under which pydantic looks for the field's value, in pydantic's order."""
    alias = info.validation_alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, AliasPath) and len(choice.path) > 1:
            raise draft.refuse(f"AliasPath {choice.path}", "take the value out of its document by a transform")
    return source_names(row, name)


def _scalar_rules(draft: Draft, kind: Kind, constraints: dict[str, Any]) -> dict[str, Any]:
    """The constraints in the form of FieldRules; a constraint without a column form leaves the values to pydantic."""
    config, found = draft.config, constraints
    found.pop("max_digits", None)
    found.pop("decimal_places", None)
    found.setdefault("is_strict", bool(config.get("strict")))
    bounds = tuple(found.pop("bounds", ()))
    is_any_text = kind is Kind.TEXT and draft.allowed is None
    if is_any_text:
        found = {**{key: config[f"str_{key}"] for key in _OF_TEXTS if config.get(f"str_{key}")}, **found}
    strips, lower, upper = (found.pop(key, False) for key in ("strip_whitespace", "to_lower", "to_upper"))
    if is_any_text:
        found |= {"strips": strips, "case": "lower" if lower else "upper" if upper else None}
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


def _as_column_value(draft: Draft, kind: Kind, bound: Bound) -> Bound:
    """The bound in a form that compares with the column's values: instants in UTC, others unchanged."""
    if kind not in {Kind.TIMESTAMP, Kind.TIMESTAMPTZ}:
        return bound
    aware = isinstance(bound.value, datetime) and bound.value.tzinfo is not None
    if aware != (kind is Kind.TIMESTAMPTZ) or not isinstance(bound.value, datetime):
        raise ContractError(
            f"{draft.where}: a bound of a {kind} must be a datetime {'with' if not aware else 'without'} a zone"
        )
    return Bound(bound.op, bound.value.astimezone(UTC)) if aware else bound
