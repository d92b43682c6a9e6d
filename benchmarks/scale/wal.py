"""What a row costs the server in WAL and CPU: the load, its key, the first look after a checkpoint, freezing, statistics."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import asyncpg

from benchmarks.scale import server
from benchmarks.scale.bench import Bench
from benchmarks.scale.run import Job
from benchmarks.scale.tables import SCHEMA
from benchmarks.verdict import Answer

_SCALE_MAX = 0.25
_COPIES = (f"{SCHEMA}.early", f"{SCHEMA}.late")
_TABLE = f"{SCHEMA}.lineitem"
_COPY = "create table {} with (autovacuum_enabled = false) as table " + _TABLE
_LOOK, _FREEZE = "select count(*) from {}", "vacuum (freeze) {}"
_STATISTICS_S = 1.5  # sessions tell of their pages at their end, others within a second


@dataclass(frozen=True)
class _Step:
    """Per row: bytes of WAL, those of whole pages at most, ns of the server's CPU (None on another machine)."""

    what: str
    wal_bytes: float
    page_bytes: float
    cpu_ns: float | None


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return 6 * bench.load_s * min(1.0, _SCALE_MAX / bench.scale) + 20


def ask(bench: Bench) -> Answer:
    """Loads with and without a key; then copies of the table, looked at and frozen before and after a checkpoint."""
    landing, rows = bench.lineitem(min(bench.scale, _SCALE_MAX))
    steps: list[_Step] = []

    def measure(what: str, act: Callable[[], object], *, checkpointed: bool = False) -> None:
        if checkpointed:
            server.execute(bench.url, "checkpoint")
        steps.append(_measured(bench.url, what, rows, act))
        bench.say(f"wal, {what}: {steps[-1].wal_bytes:.0f} bytes a row")

    def load(spec: str) -> Callable[[], object]:
        return lambda: bench.measure(Job(spec=spec, landing=landing), rows, is_fresh=False)

    def do(statement: str, table: str) -> Callable[[], object]:
        return lambda: server.execute(bench.url, statement.format(table))

    server.clear(bench.url)
    measure("load", load("SCALED"))
    measure("load once more, in place of the first", load("SCALED"))
    server.clear(bench.url)
    measure("load with a key of two columns", load("KEYED"))
    table, key = (
        server.fetch_value(bench.url, f"select {size}(($1::text)::regclass)", _TABLE) / rows
        for size in ("pg_table_size", "pg_indexes_size")
    )
    copied = server.binary_copy_bytes(bench.url, _TABLE) / rows
    notes = [f"table {table:.0f} bytes a row, key {key:.0f}, binary COPY {copied:.0f}"]
    settings = ("data_checksums", "wal_log_hints", "wal_compression", "full_page_writes", "wal_level")
    notes.append(", ".join(f"{name} {server.fetch_value(bench.url, f'show {name}')}" for name in settings))
    early, late = _COPIES
    try:
        server.execute(bench.url, _COPY.format(early))
        measure("first look, no checkpoint since the rows came", do(_LOOK, early))
        measure("freeze, no checkpoint since", do(_FREEZE, early))
        server.execute(bench.url, _COPY.format(late))
        measure("first look after a checkpoint", do(_LOOK, late), checkpointed=True)
        measure("freeze after a checkpoint", do(_FREEZE, late), checkpointed=True)
        measure("analyze", do("analyze {}", late))
    except asyncpg.InsufficientPrivilegeError:
        notes.append("the rest is skipped: this role may not ask for a checkpoint")
    return Answer(
        title=f"wal: {rows:,} rows of lineitem, a row",
        columns=("step", "WAL bytes", "of these whole pages, at most", "server CPU ns"),
        rows=[
            (
                step.what,
                f"{step.wal_bytes:.1f}",
                f"{step.page_bytes:.1f}",
                "-" if step.cpu_ns is None else f"{step.cpu_ns:,.0f}",
            )
            for step in steps
        ],
        figures={
            "rows": rows,
            "table_bytes": table,
            "key_bytes": key,
            "copied_bytes": copied,
            "steps": [asdict(step) for step in steps],
        },
        notes=notes,
    )


def _measured(url: str, what: str, rows: int, act: Callable[[], object]) -> _Step:
    before, cpu_s = _position(url), server.cpu_s(url)
    act()
    ended_s, after = server.cpu_s(url), _position(url)
    return _Step(
        what,
        (after[0] - before[0]) / rows,
        min(after[0] - before[0], (after[1] - before[1]) * 8_192) / rows,
        None if cpu_s is None or ended_s is None else (ended_s - cpu_s) / rows * 1e9,
    )


def _position(url: str) -> tuple[int, int]:
    """Bytes of WAL that the server has written since it was made, and whole pages since its statistics were reset."""
    server.execute(url, f"select pg_sleep({_STATISTICS_S})")
    (found,) = server.fetch(
        url, "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, wal_fpi::bigint from pg_stat_wal"
    )
    return found[0], found[1]
