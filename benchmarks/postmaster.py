"""The server's processes, where it runs on this machine: what CPU they have taken."""

import asyncpg
import psutil

__all__ = ["find_postmaster", "server_cpu_s"]

_CLOCKS_DIFFER_S = 2.0  # psutil knows a process's start to the tick, the server its own a moment later


async def find_postmaster(connection: asyncpg.Connection) -> psutil.Process | None:
    """The server's first process, if the one with its number on this machine is really it."""
    started = (await connection.fetchval("select pg_postmaster_start_time()")).timestamp()
    try:
        postmaster = psutil.Process(psutil.Process(await connection.fetchval("select pg_backend_pid()")).ppid())
        return postmaster if abs(postmaster.create_time() - started) < _CLOCKS_DIFFER_S else None
    except psutil.Error:
        return None


def server_cpu_s(postmaster: psutil.Process) -> float:
    """CPU seconds of the server and all its processes, ended ones included."""
    while True:
        own = postmaster.cpu_times()
        try:
            times = [own, *(child.cpu_times() for child in postmaster.children())]
        except psutil.NoSuchProcess:
            continue
        after = postmaster.cpu_times()
        # A backend that ends between two looks would be counted by neither: then look again.
        if (after.children_user, after.children_system) == (own.children_user, own.children_system):
            return float(sum(one.user + one.system for one in times) + own.children_user + own.children_system)
