"""Values that are written as text which only the server reads: found where the server makes something else of them.

An input function may round (`1.239` as numeric(5,2)), read a word by the clock (`now`), leave out what comes twice (tsvector)
or look a name up (regclass), and no count tells. So the server is asked to print each text again: what is not printed as it was
written is another value, or may be one. Types that keep all of a value, in whichever way it is written, are not asked.
"""

import re
from collections.abc import Collection, Sequence

import asyncpg
import polars as pl

from rowledger.spec import Column, TypeName

__all__ = ["find_rewritten", "rewritable"]

# In whichever way a value is written, these keep it whole: a range of integers as [1,4) for [1,3], an address in lower case.
_EXACT = {
    "bigint", "bit", "bit varying", "boolean", "cidr", "inet", "int4multirange", "int4range", "int8multirange", "int8range",
    "integer", "macaddr", "macaddr8", "nummultirange", "numrange", "pg_lsn", "smallint", "uuid", "xml",
}  # fmt: skip
_MODIFIERS = re.compile(r"\([^()]*\)")
_ARRAY = "[]"


def rewritable(columns: Sequence[Column]) -> list[Column]:
    """Those whose input function may make another value of a text."""
    return [
        column
        for column in columns
        if column.type.name is TypeName.OTHER and _MODIFIERS.sub("", column.type.sql).removesuffix(_ARRAY) not in _EXACT
    ]


async def find_rewritten(
    connection: asyncpg.Connection, rows: pl.DataFrame, columns: Sequence[Column], *, leaving_out: Collection[int]
) -> dict[int, Column]:
    """The rows of which a text is not printed by the server as it is written, by their place, each with a column.

    `leaving_out` are places of rows that the server does not read at all. In a session with the settings of every session.
    """
    found: dict[int, Column] = {}
    aside = pl.Series([*leaving_out], dtype=pl.Int64)
    for column in columns:
        texts = rows[column.name].to_list()
        for place in aside:
            texts[place] = None
        type_sql = column.type.sql
        # Decimals have zeros at their end, which say nothing.
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
    """The text `given` as the type's input function reads it, which COPY uses too.

    A cast from text calls a function of its own where the type has one (regclass does not take `1259` then). The elements of an
    array in its text form are always read by the input function.
    """
    if type_sql.endswith(_ARRAY):
        return f"given::{type_sql}"
    escaped = r"""replace(replace(given, '\', '\\'), '"', '\"')"""
    return f"""(('{{"' || {escaped} || '"}}')::{type_sql}[])[1]"""
