"""One run of the nemesis: its process, and its log with the time at which each line came."""

import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline_tests.faults.nemesis.plan import RunPlan
from pipeline_tests.support import run_process
from pipeline_tests.support.hosts_of_runs import HostsOfRuns
from pipeline_tests.support.waiting import worker_pids
from rowledger.spec.table import TableSpec

__all__ = ["MARK", "Death", "Run", "marked_processes", "read_death"]

MARK = "NEMESIS_MARK"
"""Variable in the environment of every process that a nemesis has started, by which it finds them all again."""

_DIED = re.compile(r"worker (\d+)(?: on .+?)? died \(([^)]*)\)")
_CHUNK = re.compile(r"partition (\S+), chunk (\d+), attempt (\d+)")
# Deadlines well within those of the nemesis; attempts and deaths without a bound that matters: it kills more than chance would.
_SETTINGS = {
    "statement_timeout_s": 15,
    "lock_timeout_s": 10,
    "connect_timeout_s": 5,
    "retry_budget_s": 20,
    "close_timeout_s": 2,
    "chunk_attempts_max": 100,
    "respawns_max": 1_000,
    "hosts_lost_max": 1_000,
}


@dataclass(frozen=True, slots=True)
class Death:
    """A worker's death, as the run's log tells it; `at` is the time of the line. An idle worker had no chunk."""

    pid: int
    at: float
    partition_key: str | None
    chunk_no: int | None
    attempt: int | None


def read_death(at: float, line: str) -> Death | None:
    """The death that a line of a log tells, if it tells one."""
    if not (match := _DIED.search(line)):
        return None
    chunk = _CHUNK.search(match[2])
    key, number, attempt = chunk.groups() if chunk else (None, None, None)
    return Death(int(match[1]), at, key, int(number) if number else None, int(attempt) if attempt else None)


class Run:
    """A load as a process of its own, whose chunks are committed by hosts if there are any."""

    def __init__(
        self,
        name: str,
        url: str,
        spec: TableSpec,
        landing: Path,
        keys: Sequence[str],
        plan: RunPlan,
        hosts: HostsOfRuns | None = None,
        home: Path | None = None,
    ) -> None:
        self.name = name
        self.is_for_all = len(keys) == len(plan.keys or keys)
        """Whether it loads all partitions."""
        self._hosts = hosts
        self.started_at = time.monotonic()
        self.ended_at: float | None = None
        """By the wall clock, to compare with the kills."""
        self.was_killed = False
        self.must_end_by: float | None = None
        """By the monotonic clock; set by a signal that cancels."""
        self.lines: list[tuple[float, str]] = []
        self.process = run_process.start(
            url,
            spec,
            landing,
            list(plan.keys or keys),
            failpoints=plan.failpoints,
            workers=plan.workers,
            partitions_in_flight=plan.partitions_in_flight,
            chunk_rows_max=plan.chunk_rows_max,
            batch_rows=plan.batch_rows,
            stall_timeout_s=plan.stall_timeout_s,
            lease_s=plan.lease_s,
            busy_wait_s=plan.busy_wait_s,
            home=home,
            **(_SETTINGS | (hosts.run_options() | {"host_silent_s": plan.host_silent_s} if hosts else {})),
        )
        self._reading = threading.Thread(target=self._read, name=f"log of {name}", daemon=True)
        self._reading.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; notes when it has ended."""
        code = self.process.poll()
        if code is not None and self.ended_at is None:
            self.ended_at = time.time()
        return code

    def workers(self) -> list[int]:
        """Its worker processes on its own machine; none once it has ended."""
        return worker_pids(self.pid) if self.exit_code is None else []

    def all_workers(self) -> list[tuple[str | None, int]]:
        """Its worker processes with the names of their hosts, None for its own machine."""
        on_hosts = self._hosts.workers_of(self.pid) if self._hosts is not None and self.exit_code is None else []
        return [*((None, pid) for pid in self.workers()), *((host.name, pid) for host, pid in on_hosts)]

    def deaths(self) -> list[Death]:
        return [death for at, line in list(self.lines) if (death := read_death(at, line))]

    def signal(self, number: int, *, group: bool) -> bool:
        """Send the supervisor, or the whole group, a signal; False when it has ended."""
        if self.exit_code is not None:
            return False
        if number in {signal.SIGKILL, signal.SIGSEGV}:
            self.was_killed = True
        (os.killpg if group else os.kill)(self.pid, number)
        return True

    def end(self) -> None:
        """Kill what is left of it, workers first: a stopped one as well."""
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait(timeout=10)
        self._reading.join(timeout=10)
        if not self._reading.is_alive() and self.process.stdout is not None:
            self.process.stdout.close()

    def finish_log(self) -> None:
        """Wait for the last lines of a run that has ended; its workers hold the pipe no longer than they live."""
        self._reading.join(timeout=10)

    def tail(self, lines: int = 60) -> str:
        shown = self.lines[-lines:]
        started = shown[0][0] if shown else 0.0
        return "\n".join(f"  {at - started:7.2f} {line[:400]}" for at, line in shown)

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        for line in stream:
            self.lines.append((time.time(), line.rstrip("\n")))


def marked_processes(mark: str) -> list[psutil.Process]:
    """All living processes with this mark, whoever their parent is now; without our own, and without those of Ray's nodes."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.pid != os.getpid()
                and process.status() != psutil.STATUS_ZOMBIE
                and process.environ().get(MARK) == mark
                and not _is_of_a_node(process)
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _is_of_a_node(process: psutil.Process) -> bool:
    """Whether the process belongs to a Ray node or to a host, which stay from round to round; agents do not."""
    line = " ".join(process.cmdline())
    return not any(word in line for word in ("_AgentActor", "rowledger.workers", "pipeline_tests")) and (
        any(word in line for word in ("ray", "keeper.py", "slow_link.py"))
    )
