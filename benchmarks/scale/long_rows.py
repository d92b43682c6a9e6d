"""What a byte costs in long rows, and one very long text among short rows."""

import statistics

from benchmarks.scale import shapes
from benchmarks.scale.bench import Bench, Failed, Measured, as_json, mib, seconds
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer, Target, at_most, failed, grown

_BYTES_OF_SCALE_1 = 200_000_000
_LENGTHS = (1_000, 1_000_000)
_FEW = 5
_SHORT_ROWS, _SHORT = 1_000, 20
_GROWTH_MAX = 1.25
_LONGEST_S_MAX = 3.0
_PATIENCE_S = 180.0
_FORMATS = {".parquet": "DOCUMENTS", ".csv": "DOCUMENTS_CSV", ".ndjson": "DOCUMENTS_NDJSON"}


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.rounds * len(_FORMATS) * (12 + bench.scale * 20)


def ask(bench: Bench) -> Answer:
    """As many bytes in rows of 1 kB and of 1 MB, few and many of them; a very long row in the midst of 1,000 short ones."""
    jobs: dict[tuple[str, str], tuple[Job, int]] = {}
    for suffix, spec in _FORMATS.items():
        for length in _LENGTHS:
            many = max(_FEW, int(_BYTES_OF_SCALE_1 * bench.scale) // length)
            for rows in (many // _FEW, many):
                folder = bench.fresh_folder(f"long-{length}-{rows}{suffix}")
                job = Job(spec=spec, landing=shapes.write_documents(folder, [length] * rows, suffix))
                jobs[suffix, f"{rows:,} of {length:,} bytes"] = job, rows
        lengths = [_SHORT] * (_SHORT_ROWS // 2) + [bench.longest_bytes] + [_SHORT] * (_SHORT_ROWS // 2)
        folder = shapes.write_documents(bench.fresh_folder(f"longest{suffix}"), lengths, suffix)
        jobs[suffix, f"{_long(bench)} among 1,000 short ones"] = Job(spec=spec, landing=folder), len(lengths)
    runs: dict[tuple[str, str], list[Measured | Failed]] = {case: [] for case in jobs}
    for round_no in range(bench.rounds):
        for case, (job, rows) in jobs.items():
            if not any(isinstance(one, Failed) for one in runs[case]):
                runs[case].append(bench.attempt(job, rows, deadline_s=_PATIENCE_S))
                bench.say(f"{case[0]}, {case[1]}, round {round_no + 1}: {runs[case][-1]}")
    return _answer(bench, runs)


def _answer(bench: Bench, runs: dict[tuple[str, str], list[Measured | Failed]]) -> Answer:
    targets: list[Target] = []
    for suffix in _FORMATS:
        *_, (_, longest) = of_suffix = [(case, found) for case, found in runs.items() if case[0] == suffix]
        text = f"a byte in rows of 1 MB / in rows of 1 kB, client CPU, {suffix}"
        costs = [_further_s(few, many) for (_, few), (_, many) in (of_suffix[0:2], of_suffix[2:4])]
        if costs[0] is None or costs[1] is None:
            targets.append(failed(text, _GROWTH_MAX))
        else:
            targets.append(at_most(text, grown(costs[1], costs[0]), _GROWTH_MAX))
        text = f"a row of {_long(bench)} among 1,000 short ones, {suffix}"
        took = [one.run_s for one in longest if isinstance(one, Measured)]
        ended = len(took) == len(longest)
        targets.append(at_most(text, min(took), _LONGEST_S_MAX, "s") if ended else failed(text, _LONGEST_S_MAX, "s"))
    measured = [one for found in runs.values() for one in found if isinstance(one, Measured)]
    return Answer(
        title="long: rows of 1 kB and of 1 MB, and a very long one among short ones (best of the rounds)",
        columns=("files", "rows", "seconds", "client CPU s", "server CPU s", "supervisor MiB", "worker MiB"),
        rows=[(*case, *_row(found)) for case, found in runs.items()],
        figures={
            f"{suffix} {rows}": [as_json(one) if isinstance(one, Measured) else one.reason for one in found]
            for (suffix, rows), found in runs.items()
        },
        targets=[*targets, bench.worker_target("largest worker, long rows", measured)],
        notes=[
            f"{suffix}, {rows}: {one.reason}"
            for (suffix, rows), found in runs.items()
            for one in found
            if isinstance(one, Failed)
        ],
    )


def _long(bench: Bench) -> str:
    return f"{bench.longest_bytes / 2**20:.0f} MiB"


def _further_s(few: list[Measured | Failed], many: list[Measured | Failed]) -> float | None:
    """Client CPU of the further rows: the server's own work differs, since it compresses what does not fit into a page."""
    pairs = list(zip(few, many, strict=False))
    if any(isinstance(one, Failed) for pair in pairs for one in pair):
        return None
    return statistics.median(b.client_cpu_s - a.client_cpu_s for a, b in pairs)  # type: ignore[union-attr]  # none has failed


def _row(found: list[Measured | Failed]) -> tuple[str, ...]:
    best = min((one for one in found if isinstance(one, Measured)), key=lambda one: one.run_s, default=None)
    if best is None:
        return ("-",) * 5
    return (
        seconds(best.run_s),
        seconds(best.client_cpu_s),
        seconds(best.server_cpu_s),
        mib(best.supervisor_rss_bytes),
        mib(best.worker_rss_bytes),
    )
