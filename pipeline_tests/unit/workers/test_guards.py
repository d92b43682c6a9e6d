"""What signs of life, exit codes and grants are taken for."""

import pytest

from rowledger.ledger.outcomes import IncidentKind
from rowledger.settings import WriterSettings
from rowledger.workers import guards
from rowledger.workers.guards import Vitals, classify_exit, default_workers, overrun, replacement_due, workers_in_memory

_LIMITS = WriterSettings(
    stall_timeout_s=10,
    chunk_deadline_s=100,
    close_timeout_s=5,
    rss_soft_limit_bytes=100 * 2**20,
    rss_hard_limit_bytes=200 * 2**20,
    descriptors_max=64,
)


def test_a_worker_within_its_limits_goes_on() -> None:
    vitals = Vitals(chunk_started_at=0, progressed_at=90, rss_bytes=200 * 2**20)
    assert overrun(vitals, _LIMITS, now=100) is None


def test_memory_over_the_hard_limit_ends_a_worker() -> None:
    found = overrun(Vitals(0, 0, rss_bytes=200 * 2**20 + 1), _LIMITS, now=0)
    assert found is not None
    assert found[0] is IncidentKind.MEMORY_LIMIT
    assert "over the limit of 200.0 MiB" in found[1]


def test_a_worker_without_progress_has_stalled() -> None:
    found = overrun(Vitals(chunk_started_at=0, heartbeats=1, progressed_at=0), _LIMITS, now=10.5)
    assert found is not None
    assert found[0] is IncidentKind.STALL
    assert "10.0 s" in found[1]


def test_progress_does_not_save_a_worker_from_the_deadline() -> None:
    assert overrun(Vitals(chunk_started_at=0, heartbeats=1, progressed_at=104), _LIMITS, now=104.9) is None, (
        "its own deadline first"
    )
    found = overrun(Vitals(chunk_started_at=0, heartbeats=1, progressed_at=105), _LIMITS, now=105.1)
    assert found is not None
    assert found[0] is IncidentKind.DEADLINE


def test_a_worker_that_never_beats_has_a_time_to_come_up_and_no_other() -> None:
    limits = _LIMITS.model_copy(update={"start_timeout_s": 300})
    assert overrun(Vitals(chunk_started_at=0, progressed_at=0), limits, now=299) is None
    found = overrun(Vitals(chunk_started_at=0, progressed_at=0), limits, now=301)
    assert found is not None
    assert found[0] is IncidentKind.START_FAILED


def test_a_worker_is_replaced_for_memory_or_descriptors_over_the_soft_limits() -> None:
    assert replacement_due(Vitals(0, 0, rss_bytes=100 * 2**20, descriptors=64), _LIMITS) is None
    kind, reason = replacement_due(Vitals(0, 0, rss_bytes=100 * 2**20 + 1), _LIMITS) or ("", "")
    assert (kind, "bytes" in reason) == (IncidentKind.MEMORY_RECYCLE, True)
    kind, reason = replacement_due(Vitals(0, 0, descriptors=65), _LIMITS) or ("", "")
    assert (kind, "65 open descriptors" in reason) == (IncidentKind.DESCRIPTORS_RECYCLE, True)


@pytest.mark.parametrize(
    ("exit_code", "ever_alive", "oom_killed", "kind", "hint"),
    [
        (0, True, False, IncidentKind.EXIT_WITHOUT_REPORT, "exit code 0"),
        (1, True, False, IncidentKind.CRASH, "exit code 1"),
        (0, False, False, IncidentKind.START_FAILED, "before it came up"),
        (1, False, False, IncidentKind.START_FAILED, "exit code 1"),
        (-9, True, False, IncidentKind.SIGNAL, "SIGKILL"),
        (-9, True, True, IncidentKind.OUT_OF_MEMORY, "out-of-memory"),
        (-9, False, False, IncidentKind.SIGNAL, "SIGKILL"),
        (-11, True, True, IncidentKind.SIGNAL, "SIGSEGV"),
        (-15, True, False, IncidentKind.SIGNAL, "SIGTERM"),
        (-63, True, False, IncidentKind.SIGNAL, "signal 63"),
    ],
)
def test_an_exit_is_classified(
    exit_code: int, *, ever_alive: bool, oom_killed: bool, kind: IncidentKind, hint: str
) -> None:
    found = classify_exit(exit_code, ever_alive=ever_alive, oom_killed=oom_killed)
    assert found[0] is kind
    assert hint in found[1]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A node with 64 CPUs and much memory, and no limit on us."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(guards, "granted_cpus", lambda: None)
    monkeypatch.setattr(guards, "available_memory_bytes", lambda: 2**40)
    return monkeypatch


@pytest.mark.usefixtures("node")
def test_the_pool_is_bounded_on_a_large_node() -> None:
    assert default_workers() == 8


@pytest.mark.parametrize(("quota", "workers"), [(3.0, 3), (0.5, 2), (1.5, 2), (64.0, 8)])
def test_the_cgroup_s_cpus_count_not_the_node_s(node: pytest.MonkeyPatch, quota: float, workers: int) -> None:
    node.setattr(guards, "granted_cpus", lambda: quota)
    assert default_workers() == workers


_RECKONED = WriterSettings(worker_memory_bytes=300 * 2**20)


@pytest.mark.parametrize(("room_mb", "workers"), [(650, 2), (10, 1), (3000, 10)])
def test_the_memory_that_is_left_bounds_the_pool(node: pytest.MonkeyPatch, room_mb: int, workers: int) -> None:
    node.setattr(guards, "available_memory_bytes", lambda: room_mb * 2**20)
    assert workers_in_memory(_RECKONED) == workers
