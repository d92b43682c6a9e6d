"""Readers see a partition as it was or as it is, while it is replaced over and over; two runs at once do not mix."""

import asyncio
import collections
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one
from pipeline_tests.support.server_traps import execute, session
from pipeline_tests.support.tables import (
    APPENDED_EVENTS,
    DAY,
    EVENTS,
    NEXT_DAY,
    ORDERS,
    READINGS,
    Row,
    changed,
    events,
    orders,
    readings,
    write_source,
)
from pipeline_tests.support.waiting import wait_until
from rowledger.errors import PartitionBusy
from rowledger.ledger.loads import ChunkTotals
from rowledger.ledger.reports import PartitionReport
from rowledger.publish import verify
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec


def _watch(database: str, statement: str, stop: threading.Event) -> collections.Counter[tuple[object, ...]]:
    """Read until told to stop; how often each answer came."""

    async def read() -> collections.Counter[tuple[object, ...]]:
        seen: collections.Counter[tuple[object, ...]] = collections.Counter()
        connection = await asyncpg.connect(database, timeout=20)
        try:
            while not stop.is_set():
                seen[tuple(await connection.fetchrow(statement, timeout=30))] += 1
                await asyncio.sleep(0.002)
        finally:
            await connection.close(timeout=10)
        return seen

    return asyncio.run(read())


@pytest.mark.parametrize("table", ["events", "orders", "readings"])
def test_a_reader_sees_the_old_rows_or_the_new_and_never_a_mix(database: str, tmp_path: Path, table: str) -> None:
    spec, key, column = {
        "events": (EVENTS, DAY, "name"),
        "orders": (ORDERS, DAY, "item"),
        "readings": (READINGS, "all", "value"),
    }[table]

    def version(number: int) -> list[Row]:
        count = 100 + number
        made = {"events": events, "orders": orders, "readings": readings}[table](count)
        mark = float(number) if table == "readings" else f"v{number}"
        return changed(made, {row: {column: mark} for row in range(count)})

    write_source(tmp_path, table, key, version(0))
    load_one(database, spec, tmp_path, key)
    stop = threading.Event()
    statement = f"select count(*), min({column}), max({column}) from public.{table}"
    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(_watch, database, statement, stop) for _ in range(2)]
        try:
            for number in range(1, 4):
                write_source(tmp_path, table, key, version(number))
                assert load_one(database, spec, tmp_path, key).error is None
        finally:
            stop.set()
    allowed = {
        (100 + number, mark, mark)
        for number in range(4)
        for mark in [float(number) if table == "readings" else f"v{number}"]
    }
    seen = sum((reader.result() for reader in readers), collections.Counter[tuple[object, ...]]())
    assert set(seen) <= allowed
    assert len(seen) > 1
    assert_accounted(database, spec, version(3))


def test_a_reader_that_stays_in_its_transaction_holds_a_publish_up_but_does_not_break_it(
    database: str, tmp_path: Path
) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    load_one(database, EVENTS, tmp_path, DAY)
    write_source(tmp_path, "events", DAY, events(70))

    async def read_while_loading() -> None:
        connection = await asyncpg.connect(database, timeout=20)
        try:
            await connection.execute("begin; select count(*) from public.events")
            loading = asyncio.create_task(
                asyncio.to_thread(load_one, database, EVENTS, tmp_path, DAY, publish_lock_timeout_s=0.2)
            )
            asking = (
                "select count(*) from pg_locks where not granted and relation = 'public.events'::regclass "
                "and database = (select oid from pg_database where datname = current_database())"
            )
            async with asyncio.timeout(20):
                while not await connection.fetchval(asking):  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.02)
            assert await connection.fetchval("select count(*) from public.events") == 50
            await connection.execute("commit")
            report = await loading
            assert report.error is None
        finally:
            await connection.close(timeout=10)

    asyncio.run(read_while_loading())
    assert_accounted(database, EVENTS, events(70))


@pytest.mark.parametrize("spec", [EVENTS, READINGS], ids=["attach", "swap"])
def test_the_rows_are_inserted_where_a_reader_stays_for_ever(database: str, tmp_path: Path, spec: TableSpec) -> None:
    """Idle in its transaction, without a snapshot: it keeps the table's lock that a move would need."""
    rows_of, key = (events, DAY) if spec is EVENTS else (readings, "all")
    write_source(tmp_path, spec.name, key, rows_of(50))
    load_one(database, spec, tmp_path, key)
    write_source(tmp_path, spec.name, key, rows_of(70))
    observer = Recorder()
    with session(database) as reader:
        execute(reader, f"select count(*) from public.{spec.name}")
        limits = {"publish_lock_timeout_s": 0.1, "publish_snapshot_wait_s": 0.5}
        report = load_one(database, spec, tmp_path, key, observer=observer, **limits)
        assert report.error is None
        assert "deleted and inserted instead of moved with their table, since another session" in observer.text
        execute(reader, "select 1")  # it was not disturbed
    assert_accounted(database, spec, rows_of(70))


def test_rows_added_to_a_partition_that_is_there_do_not_wait_for_those_who_alter_the_table(
    database: str, tmp_path: Path
) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    load_one(database, APPENDED_EVENTS, tmp_path, DAY)
    write_source(tmp_path, "events", DAY, events(70)[50:])
    with session(database) as other:  # as ANALYZE does, or CREATE INDEX CONCURRENTLY
        execute(other, "lock table only public.events in share update exclusive mode")
        report = load_one(database, APPENDED_EVENTS, tmp_path, DAY, publish_snapshot_wait_s=3_600)
    assert report.error is None
    assert fetch_value(database, "select count(*) from public.events") == 70


def test_a_publish_that_never_gets_its_lock_gives_up_in_words_and_the_next_run_publishes(
    database: str, tmp_path: Path
) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    load_one(database, EVENTS, tmp_path, DAY)
    write_source(tmp_path, "events", DAY, events(70))

    async def read_on() -> None:
        connection = await asyncpg.connect(database, timeout=20)
        try:
            await connection.execute("begin; lock table public.events in share mode")
            limits = {"publish_lock_timeout_s": 0.1, "publish_snapshot_wait_s": 0.5, "retry_budget_s": 0.5}
            report = await asyncio.to_thread(load_one, database, EVENTS, tmp_path, DAY, **limits)
            assert type(report.error).__name__ == "DatabaseUnavailable"
            assert "lock not available" in str(report.error)
            assert await connection.fetchval("select count(*) from public.events") == 50
        finally:
            await connection.close(timeout=10)

    asyncio.run(read_on())
    rerun = load_one(database, EVENTS, tmp_path, DAY)
    assert rerun.error is None
    assert rerun.resumed
    assert_accounted(database, EVENTS, events(70))


def test_runs_of_different_partitions_do_not_hinder_each_other(database: str, tmp_path: Path) -> None:
    for day in (DAY, NEXT_DAY):
        write_source(tmp_path, "events", day, events(150, day))
        write_source(tmp_path, "orders", day, orders(150, day, first=1000 * (day == NEXT_DAY)))
    with ThreadPoolExecutor(2) as threads:
        for spec in (EVENTS, ORDERS):
            runs = [threads.submit(load, database, spec, tmp_path, [day]) for day in (DAY, NEXT_DAY)]
            assert [run.result()[0].error for run in runs] == [None, None]
    assert_accounted(database, EVENTS, events(150, DAY) + events(150, NEXT_DAY))
    assert_accounted(database, ORDERS, orders(150, DAY) + orders(150, NEXT_DAY, first=1000))


def test_of_two_runs_of_one_partition_one_waits_or_is_refused(database: str, tmp_path: Path) -> None:
    rows = events(500)
    write_source(tmp_path, "events", DAY, rows)
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(load_one, database, EVENTS, tmp_path, DAY, busy_wait_s=20) for _ in range(2)]
        reports = [run.result() for run in runs]
    assert [report.error for report in reports] == [None, None]
    assert_accounted(database, EVENTS, rows)
    fetch(database, "truncate rowledger.load cascade")
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(load_one, database, EVENTS, tmp_path, DAY) for _ in range(2)]
        errors = [run.result().error for run in runs]
    assert all(error is None or isinstance(error, PartitionBusy) for error in errors)
    assert None in errors
    assert_accounted(database, EVENTS, rows)


def test_verify_is_not_misled_by_a_partition_that_is_replaced_meanwhile(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reload would be done between verify's look at the ledger and its look at the table, if nothing held it up."""
    write_source(tmp_path, "events", DAY, events(100))
    load_one(database, EVENTS, tmp_path, DAY)
    write_source(tmp_path, "events", DAY, events(70))
    waiting = (
        "select count(*) from pg_locks where not granted and relation = 'public.events'::regclass "
        "and database = (select oid from pg_database where datname = current_database())"
    )
    original = verify.read_chunk_totals
    with ThreadPoolExecutor(2) as threads:
        reloads: list[Future[PartitionReport]] = []

        async def read_with_a_reload_under_way(connection: asyncpg.Connection, load_id: int) -> ChunkTotals:
            if not reloads:
                reloads.append(threads.submit(load_one, database, EVENTS, tmp_path, DAY))
                held_up = lambda: reloads[0].done() or fetch_value(database, waiting)  # noqa: E731
                await asyncio.to_thread(wait_until, held_up, "the reload is done, or held up")
            return await original(connection, load_id)

        monkeypatch.setattr(verify, "read_chunk_totals", read_with_a_reload_under_way)
        assert [result.passed for result in run_verify(EVENTS, url=database)] == [True]
        assert reloads[0].result().error is None
    assert [result.passed for result in run_verify(EVENTS, url=database)] == [True]
    assert_accounted(database, EVENTS, events(70))
