"""Read PostgreSQL's values exactly through ADBC: the query, and the conversion of what ADBC returns.

ADBC returns common types exactly. For other types it returns the bytes on the wire, flattens arrays, or drops a decimal point,
and it has no infinite dates. Numerics it is slow to write. So those types are queried as text or JSON, and converted to columns
here.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa

from rowledger.sources.arrow_frames import faults_marked, series_of
from rowledger.sources.marked_columns import marked
from rowledger.sources.value_columns import column_of
from rowledger.spec import DYNAMIC, UUID

__all__ = [
    "ARRAY_BASES",
    "UNKNOWN_ARRAY",
    "convert_columns",
    "exact_frame",
    "exact_query",
    "is_json",
    "quoted",
    "tick_of",
]

_NUMERIC = "numeric"
_AS_THEY_ARE = {
    *("bool", "int2", "int4", "int8", "float4", "float8"),
    *("text", "varchar", "bpchar", "name", "bytea", "date", "time", "timestamp", "timestamptz"),
}
"""Types whose values ADBC returns exactly, except infinite and far dates, which `_with_far_dates` corrects."""
_FLOATS = {"float4", "float8"}
_DOCUMENTS = {"json", "jsonb", "record"}
ARRAY_BASES = (
    _AS_THEY_ARE
    | _DOCUMENTS
    | {
        _NUMERIC,
        *("uuid", "timetz", "interval", "money", "inet", "cidr", "macaddr", "macaddr8"),
        *("bit", "varbit", "oid", "xml"),
    }
)
"""Element types of arrays that are known by their names; for others the server is asked what they consist of."""
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
"""The element type of an array, with domains resolved; `value` is a query with one column and no rows."""

_NOT_FINITE = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
"""How the server writes numerics that have no digits, and how ADBC and Python do."""
_BYTEA_LIKE = re.compile(r'"\\\\x(?:[0-9a-f]{2})*"(?! *:)')
_EPOCH_DAYS = 10_957  # from 1970, where Arrow's count begins, to 2000, where PostgreSQL's begins
_FIRST_DAY = -2_440_588  # 4714-11-24 BC, PostgreSQL's first date
_UNIX_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DAYS_OF_400_YEARS = 146_097
_TICKS_A_DAY = {"D": 1, "us": 86_400_000_000}
_INFINITIES = {"infinity", "-infinity"}
_ISO = re.compile(
    r"(?:(\d{4,})-(\d\d)-(\d\d))? ?(?:(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?( BC)?"
)
_CALENDAR_DAYS = (-719_162, 2_932_896)  # 0001-01-01 and 9999-12-31


def is_json(kind: str) -> bool:
    """Whether values of the type are queried as JSON: arrays, whose dimensions ADBC does not report, and records."""
    return kind == "record" or kind.startswith("_")


def exact_query(query: str, kinds: Mapping[str, str]) -> str:
    """The query, with columns that ADBC does not return exactly as text or JSON. `kinds` are the names of the columns' types.

    Arrays of the kind `_record` are arrays of composites that become JSON, and those of `_composite` become text, as composites
    do outside an array.
    """
    if _AS_THEY_ARE.issuperset(kinds.values()):
        return query
    columns = []
    for name, kind in kinds.items():
        column = quoted(name)
        if kind.removeprefix("_") in _FLOATS and is_json(kind):
            # As float8: the shortest text of a float4 names another float8.
            columns.append(f"to_json({column}::float8[])::text as {column}")
        elif kind == "_composite":
            columns.append(f"to_json({column}::text[])::text as {column}")
        elif is_json(kind):
            columns.append(f"to_json({column})::text as {column}")
        elif kind == _NUMERIC:
            columns.append(f"{column}::text as {column}")  # the server writes digits several times faster than ADBC
        else:
            # As the type's output function writes it: a cast to text may use another function (inet's adds /32 to a host).
            written = f"case when {column} is not null then format('%s', {column}) end as {column}"
            columns.append(column if kind in _AS_THEY_ARE else written)
    return f"select {', '.join(columns)} from (\n{query}\n) as source_query"  # noqa: S608, it is the user's own query


def quoted(name: str) -> str:
    """The name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def exact_frame(table: pa.Table, kinds: Mapping[str, str], documents: frozenset[str] | None) -> pl.DataFrame:
    """The rows of the query as ADBC gives them; numerics in the columns of `documents` are JSON numbers.

    A row that no frame can hold, or with an array or record that cannot be read exactly, has its reason in `FAULT`.
    """
    faults: dict[int, str] = {}
    columns = series_of(table, faults, origin="the query")
    convert_columns(columns, kinds, documents, faults)
    return faults_marked(pl.DataFrame(columns, height=table.num_rows), faults, table)


def convert_columns(
    columns: dict[str, pl.Series], kinds: Mapping[str, str], documents: frozenset[str] | None, faults: dict[int, str]
) -> None:
    """Replace columns of types that ADBC does not give exactly; `faults` gets the rows whose values cannot be read."""
    for name, kind in kinds.items():
        if is_json(kind):
            columns[name] = _nested(columns[name], kind.removeprefix("_"), faults)
        elif kind == _NUMERIC and columns[name].dtype == pl.String:
            texts = columns[name]
            if texts.is_in(_NOT_FINITE).any():
                texts = texts.replace(_NOT_FINITE)
            columns[name] = marked(texts, DYNAMIC) if documents and name in documents else texts
        elif kind == "uuid":
            contents = columns[name].str.replace_all("-", "", literal=True).str.decode("hex")
            columns[name] = marked(contents, UUID)
        else:
            columns[name] = _with_far_dates(columns[name])


# ---- dates --------------------------------------------------------------------------------------------------------------


def _with_far_dates(column: pl.Series) -> pl.Series:
    """The column, as text if it has an infinity or an instant that does not fit into 64 bits from 1970 on.

    ADBC adds the distance between the epochs, and values that do not fit wrap around. Values outside the years 1 to 9999 are
    written as a number of ticks.
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


def tick_of(text: str, unit: str) -> int:
    """The number that ADBC has for a date ("D"), or for a time of day or an instant ("us"), from its text in ISO's style."""
    a_day = _TICKS_A_DAY[unit]
    bits, distance = (32, _EPOCH_DAYS) if unit == "D" else (64, _EPOCH_DAYS * a_day)
    if text in _INFINITIES:
        tick = (2 ** (bits - 1) - 1 if text == "infinity" else -(2 ** (bits - 1))) + distance
    else:
        found = _ISO.fullmatch(text)
        assert found is not None  # noqa: S101, the server writes no other form under the settings of the session
        year, month, day, hours, minutes, seconds, fraction, sign, *zone, is_bc = found.groups()
        tick = 0
        if year is not None:
            counted = 1 - int(year) if is_bc else int(year)
            cycles, of_cycle = divmod(counted, 400)  # the calendar repeats itself every 400 years
            days = date(2000 + of_cycle, int(month), int(day)).toordinal() - _UNIX_EPOCH_ORDINAL
            tick = (days + (cycles - 5) * _DAYS_OF_400_YEARS) * a_day
        hour, minute, second = (int(part or 0) for part in (hours, minutes, seconds))
        tick += (hour * 3_600 + minute * 60 + second) * 1_000_000 + int((fraction or "").ljust(6, "0"))
        hour, minute, second = (int(part or 0) for part in zone)
        tick += (hour * 3_600 + minute * 60 + second) * (1_000_000 if sign == "-" else -1_000_000)
    wrapped: int = (tick + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    return wrapped  # ADBC lets what does not fit wrap around


# ---- arrays and records ----------------------------------------------------------------------------------------------------


def _nested(source: pl.Series, kind: str, faults: dict[int, str]) -> pl.Series:
    """Arrays as lists, if all their elements have one type; otherwise arrays as JSON. Records, too, are JSON.

    `source` has JSON texts. The reason why one cannot be read is added to `faults`, by its row.
    """
    texts = source.to_list()
    if kind not in _DOCUMENTS:
        return column_of(source.name, [None if text is None else _array(text, kind) for text in texts])
    for row, text in enumerate(texts):
        if text is not None and (reason := _document_fault(text)) is not None:
            faults.setdefault(row, f"column {source.name!r} {reason}")
            texts[row] = None
    return marked(pl.Series(source.name, texts, dtype=pl.String), DYNAMIC)


def _document_fault(text: str) -> str | None:
    """Why the server's JSON for a record or for JSON documents does not contain all that they do; None where it does."""
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


def _instant(item: str) -> datetime | str:
    """The instant; infinities and years after 9999 stay text."""
    try:
        return datetime.fromisoformat(item)
    except ValueError:
        return item


_ELEMENTS: dict[str, Callable[[Any], Any]] = {
    "bytea": lambda item: bytes.fromhex(item.removeprefix("\\x")),
    "numeric": Decimal,  # of a number, or of the text of NaN or an infinity
    "float4": float,
    "float8": float,
    "timestamptz": _instant,
    "uuid": uuid.UUID,
}
