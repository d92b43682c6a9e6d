"""End the sessions of other processes of a run, or of a former run: a frozen process keeps its locks while they live.

A role may end the sessions of its own role, and of those it belongs to. Each function takes a connection, which it leaves open.
"""

import uuid
from dataclasses import dataclass

import asyncpg

from rowledger.machine import Host
from rowledger.postgres import SessionIdentity, SessionRole, names_of_host, names_of_run, query, role_and_pid

__all__ = ["HostSession", "terminate_backend", "terminate_host_sessions", "terminate_sessions"]


@dataclass(frozen=True, slots=True)
class HostSession:
    """A session that a supervisor (`control`) or a worker of a host had open, and the server process behind it.

    `pid` is the worker's, and None for a supervisor. `may_end` is False where our role may not end the sessions of its role
    `owner`: it goes on.
    """

    role: SessionRole
    pid: int | None
    backend_pid: int
    owner: str
    may_end: bool


async def terminate_backend(connection: asyncpg.Connection, holder: uuid.UUID, identity: SessionIdentity) -> bool:
    """Terminate one session of a run; False where it has ended. Raises asyncpg's InsufficientPrivilegeError."""
    return bool(
        await connection.fetchval(
            query("terminate_backend"), identity.pid, identity.started_at, names_of_run(holder.hex)
        )
    )


async def terminate_sessions(connection: asyncpg.Connection, holder: uuid.UUID) -> list[str]:
    """Terminate all sessions of an earlier holder.

    Returns those that this role may not terminate, such as `server process 4711 of role etl`.
    """
    rows = await connection.fetch(query("terminate_sessions"), names_of_run(holder.hex))
    return [f"server process {row['pid']} of role {row['role']}" for row in rows if not row["may_end"]]


async def terminate_host_sessions(
    connection: asyncpg.Connection, holder: uuid.UUID, host_no: int
) -> tuple[HostSession, ...]:
    """Terminate all sessions that one host of a run has open, and return them.

    A repeated call returns those that are still there. `host_no` is 1 to 99: the sessions of the run's own host have no number.
    """
    if not 1 <= host_no <= Host.NUMBER_MAX:
        raise ValueError(f"the sessions of a host are ended by its number, 1 to {Host.NUMBER_MAX}, not {host_no}")
    rows = await connection.fetch(query("terminate_sessions"), names_of_host(holder.hex, host_no))
    return tuple(
        HostSession(*role_and_pid(row["name"]), row["pid"], row["role"], may_end=row["may_end"]) for row in rows
    )
