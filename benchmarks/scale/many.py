"""What one small partition more costs, and one small file more of a partition, when there are many of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.scale import shapes
from benchmarks.scale.bench import Bench, Failed, Measured, as_json, mib, seconds
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer, Target, at_most, failed, grown

_ROWS = 10  # of a partition, or a file
_ROUNDS_MAX_COUNT = 1_000  # what is longer is loaded once: it is long enough to be steady
_PARTITION_MS_MAX = 20
_GROWTH_MAX = 1.25
_PATIENCE_S = 300.0
_SLOWEST_S = 0.1  # a partition or file that takes as long is taken not to end


@dataclass(frozen=True)
class _Series:
    """Loads of more and more of the same: their counts, and the specs by suffix of their files."""

    what: str
    counts: Sequence[int]
    specs: Mapping[str, str]
    job: Callable[..., Job]


def expected_partitions_s(bench: Bench) -> float:
    """About how long it takes."""
    return 2 * (bench.rounds * 25 + max(bench.partitions) * 0.02) + 30


def expected_files_s(bench: Bench) -> float:
    """About how long it takes."""
    return 2 * (bench.rounds * 4 + max(bench.files) * 0.005) + 5


def ask_partitions(bench: Bench) -> Answer:
    """More and more partitions of ten rows, from Parquet and from CSV."""
    series = _Series(
        "partition",
        bench.partitions,
        {".parquet": "PARTITIONS", ".csv": "PARTITIONS_CSV"},
        lambda count, **given: Job(partitions=count, **given),
    )
    runs = _measure(bench, series)
    targets = [
        _target(f"one {suffix} partition more, at {count:,}", cost_ms, _PARTITION_MS_MAX, "ms")
        for suffix in series.specs
        for count, cost_ms in _further_ms(runs[suffix], _run_s).items()
    ]
    return _answer(bench, series, runs, targets)


def ask_files(bench: Bench) -> Answer:
    """More and more files of ten rows in one partition, from Parquet and from CSV."""
    series = _Series(
        "file",
        bench.files,
        {".parquet": "FILES", ".csv": "FILES_CSV"},
        lambda count, **given: Job(**given),  # noqa: ARG005
    )
    runs = _measure(bench, series)
    targets = []
    for suffix in series.specs:
        costs = list(_further_ms(runs[suffix], _cpu_s).values())
        text = f"CPU of one {suffix} file more, at {series.counts[-1]:,} / at {series.counts[1]:,}"
        targets.append(_target(text, None if None in costs else grown(costs[-1], costs[0]) or 0, _GROWTH_MAX))
    return _answer(bench, series, runs, targets)


def _target(text: str, value: float | None, limit: float, unit: str = "") -> Target:
    """None stands for a load that has failed; what is not above zero is lost in the noise."""
    return failed(text, limit, unit) if value is None else at_most(text, value if value > 0 else None, limit, unit)


_Runs = dict[str, dict[int, list[Measured | Failed]]]


def _measure(bench: Bench, series: _Series) -> _Runs:
    runs: _Runs = {suffix: {count: [] for count in series.counts} for suffix in series.specs}
    for count in series.counts:
        for suffix in series.specs:
            folder = bench.fresh_folder(f"{series.what}-{count}{suffix}")
            shapes.write_readings(folder, range(count), _ROWS, suffix)
    for round_no in range(bench.rounds):
        for count in series.counts:
            if round_no > 0 and count > _ROUNDS_MAX_COUNT:
                continue
            for suffix, spec in series.specs.items():
                found = runs[suffix][count]
                if any(isinstance(one, Failed) for one in found):
                    continue
                job = series.job(count, spec=spec, landing=bench.folder / f"{series.what}-{count}{suffix}")
                found.append(bench.attempt(job, count * _ROWS, deadline_s=_PATIENCE_S + count * _SLOWEST_S))
                bench.say(f"{count:,} times {suffix}, one {series.what} each, round {round_no + 1}: {found[-1]}")
    return runs


def _run_s(one: Measured) -> float:
    return one.run_s


def _cpu_s(one: Measured) -> float:
    return one.cpu_s


def _further_ms(
    runs: Mapping[int, Sequence[Measured | Failed]], seconds_of: Callable[[Measured], float]
) -> dict[int, float | None]:
    """By count, but for the smallest: what one more costs on the way to it, best of the rounds; None if a load has failed."""
    best = {
        count: min((seconds_of(one) for one in found if isinstance(one, Measured)), default=None)
        for count, found in runs.items()
    }
    return {
        more: None if best[few] is None or best[more] is None else (best[more] - best[few]) / (more - few) * 1000
        for few, more in pairwise(best)
    }


def _answer(bench: Bench, series: _Series, runs: _Runs, targets: Sequence[Target]) -> Answer:
    rows, notes, whole = [], [], []
    for suffix, by_count in runs.items():
        further = [_further_ms(by_count, seconds_of) for seconds_of in (_run_s, _cpu_s)]
        for count, found in by_count.items():
            measured = [one for one in found if isinstance(one, Measured)]
            whole += measured
            notes += [f"{count:,} {suffix}: {one.reason}" for one in found if isinstance(one, Failed)]
            best = min(measured, key=lambda one: one.run_s, default=None)
            rows.append(
                (
                    suffix,
                    f"{count:,}",
                    *(
                        ("-",) * 5
                        if best is None
                        else (
                            seconds(best.run_s),
                            seconds(best.client_cpu_s),
                            seconds(best.server_cpu_s),
                            mib(best.supervisor_rss_bytes),
                            mib(best.worker_rss_bytes),
                        )
                    ),
                    *("-" if (cost := one.get(count)) is None else f"{cost:.1f}" for one in further),
                )
            )
    return Answer(
        title=f"{series.what}s: more and more of {_ROWS} rows each (best of the rounds)",
        columns=(
            "files",
            series.what + "s",
            "seconds",
            "client CPU s",
            "server CPU s",
            "supervisor MiB",
            "worker MiB",
            "ms one more",
            "CPU ms one more",
        ),
        rows=rows,
        figures={
            suffix: {
                str(count): [as_json(one) if isinstance(one, Measured) else one.reason for one in found]
                for count, found in by_count.items()
            }
            for suffix, by_count in runs.items()
        },
        targets=[*targets, bench.worker_target(f"largest worker, many {series.what}s", whole)],
        notes=notes,
    )
