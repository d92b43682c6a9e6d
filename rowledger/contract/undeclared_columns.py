"""Columns that no field declares: what they become in the table, and the rules of those that it has already."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Annotated, Any

import polars as pl
from pydantic import AwareDatetime, Field, create_model

from rowledger.contract.compile import compile_model
from rowledger.contract.drift import require_names
from rowledger.contract.dynamic import dynamic_texts
from rowledger.contract.rules import FieldRules
from rowledger.contract.sql_types import SqlType
from rowledger.errors import SourceError
from rowledger.spec import (
    BYTES_16,
    DECIMAL_DIGITS_MAX,
    DECIMAL_TEXT,
    DYNAMIC,
    UUID,
    Column,
    ColumnType,
    TypeName,
    name_problem,
)

__all__ = ["columns_for", "evolved_rules", "has_value"]

_SIMPLE: dict[type[pl.DataType], TypeName] = {
    pl.Boolean: TypeName.BOOLEAN, pl.Binary: TypeName.BYTEA, pl.Date: TypeName.DATE, pl.Time: TypeName.TIME,
    pl.List: TypeName.JSONB, pl.Array: TypeName.JSONB, pl.Struct: TypeName.JSONB, pl.Duration: TypeName.INTERVAL,
    pl.String: TypeName.TEXT, pl.Categorical: TypeName.TEXT, pl.Enum: TypeName.TEXT,
}  # fmt: skip
_MARKED: dict[pl.DataType, TypeName] = {UUID: TypeName.UUID, BYTES_16: TypeName.BYTEA, DECIMAL_TEXT: TypeName.NUMERIC}
_ANNOTATIONS: dict[TypeName, Any] = {
    TypeName.BOOLEAN: bool, TypeName.SMALLINT: int, TypeName.INTEGER: int, TypeName.BIGINT: int, TypeName.REAL: float,
    TypeName.DOUBLE: float, TypeName.NUMERIC: Decimal, TypeName.BYTEA: bytes, TypeName.DATE: date, TypeName.TIME: time,
    TypeName.TIMESTAMP: datetime, TypeName.TIMESTAMPTZ: AwareDatetime, TypeName.INTERVAL: timedelta,
    TypeName.UUID: uuid.UUID, TypeName.JSON: Any, TypeName.JSONB: Any,
}  # fmt: skip


def columns_for(unknown: Mapping[str, pl.DataType]) -> list[Column]:
    """The nullable columns that unknown source columns would become; raises SourceError if one cannot become a column.

    A column without values and without a type in its source becomes no column until a later source gives it a type.
    """
    require_names(unknown)
    columns: list[Column] = []
    for name, dtype in unknown.items():
        if dtype == pl.Null():
            continue
        column_type = _column_type(dtype)
        if column_type is None:
            raise SourceError(
                f"the source's column {name!r} is of type {dtype}, for which the table can be given no column; add the column "
                "to the table and to the row model, or leave it out of the source"
            )
        if problem := name_problem(name):
            raise SourceError(f"the source's column {name!r} cannot become a column of the table: {problem}; rename it")
        columns.append(Column(name, column_type, nullable=True))
    return columns


def _column_type(dtype: pl.DataType) -> ColumnType | None:
    match dtype:
        case pl.UInt64():
            return ColumnType(TypeName.NUMERIC, precision=20, scale=0)
        case pl.Int128() | pl.UInt128():
            return ColumnType(TypeName.NUMERIC, precision=DECIMAL_DIGITS_MAX, scale=0)
        case pl.Decimal():
            return ColumnType(TypeName.NUMERIC, precision=dtype.precision, scale=dtype.scale)
        case pl.Datetime():
            return ColumnType(TypeName.TIMESTAMP if dtype.time_zone is None else TypeName.TIMESTAMPTZ)
        case _ if dtype.is_integer() or dtype.is_float():
            return ColumnType(TypeName.BIGINT if dtype.is_integer() else TypeName.DOUBLE)
        case _:
            simple = _MARKED.get(dtype) or _SIMPLE.get(type(dtype))
            return None if simple is None else ColumnType(simple)


@cache
def evolved_rules(columns: tuple[Column, ...]) -> tuple[FieldRules, ...]:
    """Rules for columns that the table has beyond the contract: nullable, and null if a source lacks them."""
    if not columns:
        return ()
    fields: dict[str, Any] = {}
    for number, column in enumerate(columns):
        plain = _ANNOTATIONS.get(column.type.name, str)
        digits: Any = (
            {"max_digits": column.type.precision, "decimal_places": column.type.scale} if plain is Decimal else {}
        )
        annotation: Any = Annotated[(plain, SqlType(column.type))]
        fields[f"column_{number}"] = (annotation | None, Field(default=None, validation_alias=column.name, **digits))
    rules, _ = compile_model(create_model("Evolved", **fields))
    return tuple(
        replace(rule, column=replace(rule.column, name=column.name))
        for rule, column in zip(rules, columns, strict=True)
    )


def has_value(values: pl.Series) -> pl.Series:
    """A mask of the cells that are not null."""
    return (dynamic_texts(values) if values.dtype == DYNAMIC else values).is_not_null()
