"""The server's fingerprint of a table equals the client's of the frame that was written, for every type and odd value."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

import asyncio
import math
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import asyncpg
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from rowledger.contract.fingerprint import Fingerprint
from rowledger.contract.fingerprint_sql import fingerprint_query, read_fingerprint
from rowledger.contract.frame_totals import fingerprint_frame
from rowledger.spec.column import Column, ColumnType, TypeName

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40) | st.integers(0, 200).map(
    lambda n: "é€"[n % 2] * n
)
DECIMALS = st.integers(-(10**38 - 1), 10**38 - 1).map(lambda n: Decimal(f"{n}e-9"))
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))

VALUES: dict[str, Any] = {
    "boolean": st.booleans(),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "real": st.floats(width=32) | st.sampled_from([0.0, -0.0, math.nan, -math.nan, math.inf, -math.inf]),
    "double precision": st.floats() | st.sampled_from([0.0, -0.0, math.nan, -math.nan, math.inf, 5e-324, 1.7e308]),
    "numeric(38,9)": DECIMALS,
    "numeric(15,2)": st.integers(-(10**15 - 1), 10**15 - 1).map(lambda n: Decimal(f"{n}e-2")),
    "text": TEXTS,
    "character varying(200)": TEXTS,
    "bytea": st.binary(max_size=40),
    "uuid": st.uuids().map(lambda value: value.bytes),
    "date": st.dates(date(1, 1, 2), date(9999, 12, 30)),  # asyncpg takes the first and the last for infinities
    "time without time zone": st.times(),
    "timestamp without time zone": INSTANTS,
    "timestamp with time zone": INSTANTS.map(lambda value: value.replace(tzinfo=UTC)),
    "jsonb": st.sampled_from(["{}", '{"a": 1}', "[1, 2]"]),
}


def column_of(sql: str, number: int) -> Column:
    parsed = ColumnType.parse(sql)
    assert parsed is not None
    return Column(f"c{number} {parsed.name}", parsed, nullable=True)


COLUMNS = tuple(column_of(sql, number) for number, sql in enumerate(VALUES))


def quote(name: str) -> str:
    return f'"{name}"'


@pytest.fixture(scope="module")
def table(server: str) -> Iterator[tuple[asyncio.Runner, asyncpg.Connection]]:
    """A connection with a temporary table of all types, for all examples."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(server, timeout=30))
        try:
            declared = ", ".join(f"{quote(column.name)} {column.type.sql}" for column in COLUMNS)
            runner.run(connection.execute(f"create temporary table every_type ({declared})"))
            runner.run(connection.execute("set timezone = 'Asia/Kathmandu'"))
            yield runner, connection
        finally:
            runner.run(connection.close(timeout=10))


def record(row: tuple[Any, ...]) -> tuple[Any, ...]:
    is_uuid = [column.type.name is TypeName.UUID for column in COLUMNS]
    return tuple(
        uuid.UUID(bytes=value) if flag and value is not None else value
        for value, flag in zip(row, is_uuid, strict=True)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(*(st.none() | values for values in VALUES.values())), max_size=12))
def test_server_and_client_agree_on_every_type(
    table: tuple[asyncio.Runner, asyncpg.Connection], rows: list[tuple[Any, ...]]
) -> None:
    runner, connection = table
    frame = pl.DataFrame(rows, schema={column.name: column.type.frame_type for column in COLUMNS}, orient="row")

    async def server_side() -> tuple[int, Fingerprint]:
        await connection.execute("truncate every_type")
        await connection.copy_records_to_table("every_type", records=[record(row) for row in rows], timeout=30)
        return await measured(connection, COLUMNS, "every_type")

    counted, from_server = runner.run(server_side())

    assert counted == len(rows)
    assert from_server.differences(fingerprint_frame(frame, COLUMNS)) == []
    assert from_server == fingerprint_frame(frame, COLUMNS)


async def measured(connection: asyncpg.Connection, columns: Sequence[Column], relation: str) -> tuple[int, Fingerprint]:
    return read_fingerprint(columns, await connection.fetch(fingerprint_query(columns, quote, relation), timeout=30))


# Each text is longer than the limit from which on a value is hashed by its SHA-256, some compress to next to nothing.
LONG = ["x" * 2_000_000, "é" * 40_000, "abc" * 30_000]
LONG_VALUES: dict[str, list[Any]] = {
    "text": ["short", *LONG],
    "character varying": ["short", *LONG],
    "character varying(16384)": ["short", "€" * 16_384],
    "character(70000)": ["short", "y" * 70_000],
    "json": ["{}", *(f'"{text}"' for text in LONG)],
    "bytea": [b"short", *(text.encode() for text in LONG)],
    "text[]": [["a", None, "b"], [*LONG, None, "c"], []],
    "bytea[]": [[b"a", None], [*(text.encode() for text in LONG), b"c"]],
    "json[]": [["{}"], [f'"{text}"' for text in LONG]],
    "numeric": ["1.5", "9" * 100_000 + "." + "3" * 16_000, "-" + "7" * 5_000, "NaN"],
    "numeric(1000,3)": ["1.500", "8" * 900 + ".125"],
}


@pytest.mark.parametrize("sql", LONG_VALUES)
def test_server_and_client_agree_on_long_values_among_short_ones(
    table: tuple[asyncio.Runner, asyncpg.Connection], sql: str
) -> None:
    runner, connection = table
    column = column_of(sql, 0)
    values = [*LONG_VALUES[sql], *LONG_VALUES[sql][:1] * 2_000]
    table_name = f"long {sql}"  # asyncpg remembers a table's types by its name

    async def there() -> tuple[int, Fingerprint]:
        await connection.execute(f"create temporary table {quote(table_name)} ({quote(column.name)} {sql})")
        records = [(Decimal(value),) if sql.startswith("numeric") else (value,) for value in values]
        await connection.copy_records_to_table(table_name, records=records, timeout=30)
        return await measured(connection, [column], quote(table_name))

    frame = pl.DataFrame({column.name: pl.Series(values, dtype=column.type.frame_type)})
    mine = fingerprint_frame(frame, [column])

    assert runner.run(there()) == (len(values), mine)
    assert Fingerprint.from_json(mine.to_json()) == mine


@pytest.mark.parametrize("columns_max", [1_600])
def test_a_table_as_wide_as_tables_can_be_is_measured_in_one_statement(
    table: tuple[asyncio.Runner, asyncpg.Connection], columns_max: int
) -> None:
    runner, connection = table
    columns = [Column(f"c{number}", ColumnType(TypeName.SMALLINT), nullable=True) for number in range(columns_max)]

    async def there() -> tuple[int, Fingerprint]:
        declared = ", ".join(f"{column.name} smallint" for column in columns)
        await connection.execute(f"drop table if exists wide; create temporary table wide ({declared})")
        await connection.execute("insert into wide (c0, c799, c800, c1599) values (1, 2, 3, 4), (10, null, 30, 40)")
        return await measured(connection, columns, "wide")

    rows, fingerprint = runner.run(there())

    assert rows == 2
    assert {name: entry for name, entry in fingerprint.items() if entry != (0, 0)} == {
        "c0": (2, 11),
        "c799": (1, 2),
        "c800": (2, 33),
        "c1599": (2, 44),
    }


CHANGES = {
    "boolean": ("true", "false"),
    "bigint": ("1", "2"),
    "double precision": ("0.1", "0.10000000000000002"),
    "numeric(15,2)": ("1.10", "1.11"),
    "text": ("'a'", "'b'"),
    "bytea": (r"'\x00'", r"'\x0000'"),
    "date": ("'2013-01-01'", "'2013-01-02'"),
    "time without time zone": ("'00:00:00'", "'00:00:00.000001'"),
    "interval": ("'1 hour'", "'1 hour 0.000001 seconds'"),
    "inet": ("'10.0.0.1/24'", "'10.0.0.1/25'"),
    "cidr": ("'2001:db8::/32'", "'2001:db8::/33'"),
    "character(4)": ("'ab'", "'abc'"),
    "json": ("'[1]'", "'[1 ]'"),
    "numeric": ("'NaN'", "'Infinity'"),
    "integer[]": ("'{1,2}'", "'{2,1}'"),
    "text[]": ("'{a,null}'", "'{a}'"),
    "json[]": ("'{[1]}'", "'{[1 ]}'"),
    "numeric(15,2)[]": ("'{1.10,2}'", "'{1.11,2}'"),
    "timestamp with time zone": ("'2013-01-01 00:00+00'", "'2013-01-01 00:00:00.000001+00'"),
}


@pytest.mark.parametrize("sql", CHANGES)
def test_one_changed_value_shows(table: tuple[asyncio.Runner, asyncpg.Connection], sql: str) -> None:
    runner, connection = table
    column = column_of(sql, 0)

    def of(value: str) -> Any:
        relation = f'(select {value}::{sql}) as t ("{column.name}")'
        return runner.run(measured(connection, [column], relation))[1]

    before, after = CHANGES[sql]
    assert of(before) != of(after)
    assert len(of(before).differences(of(after))) == 1


def test_dates_before_and_after_2000_and_times_of_day_are_what_they_say() -> None:
    columns = tuple(column_of(sql, 0) for sql in ("date", "time without time zone"))

    got = [
        fingerprint_frame(pl.DataFrame({column.name: [value]}), [column])[column.name]
        for column, value in zip(columns, (date(1999, 12, 31), time(0)), strict=True)
    ]

    assert got[0] == (1, -1)
    assert got[1][0] == 1
