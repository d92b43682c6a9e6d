"""What it ran on: processor, cores, memory, kernel, versions."""

import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import psutil

from rowledger.machine.cgroup import granted_cpus

__all__ = ["describe_machine", "versions"]


def describe_machine() -> dict[str, object]:
    """Figures for the JSON; `cores` are those that this process may use."""
    quota = granted_cpus()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    return {
        "cpu": _cpu_model(),
        "cores": cores if quota is None else min(cores, quota),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions; what is not installed is left out."""
    found = {name: list(metadata.distributions(name=name)) for name in sorted(set(packages))}
    return {name: one[0].version for name, one in found.items() if one}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
