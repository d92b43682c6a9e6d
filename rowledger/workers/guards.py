"""Guards: what a worker's signs of life mean. Pure functions without processes; heartbeats supply the numbers.

To add one, write a setting with its unit in `WriterSettings`, an `IncidentKind`, and a branch in `overrun` or
`replacement_due`.
"""

import os
import signal
from dataclasses import dataclass

from rowledger.ledger import IncidentKind
from rowledger.machine import available_memory_bytes, granted_cpus
from rowledger.settings import WriterSettings

__all__ = [
    "Vitals",
    "classify_exit",
    "default_workers",
    "for_planning",
    "overrun",
    "producer_overrun",
    "replacement_due",
    "workers_in_memory",
]

_WORKERS_DEFAULT_MAX = 8


@dataclass(slots=True)
class Vitals:
    """What is known of a worker. Times are those of the monotonic clock, in seconds."""

    chunk_started_at: float
    progressed_at: float
    progress: int = 0
    rss_bytes: int = 0
    descriptors: int = 0
    heartbeats: int = 0


def overrun(vitals: Vitals, limits: WriterSettings, now: float) -> tuple[IncidentKind, str] | None:
    """The limit for which a worker must be killed now, and a sentence about it."""
    without_progress_s = now - vitals.progressed_at
    if early := _too_much_memory(vitals.rss_bytes, limits) or _not_up(
        without_progress_s, limits, has_come_up=vitals.heartbeats > 0
    ):
        return early
    if vitals.heartbeats and without_progress_s > limits.stall_timeout_s:
        return (
            IncidentKind.STALL,
            f"no progress for {without_progress_s:.1f} s, the limit is {limits.stall_timeout_s} s",
        )
    # The worker's own deadline comes first; the grace period lets it report.
    allowed_s = limits.chunk_deadline_s + limits.close_timeout_s
    if vitals.heartbeats and (taken_s := now - vitals.chunk_started_at) > allowed_s:
        return IncidentKind.DEADLINE, f"chunk took {taken_s:.1f} s, the deadline is {limits.chunk_deadline_s} s"
    return None


def for_planning(limits: WriterSettings) -> WriterSettings:
    """The limits while a worker plans: it stops by itself after `planning_timeout_s`, and reports no progress until then."""
    bound_s = limits.planning_timeout_s
    return limits.model_copy(
        update={
            "stall_timeout_s": bound_s + limits.close_timeout_s,
            "chunk_deadline_s": bound_s + limits.start_timeout_s,
        }
    )


def producer_overrun(
    limits: WriterSettings, rss_bytes: int, silent_s: float, *, has_come_up: bool
) -> tuple[IncidentKind, str] | None:
    """The limit for which a producer must be killed now, and a sentence about it."""
    if early := _too_much_memory(rss_bytes, limits) or _not_up(silent_s, limits, has_come_up=has_come_up):
        return early
    if has_come_up and silent_s > limits.planning_timeout_s:
        return IncidentKind.STALL, f"gave no chunk for {limits.planning_timeout_s:g} s (planning_timeout_s)"
    return None


def _too_much_memory(rss_bytes: int, limits: WriterSettings) -> tuple[IncidentKind, str] | None:
    if rss_bytes <= limits.rss_hard_limit_bytes:
        return None
    limit = f"the limit of {_mib(limits.rss_hard_limit_bytes)} (rss_hard_limit_bytes)"
    return IncidentKind.MEMORY_LIMIT, f"took {_mib(rss_bytes)} of resident memory, over {limit}"


def _not_up(waited_s: float, limits: WriterSettings, *, has_come_up: bool) -> tuple[IncidentKind, str] | None:
    """Starting may be slow on a busy machine, which is not a stall."""
    if has_come_up or waited_s <= limits.start_timeout_s:
        return None
    return IncidentKind.START_FAILED, f"did not come up within {limits.start_timeout_s:g} s"


def replacement_due(vitals: Vitals, limits: WriterSettings) -> tuple[IncidentKind, str] | None:
    """Why a worker should be replaced after its chunk; None when it may continue."""
    if vitals.rss_bytes > limits.rss_soft_limit_bytes:
        return IncidentKind.MEMORY_RECYCLE, over_soft_limit(vitals.rss_bytes, limits)
    if vitals.descriptors > limits.descriptors_max:
        return (
            IncidentKind.DESCRIPTORS_RECYCLE,
            f"has {vitals.descriptors} open descriptors, over the limit of {limits.descriptors_max} (descriptors_max)",
        )
    return None


def over_soft_limit(rss_bytes: int, limits: WriterSettings) -> str:
    """What is said of a process over the soft limit of memory."""
    return (
        f"has {_mib(rss_bytes)} of resident memory, over the soft limit of {_mib(limits.rss_soft_limit_bytes)} "
        "(rss_soft_limit_bytes)"
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def classify_exit(exit_code: int, *, ever_alive: bool, oom_killed: bool) -> tuple[IncidentKind, str]:
    """The likely cause of an unexpected exit, and a sentence about it. Exit code 0 is no excuse."""
    if exit_code < 0:
        try:
            name = signal.Signals(-exit_code).name
        except ValueError:
            name = f"signal {-exit_code}"
        if -exit_code == signal.SIGKILL and oom_killed:
            return IncidentKind.OUT_OF_MEMORY, "killed by the kernel: the cgroup counted an out-of-memory kill"
        hint = " (an operator, or the kernel short of memory)" if -exit_code == signal.SIGKILL else ""
        return IncidentKind.SIGNAL, f"ended by {name}{hint}"
    if not ever_alive:
        return IncidentKind.START_FAILED, f"ended with exit code {exit_code} before it came up"
    if exit_code == 0:
        return IncidentKind.EXIT_WITHOUT_REPORT, "ended with exit code 0 without a report of its work"
    return IncidentKind.CRASH, f"ended with exit code {exit_code}"


def default_workers() -> int:
    """The number of workers that the CPUs granted to this process can use, 2 to 8.

    The cgroup's grant counts, not the node's CPUs: counting those in a small container ends in an out-of-memory
    storm.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if (quota := granted_cpus()) is not None:
        cpus = min(cpus, max(1, round(quota)))
    return min(max(2, cpus), _WORKERS_DEFAULT_MAX)


def workers_in_memory(limits: WriterSettings) -> int:
    """The number of workers that the memory left to this process can hold, at least 1."""
    return max(1, available_memory_bytes() // limits.worker_memory_bytes)
