"""How large a chunk should be, and a batch of its rows."""

import statistics
from collections.abc import Sequence

from benchmarks.scale.bench import Bench, Measured, as_json, mib, seconds
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer
from rowledger.settings import WriterSettings

_DEFAULTS = WriterSettings()


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.load_s * len(_cases(bench)) * bench.rounds


def ask(bench: Bench) -> Answer:
    """Load the same file with each size, the other one at its default, interleaved; against the defaults of both."""
    landing, rows = bench.lineitem(bench.scale)
    cases = _cases(bench)
    runs: dict[tuple[int, int], list[Measured]] = {case: [] for case in cases}
    for round_no in range(bench.rounds):
        for (chunk_rows, batch_rows), found in runs.items():
            writer = {"chunk_rows_max": chunk_rows, "batch_rows": batch_rows}
            found.append(bench.measure(Job(spec="SCALED", landing=landing, writer=writer), rows))
            bench.say(
                f"chunks of {chunk_rows:,}, batches of {batch_rows:,}, round {round_no + 1}: {found[-1].run_s:.1f} s"
            )
    usual = runs[cases[0]]
    return Answer(
        title=f"chunks: {rows:,} rows (medians; the first line has the defaults)",
        columns=("chunk rows", "batch rows", "chunks", "seconds", "krows/s", "rate / default", "CPU s", "worker MiB"),
        rows=[
            (f"{chunk_rows:,}", f"{batch_rows:,}", *_row(found, usual))
            for (chunk_rows, batch_rows), found in runs.items()
        ],
        figures={
            "runs": [
                {"chunk_rows_max": chunk_rows, "batch_rows": batch_rows, "rounds": [as_json(one) for one in found]}
                for (chunk_rows, batch_rows), found in runs.items()
            ]
        },
    )


def _cases(bench: Bench) -> list[tuple[int, int]]:
    usual = (_DEFAULTS.chunk_rows_max, _DEFAULTS.batch_rows)
    cases = [usual, *((rows, usual[1]) for rows in bench.chunk_rows), *((usual[0], rows) for rows in bench.batch_rows)]
    return list(dict.fromkeys(cases))


def _row(found: Sequence[Measured], usual: Sequence[Measured]) -> tuple[str, ...]:
    return (
        str(found[0].chunks),
        seconds(statistics.median(one.run_s for one in found)),
        f"{statistics.median(one.rows_per_s for one in found) / 1000:,.0f}",
        f"{statistics.median(u.run_s / o.run_s for u, o in zip(usual, found, strict=True)):.2f}",
        seconds(statistics.median(one.cpu_s for one in found)),
        mib(max(one.worker_rss_bytes for one in found)),
    )
