"""A server short of disk, connections or patience: the load waits as long as it may, or fails with the cause and resumes."""

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import dagster as dg
import psycopg2
import pytest
from pydantic import BaseModel

from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value, sessions
from pipeline_tests.support.loading import FAST, Recorder, load_one
from pipeline_tests.support.server_traps import execute, fail_at, go_on, session, wait_at, wait_until_held
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from pipeline_tests.support.waiting import wait_until, worker_pids
from rowledger import CsvFiles, TableSpec
from rowledger.dagster import GuardedWriter, RowledgerDatabase, build_table_defs
from rowledger.errors import DatabaseUnavailable
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.reports import PartitionReport
from rowledger.load import preflight
from rowledger.postgres.retry import retrying
from rowledger.postgres.session import connect
from rowledger.settings import WriterSettings


class Payment(BaseModel):
    id: int
    amount: int


Loading = concurrent.futures.Future[PartitionReport]


def patience(seconds: float) -> dict[str, Any]:
    """Settings that bound every kind of waiting for the server."""
    names = {"retry_budget_s", "outage_budget_s"} & WriterSettings.model_fields.keys()
    return dict.fromkeys(names, seconds)


@pytest.fixture
def begin() -> Iterator[Callable[..., Loading]]:
    """Start a load in a thread, so that the test can act meanwhile."""
    with concurrent.futures.ThreadPoolExecutor() as threads:
        yield lambda *arguments, **options: threads.submit(load_one, *arguments, **options)


# ---- disk -------------------------------------------------------------------------------------------------------------


class CrampedDisk:
    """A database whose new tables stand on a file system of a few MB, and the ballast that fills it."""

    def __init__(self, database: str, ballast: Path) -> None:
        self.database = database
        self._ballast = ballast

    def fill_but(self, free_bytes: int) -> None:
        room = os.statvfs(self._ballast.parent)
        self._ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - free_bytes))

    def make_room(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def small_tablespace(server: str, open_folder: Path) -> Iterator[tuple[str, Path]]:
    """A tablespace on a tmpfs of 24 MB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a tmpfs")
    data_dir = Path(fetch_value(server, "show data_directory"))
    if not data_dir.exists():
        pytest.skip("the server under test runs on another machine: its disk cannot be filled from here")
    owner = data_dir.stat()
    disk, space = open_folder / "disk", open_folder / "disk" / "tablespace"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", disk], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    name = f"small_{os.getpid()}"
    try:
        space.mkdir(0o700)
        os.chown(space, owner.st_uid, owner.st_gid)
        fetch(server, f"create tablespace {name} location '{space}'")
        try:
            yield name, disk / "ballast"
        finally:
            fetch(server, f"drop tablespace {name}")
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.fixture
def cramped(small_tablespace: tuple[str, Path], database: str) -> CrampedDisk:
    """In this order: the database is dropped before its tablespace is."""
    name, ballast = small_tablespace
    fetch(database, f'alter database "{urlsplit(database).path[1:]}" set default_tablespace = {name}')
    return CrampedDisk(database, ballast)


def test_a_full_disk_of_the_server_fails_the_load_in_words_and_a_rerun_with_room_resumes(
    cramped: CrampedDisk, tmp_path: Path
) -> None:
    database = cramped.database
    old, rows = events(50), events(3000)
    write_source(tmp_path, "events", DAY, old)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None

    write_source(tmp_path, "events", DAY, rows)
    cramped.fill_but(160 * 1024)  # some chunks fit
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_rows_max=200, observer=observer)
    assert report.error is not None
    assert "SQLSTATE 53100" in str(report.error)
    assert "make room on the server's disk" in str(report.error)
    assert "rerun resumes" in str(report.error)
    assert report.deaths == (), "the server is at fault, no worker"
    committed = fetch_value(database, "select count(*) from rowledger.chunk join rowledger.load using (load_id) "
                            "where load.state = 'loading' and chunk.state = 'committed'")  # fmt: skip
    assert 0 < committed < report.chunks
    assert_accounted(database, EVENTS, old)

    cramped.make_room()
    rerun = load_one(database, EVENTS, tmp_path, DAY, chunk_rows_max=200)
    assert rerun.error is None
    assert rerun.resumed
    assert_accounted(database, EVENTS, rows)


# ---- connections ------------------------------------------------------------------------------------------------------


@pytest.fixture
def limited_role(server: str) -> Iterator[str]:
    """A role without rights of its own, which may have three connections."""
    name = f"rowledger_limited_{os.getpid()}"
    fetch(server, f"create role {name} login password 'limited' connection limit 3")
    yield name
    fetch(server, f"drop role {name}")


@pytest.fixture
def limited(limited_role: str, empty_database: str) -> str:
    """A database that belongs to that role, by the role's own URL."""
    parts = urlsplit(empty_database)
    fetch(empty_database, f'alter database "{parts.path[1:]}" owner to {limited_role}')
    fetch(empty_database, f"alter schema public owner to {limited_role}")
    return urlunsplit(parts._replace(netloc=f"{limited_role}:limited@{parts.netloc.rpartition('@')[2]}"))


@contextlib.contextmanager
def _all_but_one_connection(url: str) -> Iterator[Callable[[], None]]:
    """Hold two of the three connections; gives a function that frees them."""
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(contextlib.closing(psycopg2.connect(url, application_name="test")))
        yield stack.close


def test_a_load_without_connections_waits_for_them_and_goes_on(
    limited: str, empty_database: str, tmp_path: Path, begin: Callable[..., Loading]
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    observer = Recorder()
    with _all_but_one_connection(limited) as free_them:
        loading = begin(limited, EVENTS, tmp_path, DAY, observer=observer, **patience(60))
        wait_until(lambda: "1 connection left" in observer.text, "the load meets the limit", timeout_s=60)
        assert not loading.done()
        free_them()
        report = loading.result()
    assert report.error is None
    assert_accounted(empty_database, EVENTS, rows)


@pytest.mark.slow
def test_an_asset_without_connections_waits_for_them_too(
    limited: str, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.csv"
    file.write_text("id,amount\n1,2\n", encoding="utf-8")
    spec = TableSpec(name="payments", row=Payment, source=CsvFiles(path=str(file)))
    writer = GuardedWriter(**{**FAST, **patience(60)})
    defs = build_table_defs(spec, database=RowledgerDatabase(url=limited), writer=writer)
    waits: list[str] = []
    with _all_but_one_connection(limited) as free_them, contextlib.closing(psycopg2.connect(limited)) as last:

        def freeing(limits: WriterSettings, *, on_retry: Callable[[BaseException], None], **others: Any) -> Any:
            def wait(error: BaseException) -> None:
                waits.append(str(error))
                last.close()
                free_them()
                on_retry(error)

            return retrying(limits, on_retry=wait, **others)

        monkeypatch.setattr(preflight, "retrying", freeing)
        with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:
            job = defs.resolve_implicit_global_asset_job_def()
            assert job.execute_in_process(instance=instance, raise_on_error=False).success
    assert waits
    assert fetch(empty_database, "select * from payments") == [(1, 2)]


def test_a_load_that_gets_no_connection_fails_within_its_budget_and_a_rerun_converges(
    limited: str, empty_database: str, tmp_path: Path
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    with _all_but_one_connection(limited), pytest.raises(DatabaseUnavailable, match="1 connection left"):
        load_one(limited, EVENTS, tmp_path, DAY, **patience(1))
    assert fetch_value(empty_database, "select count(*) from events") == 0
    assert load_one(limited, EVENTS, tmp_path, DAY).error is None
    assert_accounted(empty_database, EVENTS, rows)


def test_a_cancel_while_a_session_opens_leaves_none_behind(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled_half_way() -> None:
        half_way = asyncio.Event()

        async def never(*_arguments: object) -> None:
            half_way.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncpg.Connection, "fetchrow", never)
        opening = asyncio.create_task(connect(database, application_name="rowledger test", timeout_s=60))
        async with asyncio.timeout(60):
            await half_way.wait()
        assert await asyncio.to_thread(sessions, database) == ["rowledger test"]
        opening.cancel()
        await asyncio.wait({opening})
        await asyncio.to_thread(wait_until, lambda: not sessions(database), "the session is gone")

    asyncio.run(cancelled_half_way())


# ---- locks and timeouts -------------------------------------------------------------------------------------------------


def test_a_statement_over_its_timeout_is_tried_again(
    database: str, tmp_path: Path, begin: Callable[..., Loading]
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    wait_at(database, "chunk", "new.chunk_no = 1")
    observer = Recorder()
    loading = begin(database, EVENTS, tmp_path, DAY, observer=observer, statement_timeout_s=3)
    wait_until(lambda: "57014" in observer.text, "a statement times out", timeout_s=60)
    go_on(database)
    report = loading.result()
    assert report.error is None
    assert report.retries >= 1
    assert report.deaths == ()
    assert_accounted(database, EVENTS, rows)


@pytest.mark.slow
def test_a_statement_that_always_times_out_fails_the_load_within_its_budget(database: str, tmp_path: Path) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    wait_at(database, "chunk", "new.chunk_no = 1")
    report = load_one(database, EVENTS, tmp_path, DAY, statement_timeout_s=3, **patience(1))
    assert isinstance(report.error, DatabaseUnavailable)
    assert "57014" in str(report.error)
    assert "chunk 1" in str(report.error)
    go_on(database)
    rerun = load_one(database, EVENTS, tmp_path, DAY)
    assert rerun.error is None
    assert rerun.resumed
    assert_accounted(database, EVENTS, rows)


LOCKS = {
    "the staging table": "lock table rowledger.staging_1 in share mode",
    "the chunk's ledger entry": "select from rowledger.chunk where chunk_no = 1 for update",
    "the load's ledger entry": "update rowledger.load set run_id = run_id",
}


@pytest.mark.parametrize(
    "held",
    [
        "the staging table",
        pytest.param("the chunk's ledger entry", marks=pytest.mark.slow),
        pytest.param("the load's ledger entry", marks=pytest.mark.slow),
    ],
)
def test_a_lock_in_somebody_else_s_hands_is_waited_for(
    database: str, tmp_path: Path, begin: Callable[..., Loading], held: str
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    # Whoever comes to the lock must find it taken: the first chunk is held at its claim until it is.
    wait_at(database, "chunk", "new.chunk_no = 0")
    observer = Recorder()
    with session(database) as other:
        loading = begin(database, EVENTS, tmp_path, DAY, observer=observer, lock_timeout_s=2)
        wait_until_held(database)
        if (
            held == "the load's ledger entry"
        ):  # which the chunk at the gate has locked: our turn comes when it is through
            taking = threading.Thread(target=execute, args=(other, LOCKS[held]))
            taking.start()
            waiting = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'test'"
                " and datname = current_database()"
            )
            wait_until(lambda: fetch_value(database, waiting), "the other session queues up")
            go_on(database)
            taking.join()
        else:
            execute(other, LOCKS[held])
            go_on(database)
        wait_until(lambda: "55P03" in observer.text or loading.done(), "the load gives its first try up", timeout_s=60)
        other.rollback()
        report = loading.result()
    assert report.error is None
    assert "55P03" in observer.text
    assert report.deaths == ()
    assert_accounted(database, EVENTS, rows)


def test_the_victim_of_a_deadlock_tries_again(database: str, tmp_path: Path, begin: Callable[..., Loading]) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    # Of two in a deadlock the first to look for it is the victim: the worker, since the other session never looks.
    fetch(database, f"alter database \"{urlsplit(database).path[1:]}\" set deadlock_timeout = '50ms'")
    wait_at(database, "chunk", "new.chunk_no = 1")
    observer = Recorder()
    with session(database) as other:
        loading = begin(database, EVENTS, tmp_path, DAY, observer=observer)
        wait_until_held(database)  # the worker holds its chunk's entry, and will want the staging table
        execute(other, "set deadlock_timeout = '1h'")
        execute(other, "lock table rowledger.staging_1 in share mode")
        crossing = threading.Thread(
            target=execute, args=(other, "update rowledger.chunk set attempt = attempt where chunk_no = 1")
        )
        crossing.start()
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'test'"
            " and datname = current_database()"
        )
        wait_until(lambda: fetch_value(database, waiting), "the other session wants the chunk's entry")
        go_on(database)
        crossing.join()  # it gets what it wanted when the worker has given up
        other.rollback()
        report = loading.result()
    assert report.error is None
    assert report.retries >= 1
    assert "40P01" in observer.text
    assert_accounted(database, EVENTS, rows)


# ---- conflicts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "when"),
    [
        ("chunk", "new.chunk_no = 1"),
        ("load", "new.state = 'published'"),
        pytest.param("chunk", "new.fingerprint is not null", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "sqlstate",
    [
        "40001",
        *(pytest.param(code, marks=pytest.mark.slow) for code in ("40P01", "55P03", "57014")),
    ],
)
def test_a_conflict_that_passes_costs_retries_and_no_row(
    database: str, tmp_path: Path, table: str, when: str, sqlstate: str
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    fail_at(database, table, when, sqlstate=sqlstate, times=3)
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer)
    assert report.error is None
    assert report.deaths == ()
    assert sqlstate in observer.text
    assert fetch_value(database, "select last_value from public.failures") >= 4
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize(
    ("table", "when"),
    [
        pytest.param("chunk", "new.chunk_no = 1", marks=pytest.mark.slow),
        ("load", "new.state = 'published'"),
    ],
)
def test_a_conflict_that_does_not_pass_fails_the_load_within_its_budget(
    database: str, tmp_path: Path, table: str, when: str
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    fail_at(database, table, when, sqlstate="40001", times=1_000_000)
    report = load_one(database, EVENTS, tmp_path, DAY, **patience(0.5))
    assert isinstance(report.error, DatabaseUnavailable)
    assert "40001" in str(report.error)
    assert fetch_value(database, "select count(*) from events") == 0
    fetch(database, f"drop trigger fail on rowledger.{table}")
    rerun = load_one(database, EVENTS, tmp_path, DAY)
    assert rerun.error is None
    assert rerun.resumed
    assert_accounted(database, EVENTS, rows)


def test_a_commit_that_the_server_refuses_is_nothing_to_report(database: str, tmp_path: Path) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    fetch(database, "create sequence public.failures")
    fetch(
        database,
        "create function public.fail() returns trigger language plpgsql as $$ begin "
        "if nextval('public.failures') <= 2 then raise exception 'made to fail' using errcode = '40001'; end if; "
        "return null; end $$",
    )
    fetch(
        database,
        "create constraint trigger fail after update on rowledger.chunk deferrable initially deferred "
        "for each row when (new.chunk_no = 1 and new.fingerprint is not null) execute function public.fail()",
    )
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert (report.retries, report.incidents, report.error) == (2, (), None)
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("level", ["serializable", pytest.param("repeatable read", marks=pytest.mark.slow)])
def test_a_database_with_another_isolation_level_is_loaded_as_well(database: str, tmp_path: Path, level: str) -> None:
    """Under these a claim that waited for another transaction fails with 40001 instead of seeing how that ended."""
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    fetch(database, f"alter database \"{urlsplit(database).path[1:]}\" set default_transaction_isolation = '{level}'")
    for _ in range(2):
        report = load_one(database, EVENTS, tmp_path, DAY, workers=2, chunk_rows_max=50)
        assert report.error is None
        assert_accounted(database, EVENTS, rows)


# ---- a run that does not move -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stubborn", [False, True], ids=["its statement can be cancelled", "it cannot"])
def test_a_worker_that_beats_but_does_not_get_on_is_replaced(
    database: str, tmp_path: Path, begin: Callable[..., Loading], *, stubborn: bool
) -> None:
    """Its statement hangs in the server: the process is well, and only its progress stands still."""
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    wait_at(database, "chunk", "new.chunk_no = 1", stubborn=stubborn)
    observer = Recorder()
    limits = {"stall_timeout_s": 1.5, "chunk_attempts_max": 100, "respawns_max": 1000}
    loading = begin(database, EVENTS, tmp_path, DAY, observer=observer, **limits)
    missed = "select count(*) from rowledger.incident where chunk_no = 1"
    try:
        wait_until(lambda: fetch_value(database, missed), "it is missed", timeout_s=30)
    finally:
        go_on(database)
    report = loading.result()
    assert report.error is None
    assert 1 in {incident.chunk_no for incident in report.incidents}
    assert {incident.kind for incident in report.incidents} == {IncidentKind.STALL}
    assert any(incident.exit_code == -signal.SIGKILL for incident in report.incidents) is stubborn
    assert_accounted(database, EVENTS, rows)


@pytest.mark.slow
def test_a_run_frozen_as_a_whole_loses_its_open_transaction_and_goes_on_when_it_wakes_up(
    database: str, tmp_path: Path
) -> None:
    """As a laptop's lid or a paused machine does it: the server ends what stands idle in a transaction."""
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    held = "before_commit=sleep@chunk=1,attempt=1"
    limits = {"stall_timeout_s": 5, "chunk_attempts_max": 20}
    with run_process.start(database, EVENTS, tmp_path, [DAY], failpoints=held, **limits) as process:
        idle = (
            "select count(*) from pg_stat_activity where state = 'idle in transaction' "
            "and application_name like 'rowledger worker%' and datname = current_database()"
        )
        try:
            wait_until(lambda: fetch_value(database, idle), "a chunk stands before its COMMIT", timeout_s=60)
            members = [process.pid, *worker_pids(process.pid)]
            for pid in members:
                os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: not fetch_value(database, idle), "the server has ended the transaction", timeout_s=60)
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            output, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, output
    assert_accounted(database, EVENTS, rows)
