"""Values of PostgreSQL as ADBC hands them over: what has to be set and asked for so that each is exact, and how it is read.

ADBC gives common types exactly. Of others it gives the bytes on the wire, flattens them, or drops their point; and it knows no
infinity of dates. So those are asked for as text or as JSON, and put into columns here.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa

from rowledger.sources.arrow_frames import frame_of
from rowledger.sources.frame_builder import column_of
from rowledger.sources.marked_columns import marked
from rowledger.sources.unrepresentable_values import line_of
from rowledger.spec import DYNAMIC, FAULT, LINE, UUID

__all__ = [
    "ARRAY_BASES",
    "UNKNOWN_ARRAY",
    "client_encoding",
    "exact_frame",
    "exact_query",
    "is_json",
    "quoted",
    "session_settings",
]

_AS_THEY_ARE = {
    *("bool", "int2", "int4", "int8", "float4", "float8", "numeric"),
    *("text", "varchar", "bpchar", "name", "bytea", "date", "time", "timestamp", "timestamptz"),
}
"""Types whose values ADBC gives exactly, but for infinite and far dates, which `_with_far_dates` puts right."""
_FLOATS = {"float4", "float8"}
_DOCUMENTS = {"json", "jsonb", "record"}
ARRAY_BASES = {
    *(_AS_THEY_ARE | _DOCUMENTS),
    *(
        "uuid",
        "time",
        "timetz",
        "interval",
        "money",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "bit",
        "varbit",
        "oid",
        "xml",
    ),
}
"""Types of arrays' elements that are known by their names; of others the server is asked what they are made of."""
UNKNOWN_ARRAY = """
with recursive base (oid) as (
    select typelem from pg_catalog.pg_type where oid = pg_catalog.pg_typeof(({value}))
    union all
    select typbasetype from pg_catalog.pg_type join base using (oid) where typtype = 'd'
)
select case typtype when 'c' then 'composite' else typname::text end
from pg_catalog.pg_type join base using (oid)
where typtype <> 'd'
"""
"""What an array's elements are, domains resolved; `value` is a query of one column that gives no row."""
_COMPOSITES = "_composite"

_BYTEA_LIKE = re.compile(r'"\\\\x(?:[0-9a-f]{2})*"(?! *:)')
_EPOCH_DAYS = 10_957  # from 1970, which Arrow counts from, to 2000, which PostgreSQL does
_FIRST_DAY = -2_440_587  # 4714-11-24 BC, the first that PostgreSQL has
_CALENDAR_DAYS = (-719_162, 2_932_896)  # 0001-01-01 and 9999-12-31


def session_settings(timezone: str, *, row_security: bool) -> dict[str, str]:
    """All settings on which the text of a value, or the number of the rows, depends, whatever the role and the database have.

    Not among them is lc_monetary: how many decimals an amount of money has depends on it.
    """
    return {
        "timezone": timezone,
        "datestyle": "ISO",  # the order of day and month, which only what the query says depends on, stays the server's
        "intervalstyle": "iso_8601",
        "bytea_output": "hex",
        "xmlbinary": "base64",
        "extra_float_digits": "1",
        "array_nulls": "on",
        "standard_conforming_strings": "on",
        "quote_all_identifiers": "off",
        "row_security": "on" if row_security else "off",
    }


def client_encoding(server_encoding: str) -> str:
    """How texts have to come. Where the server knows no encoding, it refuses a query for one text that is no UTF-8."""
    return "SQL_ASCII" if server_encoding == "SQL_ASCII" else "UTF8"


def is_json(kind: str) -> bool:
    """Whether values of the type are asked for as JSON: arrays, of which ADBC does not tell the dimensions, and records."""
    return kind == "record" or kind.startswith("_")


def exact_query(query: str, kinds: Mapping[str, str], documents: frozenset[str] | None) -> str:
    """The query, with its odd columns as text or JSON. `kinds` are the names of the columns' types.

    `documents` are those of the scope: composites in an array are JSON for them, and text elsewhere, as outside of an array.
    """
    if _AS_THEY_ARE.issuperset(kinds.values()):
        return query
    columns = []
    for name, kind in kinds.items():
        column = quoted(name)
        if kind.removeprefix("_") in _FLOATS and is_json(
            kind
        ):  # in 8 bytes, for the shortest text in 4 names another value
            columns.append(f"to_json({column}::float8[])::text as {column}")
        elif kind == _COMPOSITES and not _are_json(name, documents):
            columns.append(f"to_json({column}::text[])::text as {column}")
        elif is_json(kind):
            columns.append(f"to_json({column})::text as {column}")
        else:
            # As the type's output function writes it: a cast to text may be another function (inet's adds /32 to a host).
            written = f"case when {column} is not null then format('%s', {column}) end as {column}"
            columns.append(column if kind in _AS_THEY_ARE else written)
    return f"select {', '.join(columns)} from (\n{query}\n) as source_query"  # noqa: S608, it is the user's own query


def _are_json(name: str, documents: frozenset[str] | None) -> bool:
    return documents is None or name in documents


def quoted(name: str) -> str:
    """The name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def exact_frame(batch: Any, kinds: Mapping[str, str], documents: frozenset[str] | None) -> pl.DataFrame:  # noqa: ANN401, a pyarrow.RecordBatch
    """The rows of a batch as the query gave them; numerics in the columns of `documents` as JSON numbers.

    A row that no frame holds, or whose array or record cannot be read exactly, has its reason in `FAULT`.
    """
    table = pa.Table.from_batches([batch])
    frame = frame_of(table, origin="the query")
    faults: dict[int, str] = {}
    columns: dict[str, pl.Series] = {column.name: column for column in frame.get_columns()}
    for name, kind in kinds.items():
        if kind == _COMPOSITES:
            columns[name] = _nested(columns[name], "record" if _are_json(name, documents) else "text", faults)
        elif is_json(kind):
            columns[name] = _nested(columns[name], kind.removeprefix("_"), faults)
        elif kind == "numeric" and documents and name in documents:
            columns[name] = _dynamic(columns[name])
        elif kind == "uuid":
            columns[name] = _uuids(columns[name])
        else:
            columns[name] = _with_far_dates(columns[name])
    if faults:
        reasons = columns.get(FAULT, pl.Series([None] * frame.height, dtype=pl.String)).to_list()
        lines = columns.get(LINE, pl.Series([None] * frame.height, dtype=pl.Binary)).to_list()
        for row, reason in faults.items():
            reasons[row], lines[row] = reasons[row] or reason, lines[row] or line_of(table, row)
        columns |= {FAULT: pl.Series(reasons, dtype=pl.String), LINE: pl.Series(lines, dtype=pl.Binary)}
    return pl.DataFrame(columns, height=frame.height)


# ---- dates --------------------------------------------------------------------------------------------------------------


def _with_far_dates(column: pl.Series) -> pl.Series:
    """The column; as text if it has an infinity or an instant that does not fit into 64 bits from 1970 on.

    ADBC adds the distance of the epochs, and what does not fit wraps around. Years beyond 1 to 9999 are written in ticks.
    """
    match column.dtype:
        case pl.Date():
            bits, ticks_a_day, unit, iso = 32, 1, "d", "%Y-%m-%d"
        case pl.Datetime():
            bits, ticks_a_day, unit, iso = 64, 86_400_000_000, "us", "%Y-%m-%dT%H:%M:%S%.f"
        case _:
            return column
    ticks, distance = column.to_physical(), _EPOCH_DAYS * ticks_a_day
    before_all = _FIRST_DAY * ticks_a_day
    if (least := ticks.min()) is None or least >= before_all:  # type: ignore[operator]
        return column
    infinities = {
        2 ** (bits - 1) - 1 + distance - 2**bits: "infinity",
        -(2 ** (bits - 1)) + distance: "-infinity",
    }
    held = ticks.is_between(_CALENDAR_DAYS[0] * ticks_a_day, (_CALENDAR_DAYS[1] + 1) * ticks_a_day - 1)
    texts = pl.select(pl.when(held).then(column)).to_series().dt.to_string(iso).to_list()
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        texts = [text and f"{text}Z" for text in texts]
    for row in (~held).fill_null(value=False).arg_true():
        tick = ticks[row]
        whole = tick if tick >= before_all else tick + 2**bits
        texts[row] = infinities.get(tick) or f"{whole} {unit} since 1970-01-01"
    return pl.Series(column.name, texts, dtype=pl.String)


# ---- UUIDs, arrays and records ---------------------------------------------------------------------------------------------


def _uuids(texts: pl.Series) -> pl.Series:
    """The server's texts of UUIDs as a column of UUID."""
    contents = texts.str.replace_all("-", "", literal=True).str.decode("hex")
    return marked(contents, UUID)


def _dynamic(texts: pl.Series) -> pl.Series:
    """JSON texts as a DYNAMIC column."""
    return marked(texts, DYNAMIC)


def _nested(source: pl.Series, kind: str, faults: dict[int, str]) -> pl.Series:
    """Arrays as lists of their elements' type if all of them are of one, otherwise, and records, as their JSON.

    `source` has JSON texts; why one of them cannot be read is noted in `faults`, by its row.
    """
    texts = source.to_list()
    if kind not in _DOCUMENTS:
        return column_of(source.name, [None if text is None else _array(text, kind) for text in texts])
    for row, text in enumerate(texts):
        if text is not None and (reason := _document_fault(text)) is not None:
            faults[row] = f"column {source.name!r} {reason}"
            texts[row] = None
    return _dynamic(pl.Series(source.name, texts, dtype=pl.String))


def _document_fault(text: str) -> str | None:
    """Why JSON that the server wrote of a record or of JSON documents does not say all that they hold."""
    if _BYTEA_LIKE.search(text):
        return "is a record with bytea in it, or a text that looks like it; select its fields as columns"
    try:
        json.loads(text, object_pairs_hook=_require_unique, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return "has a key twice, or is nested too deeply"
    return None


def _array(text: str, kind: str) -> list[Any]:
    numbers: dict[str, Any] = {}
    if kind == "numeric":
        numbers = {"parse_int": Decimal, "parse_float": Decimal}
    elif kind in _FLOATS:
        numbers = {"parse_int": float}
    items: list[Any] = json.loads(text, **numbers)
    read = _ELEMENTS.get(kind)
    return items if read is None else _with_each(items, read)


def _require_unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError


def _with_each(items: list[Any], read: Callable[[Any], Any]) -> list[Any]:
    return [
        _with_each(item, read) if isinstance(item, list) else None if item is None else read(item) for item in items
    ]


def _number(kind: type[Any], item: Any) -> Any:  # noqa: ANN401, a number of any kind
    """NaN and infinities are texts in the server's JSON."""
    return kind(item) if isinstance(item, str) else item


def _instant(item: str) -> datetime | str:
    """Infinity and years beyond 9999 stay the text that they are."""
    try:
        return datetime.fromisoformat(item)
    except ValueError:
        return item


_ELEMENTS: dict[str, Callable[[Any], Any]] = {
    "bytea": lambda item: bytes.fromhex(item.removeprefix("\\x")),
    "numeric": partial(_number, Decimal),
    "float4": partial(_number, float),
    "float8": partial(_number, float),
    "timestamptz": _instant,
    "uuid": uuid.UUID,
}
