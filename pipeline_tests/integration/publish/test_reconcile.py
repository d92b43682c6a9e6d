"""Reconcile and verify: whatever differs between manifest, ledger, staging table, dead letters and target is found."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import asyncpg
import psycopg2.errors
import pytest

from pipeline_tests.support.assertions import assert_accounted, source_rows, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one
from pipeline_tests.support.partitions import DAYS_OF_MARCH
from pipeline_tests.support.server_traps import execute, session
from pipeline_tests.support.tables import DAY, EVENTS, ORDERS, READINGS, changed, events, orders, readings, write_source
from pipeline_tests.support.tables_of_spooled_files import SPOOLED_EVENTS
from rowledger.chunk.jobs import ChunkJob
from rowledger.contract.check import Contract
from rowledger.errors import DiscrepancyFound, NothingPublished
from rowledger.failpoints import Place
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.outcomes import ChunkOutcome, Committed
from rowledger.ledger.reports import CheckName
from rowledger.publish.reconcile import Measured, measure_relation
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec
from rowledger.workers.pool import Pool

Hook = Callable[[dict[str, Callable[[], object]]], None]


@pytest.fixture
def before_reconcile(monkeypatch: pytest.MonkeyPatch) -> Hook:
    """Have something done to a partition's load between its last chunk and its reconcile, once."""

    def arrange(actions: dict[str, Callable[[], object]]) -> None:
        pending = dict(actions)

        async def reached(place: Place, *, partition: str) -> None:
            if place is Place.BEFORE_RECONCILE and partition in pending:
                with ThreadPoolExecutor(1) as thread:  # we are called inside an event loop, the action wants its own
                    thread.submit(pending.pop(partition)).result()

        monkeypatch.setattr("rowledger.publish.finish.async_failpoint", reached)

    return arrange


def _tamper(database: str, key: str, statement: str) -> None:
    load_id = fetch_value(
        database, "select load_id from rowledger.load where state = 'loading' and partition_key = $1", key
    )
    fetch(database, statement.format(staging=f"rowledger.staging_{load_id}", load=f"load_id = {load_id}"))


_TAMPERINGS: dict[str, tuple[str, CheckName]] = {
    "a row deleted": ("delete from {staging} where event_id = 17", CheckName.ROW_BALANCE),
    "a row added": (
        """insert into {staging} select at + interval '1 hour', 9999, name, amount, note, code from {staging} limit 1""",
        CheckName.ROW_BALANCE,
    ),
    "a row replaced by a copy of its neighbour": (
        """with gone as (delete from {staging} where event_id = 17)
        insert into {staging} select at + interval '1 hour', event_id, name, amount, note, code
        from {staging} where event_id = 18""",
        CheckName.FINGERPRINT,
    ),
    "a text changed": ("update {staging} set name = 'other' where event_id = 17", CheckName.FINGERPRINT),
    "a number changed": ("update {staging} set amount = amount + 1e-9 where event_id = 17", CheckName.FINGERPRINT),
    "a null filled": ("update {staging} set note = '' where event_id = 15", CheckName.FINGERPRINT),
    "a value nulled": ("update {staging} set note = null where event_id = 17", CheckName.FINGERPRINT),
    "a time shifted": (
        "update {staging} set at = at + interval '1 microsecond' where event_id = 17",
        CheckName.FINGERPRINT,
    ),
    "a chunk's written rows lowered": (
        "update rowledger.chunk set written_rows = written_rows - 1 where {load} and chunk_no = 1",
        CheckName.ROW_BALANCE,
    ),
    "rows moved between two chunks' counts": (
        """update rowledger.chunk set written_rows = written_rows + case chunk_no when 0 then 1 else -1 end
        where {load} and chunk_no in (0, 1)""",
        CheckName.ROW_BALANCE,
    ),
    "a chunk's dead letters raised": (
        """update rowledger.chunk set dead_lettered_rows = dead_lettered_rows + 1, enqueued_rows = enqueued_rows + 1
        where {load} and chunk_no = 1""",
        CheckName.ROW_BALANCE,
    ),
    "a chunk's enqueued rows lowered": (
        "update rowledger.chunk set enqueued_rows = enqueued_rows - 1 where {load} and chunk_no = 1",
        CheckName.ROW_BALANCE,
    ),
    "the load's enqueued rows lowered": (
        "update rowledger.load set enqueued_rows = enqueued_rows - 1 where {load}",
        CheckName.ROW_BALANCE,
    ),
    "the manifest's digest changed": (
        "update rowledger.load set manifest_digest = 'x' where {load}",
        CheckName.ROW_BALANCE,
    ),
    "a chunk set back to pending": (
        "update rowledger.chunk set state = 'pending' where {load} and chunk_no = 2",
        CheckName.ROW_BALANCE,
    ),
    "a chunk deleted": ("delete from rowledger.chunk where {load} and chunk_no = 2", CheckName.ROW_BALANCE),
    "a dead letter deleted": ("delete from rowledger.dead_letter where {load} and row_no = 3", CheckName.ROW_BALANCE),
    "a dead letter given to another chunk": (
        "update rowledger.dead_letter set chunk_no = 2 where {load} and row_no = 3",
        CheckName.ROW_BALANCE,
    ),
    "a row lost and a dead letter made up for it": (
        """with gone as (delete from {staging} where event_id = 17)
        insert into rowledger.dead_letter
            (load_id, chunk_no, row_no, stage, reason, attempt, worker_pid, payload)
        select load_id, 0, 17, 'copy', 'made up', 1, 1, 'null' from rowledger.load where {load}""",
        CheckName.ROW_BALANCE,
    ),
    "a chunk's fingerprint lost": (
        "update rowledger.chunk set fingerprint = null where {load} and chunk_no = 0",
        CheckName.FINGERPRINT,
    ),
}


def test_nothing_is_published_that_does_not_add_up(database: str, tmp_path: Path, before_reconcile: Hook) -> None:
    """One run of many days, each of which is tampered with in another way, and one that is not."""
    days = dict(zip([*_TAMPERINGS, "nothing"], DAYS_OF_MARCH, strict=False))
    old = {day: events(10, day) for day in days.values()}
    new = {day: changed(events(120, day), {3: {"event_id": -1}}) for day in days.values()}
    for day, rows in old.items():
        write_source(tmp_path, "events", day, rows)
    assert [report.error for report in load(database, EVENTS, tmp_path, list(days.values()), workers=2)] == [
        None
    ] * len(days)

    for day, rows in new.items():
        write_source(tmp_path, "events", day, rows)
    before_reconcile(
        {days[name]: partial(_tamper, database, days[name], statement) for name, (statement, _) in _TAMPERINGS.items()}
    )
    reports = load(database, EVENTS, tmp_path, list(days.values()), workers=2, chunk_rows_max=50)
    found = {
        name: (type(report.error), sorted(check.name for check in report.checks if not check.passed))
        for name, report in zip(days, reports, strict=True)
    }
    noticed = {
        name: (kind, check in checks)
        for (name, (_, check)), (kind, checks) in zip(_TAMPERINGS.items(), found.values(), strict=False)
    }
    assert noticed == dict.fromkeys(_TAMPERINGS, (DiscrepancyFound, True))
    assert found["nothing"] == (type(None), [])
    states = fetch(database, "select partition_key, state from rowledger.load where state = 'rejected'")
    assert sorted(row["partition_key"] for row in states) == sorted(days[name] for name in _TAMPERINGS)
    untouched = [row for name in _TAMPERINGS for row in old[days[name]]]
    good = [row for number, row in enumerate(new[days["nothing"]]) if number != 3]
    assert table_rows(database, EVENTS) == source_rows(untouched + good)

    again = load(database, EVENTS, tmp_path, list(days.values()), workers=2, chunk_rows_max=50)
    assert [(report.error, report.resumed) for report in again] == [(None, False)] * len(days)
    assert_accounted(database, EVENTS, [row for rows in new.values() for row in rows])


def test_what_was_judged_cannot_be_changed_before_it_is_published(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(50)
    write_source(tmp_path, "events", DAY, rows)
    refusals: list[str] = []

    def tamper() -> None:
        """Neither the rows nor the load's place in the ledger can be had: both are locked until the rows are visible."""
        load_id = fetch_value(database, "select load_id from rowledger.load")
        for statement in (
            f"delete from rowledger.staging_{load_id} where event_id = 17",
            f"update rowledger.load set epoch = epoch + 1 where load_id = {load_id}",
        ):
            with session(database) as other:
                try:
                    execute(other, f"set lock_timeout = '50ms'; {statement}")
                except psycopg2.errors.LockNotAvailable:
                    refusals.append(statement)

    async def reached(place: Place, **_facts: object) -> None:
        if place is Place.BEFORE_PUBLISH:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(tamper).result()

    monkeypatch.setattr("rowledger.publish.finish.async_failpoint", reached)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert len(refusals) == 2
    assert_accounted(database, EVENTS, rows)


def test_a_staging_table_changed_while_fingerprints_are_off_still_has_to_add_up(
    database: str, tmp_path: Path, before_reconcile: Hook
) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    before_reconcile({DAY: partial(_tamper, database, DAY, _TAMPERINGS["a row deleted"][0])})
    report = load_one(database, EVENTS, tmp_path, DAY, fingerprint=False)
    assert isinstance(report.error, DiscrepancyFound)
    assert CheckName.FINGERPRINT not in [check.name for check in report.checks]


def test_a_load_without_fingerprints_is_published_on_its_counts(database: str, tmp_path: Path) -> None:
    rows = events(150)
    write_source(tmp_path, "events", DAY, rows)
    report = load_one(database, EVENTS, tmp_path, DAY, fingerprint=False)
    assert report.error is None
    assert_accounted(database, EVENTS, rows)
    assert [result.passed for result in run_verify(EVENTS, url=database)] == [True]


def test_a_load_that_began_without_fingerprints_is_not_resumed_with_them(
    database: str, tmp_path: Path, before_reconcile: Hook
) -> None:
    def die() -> None:
        raise ConnectionResetError("the run ended here")

    write_source(tmp_path, "events", DAY, events(150))
    before_reconcile({DAY: die})
    load_one(database, EVENTS, tmp_path, DAY, fingerprint=False)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert not report.resumed
    assert fetch_value(database, "select count(*) from rowledger.load where state = 'abandoned'") == 1
    assert_accounted(database, EVENTS, events(150))


@pytest.mark.parametrize("relief", ["", ", add constraint bound check (amount >= -1)"], ids=["dropped", "altered"])
def test_a_load_whose_rows_were_refused_by_a_check_that_is_gone_begins_anew(
    database: str, tmp_path: Path, before_reconcile: Hook, relief: str
) -> None:
    def die() -> None:
        raise ConnectionResetError("the run ended here")

    rows = changed(events(150), {7: {"amount": -1.0}})
    write_source(tmp_path, "events", DAY, rows[:5])
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    fetch(database, "alter table events add constraint bound check (amount >= 0)")
    write_source(tmp_path, "events", DAY, rows)
    before_reconcile({DAY: die})
    load_one(database, EVENTS, tmp_path, DAY)
    assert fetch_value(database, "select sum(dead_lettered_rows) from rowledger.chunk where state = 'committed'") == 1
    fetch(database, f"alter table events drop constraint bound{relief}")
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert (report.error, report.resumed, report.written_rows) == (None, False, 150)
    assert_accounted(database, EVENTS, rows)


_CHANGES = {
    "a row deleted": "delete from public.{table} where {id} = 7 and {day}",
    "a row doubled": "insert into public.{table} select * from public.{table} where {id} = 7 and {day}",
    "a text changed": "update public.{table} set {text} = 'changed' where {id} = 7 and {day}",
    "a row replaced by its neighbour": """with gone as (delete from public.{table} where {id} = 7 and {day})
        insert into public.{table} select * from public.{table} where {id} = 8 and {day}""",
    "all rows deleted": "delete from public.{table} where {day}",
}


@pytest.mark.parametrize("table", ["events", "orders"])
def test_verify_finds_what_was_changed_in_published_partitions(database: str, tmp_path: Path, table: str) -> None:
    spec, rows_of = (EVENTS, events) if table == "events" else (ORDERS, orders)
    days = dict(zip([*_CHANGES, "nothing"], DAYS_OF_MARCH, strict=False))
    for day in days.values():
        write_source(tmp_path, table, day, rows_of(30, day))
    if table == "orders":  # its key is that of the partition; over all days its numbers repeat
        fetch(database, "create table public.orders (order_id integer, day date, item text)")
    assert [report.error for report in load(database, spec, tmp_path, list(days.values()))] == [None] * len(days)
    assert {result.passed for result in run_verify(spec, url=database)} == {True}

    if table == "events":
        fetch(database, "alter table public.events drop constraint events_pkey")  # it would refuse a doubled row
    names = {"events": ("event_id", "name", "(at at time zone 'UTC')::date"), "orders": ("order_id", "item", "day")}
    identity, text, date_of = names[table]
    for name, statement in _CHANGES.items():
        day = f"{date_of} = '{days[name]}'"
        fetch(database, statement.format(table=table, id=identity, text=text, day=day))
    verified = {result.partition_key: result.passed for result in run_verify(spec, url=database)}
    assert verified == {day: name == "nothing" for name, day in days.items()}
    assert [result.passed for result in run_verify(spec, url=database, partition_keys=[days["nothing"]])] == [True]


def test_verify_finds_a_changed_ledger(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, changed(events(30), {3: {"event_id": -1}}))
    load_one(database, EVENTS, tmp_path, DAY)
    for change, back in (
        ("update rowledger.load set enqueued_rows = 29", "update rowledger.load set enqueued_rows = 30"),
        ("update rowledger.chunk set written_rows = 28", "update rowledger.chunk set written_rows = 29"),
        ("update rowledger.dead_letter set chunk_no = 0", None),
        ("delete from rowledger.dead_letter", None),
    ):
        passed = back is None and "set" in change
        fetch(database, change)
        assert [result.passed for result in run_verify(EVENTS, url=database)] == [passed], change
        if back:
            fetch(database, back)


def test_verify_of_a_table_without_published_partitions_is_an_error(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", readings(30))
    load_one(database, READINGS, tmp_path, "all")
    with pytest.raises(NothingPublished, match=r"no published partition of public\.events, so nothing was verified"):
        run_verify(EVENTS, url=database)
    assert [result.passed for result in run_verify(READINGS, url=database)] == [True]
    fetch(database, "update public.readings set value = value + 0.25 where sensor = 3")
    assert [result.passed for result in run_verify(READINGS, url=database)] == [False]


def test_what_a_worker_says_does_not_decide(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that reports a chunk it has not committed makes no load pass."""

    async def lie(_self: Pool, _job: object) -> Committed:
        return Committed(counts=RowCounts(enqueued_rows=100, written_rows=100))

    write_source(tmp_path, "events", DAY, events(100))
    with monkeypatch.context() as patch:
        patch.setattr(Pool, "commit", lie)
        observer = Recorder()
        report = load_one(database, EVENTS, tmp_path, DAY, observer=observer)
    assert isinstance(report.error, DiscrepancyFound)
    assert report.written_rows == 0
    assert "1 chunk is pending in the ledger though reported as committed" in str(report.error)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(100))


def test_chunks_whose_commit_a_crash_has_undone_are_committed_again_by_the_same_run(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = changed(events(300), {number: {"event_id": -1} for number in range(101, 200, 2)})
    write_source(tmp_path, "events", DAY, rows)
    original = Pool.commit
    undone: list[int] = []

    async def commit_or_lose(self: Pool, job: ChunkJob) -> ChunkOutcome:
        if job.chunk.chunk_no < 2 and job.chunk.chunk_no not in undone:
            undone.append(job.chunk.chunk_no)
            return Committed(counts=RowCounts(enqueued_rows=100, written_rows=50, dead_lettered_rows=50))
        return await original(self, job)

    monkeypatch.setattr(Pool, "commit", commit_or_lose)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert undone == [0, 1]
    assert (report.written_rows, report.dead_lettered_rows) == (250, 50)
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("spec", [EVENTS, SPOOLED_EVENTS], ids=["planned", "spooled"])
@pytest.mark.parametrize(
    ("undone_from", "error"),
    [
        ([1, 2, 3, 4, 5], None),  # so often did the server crash, and each time fewer chunks were lost with it
        ([4, 4, 4, 4], "2 chunks are pending in the ledger though reported as committed"),
    ],
)
def test_chunks_that_crashes_undo_are_written_again_as_long_as_there_are_fewer_each_time(
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spec: TableSpec,
    undone_from: list[int],
    error: str | None,
) -> None:
    rows = events(120)
    write_source(tmp_path, "events", DAY, rows)
    crashes = iter(undone_from)

    def crash() -> None:
        if (first := next(crashes, None)) is not None:
            _tamper(database, DAY, f"delete from {{staging}} where event_id >= {first * 20}")
            _tamper(
                database, DAY, f"update rowledger.chunk set state = 'pending' where {{load}} and chunk_no >= {first}"
            )

    async def reached(place: Place, *, partition: str) -> None:  # noqa: ARG001 - as it is called
        if place is Place.BEFORE_RECONCILE:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(crash).result()

    monkeypatch.setattr("rowledger.publish.finish.async_failpoint", reached)

    report = load_one(database, spec, tmp_path, DAY, chunk_rows_max=20)

    assert next(crashes, None) is None
    if error is None:
        assert report.error is None
        assert_accounted(database, spec, rows)
    else:
        assert isinstance(report.error, DiscrepancyFound)
        assert error in str(report.error)


def test_the_scan_may_run_in_parallel(database: str) -> None:
    """A query fetched as a single row would be run by one process, in twice the time."""
    if fetch_value(database, "select current_setting('server_version_num')::integer") < 180_000:
        pytest.skip("before PostgreSQL 18 nobody counts parallel workers")
    columns = Contract.of(EVENTS.row).columns

    async def measure() -> tuple[Measured, int]:
        connection = await asyncpg.connect(database)
        try:
            await connection.execute("create table measured as select 7 as event_id from generate_series(1, 500)")
            await connection.execute("set debug_parallel_query = on")
            id_column = [column for column in columns if column.name == "event_id"]
            measured = await measure_relation(connection, "measured", id_column, fingerprint=True)
            await connection.execute("reset debug_parallel_query")
            await connection.execute("select pg_stat_force_next_flush()")
            launched = await connection.fetchval(
                "select parallel_workers_launched from pg_stat_database where datname = current_database()"
            )
        finally:
            await connection.close()
        return measured, launched

    measured, launched = asyncio.run(measure())

    assert measured.rows == 500
    assert launched >= 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("alter table {t} set unlogged", "its persistence"),
        ("alter table {t} set (autovacuum_enabled = off)", "storage parameters"),
        ("alter table {t} enable row level security", "row security"),
        ("alter table {t} drop constraint rowledger_bounds", "its bounds"),
        ("alter table {t} drop column note", "column note"),
        ("alter table {t} alter name drop not null", "column name"),
        ("alter table {t} alter note set default 'none'", "column note"),
        ("alter table {t} alter code type text", "column code"),
        ("create table public.heir () inherits ({t})", "inheritance"),
        ("create rule kept as on delete to {t} do instead nothing", "a rule"),
    ],
)
def test_a_staging_table_that_was_altered_by_hand_is_not_published(
    database: str, tmp_path: Path, before_reconcile: Hook, change: str, named: str
) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    staging = "rowledger.staging_1"
    before_reconcile({DAY: lambda: fetch(database, change.format(t=staging))})
    error = load_one(database, EVENTS, tmp_path, DAY).error
    assert isinstance(error, DiscrepancyFound)
    assert f"the staging table is not what this load has made ({named})" in str(error)
    assert fetch_value(database, "select count(*) from events") == 0
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert fetch_value(database, "select count(*) from pg_class where relpersistence = 'u' and relkind = 'r'") == 0
    assert_accounted(database, EVENTS, events(50))
