"""What happens when in one load, and which processes have the CPUs meanwhile: where a core is idle, and why."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.scale import marks, server, tables
from benchmarks.scale.bench import Bench
from benchmarks.verdict import Answer
from rowledger.settings import child_environment

_SLOT_S = 0.1
_LOOK_S = 0.02
_TARGET = f"{tables.SCHEMA}.lineitem"
_IDLE = "idle"
_Cpu = dict[tuple[str, int], int]


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.load_s + 5.0


def ask(bench: Bench) -> Answer:
    """One load by a user's script, looked at fifty times a second. On a busy machine other programs have part of each slot."""
    landing, rows = bench.lineitem(bench.scale)
    server.clear(bench.url)
    postmaster = server.postmaster_pid(bench.url)
    file = bench.folder / "marks"
    file.unlink(missing_ok=True)
    began_ns = time.monotonic_ns()
    process = subprocess.Popen(  # noqa: S603 - our own module and arguments
        [sys.executable, "-m", "benchmarks.scale.traced_load", _TARGET, str(landing)],
        stdin=subprocess.DEVNULL,
        env=child_environment(ROWLEDGER_DATABASE_URL=bench.url, **{marks.VARIABLE: str(file)}),
    )
    slots = _watch(process, postmaster, began_ns)
    if process.returncode != 0:
        raise SystemExit(f"error: the load ended with exit code {process.returncode}")
    found = server.fetch_value(bench.url, f"select count(*) from {_TARGET}")  # noqa: S608 - our own name
    if found != rows:
        raise SystemExit(f"error: {found} rows in the table, {rows} in the source")
    moments = [(mark.at_ns - began_ns, mark.moment) for mark in marks.read_marks(file)]
    cores = os.cpu_count() or 1
    return Answer(
        title=f"timeline: {rows:,} rows, by {_SLOT_S:g} s; percent of one CPU, of which there are {cores}",
        columns=("from s", "supervisor", "workers", "server", "idle", "others", "moments"),
        rows=[
            (
                f"{slot * _SLOT_S:.1f}",
                *(f"{used[who]:.0%}" for who in ("supervisor", "worker", "server", _IDLE)),
                f"{max(0.0, cores - used.total()):.0%}",
                "; ".join(dict.fromkeys(told for at, told in moments if at // int(_SLOT_S * 1e9) == slot)),
            )
            for slot, used in enumerate(slots)
        ],
        figures={"slot_s": _SLOT_S, "slots": [dict(used) for used in slots], "moments": moments},
    )


def _watch(process: subprocess.Popen[bytes], postmaster: int | None, began_ns: int) -> list[Counter[str]]:
    """The CPUs that each kind of process has used, in each slot until the end."""
    slots: list[Counter[str]] = []
    before = _cpu(process.pid, postmaster)
    while process.poll() is None:
        time.sleep(_LOOK_S)
        now = _cpu(process.pid, postmaster)
        slot = (time.monotonic_ns() - began_ns) // int(_SLOT_S * 1e9)
        slots.extend(Counter() for _ in range(slot + 1 - len(slots)))
        for (who, pid), taken_ns in now.items():
            if taken_ns > (had := before.get((who, pid), 0)):
                slots[slot][who] += (taken_ns - had) / (_SLOT_S * 1e9)  # type: ignore[assignment]
        before = now
    return slots


def _cpu(supervisor: int, postmaster: int | None) -> _Cpu:
    """CPU time so far, in ns, of the supervisor, its workers and the server's processes, and of neither."""
    found = {("supervisor", supervisor): _thread_ns(supervisor)}
    found |= {("worker", pid): _thread_ns(pid) for pid in _children(supervisor)}
    found |= {("server", pid): _thread_ns(pid) for pid in (_children(postmaster) if postmaster else ())}
    return found | {(_IDLE, 0): _idle_ns()}


def _idle_ns() -> int:
    """Time so far in which a CPU had nothing to do, or waited for a disk, added up over all; in steps of 10 ms."""
    idle, waiting = Path("/proc/stat").read_text(encoding="ascii").split(maxsplit=6)[4:6]
    return (int(idle) + int(waiting)) * 10_000_000


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def _thread_ns(pid: int) -> int:
    taken = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            taken += int(thread.read_text(encoding="ascii").split()[0])
        except OSError:  # it has just ended
            continue
    return taken
