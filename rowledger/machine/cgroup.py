"""CPUs, memory and out-of-memory kills of the process's control group; cgroup v1, v2 and both at once.

/proc/self/cgroup names the process's group in each hierarchy. /proc/self/mountinfo says which part of a hierarchy is mounted
where; in a container this is often only the container's part. The limits of all groups above apply too. All files are read
below `root`, which is the machine's file system except in tests.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

__all__ = ["available_memory_bytes", "granted_cpus", "read_oom_kills"]

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class _Group:
    """The process's group in one hierarchy. `folders` are the group's folder and those above it that are mounted."""

    is_v2: bool
    folders: tuple[Path, ...]


def read_oom_kills(root: Path = _ROOT) -> int | None:
    """Out-of-memory kills that the process's group has counted; None where the group has no such count."""
    group = _own_group("memory", root)
    if group is None:
        return None
    text = _read(group.folders[0] / ("memory.events" if group.is_v2 else "memory.oom_control"))
    match = re.search(r"^oom_kill (\d+)$", text or "", re.MULTILINE)
    return int(match[1]) if match else None


def granted_cpus(root: Path = _ROOT) -> float | None:
    """CPUs granted by the tightest quota on the process; None where there is no quota."""
    group = _own_group("cpu", root)
    quotas = [_cpu_quota(folder, is_v2=group.is_v2) for folder in group.folders] if group else []
    return min((quota for quota in quotas if quota is not None), default=None)


def available_memory_bytes(root: Path = _ROOT) -> int:
    """Memory left for the process: on the machine, and below the tightest limit of its groups.

    Page cache that the kernel can reclaim counts as free: a group that has read many files is not short of memory.
    """
    group = _own_group("memory", root)
    rooms = [_memory_room(folder, is_v2=group.is_v2) for folder in group.folders] if group else []
    return min([int(psutil.virtual_memory().available), *(room for room in rooms if room is not None)])


def _cpu_quota(folder: Path, *, is_v2: bool) -> float | None:
    if is_v2:
        quota, _, period = (_read(folder / "cpu.max") or "max").strip().partition(" ")
    else:
        quota, period = ((_read(folder / f"cpu.cfs_{name}_us") or "-1").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _memory_room(folder: Path, *, is_v2: bool) -> int | None:
    limit_name, used_name, cache_name = (
        ("memory.max", "memory.current", "inactive_file")
        if is_v2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    limit = (_read(folder / limit_name) or "max").strip()
    if not limit.isdecimal():
        return None
    used = int(_read(folder / used_name) or 0)
    cache = re.search(rf"^{cache_name} (\d+)$", _read(folder / "memory.stat") or "", re.MULTILINE)
    return max(0, int(limit) - used + (int(cache[1]) if cache else 0))


def _own_group(controller: str, root: Path) -> _Group | None:
    """The process's group in the controller's v1 hierarchy if there is one, otherwise in the v2 hierarchy."""
    own: dict[str, PurePosixPath] = {}
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            own["cgroup2"] = PurePosixPath(path)
        elif controller in controllers.split(","):
            own["cgroup"] = PurePosixPath(path)
    for file_system in sorted(own):
        for mount_point, mounted in _mounts(file_system, controller, root):
            folders = _folders(root / str(mount_point).lstrip("/"), mounted, own[file_system])
            return _Group(file_system == "cgroup2", folders)
    return None


def _mounts(file_system: str, controller: str, root: Path) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Each mount of the controller's hierarchy: the mount point and the group mounted there; see proc_pid_mountinfo(5)."""
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        place, _, kind = line.partition(" - ")
        _, _, _, mounted, mount_point, *_ = place.split()
        found, _, options = kind.split(" ", 2)
        if found == file_system and (found == "cgroup2" or controller in options.split(",")):
            yield PurePosixPath(mount_point), PurePosixPath(mounted)


def _folders(mount_point: Path, mounted: PurePosixPath, own: PurePosixPath) -> tuple[Path, ...]:
    """The group's folder and those above it. Where the group is not visible below the mount, the mount point replaces it."""
    if ".." in own.parts or not own.is_relative_to(mounted):
        return (mount_point,)
    below = own.relative_to(mounted)
    folders = [mount_point / part for part in (below, *below.parents)]
    return tuple(folder for folder in folders if folder.is_dir()) or (mount_point,)


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:
        return None
