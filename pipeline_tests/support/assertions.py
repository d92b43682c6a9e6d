"""What a test asserts when its loads have ended: `assert_accounted`, the one end of every load test, and what it looks at."""

import collections
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime

from pipeline_tests.support.database import fetch, sessions, staging_tables
from pipeline_tests.support.tables import Row
from pipeline_tests.support.waiting import producer_pids, wait_until, worker_pids
from rowledger.spec.table import TableSpec, WriteMode


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
    """No worker, producer, session, lease or staging table of a load that ended; what is on its way out gets a few seconds."""
    wait_until(lambda: not worker_pids(parent), "workers are gone", timeout_s=5)
    wait_until(lambda: not producer_pids(parent), "producers are gone", timeout_s=5)
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


def _typed(name: str, value: object) -> object:
    """A dead letter's JSON value as the source's own; the tests' columns are known by their names."""
    if name == "at" and isinstance(value, str):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if name == "day" and isinstance(value, str) else value


def _canonical(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return f"{type(value).__name__} {value!r}"
