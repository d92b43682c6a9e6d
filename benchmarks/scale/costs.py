"""What contract, fingerprint, guards, ledger and publish cost: each of them switched off against the full load."""

import statistics
from dataclasses import asdict
from pathlib import Path

from benchmarks.scale.bench import Bench, Measured, as_json, seconds
from benchmarks.scale.guard_costs import GuardCost, measure_guards
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer
from rowledger.settings import WriterSettings

FULL = "in full"
_QUIET = {"heartbeat_s": 30, "lease_s": 300}
"""Hardly a heartbeat or a renewal while it runs. Deadlines, budgets and limits are comparisons that cannot be switched off."""


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.load_s * 6 * bench.rounds + 10


def ask(bench: Bench) -> Answer:
    """All variants in turns. The lower lines have ever less of Rowledger; the last has nothing of it but reader and encoder."""
    landing, rows = bench.lineitem(bench.scale)
    runs: dict[str, list[Measured]] = {name: [] for name in _jobs(landing)}
    for round_no in range(bench.rounds):
        for name, job in _jobs(landing).items():
            runs[name].append(bench.measure(job, rows))
            bench.say(f"{name}, round {round_no + 1}: {runs[name][-1].run_s:.1f} s")
    guards = measure_guards(landing / "lineitem" / "lineitem.parquet", WriterSettings())
    full = runs[FULL]
    return Answer(
        title=f"costs: {rows:,} rows, parts switched off (medians)",
        columns=("load", "seconds", "rate / in full", "client CPU s a Mrow", "server CPU s a Mrow", "CPU / in full"),
        rows=[(name, *_row(found, full)) for name, found in runs.items()],
        figures={
            "runs": {name: [as_json(one) for one in found] for name, found in runs.items()},
            "guards": [{**asdict(guard), "cpu_share": guard.cpu_share} for guard in guards],
        },
        notes=["guards by themselves, which cannot be switched off:", *(f"  {_told(guard)}" for guard in guards)],
    )


def _jobs(landing: Path) -> dict[str, Job]:
    whole = Job(spec="SCALED", landing=landing)
    return {
        FULL: whole,
        "without the fingerprint": whole.model_copy(update={"writer": {"fingerprint": False}}),
        "without the contract's rules": Job(spec="WITHOUT_RULES", landing=landing),
        "without heartbeats, renewals, looks at memory": whole.model_copy(
            update={"writer": _QUIET, "memory_looks": False}
        ),
        "without ledger, publish, supervisor": whole.model_copy(update={"way": "prepared"}),
        "bare: read, encode, COPY": whole.model_copy(update={"way": "bare"}),
    }


def _row(found: list[Measured], full: list[Measured]) -> tuple[str, ...]:
    mrows = found[0].rows / 1e6
    pairs = list(zip(full, found, strict=True))
    server_s = [one.server_cpu_s / mrows for one in found if one.server_cpu_s is not None]
    return (
        seconds(statistics.median(one.run_s for one in found)),
        f"{statistics.median(f.run_s / o.run_s for f, o in pairs):.2f}",
        seconds(statistics.median(one.client_cpu_s / mrows for one in found)),
        seconds(statistics.median(server_s) if server_s else None),
        f"{statistics.median(o.cpu_s / f.cpu_s for f, o in pairs):.2f}",
    )


def _told(guard: GuardCost) -> str:
    if (share := guard.cpu_share) is None:
        return f"{guard.guard}: {guard.call_us:,.1f} µs of CPU a call"
    return (
        f"{guard.guard}: {guard.call_us:,.1f} µs of CPU, {guard.calls_per_s:g} a second: {share:.4%} of a CPU a worker"
    )
