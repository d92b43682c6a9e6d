"""The names of a row model's fields: in the source, and as columns of the table.

A field's `alias` or `validation_alias` names the source's column. The table's column has the field's own name, unless the field
has a `serialization_alias`. Pydantic fills that with the alias too, so one that equals the alias counts as not given.
"""

from collections.abc import Mapping

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo

__all__ = ["column_name", "column_names", "former_columns", "source_names"]


def column_name(name: str, info: FieldInfo) -> str:
    """The name of a field's column in the table."""
    given = info.serialization_alias
    return name if given is None or given == info.alias else given


def column_names(row: type[BaseModel]) -> list[str]:
    """The names of a row model's columns in the table, in the order of its fields."""
    return [column_name(name, info) for name, info in _fields(row).items()]


def former_columns(row: type[BaseModel]) -> dict[str, str]:
    """The columns by their former names, where these differ: in Rowledger 0.1 an alias named the table's column too."""
    names = set(column_names(row))
    former = {info.alias: column_name(name, info) for name, info in _fields(row).items() if info.alias}
    return {alias: column for alias, column in former.items() if alias not in names}


def source_names(row: type[BaseModel], name: str) -> tuple[str, ...]:
    """The names under which pydantic looks for a field's value, in pydantic's order; paths into documents are left out."""
    config, alias = row.model_config, _fields(row)[name].validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [name if alias is None else alias]
    if config.get("validate_by_alias") is False:
        choices = []
    paths = [choice.path if isinstance(choice, AliasPath) else [choice] for choice in choices]
    names = [str(path[0]) for path in paths if len(path) == 1]
    if not names or config.get("populate_by_name") or config.get("validate_by_name"):
        names.append(name)
    return tuple(dict.fromkeys(names))


def _fields(row: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The fields, which have the names of an alias generator only once the model is complete."""
    if row.model_config.get("alias_generator") is not None and not row.__pydantic_complete__:
        row.model_rebuild(raise_errors=False)
    return row.model_fields
