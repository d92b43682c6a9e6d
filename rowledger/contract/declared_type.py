"""Column types that a declaration names as SQL does, and the Python type of their values."""

# ruff: noqa: ANN401, a Python type may be any annotation

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, Field, IPvAnyInterface, IPvAnyNetwork, Json

from rowledger.contract.sql_types import ALIASES, BigInt, Integer, Real, SmallInt, SqlType, char, pg_type, varchar
from rowledger.spec import ColumnType, TypeName

__all__ = ["COMMON_TYPES", "KNOWN_TYPE", "OTHER_NAMES", "TYPE_NAMES", "DeclaredType", "declared_type"]

_DOCUMENT = Json[Any] | dict[str, Any] | list[Any]
"""A JSON document: its text, as text files have it, or the object or list itself."""

_PYTHON: dict[TypeName, Any] = {
    TypeName.BOOLEAN: bool,
    TypeName.SMALLINT: int,
    TypeName.INTEGER: int,
    TypeName.BIGINT: int,
    TypeName.REAL: float,
    TypeName.DOUBLE: float,
    TypeName.NUMERIC: Decimal,
    TypeName.TEXT: str,
    TypeName.VARCHAR: str,
    TypeName.CHAR: str,
    TypeName.BYTEA: bytes,
    TypeName.UUID: UUID,
    TypeName.DATE: date,
    TypeName.TIME: time,
    TypeName.TIMESTAMP: datetime,
    TypeName.TIMESTAMPTZ: AwareDatetime,
    TypeName.INTERVAL: timedelta,
    TypeName.INET: IPvAnyInterface,
    TypeName.CIDR: IPvAnyNetwork,
    TypeName.JSON: _DOCUMENT,
    TypeName.JSONB: _DOCUMENT,
    TypeName.ENUM: str,
    TypeName.OTHER: str,
}
_ANNOTATIONS: dict[TypeName, Any] = {
    TypeName.SMALLINT: SmallInt,
    TypeName.INTEGER: Integer,
    TypeName.BIGINT: BigInt,
    TypeName.REAL: Real,
}
_ALSO_CALLED = {"double": "double precision"}
# What other systems call a type, for the message.
_ELSEWHERE = {
    "string": "text", "str": "text", "datetime": "timestamp", "number": "numeric", "bytes": "bytea", "binary": "bytea",
    "blob": "bytea", "tinyint": "smallint", "long": "bigint", "object": "jsonb", "struct": "jsonb", "duration": "interval",
    "timedelta": "interval",
}  # fmt: skip
TYPE_NAMES = (
    "bigint", "boolean", "bytea", "cidr", "date", "double", "inet", "integer", "interval", "json", "jsonb", "numeric", "real",
    "smallint", "text", "time", "timestamp", "timestamptz", "uuid",
)  # fmt: skip
"""The types that need no more than a name."""
COMMON_TYPES = (*TYPE_NAMES, "numeric(p,s)", "varchar(n)", "char(n)", "enum(name)", "text[]")
"""What a message or an editor offers."""
_OTHERS = {
    "bit", "bit varying", "box", "circle", "citext", "datemultirange", "daterange", "hstore", "int4multirange",
    "int4range", "int8multirange", "int8range", "jsonpath", "line", "lseg", "ltree", "macaddr", "macaddr8", "money",
    "nummultirange", "numrange", "oid", "path", "pg_lsn", "point", "polygon", "time with time zone", "tsmultirange",
    "tsquery", "tsrange", "tstzmultirange", "tstzrange", "tsvector", "xml",
}  # fmt: skip
"""Other types of PostgreSQL and its usual extensions, whose values are texts that the server reads."""
OTHER_NAMES = tuple(sorted({*ALIASES, *ALIASES.values(), *_OTHERS} - {*TYPE_NAMES}))
"""Other names that a type may have."""
KNOWN_TYPE = (
    rf"^(?:{'|'.join(re.escape(name) for name in sorted({*TYPE_NAMES, *OTHER_NAMES}, reverse=True))})"
    r" *(?:\([^()]*\))?(?: with(?:out)? time zone)? *(?:\[\])?$|^enum\(|[.\"A-Z{{]"
)
"""A pattern for JSON Schema that no mistyped name in lower case matches; what else is a type, `declared_type` knows."""
_ENUM = re.compile(r"enum\((?P<name>[^()]+)\)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DeclaredType:
    """A declared type. `python` is the type of its values, of an array's elements; `annotation` has the type's own bounds.

    `enum` is the name of a PostgreSQL enum.
    """

    column: ColumnType
    python: Any
    annotation: Any
    enum: str | None = None

    @property
    def is_array(self) -> bool:
        return self.column.array


@cache
def declared_type(text: str) -> DeclaredType:
    """The type that SQL calls so; raises ValueError, with the likely name, for one that PostgreSQL does not have."""
    written = " ".join(text.split())
    is_array = written.endswith("[]")
    element = written.removesuffix("[]").rstrip()
    if match := _ENUM.fullmatch(element):
        column = ColumnType(TypeName.ENUM, of=match["name"].strip(), array=is_array)
        return DeclaredType(column, str, str, column.of)
    if '"' not in element:
        element = element.lower()
    column = pg_type(_ALSO_CALLED.get(element, element)).type
    if column.name is TypeName.OTHER:
        _require_known(element)
    if (
        column.name is TypeName.NUMERIC
        and column.precision is not None
        and not 0 <= (column.scale or 0) <= column.precision
    ):
        raise ValueError(f"{text}: the scale is between 0 and the precision")
    if is_array:
        column = replace(column, array=True)
    return DeclaredType(column, _PYTHON[column.name], _annotation(column.element))


def _annotation(column: ColumnType) -> Any:
    """The Python type with the bounds that belong to the type itself."""
    python = _PYTHON[column.name]
    match column.name:
        case TypeName.VARCHAR if column.length is not None:
            return Annotated[str, varchar(column.length)]
        case TypeName.CHAR if column.length is not None:
            return Annotated[str, char(column.length)]
        case TypeName.NUMERIC if column.precision is not None:
            return Annotated[Decimal, Field(max_digits=column.precision, decimal_places=column.scale or 0)]
        case TypeName.VARCHAR | TypeName.CHAR | TypeName.JSON | TypeName.OTHER:
            return Annotated[python, SqlType(column)]
        case _ if column.precision is not None:  # timestamp(3)
            return Annotated[python, SqlType(column)]
        case name:
            return _ANNOTATIONS.get(name, python)


def _require_known(element: str) -> None:
    """Raise ValueError for a name that is neither a known type's nor qualified by its schema."""
    name = element.partition("(")[0].strip()
    if "." in name or '"' in name or name in OTHER_NAMES:
        return
    known = {*TYPE_NAMES, *OTHER_NAMES, "enum"}
    likely = _ELSEWHERE.get(name) or next(iter(get_close_matches(name, sorted(known), n=1)), None)
    if name == "enum":
        raise ValueError("an enum is named as PostgreSQL knows it, as enum(mood), and its labels are the choices")
    hint = f"is {likely} meant? The" if likely else "the"
    raise ValueError(
        f"{element} is no type of PostgreSQL; {hint} types are {', '.join(COMMON_TYPES)}, and other types of PostgreSQL; "
        "name a type of an extension with its schema, as public.geometry"
    )
