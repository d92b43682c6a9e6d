"""Row models declared as data: columns with types, bounds and descriptions become a pydantic model.

Such a model has no name that a process could import. It carries its declaration, from which any process makes the same
model again.
"""

# ruff: noqa: ANN401, a declared type may be any annotation, and a bound or default any value

import json
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Optional

import annotated_types as at
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError

from rowledger.contract.declared_column import DeclaredColumn
from rowledger.contract.declared_type import DeclaredType, declared_type
from rowledger.contract.sql_types import SqlType, pg_enum
from rowledger.errors import SpecError
from rowledger.spec import DECLARATION, TypeName, name_problem

__all__ = ["declared_row", "from_declaration"]

_NO_COLUMNS = "columns must name each column with its type, as in {id: bigint, note: text}"
_BOUNDS = {"gt": at.Gt, "ge": at.Ge, "lt": at.Lt, "le": at.Le}
_ORDERED = {
    TypeName.SMALLINT, TypeName.INTEGER, TypeName.BIGINT, TypeName.REAL, TypeName.DOUBLE, TypeName.NUMERIC, TypeName.DATE,
    TypeName.TIME, TypeName.TIMESTAMP, TypeName.TIMESTAMPTZ, TypeName.INTERVAL,
}  # fmt: skip
_INTEGERS = {TypeName.SMALLINT, TypeName.INTEGER, TypeName.BIGINT}
_NUMBERS = _INTEGERS | {TypeName.REAL, TypeName.DOUBLE, TypeName.NUMERIC}
_TEXTS = {TypeName.TEXT, TypeName.VARCHAR, TypeName.CHAR}
_SIZED = _TEXTS | {TypeName.BYTEA}


def declared_row(
    name: str, columns: Mapping[str, DeclaredColumn | Mapping[str, Any] | str], *, description: str = ""
) -> type[BaseModel]:
    """The row model of a table whose columns are data, as in a YAML file.

    Args:
        name: the model's name, which messages show; usually the table's.
        columns: by the column's name its type, as `bigint`, or a `DeclaredColumn`, or the fields of one.
        description: what a row is.

    Equal declarations give the same class in a process. Raises SpecError, on one line, with table, column and mistake.

    """
    if not columns:
        raise SpecError(f"table {name}: {_NO_COLUMNS}")
    declared = {str(column): _declared(name, str(column), value) for column, value in columns.items()}
    plain = {column: value.as_json() for column, value in declared.items()}
    return _model(json.dumps({"name": name, **({"description": description} if description else {}), "columns": plain}))


def from_declaration(declaration: Mapping[str, Any], name: str = "row") -> type[BaseModel]:
    """The model of a declaration, `{"columns": {…}}` with or without `name` and `description`; raises SpecError."""
    name = str(declaration.get("name", name))
    if unknown := sorted(set(declaration) - {"name", "description", "columns"}):
        raise SpecError(f"table {name}: a declared row has columns, and no {', '.join(map(str, unknown))}")
    columns = declaration.get("columns")
    if not isinstance(columns, Mapping):
        raise SpecError(f"table {name}: {_NO_COLUMNS}")
    return declared_row(name, columns, description=str(declaration.get("description", "")))


@cache
def _model(declaration: str) -> type[BaseModel]:
    """The model of a declaration in its canonical JSON."""
    found = json.loads(declaration)
    name = found["name"]
    columns = {column: DeclaredColumn.model_validate(value) for column, value in found["columns"].items()}
    fields: dict[str, Any] = {}
    for number, (column, declared) in enumerate(columns.items(), 1):
        try:
            if problem := name_problem(column):
                raise ValueError(f"no column can have this name: {problem}")  # noqa: TRY301 - told as the others are
            field = column if _may_be_a_field(column) else f"{number}:{column}"
            if field in fields or (field != column and field in columns):
                raise ValueError("it cannot be told from another column; rename one of them")  # noqa: TRY301 - the same
            fields[field] = _field(column, declared)
        except (ValueError, TypeError) as error:
            raise SpecError(f"table {name}: column {column}: {_told(error)}") from None
    model: type[BaseModel] = create_model(
        name,
        __config__=ConfigDict(protected_namespaces=(), title=name),
        __doc__=found.get("description") or None,
        __module__=__name__,
        **fields,
    )
    setattr(model, DECLARATION, found)
    return model


def _declared(table: str, column: str, value: object) -> DeclaredColumn:
    if isinstance(value, DeclaredColumn):
        return value
    try:
        return DeclaredColumn.model_validate({"type": value} if isinstance(value, str) else value)
    except ValidationError as error:
        raise SpecError(f"table {table}: column {column}: {_told(error)}") from None


def _may_be_a_field(column: str) -> bool:
    """Whether a pydantic model may have a field of that name."""
    return not column.startswith("_") and not hasattr(BaseModel, column)


def _field(column: str, declared: DeclaredColumn) -> tuple[Any, FieldInfo]:
    """Annotation and field of a column."""
    kind = declared_type(declared.type)
    _require_fitting(declared, kind)
    value = _value_type(column, declared, kind)
    if kind.is_array:
        value = list.__class_getitem__(value)
    if declared.min_length is not None:
        value = Annotated[value, at.MinLen(declared.min_length)]
    if declared.max_length is not None:
        value = Annotated[value, at.MaxLen(declared.max_length)]
    if declared.nullable:
        value = Optional[value]  # noqa: UP045 - the type is known at run time only
    given: dict[str, Any] = {"validation_alias": declared.source, "description": declared.description or None}
    if not _may_be_a_field(column):
        given |= {"validation_alias": declared.source or column, "serialization_alias": column}
    if "default" in declared.model_fields_set:
        given["default"] = _default(declared.default, value)
    return value, Field(**given)


def _value_type(column: str, declared: DeclaredColumn, kind: DeclaredType) -> Any:
    """The annotation of one value: of an array's elements, otherwise of the column."""
    value = kind.annotation
    if declared.choices is not None:
        choices = [_value(kind.annotation, choice, "choices") for choice in declared.choices]
        pinned = SqlType(kind.column.element) if kind.enum is None else pg_enum(kind.enum)
        value = Annotated[_one_of(column, choices), pinned]
    found: list[Any] = [
        marker(_value(kind.python, bound, name))
        for name, marker in _BOUNDS.items()
        if (bound := getattr(declared, name)) is not None
    ]
    if declared.multiple_of is not None:
        found.append(at.MultipleOf(_value(kind.python, declared.multiple_of, "multiple_of")))
    if declared.pattern is not None:
        _require_pattern(declared.pattern)
        found.append(Field(pattern=declared.pattern))
    return Annotated[(value, *found)] if found else value


def _one_of(column: str, choices: list[Any]) -> Any:
    if all(isinstance(choice, str) for choice in choices):
        return Literal.__getitem__(tuple(choices))
    # Pydantic reads no text as a number of a Literal, but does so for an Enum, and text files have texts.
    return Enum(f"{column} choices", {f"{choice}": choice for choice in choices}, type=int, module=__name__)


def _value(python: Any, value: object, name: str) -> Any:
    """The value of a bound or a choice in the column's Python type."""
    try:
        return _adapter(python).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name}: {error.errors(include_url=False)[0]['msg']}") from None


@cache
def _adapter(python: Any) -> TypeAdapter[Any]:
    return TypeAdapter(python)


def _require_pattern(pattern: str) -> None:
    try:
        TypeAdapter(Annotated[str, Field(pattern=pattern)])
    except SchemaError as error:
        raise ValueError(f"pattern: {str(error).strip().rpartition(chr(10))[2]}") from None


def _default(value: object, annotation: Any) -> Any:
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"default: {error.errors(include_url=False)[0]['msg']}") from None


def _require_fitting(declared: DeclaredColumn, kind: DeclaredType) -> None:
    """Raise ValueError for a rule that the column's type does not have."""
    name = kind.column.name
    given = {rule for rule in declared.rules if getattr(declared, rule) is not None}
    lengths = set() if name in _SIZED or kind.is_array else {"min_length", "max_length"}
    fitting = (
        ({*_BOUNDS}, name in _ORDERED, "numbers, dates and times"),
        ({"multiple_of"}, name in _NUMBERS, "numbers"),
        ({"pattern"}, name in _TEXTS, "texts"),
        ({"choices"}, name in _TEXTS | _INTEGERS or kind.enum is not None, "texts, integers and enums"),
        (lengths, False, "texts, bytea and arrays"),
    )
    for rules, fits, who in fitting:
        if (wrong := sorted(rules & given)) and not fits:
            raise ValueError(f"{', '.join(wrong)} goes with {who}, not with {declared.type}")
    if kind.enum is not None and declared.choices is None:
        raise ValueError(f"{declared.type} needs choices, the enum's labels in their order")
    if declared.choices is not None and (others := sorted(given & {*_BOUNDS, "multiple_of", "pattern"})):
        raise ValueError(f"choices says which values there are; take {', '.join(others)} out")


def _told(error: Exception) -> str:
    """The mistakes on one line."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    return "; ".join(_mistakes(error))


def _mistakes(error: ValidationError) -> Iterable[str]:
    for found in error.errors(include_url=False):
        where = ".".join(str(part) for part in found["loc"])
        own = found.get("ctx", {}).get("error")
        what = str(own) if isinstance(own, ValueError) else found["msg"]
        if found["type"] == "extra_forbidden":
            what = f"is no field of a column; these are {', '.join(DeclaredColumn.model_fields)}"
        yield f"{where}: {what}" if where else what
