"""What our control group grants us and has counted: CPUs, memory, out-of-memory kills; cgroup v1, v2 and both at once.

/proc/self/cgroup names our group in each hierarchy, /proc/self/mountinfo says which part of a hierarchy is mounted where: in
a container often only the container's own. A limit of any group above ours binds us too. All of it is read below `root`,
the machine's own file system unless a test says otherwise.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["available_memory_bytes", "granted_cpus", "read_oom_kills"]

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class _Group:
    """Our group of one hierarchy: `folders` are its own and those above it, as far as they are mounted."""

    is_v2: bool
    folders: tuple[Path, ...]


def read_oom_kills(root: Path = _ROOT) -> int | None:
    """Out-of-memory kills that our group has counted; None where it does not say."""
    group = _own_group("memory", root)
    if group is None:
        return None
    text = _read(group.folders[0] / ("memory.events" if group.is_v2 else "memory.oom_control"))
    match = re.search(r"^oom_kill (\d+)$", text or "", re.MULTILINE)
    return int(match[1]) if match else None


def granted_cpus(root: Path = _ROOT) -> float | None:
    """CPUs granted by the tightest quota on us; None where there is no quota."""
    group = _own_group("cpu", root)
    quotas = [_cpu_quota(folder, is_v2=group.is_v2) for folder in group.folders] if group else []
    return min((quota for quota in quotas if quota is not None), default=None)


def available_memory_bytes(root: Path = _ROOT) -> int | None:
    """Memory left below the tightest limit on us; None where there is no limit.

    Page cache that the kernel would give back counts as free: a group that has read much is not short of memory.
    """
    group = _own_group("memory", root)
    rooms = [_memory_room(folder, is_v2=group.is_v2) for folder in group.folders] if group else []
    return min((room for room in rooms if room is not None), default=None)


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
    """Our group where that controller is at work: in its v1 hierarchy where there is one, otherwise in v2's."""
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
    """Mount point, and the group that is mounted there, of the controller's hierarchy; see proc_pid_mountinfo(5)."""
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        place, _, kind = line.partition(" - ")
        _, _, _, mounted, mount_point, *_ = place.split()
        found, _, options = kind.split(" ", 2)
        if found == file_system and (found == "cgroup2" or controller in options.split(",")):
            yield PurePosixPath(mount_point), PurePosixPath(mounted)


def _folders(mount_point: Path, mounted: PurePosixPath, own: PurePosixPath) -> tuple[Path, ...]:
    """Our group's folder and those above it; the mount stands for a group that cannot be seen from where we are."""
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
