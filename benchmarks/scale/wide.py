"""What a value costs in a wide table."""

import statistics

from benchmarks.scale import shapes
from benchmarks.scale.bench import Bench, Measured, as_json, mib, seconds
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer, at_most, grown

_VALUES_OF_SCALE_1 = 40_000_000
_FEW = 10  # the small load has a tenth of the rows
_SPECS = {100: "WIDE_100", 1_000: "WIDE_1000"}
_GROWTH_MAX = 1.25


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.rounds * len(_SPECS) * (6 + bench.scale * 12)


def ask(bench: Bench) -> Answer:
    """Few and many rows of 100 and of 1,000 columns, in turns: the difference is what rows cost, without the load's start."""
    jobs: dict[tuple[int, int], Job] = {}
    for columns, spec in _SPECS.items():
        many = max(_FEW, int(_VALUES_OF_SCALE_1 * bench.scale) // columns)
        for rows in (many // _FEW, many):
            folder = bench.fresh_folder(f"wide-{columns}-{rows}")
            jobs[columns, rows] = Job(spec=spec, landing=shapes.write_wide(folder, rows, columns))
    runs: dict[tuple[int, int], list[Measured]] = {case: [] for case in jobs}
    for round_no in range(bench.rounds):
        for (columns, rows), job in jobs.items():
            runs[columns, rows].append(bench.measure(job, rows))
            bench.say(f"{columns} columns, {rows:,} rows, round {round_no + 1}: {runs[columns, rows][-1].run_s:.1f} s")
    value_ns = {columns: _value_ns(runs, columns) for columns in _SPECS}
    narrow_ns, wide_ns = value_ns.values()
    return Answer(
        title="wide: tables of 100 and of 1,000 columns (medians)",
        columns=("columns", "rows", "seconds", "client CPU s", "server CPU s", "worker MiB", "CPU ns a value more"),
        rows=[
            (
                f"{columns:,}",
                f"{rows:,}",
                seconds(statistics.median(one.run_s for one in found)),
                seconds(statistics.median(one.client_cpu_s for one in found)),
                seconds(statistics.median(one.server_cpu_s or 0 for one in found)),
                mib(max(one.worker_rss_bytes for one in found)),
                f"{value_ns[columns]:.0f}",
            )
            for (columns, rows), found in runs.items()
        ],
        figures={
            "runs": {f"{columns}x{rows}": [as_json(one) for one in found] for (columns, rows), found in runs.items()},
            "value_ns": {str(columns): ns for columns, ns in value_ns.items()},
        },
        targets=[
            at_most("a value in 1,000 columns / a value in 100", grown(wide_ns, narrow_ns), _GROWTH_MAX),
            bench.worker_target("largest worker, wide tables", [one for found in runs.values() for one in found]),
        ],
    )


def _value_ns(runs: dict[tuple[int, int], list[Measured]], columns: int) -> float:
    """CPU of client and server for one value more."""
    few, many = sorted(rows for known, rows in runs if known == columns)
    further = (b.cpu_s - a.cpu_s for a, b in zip(runs[columns, few], runs[columns, many], strict=True))
    return statistics.median(further) / ((many - few) * columns) * 1e9
