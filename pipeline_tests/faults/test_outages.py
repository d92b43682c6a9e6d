"""While the database is away everybody pauses; when it comes back all go on, and when it stays away the run fails loudly."""

import asyncio
import logging
import threading
from pathlib import Path

import asyncpg
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.own_server import crash
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.embedded.server import EmbeddedServer
from rowledger.errors import DatabaseOutage, DatabaseUnavailable
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.reports import PartitionReport
from rowledger.postgres.outage import OutageGate
from rowledger.settings import WriterSettings

_COMMITTED = "select count(*) from rowledger.chunk where state = 'committed'"


class _Striker(Recorder):
    """Stops the server at the first progress that shows rows, and starts it again when it is told that all pause."""

    def __init__(self, server: EmbeddedServer, *, comes_back: bool) -> None:
        super().__init__()
        self._server = server
        self._comes_back = comes_back
        self._struck = threading.Event()
        self._threads: list[threading.Thread] = []

    def log(self, level: int, message: str) -> None:
        super().log(level, message)
        if "all workers pause" in message and self._comes_back:
            self._do(self._return)

    def strike(self, url: str) -> None:
        """Stop the server once some chunks have committed."""

        def stop() -> None:
            wait_until(lambda: _committed(url) >= 3, "chunks commit", timeout_s=60)
            crash(self._server)
            self._struck.set()

        self._do(stop)

    def _return(self) -> None:
        assert self._struck.wait(60)
        self._server.ensure_running()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
        assert self._struck.is_set()

    def _do(self, action: object) -> None:
        thread = threading.Thread(target=action)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()


def _committed(url: str) -> int:
    try:
        return int(fetch_value(url, _COMMITTED) or 0)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # the ledger, or the server, is not there
        return 0


def test_all_workers_pause_while_the_server_is_away_and_go_on_when_it_is_back(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    url = own_server.url()
    rows = events(3000)
    write_source(tmp_path, "events", DAY, rows)
    observer = _Striker(own_server, comes_back=True)
    observer.strike(url)
    try:
        # The retry budget is far too short for the outage, and is not charged with it.
        report = load_one(url, EVENTS, tmp_path, DAY, observer=observer, chunk_rows_max=20, workers=2, retry_budget_s=3)
    finally:
        observer.join()
    assert report.error is None
    assert [incident.kind for incident in report.incidents] == [IncidentKind.DATABASE_OUTAGE]
    assert report.deaths == ()
    assert fetch_value(url, "select count(*) from rowledger.incident where kind = 'database_outage'") == 1
    assert_accounted(url, EVENTS, rows)


def test_an_outage_over_its_budget_fails_the_run_and_the_next_one_resumes(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    url = own_server.url()
    rows = events(3000)
    write_source(tmp_path, "events", DAY, rows)
    observer = _Striker(own_server, comes_back=False)
    observer.strike(url)
    try:
        report = load_one(
            url, EVENTS, tmp_path, DAY, observer=observer, chunk_rows_max=20, workers=2, outage_budget_s=1.5
        )
    finally:
        observer.join()
    assert isinstance(report.error, DatabaseOutage)
    assert "outage_budget_s is 1.5 s" in str(report.error)
    assert [incident.kind for incident in report.incidents] == [IncidentKind.DATABASE_OUTAGE]
    own_server.ensure_running()
    rerun = load_one(url, EVENTS, tmp_path, DAY, chunk_rows_max=20)
    assert rerun.error is None
    assert rerun.resumed
    assert_accounted(url, EVENTS, rows)


def test_what_was_published_survives_a_crash_of_the_server_right_behind_it(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    url = own_server.url()
    # What commits without waiting for the disk gets there by this one, if nothing else takes it along.
    _execute(url, "alter system set wal_writer_delay = '10s'")
    own_server.stop()
    own_server.ensure_running()
    rows = events(50)
    write_source(tmp_path, "events", DAY, rows)

    class Crash(Recorder):
        def finished(self, report: PartitionReport) -> None:
            super().finished(report)
            crash(own_server)

    assert load_one(url, EVENTS, tmp_path, DAY, observer=Crash(), outage_budget_s=0.5).published
    own_server.ensure_running()
    assert fetch_value(url, "select state from rowledger.load") == "published"
    fetch(url, "delete from rowledger.lease")  # it could not be given back to a server that was not there
    assert_accounted(url, EVENTS, rows)


_FALL = """
create function public.fall() returns trigger language plpgsql as $$
begin
    if new.event_id = 57 then perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); end if;
    return new;
end $$;
create function public.watch() returns event_trigger language plpgsql as $$
declare found record;
begin
    for found in select * from pg_event_trigger_ddl_commands() where object_identity like 'rowledger.staging%' loop
        execute format(
            'create trigger fall before insert on %s for each row execute function public.fall()', found.object_identity
        );
    end loop;
end $$;
create event trigger watch on ddl_command_end when tag in ('CREATE TABLE') execute function public.watch();
"""


def _execute(url: str, statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=20)
        try:
            await connection.execute(statements)
        finally:
            await connection.close(timeout=10)

    asyncio.run(run())


def test_a_chunk_whose_backend_dies_at_every_attempt_is_given_up(database: str, tmp_path: Path) -> None:
    rows = events(100)
    write_source(tmp_path, "events", DAY, rows)
    _execute(database, _FALL)
    report = load_one(database, EVENTS, tmp_path, DAY, retry_budget_s=2)
    assert isinstance(report.error, DatabaseUnavailable)
    assert "chunk 0: the connection was lost" in str(report.error)
    assert report.deaths == ()
    assert fetch_value(database, "select count(*) from events") == 0
    _execute(database, "drop event trigger watch; drop function public.fall() cascade")
    assert load_one(database, EVENTS, tmp_path, DAY).resumed
    assert_accounted(database, EVENTS, rows)


def test_a_lost_connection_is_no_outage(database: str) -> None:
    told: list[str] = []

    async def story() -> OutageGate:
        gate = OutageGate(database, WriterSettings(), log=lambda _, text: told.append(text), ended=told.append)
        await asyncio.gather(gate.recover(), gate.recover(), gate.recover())
        await gate.passed()
        await gate.close()
        return gate

    gate = asyncio.run(story())
    assert (told, gate.outages, gate.paused_s) == ([], 0, 0.0)


def test_a_server_that_refuses_us_is_not_waited_for(database: str) -> None:
    refused = database.replace("rowledger_test", "no_such_database")

    async def story() -> None:
        gate = OutageGate(refused, WriterSettings(), log=lambda *_: None, ended=lambda _: None)
        for attempt in (gate.recover, gate.recover, gate.passed):
            with pytest.raises(DatabaseUnavailable, match="no_such_database"):
                await attempt()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_the_gate_says_once_that_all_pause(unused_port: int) -> None:
    told: list[tuple[int, str]] = []
    ended: list[str] = []
    nowhere = f"postgresql://me:s3cret@127.0.0.1:{unused_port}/db"

    async def story() -> None:
        limits = WriterSettings(outage_budget_s=0.5, retry_initial_s=0.05, retry_max_s=0.1)
        gate = OutageGate(nowhere, limits, log=lambda *line: told.append(line), ended=ended.append)
        with pytest.raises(DatabaseOutage) as caught:
            await gate.recover()
        assert "s3cret" not in str(caught.value)

    asyncio.run(asyncio.wait_for(story(), 30))
    assert [level for level, _ in told] == [logging.WARNING]
    assert len(ended) == 1
