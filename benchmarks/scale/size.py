"""Whether the rate holds, and memory stays flat, as the rows grow."""

from benchmarks.scale.bench import ASSUMED_ROWS_PER_S, ROWS_OF_SCALE_1, Bench, Measured, as_json, mib, seconds
from benchmarks.scale.run import Job
from benchmarks.scale.server import disk_free_bytes
from benchmarks.verdict import Answer, Target, at_least, at_most

_BYTES_A_ROW = 40 + 190  # of the Parquet file, and of the table
_WAL_BYTES = 5 * 2**30  # the embedded server keeps up to 4 GB of it
_ROUNDS_MAX_ROWS = 10_000_000  # what is larger is loaded once: it is long enough to be steady


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return sum(
        scale * ROWS_OF_SCALE_1 / ASSUMED_ROWS_PER_S * (_rounds(bench, scale) + 0.3) + 2 for scale in bench.sizes
    )


def ask(bench: Bench) -> Answer:
    """Load the sizes from small to large, in rounds where they are not too large, each with a supervisor of its own."""
    notes: list[str] = []
    sizes = [scale for scale in sorted(bench.sizes) if _fits(bench, scale, notes)]
    runs: dict[float, list[Measured]] = {scale: [] for scale in sizes}
    for round_no in range(bench.rounds):
        for scale in sizes:
            if round_no < _rounds(bench, scale):
                landing, rows = bench.lineitem(scale)
                runs[scale].append(bench.measure(Job(spec="SCALED", landing=landing), rows))
                bench.say(f"size {scale:g}, round {round_no + 1}: {runs[scale][-1].run_s:.1f} s")
        for scale in sizes:
            if round_no + 1 == _rounds(bench, scale) and scale != bench.scale:
                bench.forget_lineitem(scale)
    best = {scale: sorted(found, key=lambda one: one.run_s)[(len(found) - 1) // 2] for scale, found in runs.items()}
    return Answer(
        title="size: one table, more and more rows (medians)",
        columns=("rows", "seconds", "krows/s", "client CPU s", "server CPU s", "worker MiB", "supervisor MiB"),
        rows=[_row(one) for one in best.values()],
        figures={"runs": {f"{scale:g}": [as_json(one) for one in found] for scale, found in runs.items()}},
        targets=_targets(runs, best),
        notes=notes,
    )


def _rounds(bench: Bench, scale: float) -> int:
    return 1 if scale * ROWS_OF_SCALE_1 > _ROUNDS_MAX_ROWS else bench.rounds


def _fits(bench: Bench, scale: float, notes: list[str]) -> bool:
    needed = int(scale * ROWS_OF_SCALE_1 * _BYTES_A_ROW) + min(_WAL_BYTES, int(scale * ROWS_OF_SCALE_1 * 200))
    free = disk_free_bytes(bench.url, bench.folder)
    if free >= needed:
        return True
    notes.append(f"size {scale:g} was skipped: it needs {needed / 2**30:.1f} GiB of disk, {free / 2**30:.1f} are free")
    bench.say(notes[-1])
    return False


def _row(one: Measured) -> tuple[str, ...]:
    return (
        f"{one.rows:,}",
        seconds(one.run_s),
        f"{one.rows_per_s / 1000:,.0f}",
        seconds(one.client_cpu_s),
        seconds(one.server_cpu_s),
        mib(one.worker_rss_bytes),
        mib(one.supervisor_rss_bytes),
    )


def _targets(runs: dict[float, list[Measured]], best: dict[float, Measured]) -> list[Target]:
    """The largest size against the one before it, memory over all sizes; they are named, since the sizes are options."""
    peak = max((one.worker_rss_bytes / 2**20 for found in runs.values() for one in found), default=None)
    rate, growth = "rate at the largest size / rate at the one before", "supervisor's growth over the sizes"
    ratio = grown_mib = None
    if len(best) > 1:
        first, *_, last = best.values()
        before = list(best.values())[-2]
        rate = f"rate at {last.rows:,} rows / rate at {before.rows:,}"
        growth = f"supervisor's growth from {first.rows:,} to {last.rows:,} rows"
        ratio = last.rows_per_s / before.rows_per_s
        grown_mib = (last.supervisor_rss_bytes - first.supervisor_rss_bytes) / 2**20
    return [
        at_least(rate, ratio, 0.95),
        at_most("largest worker", peak, 250, "MiB"),
        at_most(growth, grown_mib, 20, "MiB"),
    ]
