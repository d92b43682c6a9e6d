"""The cost of guards that have no switch, each measured by itself: seconds of CPU a call, and calls a second or a chunk."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from rowledger.failpoints import Place, failpoint
from rowledger.machine.cgroup import read_oom_kills
from rowledger.settings import WriterSettings
from rowledger.sources.file_identity import file_digest
from rowledger.workers.child_process import WATCH_INTERVAL_S
from rowledger.workers.guards import Vitals, overrun
from rowledger.workers.messages import Heartbeat, decode_from_worker, encode

_CALLS = 2_000


@dataclass(frozen=True, slots=True)
class GuardCost:
    """CPU microseconds of one call, and how many calls a second it has for each worker; None: once a run."""

    guard: str
    call_us: float
    calls_per_s: float | None

    @property
    def cpu_share(self) -> float | None:
        """The share of one CPU that it takes for each worker."""
        return None if self.calls_per_s is None else self.call_us * self.calls_per_s / 1e6


def measure_guards(file: Path, limits: WriterSettings) -> list[GuardCost]:
    """Each guard's cost in this process; `file` is a source that is guarded against change."""
    process = psutil.Process()
    now = time.monotonic()
    vitals = Vitals(chunk_started_at=now, progressed_at=now, heartbeats=1)
    beat = Heartbeat(progress=123_456_789, rss_bytes=200 * 2**20, descriptors=20)
    line = encode(beat)
    beats_per_s, looks_per_s = 1 / limits.heartbeat_s, 1 / WATCH_INTERVAL_S

    def heartbeat() -> None:
        encode(Heartbeat(progress=1, rss_bytes=process.memory_info().rss, descriptors=process.num_fds()))

    def look() -> None:
        _ = psutil.Process(os.getpid()).memory_info().rss
        overrun(vitals, limits, time.monotonic())

    return [
        GuardCost("heartbeat, in the worker", _call_us(heartbeat), beats_per_s),
        GuardCost("heartbeat, in the supervisor", _call_us(lambda: decode_from_worker(line)), beats_per_s),
        GuardCost("look at memory, stall and deadline", _call_us(look), looks_per_s),
        GuardCost("look for a failpoint", _call_us(lambda: failpoint(Place.MID_COPY, partition="all", chunk=1)), None),
        GuardCost("the kernel's count of out-of-memory kills", _call_us(read_oom_kills), None),
        GuardCost("digest of the source file", _call_us(lambda: file_digest(file), calls=1), None),
    ]


def _call_us(call: Callable[[], object], *, calls: int = _CALLS) -> float:
    call()
    started = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - started) / calls * 1e6
