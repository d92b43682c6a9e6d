"""The server's half of the fingerprint: SQL that computes over a table's rows what `fingerprint` computes over a frame.

A result has at most 1,664 columns, and so has the output of a parallel worker; a table may have 1,600 columns, each with a
count and a total. The figures are therefore an array, and those of a wide table are several rows of one statement, so that
they have one snapshot.

Rowledger 0.1.0 hashed long values as a whole, not by their SHA-256: `is_former` asks for its totals.
"""

import itertools
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import cast

from rowledger.contract.fingerprint import (
    COUNTED,
    ELEMENT_END,
    ELEMENT_NULL,
    HASHED_AS_TEXT,
    LONG_ELEMENT_BYTES,
    LONG_VALUE_BYTES,
    SPECIALS,
    Fingerprint,
    Total,
    normalised,
)
from rowledger.spec import INTEGER_LIMITS, Column, ColumnType, TypeName

__all__ = ["fingerprint_query", "may_be_digested", "read_fingerprint"]

_FIGURES_MAX = 1_600  # aggregates of one SELECT
_UTF8_BYTES_MAX = 4  # per character
# An array with a long element is stored in at least this many bytes: pglz and lz4 compress by a factor of at most 255.
_ARRAY_BYTES = LONG_ELEMENT_BYTES // 512


def fingerprint_query(
    columns: Sequence[Column],
    quote: Callable[[str], str],
    relation: str,
    *,
    predicate: str = "true",
    is_former: bool = False,
) -> str:
    """A query that counts the relation's rows and totals their columns, for `read_fingerprint`.

    `relation` follows FROM, `predicate` follows WHERE. The totals come as texts: asyncpg would ask the server what an array of
    numerics is.
    """
    figures = [f"({figure})::numeric" for figure in _figures(columns, quote, is_former=is_former)]
    return " union all ".join(
        f"select {start}, count(*), array[{', '.join(figures[start : start + _FIGURES_MAX])}]::text[] "  # noqa: S608 - all quoted
        f"from {relation} where {predicate}"
        for start in range(0, len(figures), _FIGURES_MAX)
    )


def read_fingerprint(columns: Sequence[Column], found: Sequence[Sequence[object]]) -> tuple[int, Fingerprint]:
    """The number of rows and their fingerprint, from the result of `fingerprint_query`."""
    parts = sorted(found, key=lambda part: cast("int", part[0]))
    rows = cast("int", parts[0][1])
    figures = map(Decimal, itertools.chain.from_iterable(cast("Sequence[str]", part[2]) for part in parts))
    entries: dict[str, tuple[int, Total]] = {}
    for column in columns:
        count = int(next(figures)) if column.nullable else rows
        entries[column.name] = (count, normalised(next(figures)))
    return rows, Fingerprint(entries)


def may_be_digested(column_type: ColumnType) -> bool:
    """Whether a value of the type may be so long that its SHA-256 is hashed instead."""
    return column_type.element.name not in {TypeName.NUMERIC, *COUNTED, *_TOTALS_SQL}


def _figures(columns: Sequence[Column], quote: Callable[[str], str], *, is_former: bool) -> list[str]:
    """A total for each column, preceded by a count of values for each nullable column; in the order of the columns.

    The count of a non-nullable column is the row count, which the query has anyway. An aggregate is a fifth of a column's cost.
    """
    expressions: list[str] = []
    for column in columns:
        name = quote(column.name)
        if column.nullable:
            expressions.append(f"count({name})")
        template = (
            _former_total_sql(column.type) if is_former and may_be_digested(column.type) else _total_sql(column.type)
        )
        # Not str.format: the name may contain braces.
        expressions.append(f"coalesce({template.replace('{}', name)}, 0)")
    return expressions


def _total_sql(column_type: ColumnType) -> str:
    """A template in which the column's quoted name replaces each pair of braces."""
    if column_type.name is TypeName.NUMERIC:
        total = "sum({})" if not column_type.element.is_numeric_text else _SUM_WITH_SPECIALS_SQL
        if column_type.array:
            total = f"sum((select {total.replace('{}', 'element')} from unnest({{}}) as element))"  # noqa: S608 - no value
    elif column_type.name in COUNTED:
        total = "0"
    elif column_type.array:
        total = _total_of_arrays_sql(column_type)
    elif column_type.name in _TOTALS_SQL:
        total = _TOTALS_SQL[column_type.name]
    elif column_type.name is TypeName.BYTEA:
        # Before PostgreSQL 18, no hash function of bytea can be called by name.
        hexadecimal = _digested("{}", otherwise="encode({}, 'hex')", digest="sha256({})")
        total = f"sum(hashtext({hexadecimal}{_COLLATED}))"
    else:
        total = f"sum(hashtext({_digested_text(column_type)}{_COLLATED}))"
    return total


def _former_total_sql(column_type: ColumnType) -> str:
    """The template of Rowledger 0.1.0, which hashed every value as a whole, whatever its length."""
    if column_type.array and column_type.name in HASHED_AS_TEXT:
        return f"sum(hashtext(array_to_string({{}}, '{ELEMENT_END}', '{ELEMENT_NULL}'){_COLLATED}))"
    if column_type.array:
        return f"sum(hash_array({{}}{_COLLATED if column_type.name in _TEXTS else ''}))"
    value = "encode({}, 'hex')" if column_type.name is TypeName.BYTEA else "{}::text"
    return f"sum(hashtext({value}{_COLLATED}))"


def _digested_text(column_type: ColumnType) -> str:
    """The text that is hashed, without the padding of char(n). The length is tested only if the type allows a long text."""
    text = "{}" if column_type.name in {TypeName.TEXT, TypeName.VARCHAR} else "{}::text"
    is_short = column_type.length is not None and column_type.length * _UTF8_BYTES_MAX <= LONG_VALUE_BYTES
    return text if is_short or column_type.name is TypeName.ENUM else _digested(text)


def _digested(value: str, otherwise: str | None = None, digest: str | None = None) -> str:
    """The hexadecimal SHA-256 of a long value; `otherwise` for any other value."""
    digest = digest or f"sha256(convert_to({value}, 'UTF8'))"
    long = f"octet_length({value}) > {LONG_VALUE_BYTES}"
    return f"case when {long} then encode({digest}, 'hex') else {otherwise or value} end"


def _total_of_arrays_sql(column_type: ColumnType) -> str:
    """The template for arrays. It tests elements' lengths only if the array's stored size allows a long element.

    Testing all of them would cost as much as hashing them.
    """
    may_be_long = f"pg_column_size({{}}) > {_ARRAY_BYTES}"
    if column_type.name in HASHED_AS_TEXT:
        joined = f"array_to_string({{}}, '{ELEMENT_END}', '{ELEMENT_NULL}')"
        digested = f"encode(sha256(convert_to({joined}, 'UTF8')), 'hex')"
        is_long = f"{may_be_long} and octet_length({joined}) > {LONG_ELEMENT_BYTES}"
        return f"sum(hashtext(case when {is_long} then {digested} else {joined} end{_COLLATED}))"
    if column_type.name not in {*_TEXTS, TypeName.BYTEA}:
        return "sum(hash_array({}))"
    is_bytes = column_type.name is TypeName.BYTEA
    digest = "sha256(element)" if is_bytes else "encode(sha256(convert_to(element, 'UTF8')), 'hex')"
    element = f"case when octet_length(element) > {LONG_ELEMENT_BYTES} then {digest} else element end"
    elements = f"array(select {element} from unnest({{}}) with ordinality as u (element, place) order by place)"  # noqa: S608
    return f"sum(hash_array(case when {may_be_long} then {elements} else {{}} end{'' if is_bytes else _COLLATED}))"


_COLLATED = ' collate "C"'
_TEXTS = {TypeName.TEXT, TypeName.VARCHAR, TypeName.CHAR}

# The server sums 4-byte integers in 8 bytes: room for four billion hashes, and cheaper than widening each.
_TOTALS_SQL: dict[TypeName, str] = {
    TypeName.BOOLEAN: "count(*) filter (where {})",
    **dict.fromkeys(INTEGER_LIMITS, "sum({})"),
    TypeName.REAL: "sum(hashfloat4({}))",
    TypeName.DOUBLE: "sum(hashfloat8({}))",
    TypeName.UUID: "sum(uuid_hash({}))",
    TypeName.DATE: "sum({} - date '2000-01-01')",
    # extract(epoch …) is also exact, and takes ten times as long.
    TypeName.TIME: "sum(time_hash({}))",
    TypeName.TIMESTAMP: "sum(timestamp_hash({}))",
    # timestamptz_hash exists only from PostgreSQL 18 on; an instant as UTC clock time has the same bits.
    TypeName.TIMESTAMPTZ: "sum(timestamp_hash({} at time zone 'UTC'))",
    TypeName.INTERVAL: "sum(interval_hash({}))",
    TypeName.INET: "sum(hashinet({}))",
    TypeName.CIDR: "sum(hashinet({}))",
}

# NaN and the infinities count as fixed numbers in the sum: one NaN would make the whole sum NaN.
_SUM_WITH_SPECIALS_SQL = (
    "sum(case when {} > '-Infinity' and {} < 'Infinity' then {} "
    + " ".join(f"when {{}} = '{special}' then {number}" for special, number in SPECIALS.items())
    + " end)"
)
