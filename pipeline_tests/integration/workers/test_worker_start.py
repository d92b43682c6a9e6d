"""How a worker comes up and ends: with little, and leaving nothing undone."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.tables import DAY, EVENTS, READINGS, Reading, events, write_source
from pipeline_tests.support.waiting import wait_until, worker_pids
from rowledger.settings import WriterSettings, child_environment
from rowledger.sources.chunking import FilePart
from rowledger.sources.parquet import ParquetFiles
from rowledger.sources.source_file import SourceFile
from rowledger.spec.importing import import_path
from rowledger.workers import child_process
from rowledger.workers.messages import Hello, Stop, encode

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


def test_workers_come_up_while_the_run_still_plans(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(20)
    write_source(tmp_path, "events", DAY, rows)
    planned = ParquetFiles._parts

    def planned_late(source: ParquetFiles, file: SourceFile) -> tuple[list[FilePart], dict[str, str]]:
        wait_until(worker_pids, "a worker runs before its first chunk is known")
        return planned(source, file)

    monkeypatch.setattr(ParquetFiles, "_parts", planned_late)

    report = load_one(database, EVENTS, tmp_path, DAY)

    assert report.error is None
    assert_accounted(database, EVENTS, rows)


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
    assert ("PYDANTIC_DISABLE_PLUGINS" in child_process._spared_search()) is is_spared
