"""Find texts that the server reads as another value than they say, in columns whose types only the server can parse.

An input function may round (`1.239` as numeric(5,2)), read the clock (`now`), drop duplicates (tsvector) or look up a name
(regclass), and no row count shows it. So the server prints each text again: a text that is not printed as it was written is, or
may be, another value. Types that keep the whole value, however it is written, are not checked.
"""

import re
from collections.abc import Collection, Sequence

import asyncpg
import polars as pl

from rowledger.spec import Column, TypeName

__all__ = ["find_rewritten", "rewritable"]

# Types that keep the whole value, however it is written: a range of integers as [1,4) for [1,3], an address in lower case.
_EXACT = {
    "bigint", "bit", "bit varying", "boolean", "cidr", "inet", "int4multirange", "int4range", "int8multirange", "int8range",
    "integer", "macaddr", "macaddr8", "nummultirange", "numrange", "pg_lsn", "smallint", "uuid", "xml",
}  # fmt: skip
_MODIFIERS = re.compile(r"\([^()]*\)")
_ARRAY = "[]"


def rewritable(columns: Sequence[Column]) -> list[Column]:
    """The columns whose input function may read a text as another value."""
    return [
        column
        for column in columns
        if column.type.name is TypeName.OTHER and _MODIFIERS.sub("", column.type.sql).removesuffix(_ARRAY) not in _EXACT
    ]


async def find_rewritten(
    connection: asyncpg.Connection, rows: pl.DataFrame, columns: Sequence[Column], *, leaving_out: Collection[int]
) -> dict[int, Column]:
    """The rows with a text that the server does not print as it is written: their positions, each with one such column.

    `leaving_out` are positions of rows that the server cannot read at all. The session must have Rowledger's settings, which
    decide how values are printed.
    """
    found: dict[int, Column] = {}
    aside = pl.Series([*leaving_out], dtype=pl.Int64)
    for column in columns:
        texts = rows[column.name].to_list()
        for place in aside:
            texts[place] = None
        type_sql = column.type.sql
        # Decimals are compared as numbers: zeros at their end have no meaning.
        is_decimal = _MODIFIERS.sub("", type_sql) == "numeric"
        value = _input(type_sql)
        written, printed = ("given::numeric", value) if is_decimal else ("given", f"{value}::text")
        places = await connection.fetch(
            "select place - 1 as place from unnest($1::text[]) with ordinality as texts (given, place) "  # noqa: S608 - a type's name
            f"where {printed} is distinct from {written}",
            texts,
        )
        for row in places:
            found.setdefault(row["place"], column)
    return found


def _input(type_sql: str) -> str:
    """SQL for the text `given` as read by the type's input function, which COPY uses too.

    A cast from text calls a separate cast function where the type has one (regclass then refuses `1259`). The elements of an
    array literal are always read by the input function.
    """
    if type_sql.endswith(_ARRAY):
        return f"given::{type_sql}"
    escaped = r"""replace(replace(given, '\', '\\'), '"', '\"')"""
    return f"""(('{{"' || {escaped} || '"}}')::{type_sql}[])[1]"""
