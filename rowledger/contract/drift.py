"""How a source's columns correspond to fields, by name and alias, and which columns no field declares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic_core import PydanticUndefined

from rowledger.contract.rules import FieldRules
from rowledger.errors import SourceError
from rowledger.spec import RESERVED_PREFIX, Column, ColumnType, TypeName

if TYPE_CHECKING:  # names alone decide here
    import polars as pl

__all__ = ["SourceDrift", "common_column", "drift_of", "require_names"]

_NUMBERS = {TypeName.BIGINT, TypeName.DOUBLE, TypeName.NUMERIC}


@dataclass(frozen=True, slots=True)
class SourceDrift:
    """Columns of a source that the contract does not declare, and the source's names of required columns that it lacks."""

    unknown: "dict[str, pl.DataType]"
    missing: tuple[str, ...]


def drift_of(rules: Sequence[FieldRules], schema: "Mapping[str, pl.DataType]") -> SourceDrift:
    """The unknown and missing columns of a source with that schema; reserved columns are neither."""
    known = {name for rule in rules for name in rule.sources}
    return SourceDrift(
        unknown={
            name: dtype for name, dtype in schema.items() if name not in known and not name.startswith(RESERVED_PREFIX)
        },
        missing=tuple(
            rule.sources[0]
            for rule in rules
            if rule.default is PydanticUndefined and not any(n in schema for n in rule.sources)
        ),
    )


def common_column(one: Column, other: Column) -> Column | None:
    """The column that holds both, if two files give a column two types; None if no type does."""
    if one == other:
        return one
    names = {one.type.name, other.type.name}
    if not names <= _NUMBERS:
        return None
    return replace(one, type=ColumnType(TypeName.NUMERIC if TypeName.NUMERIC in names else TypeName.DOUBLE))


def require_names(unknown: "Mapping[str, pl.DataType]") -> None:
    """Raise SourceError if a column has no name, as the index has that pandas writes into a CSV file."""
    if "" in unknown:
        raise SourceError(
            "the source has a column without a name, which no field and no column of a table can have; name the columns "
            "with columns=(…) of a source of CSV files, or write the source again with names"
        )
