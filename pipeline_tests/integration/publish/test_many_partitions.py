"""A table of many partitions: what is done to one of them locks none of the others."""

import asyncio
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load, load_one
from pipeline_tests.support.tables_of_write_modes import APPENDED, DAY, REPLACED, UPSERTED, sales, write_sales
from rowledger.failpoints import Place
from rowledger.ledger.bounds import PartitionsOfLoads
from rowledger.publish import finish as publish, verify
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec

_PARTITIONS = 60
_LOCKS = (
    "select count(distinct relation) from pg_locks join pg_class on pg_class.oid = relation join pg_stat_activity using (pid) "
    "where application_name like 'rowledger control%' and relname ~ '_y[0-9]+$' "
    "and datname = current_database()"
)


@pytest.fixture
def locked(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many partitions of other keys each publish has locked."""
    counts: list[int] = []
    original = publish.async_failpoint

    async def reached(place: Place, **facts: object) -> None:
        if place is Place.IN_PUBLISH:
            connection = await asyncpg.connect(database, timeout=20)
            try:
                counts.append(await connection.fetchval(_LOCKS))
            finally:
                await connection.close(timeout=10)
        await original(place, **facts)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "async_failpoint", reached)
    return counts


def _make(database: str, table: str) -> None:
    """A table with a partition a day of another year."""

    async def run() -> None:
        connection = await asyncpg.connect(database, timeout=20)
        try:
            await connection.execute(
                f"create table {table} (day date not null, region text not null, sale_id integer not null, "
                "amount double precision, primary key (day, region, sale_id)) partition by range (day)"
            )
            for number in range(_PARTITIONS):
                first = date(2020, 1, 1) + timedelta(days=number)
                await connection.execute(
                    f"create table {table}_y{number} partition of {table} "
                    f"for values from ('{first}') to ('{first + timedelta(days=1)}')"
                )
        finally:
            await connection.close(timeout=10)

    asyncio.run(run())


@pytest.mark.parametrize("spec", [REPLACED, APPENDED, UPSERTED], ids=lambda spec: spec.name)
def test_a_publish_locks_no_partition_but_its_own(
    database: str, tmp_path: Path, locked: list[int], spec: TableSpec
) -> None:
    _make(database, spec.target.table)
    for count in (40, 60):
        write_sales(tmp_path, DAY, sales(range(100 * (count == 60), count + 100 * (count == 60))))
        assert load_one(database, spec, tmp_path, DAY).error is None
    assert locked == [0, 0]


def test_a_publish_by_inserting_locks_no_partition_but_its_own(
    database: str, tmp_path: Path, locked: list[int]
) -> None:
    _make(database, "replaced")
    fetch(database, "create table replaced_rest partition of replaced default")
    for count in (40, 60):
        write_sales(tmp_path, DAY, sales(range(count)))
        assert load_one(database, REPLACED, tmp_path, DAY, publish_by_moving=False).error is None
    assert locked == [0, 0]


def test_partitions_are_verified_as_many_at_a_time_as_the_server_has_locks_for(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [f"2024-03-{day:02}" for day in range(1, 6)]
    for day in days:
        write_sales(tmp_path, day, sales(range(20), day))
    assert [report.error for report in load(database, REPLACED, tmp_path, days)] == [None] * 5
    taken: list[list[str]] = []
    original = verify.verify_published

    async def counting(
        connection: asyncpg.Connection, spec: TableSpec, target: Any, keys: list[str], partitions: PartitionsOfLoads
    ) -> object:
        taken.append(keys)
        return await original(connection, spec, target, keys, partitions)

    monkeypatch.setattr(verify, "verify_published", counting)
    room = fetch(
        database,
        "select current_setting('max_locks_per_transaction')::bigint "
        "* (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint)",
    )[0][0]
    monkeypatch.setattr(verify, "_SHARE_OF_LOCKS", room // 4)  # two partitions with an index each
    results = run_verify(REPLACED, url=database)
    assert [result.passed for result in results] == [True] * 5
    assert taken == [days[0:2], days[2:4], days[4:5]]


def test_the_reports_of_a_run_come_in_the_order_of_its_keys(database: str, tmp_path: Path) -> None:
    days = [f"2024-03-{day:02}" for day in range(1, 6)]
    for day in days:
        write_sales(tmp_path, day, sales(range(20), day))
    reports = load(database, REPLACED, tmp_path, list(reversed(days)), partitions_in_flight=2)
    assert [report.partition_key for report in reports] == list(reversed(days))
