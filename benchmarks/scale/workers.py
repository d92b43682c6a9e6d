"""What more workers bring, and what they cost."""

import statistics

from benchmarks.scale.bench import Bench, Measured, as_json, mib, seconds
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.load_s * len(bench.workers) * bench.rounds * 1.3


def ask(bench: Bench) -> Answer:
    """Load the same file with each number of workers, interleaved."""
    landing, rows = bench.lineitem(bench.scale)
    runs: dict[int, list[Measured]] = {count: [] for count in bench.workers}
    for round_no in range(bench.rounds):
        for count, found in runs.items():
            found.append(bench.measure(Job(spec="SCALED", landing=landing, writer={"workers": count}), rows))
            bench.say(f"{count} workers, round {round_no + 1}: {found[-1].run_s:.1f} s")
    first = next(iter(runs.values()))
    return Answer(
        title=f"workers: {rows:,} rows (medians)",
        columns=(
            "workers",
            "seconds",
            "krows/s",
            f"against {bench.workers[0]}",
            "client CPU s",
            "server CPU s",
            "worker MiB",
        ),
        rows=[
            (
                str(count),
                seconds(statistics.median(one.run_s for one in found)),
                f"{statistics.median(one.rows_per_s for one in found) / 1000:,.0f}",
                f"{statistics.median(b.run_s / o.run_s for b, o in zip(first, found, strict=True)):.2f}",
                seconds(statistics.median(one.client_cpu_s for one in found)),
                "-"
                if found[0].server_cpu_s is None
                else seconds(statistics.median(o.server_cpu_s or 0 for o in found)),
                mib(max(one.worker_rss_bytes for one in found)),
            )
            for count, found in runs.items()
        ],
        figures={"runs": {str(count): [as_json(one) for one in found] for count, found in runs.items()}},
    )
