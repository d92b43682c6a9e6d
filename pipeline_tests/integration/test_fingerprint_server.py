"""The server's fingerprint of a table equals the client's of the frame that was written, for every type and odd value."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

import asyncio
import math
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import asyncpg
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.contract.fingerprint import fingerprint_frame, fingerprint_from_row, fingerprint_sql
from pipeline.model.column import Column, ColumnType, TypeName

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

    async def server_side() -> asyncpg.Record:
        await connection.execute("truncate every_type")
        await connection.copy_records_to_table("every_type", records=[record(row) for row in rows], timeout=30)
        return await connection.fetchrow(
            f"select {', '.join(fingerprint_sql(COLUMNS, quote))} from every_type", timeout=30
        )

    from_server = fingerprint_from_row(COLUMNS, len(rows), list(runner.run(server_side())))

    assert from_server.differences(fingerprint_frame(frame, COLUMNS)) == []
    assert from_server == fingerprint_frame(frame, COLUMNS)


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
    aggregates = ", ".join(fingerprint_sql([column], quote))

    def of(value: str) -> Any:
        row = runner.run(
            connection.fetchrow(f'select {aggregates} from (select {value}::{sql}) as t ("{column.name}")')
        )
        return fingerprint_from_row([column], 1, list(row))

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
