"""Grants and counts of the cgroup we are in, read from made-up file systems as real machines lay them out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from rowledger.machine.cgroup import available_memory_bytes, granted_cpus, read_oom_kills

GIB = 2**30
MACHINE = 1024 * GIB
MachineOf = Callable[[str, str, Mapping[str, str]], Path]

V2 = "31 23 0:28 {mounted} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1_MEMORY = "35 31 0:32 {mounted} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
V1_CPU = "33 31 0:30 {mounted} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
HYBRID_V2 = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
TMPFS = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755"


@pytest.fixture(autouse=True)
def _large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=MACHINE))


@pytest.fixture
def machine(tmp_path: Path) -> MachineOf:
    """Lay out a machine: /proc/self/cgroup, mounts, and files below /sys/fs/cgroup."""

    def lay_out(memberships: str, mounts: str, files: Mapping[str, str]) -> Path:
        written = {"proc/self/cgroup": memberships + "\n", "proc/self/mountinfo": f"{TMPFS}\n{mounts}\n"}
        written |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
        for name, text in written.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return lay_out


def test_the_second_version_s_group_is_found_by_its_path(machine: MachineOf) -> None:
    root = machine(
        "0::/user.slice/run.scope",
        V2.format(mounted="/"),
        {
            "user.slice/run.scope/memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
            "user.slice/run.scope/memory.max": f"{2 * GIB}\n",
            "user.slice/run.scope/memory.current": f"{GIB}\n",
            "user.slice/run.scope/memory.stat": "anon 5\ninactive_file 1000\nactive_file 7\n",
            "user.slice/run.scope/cpu.max": "150000 100000\n",
            "memory.events": "oom_kill 99\n",
        },
    )
    assert read_oom_kills(root) == 2
    assert granted_cpus(root) == 1.5
    assert available_memory_bytes(root) == GIB + 1000


def test_a_limit_of_a_group_above_ours_binds_us_too(machine: MachineOf) -> None:
    root = machine(
        "0::/pod/container",
        V2.format(mounted="/"),
        {
            "pod/container/memory.max": "max\n",
            "pod/container/memory.current": "5\n",
            "pod/container/cpu.max": "400000 100000\n",
            "pod/memory.max": f"{GIB}\n",
            "pod/memory.current": "24\n",
            "pod/cpu.max": "200000 100000\n",
            "cpu.max": "max 100000\n",
        },
    )
    assert granted_cpus(root) == 2
    assert available_memory_bytes(root) == GIB - 24


def test_the_first_version_s_groups_are_found_by_the_path_of_each_controller(machine: MachineOf) -> None:
    root = machine(
        "4:memory:/batch/job7\n2:cpu,cpuacct:/shares/a",
        f"{V1_MEMORY.format(mounted='/')}\n{V1_CPU.format(mounted='/')}",
        {
            "memory/batch/job7/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
            "memory/batch/job7/memory.limit_in_bytes": f"{4 * GIB}\n",
            "memory/batch/job7/memory.usage_in_bytes": f"{3 * GIB}\n",
            "memory/batch/job7/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB}\n",
            "memory/memory.oom_control": "oom_kill 77\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/memory.usage_in_bytes": f"{3 * GIB}\n",
            "cpu,cpuacct/shares/a/cpu.cfs_quota_us": "400000\n",
            "cpu,cpuacct/shares/a/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    assert read_oom_kills(root) == 5
    assert granted_cpus(root) == 4
    assert available_memory_bytes(root) == 2 * GIB


def test_where_both_versions_are_mounted_the_controller_s_own_hierarchy_counts(machine: MachineOf) -> None:
    root = machine(
        "4:memory:/job\n1:name=systemd:/init.scope\n0::/init.scope",
        f"{HYBRID_V2}\n{V1_MEMORY.format(mounted='/')}",
        {
            "memory/job/memory.oom_control": "oom_kill 1\n",
            "unified/init.scope/memory.events": "oom_kill 42\n",
            "unified/init.scope/cpu.max": "300000 100000\n",
        },
    )
    assert read_oom_kills(root) == 1
    assert granted_cpus(root) == 3, "the cpu controller is v2's here"


@pytest.mark.parametrize(
    ("own", "mounted", "found"),
    [
        ("/docker/f00", "/docker/f00", "memory"),  # a container: its group is all that is mounted
        ("/docker/f00/inner", "/docker/f00", "memory/inner"),  # a group made inside the container
        ("/", "/", "memory"),  # a container with a namespace of its own
        ("/../elsewhere", "/", "memory"),  # moved out of its namespace: it cannot be seen
        ("/docker/f00", "/", "memory"),  # named by the host, mounted without it
    ],
)
def test_in_a_container_the_mount_is_where_our_own_group_begins(
    machine: MachineOf, own: str, mounted: str, found: str
) -> None:
    root = machine(
        f"4:memory:{own}",
        V1_MEMORY.format(mounted=mounted),
        {"memory/memory.oom_control": "oom_kill 8\n", f"{found}/memory.oom_control": "oom_kill 3\n"},
    )
    assert read_oom_kills(root) == 3


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"memory.events": "low 0\n", "memory.max": "max\n", "cpu.max": "max 100000\n"},
    ],
)
def test_a_group_that_says_nothing_limits_nothing(machine: MachineOf, files: Mapping[str, str]) -> None:
    root = machine("0::/", V2.format(mounted="/"), files)
    assert (read_oom_kills(root), granted_cpus(root), available_memory_bytes(root)) == (None, None, MACHINE)


def test_a_machine_without_cgroups_limits_nothing(tmp_path: Path) -> None:
    assert (read_oom_kills(tmp_path), granted_cpus(tmp_path), available_memory_bytes(tmp_path)) == (None, None, MACHINE)


def test_a_group_full_of_what_cannot_be_given_back_has_no_room(machine: MachineOf) -> None:
    root = machine("0::/", V2.format(mounted="/"), {"memory.max": "100\n", "memory.current": "130\n"})
    assert available_memory_bytes(root) == 0


def test_the_machine_s_memory_counts_where_a_group_grants_more(machine: MachineOf) -> None:
    root = machine("0::/", V2.format(mounted="/"), {"memory.max": f"{2 * MACHINE}\n", "memory.current": "0\n"})
    assert available_memory_bytes(root) == MACHINE
