"""A worker goes by the host that its run knows it on: in its session's name, in the ledger, in incidents."""

import asyncio
import uuid
from pathlib import Path

import pytest

from pipeline_tests.support.database import fetch, sessions
from pipeline_tests.support.loading import Recorder, load_one, set_failpoints
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, changed, events, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.errors import PoolBroken, WorkerTerminated
from rowledger.ledger.loads import Holder
from rowledger.ledger.sessions import SupervisorSessions
from rowledger.machine import Host
from rowledger.postgres.outage import OutageGate
from rowledger.settings import WriterSettings
from rowledger.workers.handle import WorkerHandle
from rowledger.workers.messages import Hello


def test_a_worker_on_another_host_has_its_number_in_its_session_s_name(database: str) -> None:
    async def story() -> None:
        host, settings = Host("node-12", 12), WriterSettings()
        hello = Hello.of(EVENTS, url=database, settings=settings, holder="0" * 32, host=host)
        worker = await WorkerHandle.start(hello, settings, lambda _level, _text: None)
        try:
            named = f"rowledger worker 12.{worker.pid} of {'0' * 32}"
            await asyncio.to_thread(wait_until, lambda: named in sessions(database), "its session is open")
        finally:
            await worker.discard()

    asyncio.run(story())


def test_a_supervisor_on_another_host_has_its_number_in_its_session_s_name(database: str) -> None:
    async def story() -> list[str]:
        settings, holder = WriterSettings(), Holder(uuid.UUID(int=0), 7, Host("node-12", 12))
        gate = OutageGate(database, settings, log=lambda _level, _text: None, ended=lambda _told: None)
        supervisor = SupervisorSessions(
            database, settings, size=1, holder=holder, gate=gate, log=lambda _level, _text: None
        )
        try:
            await supervisor.open_one()
            return await asyncio.to_thread(sessions, database)
        finally:
            await supervisor.close()
            await gate.close()

    assert asyncio.run(story()) == [f"rowledger control 12 of {'0' * 32}"]


def test_the_log_and_errors_name_the_host_of_a_worker_that_is_not_on_the_run_s_own(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Host, "this", lambda: Host("node-12", 12))
    set_failpoints(monkeypatch, "before_commit=exit1@chunk=0")
    write_source(tmp_path, "events", DAY, events(100))
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer, chunk_attempts_max=1, crash_rows_max=0)
    (death,) = report.deaths
    assert f"worker {death.pid} on node-12 died (" in observer.text
    assert isinstance(report.error, WorkerTerminated)
    assert f"the last one (pid {death.pid} on node-12) ended with exit code 1" in str(report.error)
    assert (report.error.pid, report.error.host, death.host) == (death.pid, "node-12", "node-12")

    write_source(tmp_path, "events", NEXT_DAY, events(100, NEXT_DAY))
    broken = load_one(database, EVENTS, tmp_path, NEXT_DAY, respawns_max=0)
    assert isinstance(broken.error, PoolBroken)
    assert f"the last one (pid {broken.deaths[-1].pid} on node-12) ended with exit code 1" in str(broken.error)
    assert {incident.host for incident in broken.incidents} == {"node-12"}


def test_the_run_s_own_host_is_not_told_with_each_pid(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_failpoints(monkeypatch, "before_commit=exit1@chunk=0")
    write_source(tmp_path, "events", DAY, events(100))
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer, chunk_attempts_max=1, crash_rows_max=0)
    assert f"worker {report.deaths[0].pid} died (" in observer.text
    assert f"(pid {report.deaths[0].pid}) ended with exit code 1" in str(report.error)


def test_chunks_dead_letters_and_incidents_have_the_host_beside_the_pid(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWLEDGER_HOST_NAME", "node-of-this-test")
    set_failpoints(monkeypatch, "before_commit=exit1@attempt=1")
    write_source(tmp_path, "events", DAY, changed(events(100), {3: {"event_id": -1}}))
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert [death.host for death in report.deaths] == ["node-of-this-test"]
    for statement in (
        "select distinct worker_host from rowledger.chunk",
        "select distinct worker_host from rowledger.dead_letter",
        "select distinct host from rowledger.incident",
    ):
        assert [row[0] for row in fetch(database, statement)] == ["node-of-this-test"], statement
