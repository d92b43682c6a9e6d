"""Annotations that pin a field's SQL type where Python's own types are wider than the column should be."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Le, MaxLen

from pipeline.model.column import ColumnType, TypeName

__all__ = ["BigInt", "Integer", "Real", "SmallInt", "SqlType", "varchar"]


@dataclass(frozen=True, slots=True)
class SqlType:
    """Pins the column's type; the bounds that go with it stand beside it, so that pydantic knows them too."""

    type: ColumnType


@dataclass(frozen=True)
class varchar(GroupedMetadata):  # noqa: N801, reads as the SQL type does: Annotated[str, varchar(20)]
    """`Annotated[str, varchar(n)]`: a `character varying(n)` column, at most n characters."""

    length: int

    def __iter__(self) -> Iterator[BaseMetadata]:
        yield MaxLen(self.length)


SmallInt = Annotated[int, Ge(-(2**15)), Le(2**15 - 1), SqlType(ColumnType(TypeName.SMALLINT))]
Integer = Annotated[int, Ge(-(2**31)), Le(2**31 - 1), SqlType(ColumnType(TypeName.INTEGER))]
BigInt = Annotated[int, Ge(-(2**63)), Le(2**63 - 1), SqlType(ColumnType(TypeName.BIGINT))]
Real = Annotated[float, SqlType(ColumnType(TypeName.REAL))]
"""A `real` column: takes only values that 4 bytes hold exactly."""
