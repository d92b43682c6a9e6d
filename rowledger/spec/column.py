"""PostgreSQL column types as Rowledger writes them: one value that names the SQL type and the frame type.

A contract declares columns in these types, the catalogue reads an existing table into them, and both sides of the
fingerprint follow them. Every other type is OTHER: its values are written in their text form, which only the server reads.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who declares or reads columns has no frame
    import polars as pl

__all__ = [
    "DECIMAL_DIGITS_MAX",
    "INTEGER_LIMITS",
    "TABLE_COLUMNS_MAX",
    "Column",
    "ColumnType",
    "TypeName",
    "name_problem",
]

TABLE_COLUMNS_MAX = 1_600
DECIMAL_DIGITS_MAX = 38
"""Digits that a 128-bit decimal holds."""
_NAME_BYTES_MAX = 63
_SYSTEM_COLUMNS = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}


def name_problem(name: str) -> str | None:
    """Why PostgreSQL rejects this column name, or would change it; None for a usable name."""
    if name in _SYSTEM_COLUMNS:
        return "every table has a system column of this name"
    if not name:
        return "it is empty"
    if "\0" in name:
        return "it has a NUL character"
    if (size := len(name.encode(errors="surrogatepass"))) > _NAME_BYTES_MAX:
        return f"it has {size} bytes in UTF-8, of which PostgreSQL keeps {_NAME_BYTES_MAX}"
    return None


class TypeName(StrEnum):
    """The canonical names that `format_type()` prints; `ColumnType.of` holds the names of enums, citexts and other types."""

    BOOLEAN = "boolean"
    SMALLINT = "smallint"
    INTEGER = "integer"
    BIGINT = "bigint"
    REAL = "real"
    DOUBLE = "double precision"
    NUMERIC = "numeric"
    TEXT = "text"
    VARCHAR = "character varying"
    CHAR = "character"
    CITEXT = "citext"
    ENUM = "enum"
    BYTEA = "bytea"
    UUID = "uuid"
    DATE = "date"
    TIME = "time without time zone"
    TIMESTAMP = "timestamp without time zone"
    TIMESTAMPTZ = "timestamp with time zone"
    INTERVAL = "interval"
    INET = "inet"
    CIDR = "cidr"
    JSON = "json"
    JSONB = "jsonb"
    OTHER = "other"


INTEGER_LIMITS = {TypeName.SMALLINT: 2**15, TypeName.INTEGER: 2**31, TypeName.BIGINT: 2**63}
"""The first number that is too large for each integer type."""

_TEXTS = {
    TypeName.TEXT, TypeName.VARCHAR, TypeName.CHAR, TypeName.CITEXT, TypeName.ENUM, TypeName.JSON, TypeName.JSONB,
    TypeName.OTHER,
}  # fmt: skip
_FRACTIONS = {TypeName.TIME, TypeName.TIMESTAMP, TypeName.TIMESTAMPTZ, TypeName.INTERVAL}
_MODIFIERS = re.compile(r"\((?P<first>\d+)(?:,(?P<second>-?\d+))?\)")


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A PostgreSQL type: its canonical name and its modifiers.

    `length` is the n of varchar(n) and char(n), in characters. `precision` and `scale` are those of numeric, in decimal
    digits; for times, timestamps and intervals `precision` is the digits below the second. `array` means a one-dimensional
    array of the type. `of` names an enum, a citext or another type as `format_type()` prints it; `labels` are the enum's.
    """

    name: TypeName
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    array: bool = False
    of: str | None = None
    labels: tuple[str, ...] = ()

    @classmethod
    def parse(  # noqa: PLR0911, one line per family of types
        cls, text: str, *, labels: tuple[str, ...] | None = None, is_citext: bool = False
    ) -> "ColumnType | None":
        """Read what `format_type(atttypid, atttypmod)` printed; `labels` are those of an enum.

        None for a type that would silently truncate values: an interval restricted to certain fields, or `name`.
        """
        base = text.removesuffix("[]")
        array = base != text
        if labels is not None:
            return cls(TypeName.ENUM, of=base, labels=labels, array=array)
        if is_citext:
            return cls(TypeName.CITEXT, of=base, array=array)
        if base == "bpchar":
            return cls(TypeName.CHAR, array=array)
        modifiers = _MODIFIERS.search(base)
        first = int(modifiers["first"]) if modifiers else None
        second = int(modifiers["second"]) if modifiers and modifiers["second"] else None
        name = _MODIFIERS.sub("", base)
        if name.startswith("interval ") or base == "name":
            return None
        match _BY_NAME.get(name):
            case None:
                return cls(TypeName.OTHER, of=text)
            case TypeName.NUMERIC:
                scale = (second or 0) if first is not None else None
                return cls(TypeName.NUMERIC, precision=first, scale=scale, array=array)
            case TypeName.VARCHAR | TypeName.CHAR as sized:
                return cls(sized, length=first, array=array)
            case named:
                return cls(named, precision=first, array=array)

    @property
    def sql(self) -> str:
        """The type as DDL spells it."""
        return self.element_sql + ("[]" if self.array else "")

    @property
    def element_sql(self) -> str:
        """The type without its brackets."""
        match self.name:
            case TypeName.ENUM | TypeName.CITEXT | TypeName.OTHER:
                return self.of or str(self.name)
            case TypeName.CHAR if self.length is None:
                return "bpchar"  # `character` alone would be character(1)
            case TypeName.NUMERIC if self.precision is not None:
                return f"{self.name}({self.precision},{self.scale or 0})"
            case _ if self.name in _FRACTIONS and self.precision is not None:
                first, _, rest = self.name.partition(" ")
                return f"{first}({self.precision}) {rest}".rstrip()
            case _:
                return f"{self.name}({self.length})" if self.length is not None else str(self.name)

    @property
    def takes_text(self) -> bool:
        """Whether a column of this type stores a text unchanged."""
        return not self.array and self.name in _TEXTS

    @property
    def is_numeric_text(self) -> bool:
        """Whether it is a numeric that no 128-bit decimal holds, or of no declared precision: written as its decimal text."""
        if self.array or self.name is not TypeName.NUMERIC:
            return False
        digits, places = self.precision, self.scale or 0
        return digits is None or digits > DECIMAL_DIGITS_MAX or not 0 <= places <= digits

    @property
    def is_loose(self) -> bool:
        """Whether the server treats values as equal that a frame tells apart and that print differently, as 1.5 and 1.50."""
        return self.element.is_numeric_text or self.name in (TypeName.CITEXT, TypeName.JSONB, TypeName.OTHER)

    @property
    def element(self) -> "ColumnType":
        """The type of an array's elements; for any other type, the type itself."""
        return replace(self, array=False) if self.array else self

    @property
    def frame_type(self) -> "pl.DataType":
        """The polars type of the values that are written; an array is a list of it."""
        from rowledger.spec.frame_types import frame_type_of  # noqa: PLC0415, the supervisor writes no values

        digits = None
        if self.name is TypeName.NUMERIC and self.precision is not None and not self.element.is_numeric_text:
            digits = self.precision, self.scale or 0
        return frame_type_of(self.name, digits=digits, is_array=self.array)


_BY_NAME: dict[str, TypeName] = {
    str(name): name for name in TypeName if name not in (TypeName.ENUM, TypeName.CITEXT, TypeName.OTHER)
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a contract or of a table."""

    name: str
    type: ColumnType
    nullable: bool
