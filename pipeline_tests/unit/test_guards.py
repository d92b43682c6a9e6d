"""What signs of life, exit codes and cgroup files are taken for."""

from pathlib import Path

import pytest

from pipeline.model.outcome import IncidentKind
from pipeline.settings import WriterSettings
from pipeline.workers import guards
from pipeline.workers.guards import (
    Vitals,
    classify_exit,
    default_workers,
    overrun,
    read_oom_kills,
    replacement_due,
    workers_in_memory,
)

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
    assert str(200 * 2**20) in found[1]


def test_a_worker_without_progress_has_stalled() -> None:
    found = overrun(Vitals(chunk_started_at=0, progressed_at=0), _LIMITS, now=10.5)
    assert found is not None
    assert found[0] is IncidentKind.STALL
    assert "10.0 s" in found[1]


def test_progress_does_not_save_a_worker_from_the_deadline() -> None:
    assert overrun(Vitals(chunk_started_at=0, progressed_at=104), _LIMITS, now=104.9) is None, "its own deadline first"
    found = overrun(Vitals(chunk_started_at=0, progressed_at=105), _LIMITS, now=105.1)
    assert found is not None
    assert found[0] is IncidentKind.DEADLINE


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
def cgroup(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of a made-up cgroup, on a node with 64 CPUs and much memory."""
    files: dict[str, str] = {}
    monkeypatch.setattr(guards, "_read_cgroup_file", files.get)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    return files


def test_the_pool_is_bounded_on_a_large_node(cgroup: dict[str, str]) -> None:
    cgroup["cpu.max"] = "max 100000"
    assert default_workers() <= 8


@pytest.mark.parametrize(("quota", "workers"), [("300000 100000", 3), ("50000 100000", 2), ("150000 100000", 2)])
def test_the_cgroup_s_cpus_count_not_the_node_s(
    cgroup: dict[str, str], monkeypatch: pytest.MonkeyPatch, quota: str, workers: int
) -> None:
    monkeypatch.setattr(guards, "_available_memory_bytes", lambda: 2**40)
    cgroup["cpu.max"] = f"{quota}\n"
    assert default_workers() == workers


def test_the_quota_of_the_first_cgroup_version_counts_too(
    cgroup: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "_available_memory_bytes", lambda: 2**40)
    cgroup.update({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"})
    assert default_workers() == 4
    cgroup["cpu/cpu.cfs_quota_us"] = "-1\n"
    assert default_workers() == 8


def test_memory_bounds_the_pool(cgroup: dict[str, str]) -> None:
    cgroup.update({"memory.max": str(700 * 2**20), "memory.current": str(50 * 2**20)})
    assert workers_in_memory(WriterSettings(worker_memory_bytes=300 * 2**20)) == 2
    cgroup["memory.current"] = str(690 * 2**20)
    assert workers_in_memory(WriterSettings(worker_memory_bytes=300 * 2**20)) == 1


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({"memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"}, 2),
        ({"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"}, 5),
        ({"memory.events": "low 0\n"}, None),
        ({}, None),
    ],
)
def test_out_of_memory_kills_are_read_from_the_cgroup(
    cgroup: dict[str, str], files: dict[str, str], kills: int | None
) -> None:
    cgroup.update(files)
    assert read_oom_kills() == kills


def test_a_machine_without_cgroups_has_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_path: Path, *_args: object, **_kwargs: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert read_oom_kills() is None
    assert 1 <= default_workers() <= 8
