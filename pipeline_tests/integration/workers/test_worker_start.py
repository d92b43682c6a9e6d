"""How a worker comes up and ends: with little, and leaving nothing undone."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.tables import DAY, EVENTS, READINGS, Reading, events, write_source
from pipeline_tests.support.waiting import wait_until, worker_pids
from rowledger.chunk.jobs import PlanJob
from rowledger.errors import DatabaseUnavailable, SourceError
from rowledger.ledger.loads import Holder
from rowledger.ledger.outcomes import Planned
from rowledger.load import run_partitions
from rowledger.load.preflight import Preflight
from rowledger.load.request import RunRequest
from rowledger.settings import WriterSettings, child_environment
from rowledger.spec.importing import import_path
from rowledger.workers import child_process, spawn
from rowledger.workers.messages import Hello, Stop, encode
from rowledger.workers.pool import Pool

_ROWS = """
import atexit, gc
from pydantic import BaseModel

class Row(BaseModel):
    a: int

atexit.register(lambda: print("collects garbage" if gc.isenabled() else "lets garbage lie", end=""))
"""
_NOT_FOR_A_CLEAN_CHUNK = {
    "dagster",
    "filelock",
    "rowledger.contract.cells",
    "rowledger.contract.decimals_for_transforms",
    "rowledger.contract.inferred",
    "rowledger.contract.json_fields",
    "rowledger.contract.read_addresses",
    "rowledger.contract.read_nested",
    "rowledger.contract.read_payloads",
    "rowledger.contract.refusal_reasons",
    "rowledger.contract.row_by_row",
    "rowledger.contract.settle_suspects",
    "rowledger.contract.signature",
    "rowledger.contract.silent_conversions",
    "rowledger.contract.write_payloads",
    "rowledger.installation",
    "rowledger.ledger.dead_letter_outcomes",
    "rowledger.ledger.reports",
    "rowledger.postgres.catalogue",
    "rowledger.ledger.dead_letters",
    "rowledger.embedded.server",
    "rowledger.ledger.loads",
    "rowledger.chunk.replay_preparation",
    "rowledger.chunk.replay_writing",
    "rowledger.chunk.row_transform",
    "rowledger.chunk.transform",
    "rowledger.chunk.replay_transaction",
    "rowledger.sources.arrow_frames",
    "rowledger.sources.canonical_arrays",
    "rowledger.sources.csv_reader",
    "rowledger.sources.databases",
    "rowledger.sources.dataframes",
    "rowledger.sources.parquet_by_column",
    "rowledger.sources.parquet_footer",
    "rowledger.sources.python_reader",
    "rowledger.sources.remote_files",
    "rowledger.sources.rows_digest",
    "rowledger.sources.chunk_file",
    "rowledger.sources.spool_writer",
    "rowledger.sources.sql_reader",
    "pyarrow.csv",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pydantic_settings",
    "sqlalchemy",
}


@pytest.fixture
def early_pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled by a run with the workers that there were before it asked the server anything."""
    check = run_partitions.check_before_loading
    pids: list[int] = []

    async def check_beside_workers(request: RunRequest, holder: Holder) -> Preflight:
        pids.extend(wait_until(worker_pids, "a worker runs before the run has asked anything"))
        return await check(request, holder)

    monkeypatch.setattr(run_partitions, "check_before_loading", check_beside_workers)
    return pids


def test_a_worker_comes_up_before_the_run_has_asked_the_server_anything(
    database: str, tmp_path: Path, early_pids: list[int]
) -> None:
    rows = events(20)
    write_source(tmp_path, "events", DAY, rows)

    report = load_one(database, EVENTS, tmp_path, DAY, workers=4)

    assert report.error is None
    written_by = fetch(database, "select worker_pid from rowledger.chunk")
    assert [row["worker_pid"] for row in written_by] == early_pids
    assert_accounted(database, EVENTS, rows)
    assert not worker_pids()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules of the processes that a run starts."""
    modules: list[str] = []

    def counted_spawn(module: str) -> spawn.Spawned:
        modules.append(module)
        return start(module)

    start = spawn.spawn
    monkeypatch.setattr(spawn, "spawn", counted_spawn)
    monkeypatch.setattr(child_process, "spawn", counted_spawn)
    return modules


def test_a_partition_of_one_chunk_starts_one_worker(database: str, tmp_path: Path, started: list[str]) -> None:
    write_source(tmp_path, "events", DAY, events(20))
    assert load_one(database, EVENTS, tmp_path, DAY, workers=4).error is None
    assert started == [spawn.WORKER]


def test_a_partition_of_large_files_has_all_workers_up_when_it_is_planned(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[str]
) -> None:
    monkeypatch.setattr(run_partitions, "_BYTES_A_CHUNK", 100)
    rows = events(20)
    write_source(tmp_path, "events", DAY, rows)
    plan = Pool.plan
    before_plan: list[str] = []

    async def plan_after_a_look(self: Pool, job: PlanJob) -> Planned:
        before_plan.extend(started)
        return await plan(self, job)

    monkeypatch.setattr(Pool, "plan", plan_after_a_look)
    assert load_one(database, EVENTS, tmp_path, DAY, workers=3).error is None
    assert before_plan == [spawn.WORKER] * 3
    assert_accounted(database, EVENTS, rows)


def test_a_source_whose_files_cannot_be_looked_at_fails_as_it_is_planned(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(type(EVENTS.source), "local_bytes", refuse)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert isinstance(report.error, SourceError)
    assert "write it first" in str(report.error)


def test_no_worker_is_left_of_a_run_that_may_not_begin(tmp_path: Path, early_pids: list[int]) -> None:
    with pytest.raises(DatabaseUnavailable):
        load_one("postgresql://127.0.0.1:1/nowhere", EVENTS, tmp_path, DAY)
    assert len(early_pids) == 1
    assert not worker_pids()


def test_no_worker_is_left_of_a_run_that_is_interrupted_before_it_begins(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(_request: RunRequest, _holder: Holder) -> Preflight:
        wait_until(worker_pids, "a worker runs")
        raise KeyboardInterrupt

    monkeypatch.setattr(run_partitions, "check_before_loading", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_one(database, EVENTS, tmp_path, DAY)
    assert not worker_pids()


def test_a_worker_that_is_not_needed_ends_without_a_word() -> None:
    with spawn.EarlyProcesses([spawn.WORKER]) as early:
        spawned = early.take(spawn.WORKER)
        assert spawned is not None
        assert early.take(spawn.WORKER) is None
    spawned.channel.shutdown(socket.SHUT_RDWR)
    printed, _ = spawned.process.communicate(timeout=60)
    assert (spawned.process.returncode, printed) == (0, b"")
    spawned.channel.close()


@pytest.mark.parametrize("source", ["parquet", "arrow_ipc", "csv", "ndjson", "python", "sql"])
def test_a_worker_imports_nothing_that_a_clean_chunk_does_not_need(source: str) -> None:
    code = f"import sys, rowledger.workers.process, rowledger.sources.{source}; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True, check=True
    )
    excused = {"rowledger.sources.arrow_frames"} if source == "arrow_ipc" else set()
    assert set(found.stdout.split()) & _NOT_FOR_A_CLEAN_CHUNK == excused


def test_a_worker_collects_garbage_again_once_it_is_up_and_ends_as_a_process_does(tmp_path: Path) -> None:
    (tmp_path / "rows_of_this_test.py").write_text(_ROWS)
    hello = Hello(
        url="postgresql://127.0.0.1:1/nowhere",
        spec=READINGS.as_json().replace(f"{Reading.__module__}:Reading", "rows_of_this_test:Row"),
        path=(str(tmp_path), *import_path()),
        settings=WriterSettings(connect_timeout_s=5),
        holder="0" * 32,
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(encode(hello) + encode(Stop()))
        ended = subprocess.run(
            [sys.executable, "-m", "rowledger.workers.process", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "collects garbage", "")


@pytest.mark.parametrize(("found", "is_spared"), [({}, True), ({"a plugin": object()}, False), (None, False)])
def test_only_where_pydantic_has_no_plugins_are_workers_told_not_to_look_for_any(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, object] | None, *, is_spared: bool
) -> None:
    monkeypatch.setattr("pydantic.plugin._loader._plugins", found)
    assert ("PYDANTIC_DISABLE_PLUGINS" in spawn._spared_search()) is is_spared
