"""PostgreSQL column types as Rowledger writes them: one value that names the SQL type and the frame type.

A contract declares columns in these types, the catalogue reads an existing table into them, and both sides of the
fingerprint follow them. Anything outside this list is refused by name, never guessed.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

__all__ = ["Column", "ColumnType", "TypeName"]


class TypeName(StrEnum):
    """The canonical names that `format_type()` prints."""

    BOOLEAN = "boolean"
    SMALLINT = "smallint"
    INTEGER = "integer"
    BIGINT = "bigint"
    REAL = "real"
    DOUBLE = "double precision"
    NUMERIC = "numeric"
    TEXT = "text"
    VARCHAR = "character varying"
    BYTEA = "bytea"
    UUID = "uuid"
    DATE = "date"
    TIME = "time without time zone"
    TIMESTAMP = "timestamp without time zone"
    TIMESTAMPTZ = "timestamp with time zone"
    JSONB = "jsonb"


_FRAME_TYPES: dict[TypeName, pl.DataType] = {
    TypeName.BOOLEAN: pl.Boolean(),
    TypeName.SMALLINT: pl.Int16(),
    TypeName.INTEGER: pl.Int32(),
    TypeName.BIGINT: pl.Int64(),
    TypeName.REAL: pl.Float32(),
    TypeName.DOUBLE: pl.Float64(),
    TypeName.TEXT: pl.String(),
    TypeName.VARCHAR: pl.String(),
    TypeName.BYTEA: pl.Binary(),
    TypeName.UUID: pl.Binary(),  # 16 bytes, big-endian as in RFC 9562
    TypeName.DATE: pl.Date(),
    TypeName.TIME: pl.Time(),
    TypeName.TIMESTAMP: pl.Datetime("us"),
    TypeName.TIMESTAMPTZ: pl.Datetime("us", "UTC"),
    TypeName.JSONB: pl.String(),  # JSON text
}

_TYPE_PATTERN = re.compile(r"^(?P<name>[a-z ]+?)(?:\((?P<a>\d+)(?:,(?P<b>-?\d+))?\))?$")


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A PostgreSQL type: its canonical name and its modifiers.

    `length` is the n of varchar(n), in characters. `precision` and `scale` are those of numeric, in decimal digits.
    """

    name: TypeName
    length: int | None = None
    precision: int | None = None
    scale: int | None = None

    @classmethod
    def parse(cls, text: str) -> "ColumnType | None":
        """Read what `format_type(atttypid, atttypmod)` printed; None for a type that Rowledger does not write."""
        match = _TYPE_PATTERN.match(text)
        if match is None or match["name"] not in set(TypeName):
            return None
        name = TypeName(match["name"])
        first = int(match["a"]) if match["a"] else None
        match name:
            case TypeName.NUMERIC:
                scale = int(match["b"]) if match["b"] else (0 if first is not None else None)
                return cls(name, precision=first, scale=scale)
            case TypeName.VARCHAR:
                return cls(name, length=first)
            case _ if first is None:
                return cls(name)
            case _:
                return None  # timestamp(3) and its kind would round what we send

    @property
    def sql(self) -> str:
        """The type as it is written in DDL."""
        if self.precision is not None:
            return f"{self.name}({self.precision},{self.scale or 0})"
        return f"{self.name}({self.length})" if self.length is not None else str(self.name)

    @property
    def frame_type(self) -> pl.DataType:
        """The polars type whose Arrow form the binary encoder turns into exactly this PostgreSQL type."""
        if self.name is TypeName.NUMERIC:
            # numeric without modifiers takes any scale; 38 digits is what a 128-bit decimal holds.
            return pl.Decimal(self.precision or 38, self.scale if self.scale is not None else 9)
        return _FRAME_TYPES[self.name]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a contract or of a table."""

    name: str
    type: ColumnType
    nullable: bool
