"""Annotations that pin a field's SQL type, for columns narrower than the Python type or of a type that Python lacks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Le, MaxLen

from rowledger.spec import ColumnType, TypeName

__all__ = [
    "ALIASES",
    "BigInt",
    "Integer",
    "Real",
    "SizedText",
    "SmallInt",
    "SqlType",
    "char",
    "pg_enum",
    "pg_type",
    "varchar",
]

ALIASES = {
    "bool": "boolean", "int2": "smallint", "int": "integer", "int4": "integer", "int8": "bigint", "float4": "real",
    "float8": "double precision", "float": "double precision", "decimal": "numeric", "varchar": "character varying",
    "char": "character", "time": "time without time zone", "timetz": "time with time zone",
    "timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone", "varbit": "bit varying",
}  # fmt: skip
"""Common names of types, with the names that `format_type()` prints."""
_NAME = r'(?:[^\W\d][\w$]*|"(?:[^"]|"")+")'
_WRITTEN = re.compile(
    rf"(?P<name>{_NAME}(?:[. ]{_NAME})*) *(?P<modifiers>\([^()]*\))?(?P<rest> +with(?:out)? time zone)?(?P<array>\[\])?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SqlType:
    """Pins the column's type. Bounds that belong to it are separate annotations, so that pydantic applies them too."""

    type: ColumnType


@dataclass(frozen=True)
class SizedText(GroupedMetadata):
    """A text type with a length, which pydantic applies too."""

    length: int

    def __iter__(self) -> Iterator[BaseMetadata]:
        yield MaxLen(self.length)


class varchar(SizedText):  # noqa: N801, reads as the SQL type does: Annotated[str, varchar(20)]
    """`Annotated[str, varchar(n)]`: a `character varying(n)` column, at most n characters."""


class char(SizedText):  # noqa: N801, as varchar
    """`Annotated[str, char(n)]`: a `character(n)` column, which the server pads; trailing blanks are insignificant."""


@dataclass(frozen=True, slots=True)
class pg_enum:  # noqa: N801, as varchar
    """`Annotated[Mood, pg_enum("mood")]` on an Enum or a Literal of texts: a column of that PostgreSQL enum.

    If the enum does not exist when a table is created, it is created with the annotation's labels. `name` may include a schema.
    """

    name: str

    @property
    def sql(self) -> str:
        """The enum's name, quoted."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in self.name.split(".", 1))


def pg_type(sql: str) -> SqlType:
    """Pin the column to any type by its SQL name, such as `int4range`.

    A text field may name any type: the type's input function reads its text. Other fields may name a type that holds their
    values: `Annotated[datetime, pg_type("timestamp(3)")]`. Raises ValueError.
    """
    match = _WRITTEN.fullmatch(sql.strip())
    if match is None:
        raise ValueError(f"{sql!r} is no type as SQL writes it")
    written = match["name"] + (match["rest"] or "")
    name = ALIASES.get(written.lower(), written)
    modifiers = (match["modifiers"] or "").replace(" ", "")
    if name == "character" and not modifiers:
        modifiers = "(1)"  # SQL's default
    first, space, rest = name.partition(" with")  # the digits of `timestamp(3) with time zone` are in the middle
    parsed = ColumnType.parse(f"{first}{modifiers}{space}{rest}{match['array'] or ''}")
    if parsed is None:
        raise ValueError(f"{sql!r} would cut values short unseen; name a type that keeps all of them")
    return SqlType(parsed)


SmallInt = Annotated[int, Ge(-(2**15)), Le(2**15 - 1), SqlType(ColumnType(TypeName.SMALLINT))]
Integer = Annotated[int, Ge(-(2**31)), Le(2**31 - 1), SqlType(ColumnType(TypeName.INTEGER))]
BigInt = Annotated[int, Ge(-(2**63)), Le(2**63 - 1), SqlType(ColumnType(TypeName.BIGINT))]
Real = Annotated[float, SqlType(ColumnType(TypeName.REAL))]
"""A `real` column, which takes only values that 4 bytes hold exactly.

It takes 0.5 but not 0.1, as a number or as text: the nearest value to 0.1 in 4 bytes differs from that in 8 bytes. `float`
takes both.
"""
