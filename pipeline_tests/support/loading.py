"""Run loads in a test, look into its database, and the one assertion that every load test ends with."""

import asyncio
import collections
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from pipeline_tests.support.tables import SOUR_TABLES, Row
from rowledger.ledger.reports import PartitionReport, Progress
from rowledger.load.run import run_load
from rowledger.settings import WriterSettings, settings
from rowledger.spec.table import TableSpec, WriteMode

FAST: dict[str, Any] = {
    "workers": 1,
    "chunk_rows_max": 100,
    "batch_rows": 32,
    "heartbeat_s": 0.1,
    "retry_initial_s": 0.02,
    "retry_max_s": 0.2,
    "retry_budget_s": 20,
    "busy_wait_s": 0,
    "lease_s": 10,
}
"""Settings for small loads: many chunks, and a short way to every limit."""


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.reports: list[PartitionReport] = []
        self.progresses: list[Progress] = []

    def log(self, level: int, message: str) -> None:
        self.lines.append(f"{level} {message}")

    def progress(self, progress: Progress) -> None:
        self.progresses.append(progress)

    def finished(self, report: PartitionReport) -> None:
        self.reports.append(report)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def load(
    database: str,
    spec: TableSpec,
    landing: Path,
    keys: Sequence[str],
    *,
    observer: Recorder | None = None,
    run_id: str | None = "run-of-test",
    **writer: object,
) -> list[PartitionReport]:
    """One run, in this process, with workers of its own."""
    return run_load(
        spec,
        [spec.partitions.partition(key) for key in keys],
        url=database,
        landing_dir=landing,
        writer=WriterSettings.model_validate({**FAST, **writer}),
        run_id=run_id,
        observer=observer or Recorder(),
    )


def load_one(database: str, spec: TableSpec, landing: Path, key: str, **options: Any) -> PartitionReport:
    """One run of one partition."""
    return load(database, spec, landing, [key], **options)[0]


def set_failpoints(monkeypatch: pytest.MonkeyPatch, rules: str) -> None:
    """Faults for this process and for the workers it starts; empty for none."""
    monkeypatch.setenv("ROWLEDGER_FAILPOINTS", rules)
    settings.cache_clear()


def fetch(database: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """The rows of one statement, on a connection of its own."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(database, timeout=20, server_settings={"application_name": "test"})
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close(timeout=10)

    return asyncio.run(run())


def make_sour_table(database: str, table: str) -> None:
    """The table as a load would make it, with a rule of its own: no text ends in SOUR."""
    for statement in SOUR_TABLES[table].split("; "):
        fetch(database, statement)


def fetch_value(database: str, statement: str, *arguments: object) -> Any:
    rows = fetch(database, statement, *arguments)
    return rows[0][0] if rows else None


def wait_until(condition: Callable[[], Any], what: str, *, timeout_s: float = 60.0) -> Any:
    """Poll until the condition gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)
    return found


def worker_pids(parent: int | None = None) -> list[int]:
    """The worker processes under a process, ours if none is given."""
    try:
        children = psutil.Process(parent).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child.pid for child in children if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    try:
        return "rowledger.workers.process" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def table_rows(database: str, spec: TableSpec) -> collections.Counter[tuple[str, ...]]:
    """What is in the target, as a multiset of whole rows."""
    columns = ", ".join(f'"{name}"' for name in spec.row.model_fields)
    rows = fetch(database, f'select {columns} from "{spec.target.schema_name}"."{spec.target.table}"')
    return collections.Counter(tuple(map(_canonical, row.values())) for row in rows)


def source_rows(rows: Sequence[Row]) -> collections.Counter[tuple[str, ...]]:
    """The same form of rows that a test wrote into a source."""
    return collections.Counter(tuple(map(_canonical, row.values())) for row in rows)


def dead_rows(database: str, spec: TableSpec) -> collections.Counter[tuple[str, ...]]:
    """The same form of the dead letters of all published loads that were not replayed since.

    Of an upserted table those of each partition's last load: the same source, upserted again, has the same rows refused again.
    """
    superseded = (
        "exists (select from rowledger.load as later where later.state = 'published' and later.target = load.target "
        "and later.partition_key = load.partition_key and later.load_id > load.load_id)"
    )
    letters = fetch(
        database,
        "select payload::text from rowledger.dead_letter join rowledger.load using (load_id) "
        "where load.state = 'published' and dead_letter.state <> 'replayed' and target = $1 "
        f"and not ($2 and {superseded})",
        str(spec.target),
        spec.write_mode is WriteMode.UPSERT,
    )
    return collections.Counter(
        tuple(_canonical(_typed(name, json.loads(row[0])[name])) for name in spec.row.model_fields) for row in letters
    )


def assert_accounted(database: str, spec: TableSpec, rows: Sequence[Row]) -> None:
    """Source = table + dead letters, row by row; the ledger agrees; nothing and nobody is left over.

    `rows` are the source rows of all partitions that have been published.
    """
    assert table_rows(database, spec) + dead_rows(database, spec) == source_rows(rows)
    loads = fetch(database, "select * from rowledger.load where target = $1 order by load_id", str(spec.target))
    published = [found for found in loads if found["state"] == "published"]
    assert sum(found["enqueued_rows"] for found in published) == len(rows)
    assert len({found["partition_key"] for found in published}) == len(published)
    for found in published:
        chunks = fetch(database, "select * from rowledger.chunk where load_id = $1 order by chunk_no", found["load_id"])
        assert [chunk["chunk_no"] for chunk in chunks] == list(range(found["chunks"]))
        assert {chunk["state"] for chunk in chunks} <= {"committed"}
        assert sum(chunk["written_rows"] + chunk["dead_lettered_rows"] for chunk in chunks) == found["enqueued_rows"]
    assert_nothing_left_over(database)


def assert_nothing_left_over(database: str, *, parent: int | None = None) -> None:
    """No worker, session, lease or staging table of a load that ended; what is on its way out gets a few seconds."""
    wait_until(lambda: not worker_pids(parent), "workers are gone", timeout_s=5)
    wait_until(lambda: not sessions(database), "sessions are gone", timeout_s=10)
    assert fetch(database, "select * from rowledger.lease") == []
    assert staging_tables(database, "published") == []
    assert edited_loads(database) == []


def edited_loads(database: str) -> list[int]:
    """Ended loads whose entries do not have the digests that Rowledger notes."""
    rows = fetch(
        database,
        "select load_id from rowledger.load as entry where state <> 'loading' and ("
        "entry_digest is distinct from rowledger.digest_of_entry(entry) or "
        "chunks_digest is distinct from rowledger.digest_of_chunks(load_id))",
    )
    return [row[0] for row in rows]


def sessions(database: str) -> list[str]:
    """Sessions of Rowledger in this test's database."""
    rows = fetch(
        database,
        "select application_name from pg_stat_activity where datname = $1 and application_name like 'rowledger%'",
        urlsplit(database).path.removeprefix("/"),
    )
    return [row[0] for row in rows]


def staging_tables(database: str, state: str) -> list[str]:
    """Staging tables of loads in that state."""
    rows = fetch(
        database,
        "select relname from pg_class join rowledger.load on relname = 'staging_' || load_id where state = $1",
        state,
    )
    return [row[0] for row in rows]


def _typed(name: str, value: object) -> object:
    """A dead letter's JSON value as the source's own; the tests' columns are known by their names."""
    if name == "at" and isinstance(value, str):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if name == "day" and isinstance(value, str) else value


def _canonical(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return f"{type(value).__name__} {value!r}"
