"""Values of every type go through binary and text COPY, come back equal, and have the fingerprint that the client knew."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

import asyncio
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from ipaddress import ip_interface, ip_network
from typing import Any

import asyncpg
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from rowledger.contract.fingerprint_sql import fingerprint_query, read_fingerprint
from rowledger.contract.frame_totals import fingerprint_frame
from rowledger.contract.target_types import as_frame_value
from rowledger.postgres.copy import EncodedRows, copy_rows, encode_rows
from rowledger.postgres.copy_format import describe_format
from rowledger.postgres.copy_text import text_rows
from rowledger.postgres.queries import quote_identifier
from rowledger.spec.column import Column, ColumnType, TypeName

TRICKY = st.sampled_from(
    ["", " ", "NULL", "null", r"\N", r"\.", "\\", "\n", "\r\n", "\t", '"', "{", "}", ",", "'", "a\\nb", "\x01", "é€😀"]
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30) | st.lists(TRICKY, max_size=6).map(
    "".join
)
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
DOUBLES = st.floats() | st.sampled_from(
    [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e16, 1.7976931348623157e308]
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
NUMERICS = st.decimals(allow_nan=True, allow_infinity=True).map(
    lambda d: d.copy_abs() if d.is_nan() else d
) | st.integers(-(10**60), 10**60).map(Decimal)
LABELS = ("glad", "so so", "sad, very", 'o\'dd "one"', "ünï")

VALUES: dict[str, Any] = {
    "boolean": st.booleans(),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "real": st.floats(width=32),
    "double precision": DOUBLES,
    "numeric(38,9)": st.integers(-(10**38 - 1), 10**38 - 1).map(lambda n: Decimal(f"{n}e-9")),
    "numeric(5,0)": st.integers(-99999, 99999).map(Decimal),
    "numeric": NUMERICS.filter(lambda d: not d.is_finite() or abs(d.adjusted()) < 1000),
    "numeric(60,20)": st.integers(-(10**60 - 1), 10**60 - 1).map(lambda n: Decimal(n).scaleb(-20, Context(prec=99))),
    "text": TEXTS,
    "character varying(200)": TEXTS,
    "character varying": TEXTS,
    "character(40)": TEXTS.map(lambda text: text.rstrip(" ")),
    "bpchar": TEXTS.map(lambda text: text.rstrip(" ")),
    "bytea": st.binary(max_size=40),
    "uuid": st.uuids(),
    "date": st.dates(),
    "time without time zone": st.times(),
    "timestamp without time zone": INSTANTS,
    "timestamp(3) without time zone": INSTANTS.map(
        lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000)
    ),
    "timestamp with time zone": INSTANTS.map(lambda value: value.replace(tzinfo=UTC)),
    "interval": st.timedeltas(timedelta(days=-10_000_000), timedelta(days=10_000_000)),
    "inet": st.ip_addresses()
    | st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(lambda pair: ip_interface(f"{pair[0]}/{pair[1]}")),
    "cidr": st.tuples(st.ip_addresses(v=6), st.integers(0, 128)).map(
        lambda pair: ip_network(f"{pair[0]}/{pair[1]}", strict=False)
    ),
    "json": JSON_VALUES.map(json.dumps),
    "jsonb": JSON_VALUES.map(json.dumps).filter(lambda text: "\\u0000" not in text),
    "mood": st.sampled_from(LABELS),
    "citext": TEXTS,
}
USERS = {"mood": {"labels": LABELS}, "citext": {"is_citext": True}}


def column_of(sql: str) -> Column:
    parsed = ColumnType.parse(sql, **USERS.get(sql.removesuffix("[]"), {}))
    assert parsed is not None
    return Column(f"c {sql}", parsed, nullable=True)


SCALARS = tuple(column_of(sql) for sql in VALUES)
ARRAYS = tuple(column_of(f"{sql}[]") for sql in VALUES)


@pytest.fixture(scope="module")
def tables(server: str) -> Iterator[tuple[asyncio.Runner, asyncpg.Connection]]:
    """A connection with temporary tables of all types and of arrays of them."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(server, timeout=30))
        try:
            labels = ", ".join("'" + label.replace("'", "''") + "'" for label in LABELS)
            runner.run(
                connection.execute(f"create type pg_temp.mood as enum ({labels}); set timezone = 'Asia/Kathmandu'")
            )
            had_citext = runner.run(
                connection.fetchval("select exists (select from pg_extension where extname = 'citext')")
            )
            runner.run(connection.execute("create extension if not exists citext"))
            for name, columns in (("scalars", SCALARS), ("arrays", ARRAYS)):
                declared = ", ".join(
                    f"{quote_identifier(column.name)} {'pg_temp.' * (column.type.name is TypeName.ENUM)}{column.type.sql}"
                    for column in columns
                )
                runner.run(connection.execute(f"create temporary table {name} ({declared})"))
            yield runner, connection
            if not had_citext:
                runner.run(connection.execute("drop table scalars, arrays; drop extension citext"))
        finally:
            runner.run(connection.close(timeout=10))


def _frame_value(value: Any, column_type: ColumnType) -> Any:
    return None if value is None else as_frame_value(value, column_type)


def same(got: Any, sent: Any, column_type: ColumnType) -> bool:
    if got is None or sent is None:
        return got is sent
    if column_type.array:
        return len(got) == len(sent) and all(same(a, b, column_type.element) for a, b in zip(got, sent, strict=True))
    match column_type.name:
        case TypeName.REAL | TypeName.DOUBLE:
            return repr(got) == repr(sent) or (math.isnan(got) and math.isnan(sent))
        case TypeName.NUMERIC:
            return Decimal(got) == Decimal(sent) or (Decimal(got).is_nan() and Decimal(sent).is_nan())
        case TypeName.JSONB:
            return json.loads(got) == json.loads(sent)
        case _:
            return got == sent


def round_trip(tables: Any, table: str, columns: tuple[Column, ...], rows: list[tuple[Any, ...]], how: str) -> None:
    runner, connection = tables
    types = [column.type for column in columns]
    sent = [tuple(map(_frame_value, row, types)) for row in rows]
    frame = pl.DataFrame(sent, schema={column.name: column.type.frame_type for column in columns}, orient="row")
    if how == "text":
        encoded = EncodedRows((text_rows(frame, columns),), frame.height, "text")
    else:
        encoded = encode_rows(frame, columns, 3)
        assert encoded.format == "binary", describe_format(columns)

    async def there_and_back() -> Any:
        await connection.execute(f"truncate {table}")
        await copy_rows(
            connection, encoded, schema_name="pg_temp", table_name=table, columns=columns, on_sent=lambda _: None
        )
        names = ", ".join(
            # asyncpg crashes on a citext array, which it reads in text form
            f"{quote_identifier(column.name)}::text[]"
            if column.type.sql == "citext[]"
            else quote_identifier(column.name)
            for column in columns
        )
        return (
            await connection.fetch(f"select {names} from {table}"),
            await connection.fetch(fingerprint_query(columns, quote_identifier, table)),
        )

    found, figures = runner.run(there_and_back())

    assert len(found) == len(sent)
    for got, values in zip(found, sent, strict=True):
        for column, back, value in zip(columns, got.values(), values, strict=True):
            read = _frame_value(back, column.type)
            assert same(read, value, column.type), (column.name, read, value)
    counted, stored = read_fingerprint(columns, figures)
    assert counted == len(rows)
    assert stored.differences(fingerprint_frame(frame, columns)) == []
    assert stored == fingerprint_frame(frame, columns)


ON_THE_SERVER = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a row of thirty types takes minutes
)


def drawn(columns: tuple[Column, ...], *, arrays: bool) -> Any:
    strategies = []
    for column in columns:
        values = VALUES[column.name.removeprefix("c ").removesuffix("[]")]
        strategies.append(st.none() | (st.lists(st.none() | values, max_size=4) if arrays else values))
    return st.lists(st.tuples(*strategies), max_size=6)


IN_BINARY = tuple(column for column in SCALARS if describe_format([column]) == "binary COPY")
ARRAYS_IN_BINARY = tuple(column for column in ARRAYS if describe_format([column]) == "binary COPY")


@ON_THE_SERVER
@given(rows=drawn(SCALARS, arrays=False))
def test_every_type_comes_back_equal_through_text_copy(tables: Any, rows: list[tuple[Any, ...]]) -> None:
    round_trip(tables, "scalars", SCALARS, rows, "text")


@ON_THE_SERVER
@given(rows=drawn(IN_BINARY, arrays=False))
def test_every_type_with_an_encoder_comes_back_equal_through_binary_copy(
    tables: Any, rows: list[tuple[Any, ...]]
) -> None:
    round_trip(tables, "scalars", IN_BINARY, rows, "binary")


@ON_THE_SERVER
@given(rows=drawn(ARRAYS, arrays=True))
def test_arrays_of_every_type_come_back_equal_through_text_copy(tables: Any, rows: list[tuple[Any, ...]]) -> None:
    round_trip(tables, "arrays", ARRAYS, rows, "text")


@ON_THE_SERVER
@given(rows=drawn(ARRAYS_IN_BINARY, arrays=True))
def test_arrays_with_an_encoder_come_back_equal_through_binary_copy(tables: Any, rows: list[tuple[Any, ...]]) -> None:
    round_trip(tables, "arrays", ARRAYS_IN_BINARY, rows, "binary")
