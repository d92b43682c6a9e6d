"""How large the ledger and the catalogue become, and what a chunk more costs the supervisor: what docs/scale.md counts with."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.scale import server, shapes
from benchmarks.scale.bench import Bench, Measured
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer
from rowledger.ledger import read_status
from rowledger.publish.verify import run_verify

_SCALE_MAX = 0.25
_SMALL_CHUNK_ROWS = 1_024
_PARTITIONS_MAX = 500
_ROWS = 10  # of a partition
_LEDGER = ("load", "chunk", "dead_letter")
_SIZE = "select pg_total_relation_size(('rowledger.' || $1)::regclass)"
_ROWS_SIZE = "with entry as (table rowledger.{}) select coalesce(sum(pg_column_size(entry)), 0)::bigint from entry"
_CATALOGUE = (
    "select sum(pg_total_relation_size(oid))::bigint from pg_class"
    " where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r'"
)
_LATEST_OID = (
    "select max(oid)::bigint from"
    " (select oid from pg_class union all select oid from pg_type union all select oid from pg_constraint) as made"
)


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return 3 * bench.load_s * min(1.0, _SCALE_MAX / bench.scale) + 60


@dataclass(frozen=True)
class _Sizes:
    """Bytes on disk by table, and those of its rows alone; `catalogue` is all of pg_catalog. Next transaction, latest OID."""

    disk: Mapping[str, int]
    rows: Mapping[str, int]
    catalogue: int
    transaction: int
    oid: int


def ask(bench: Bench) -> Answer:
    """Few chunks, many chunks, many dead letters, many partitions: each load's growth of a ledger that nobody else uses."""
    with server.own_database(bench.url) as url:
        if url is None:
            return Answer("ledger", (), (), {}, notes=["skipped: this role may not create a database"])
        return _answer(replace(bench, url=url))


def _answer(bench: Bench) -> Answer:
    landing, rows = bench.lineitem(min(bench.scale, _SCALE_MAX))
    count = min(_PARTITIONS_MAX, max(bench.partitions))
    folder = shapes.write_readings(bench.fresh_folder("ledger"), range(count), _ROWS, ".parquet")
    few = _loaded(bench, "few chunks", Job(spec="SCALED", landing=landing), rows)
    sizes = [_sizes(bench.url)]
    small = {"chunk_rows_max": _SMALL_CHUNK_ROWS}
    many = _loaded(bench, "many chunks", Job(spec="SCALED", landing=landing, writer=small), rows)
    sizes.append(_sizes(bench.url))
    refusing = _loaded(bench, "dead letters", Job(spec="REFUSING", landing=landing), rows)
    sizes.append(_sizes(bench.url))
    _loaded(bench, "partitions", Job(spec="PARTITIONS", partitions=count, landing=folder), count * _ROWS)
    sizes.append(_sizes(bench.url))
    chunk = _grown("a chunk", "chunk", sizes[0], sizes[1], many.chunks)
    letter = _grown("a dead letter", "dead_letter", sizes[1], sizes[2], refusing.dead_lettered_rows)
    load = _grown("a load", "load", sizes[2], sizes[3], count)
    catalogue = (sizes[3].catalogue - sizes[2].catalogue) / count
    numbers = {
        "transaction numbers, a chunk more": (sizes[1].transaction - sizes[0].transaction) / max(1, many.chunks),
        "transaction numbers, a partition": (sizes[3].transaction - sizes[2].transaction) / count,
        "object identifiers, a partition": (sizes[3].oid - sizes[2].oid) / count,
    }
    more_chunks = many.chunks - few.chunks
    costs = {
        "supervisor, a chunk more": _ms(few.supervisor_cpu_s, many.supervisor_cpu_s, more_chunks),
        "server, a chunk more": _ms(few.server_cpu_s, many.server_cpu_s, more_chunks),
        **_read_costs(bench.url, count),
    }
    return Answer(
        title=f"ledger: {many.chunks:,} chunks, {refusing.dead_lettered_rows:,} dead letters, {count:,} loads",
        columns=("what", "count", "bytes on disk", "bytes of the row", "CPU ms"),
        rows=[
            *(
                (what, f"{counted:,}", f"{disk:,.0f}", f"{row:,.0f}", "")
                for what, counted, disk, row in (chunk, letter, load)
            ),
            ("catalogue, a partition of 4 columns", f"{count:,}", f"{catalogue:,.0f}", "", ""),
            *((what, f"{number:.1f}", "", "", "") for what, number in numbers.items()),
            *((what, "", "", "", "-" if ms is None else f"{ms:.2f}") for what, ms in costs.items()),
        ],
        figures={
            **{
                what: {"count": counted, "disk": disk, "row": row} for what, counted, disk, row in (chunk, letter, load)
            },
            "catalogue_bytes_a_partition": catalogue,
            "numbers": numbers,
            "cpu_ms": costs,
        },
        notes=[] if more_chunks > 0 else ["too few rows for many chunks: what a chunk more costs is not known"],
    )


def _loaded(bench: Bench, what: str, job: Job, rows: int) -> Measured:
    measured = bench.measure(job, rows)
    bench.say(f"ledger, {what}: {measured}")
    return measured


def _sizes(url: str) -> _Sizes:
    return _Sizes(
        {table: server.fetch_value(url, _SIZE, table) for table in _LEDGER},
        {table: server.fetch_value(url, _ROWS_SIZE.format(table)) for table in _LEDGER},
        server.fetch_value(url, _CATALOGUE),
        server.fetch_value(url, "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"),
        server.fetch_value(url, _LATEST_OID),
    )


def _grown(what: str, table: str, before: _Sizes, after: _Sizes, count: int) -> tuple[str, int, float, float]:
    disk, row = (after.disk[table] - before.disk[table]), (after.rows[table] - before.rows[table])
    return what, count, disk / max(1, count), row / max(1, count)


def _ms(few_s: float | None, many_s: float | None, more: int) -> float | None:
    return None if few_s is None or many_s is None or more <= 0 else (many_s - few_s) / more * 1_000


def _read_costs(url: str, partitions: int) -> dict[str, float | None]:
    """CPU of this process and of the server to answer for each of the partitions."""
    spec = shapes.PARTITIONS
    found: dict[str, float | None] = {}
    readers: dict[str, Any] = {
        "status, a partition": lambda: read_status(url, spec.name, ()),
        "verify, a partition of ten rows": lambda: run_verify(spec, url=url),
    }
    for what, read in readers.items():
        read()  # imports, and pages that nobody has read yet
        own_s, server_s = time.process_time(), server.cpu_s(url)
        answers = read()
        own_s, ended_s = time.process_time() - own_s, server.cpu_s(url)
        if len(answers) != partitions:
            raise SystemExit(f"error: {what}: {len(answers)} answers, {partitions} partitions")
        found[what] = (own_s + (0 if server_s is None or ended_s is None else ended_s - server_s)) / partitions * 1_000
    return found
