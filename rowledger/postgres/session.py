"""Connections on which every wait is bounded.

asyncpg's timeouts do not cover a COPY that waits for the socket to drain: when the backend dies there, the call hangs
(`copy_in` awaits the writing-allowed event without a timeout). So each session has TCP keepalive *and* TCP_USER_TIMEOUT on both
sides, and callers use it inside `deadline()`, which adds a termination listener.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import asyncpg

from rowledger.errors import DatabaseUnavailable, UnsupportedServer
from rowledger.machine import guard_socket
from rowledger.postgres.pooler import (
    TRANSACTION_POOLING,
    comes_of_transaction_pooling,
    refuses_startup_settings,
    require_session_pooling,
)
from rowledger.postgres.queries import query
from rowledger.postgres.row_security import require_all_rows
from rowledger.postgres.server_url import redact
from rowledger.postgres.session_settings import AT_STARTUP, WANTED, pin
from rowledger.postgres.sqlstate import summarize
from rowledger.postgres.statements import NamingConnection, hush
from rowledger.private_names import transport_of

__all__ = [
    "DeadlineExpired",
    "Session",
    "SessionIdentity",
    "check_server",
    "connect",
    "deadline",
]

_OLDEST_SERVER = 140_000
_ORPHAN_CHECK_S = 2
_DEAD_PEER_S = 15  # how long either side waits for a peer that has gone silent
_UNSENT_BYTES_MAX = 512 * 2**10  # measured: no slower than the 4 MiB that the kernel would buffer

_ROLE_CANNOT_SEE_ITS_SESSIONS = (
    "this role acts as another one (its setting `role`), which may not see its sessions; connect as that other role, or grant "
    "it pg_read_all_stats and pg_signal_backend"
)


class DeadlineExpired(TimeoutError):
    """The work was not done in time; the connection has been cut."""


@dataclass(frozen=True, slots=True)
class SessionIdentity:
    """A backend's pid and start time, which distinguish it from a later backend with the same pid."""

    pid: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection and the identity of its backend. `async with` closes it."""

    connection: asyncpg.Connection
    identity: SessionIdentity

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, timeout_s: float = 1) -> None:
        """Close the connection within the time given, otherwise cut it."""
        try:
            await self.connection.close(timeout=timeout_s)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.connection.terminate()


async def connect(url: str, *, application_name: str, timeout_s: float) -> Session:
    """Open a session that has Rowledger's settings and notices a dead peer; raises DatabaseUnavailable, UnsupportedServer.

    The driver's error is the `__cause__` of DatabaseUnavailable, so that a retry can classify it.
    """
    try:
        async with asyncio.timeout(timeout_s):
            connection, is_pooled = await _open(url, application_name, timeout_s)
            try:
                # asyncpg has no settings for these.
                sock = transport_of(connection).get_extra_info("socket")
                guard_socket(sock, dead_peer_s=_DEAD_PEER_S, unsent_bytes_max=_UNSENT_BYTES_MAX)
                # A backend that computes (an index, a count) does not read its socket, and would outlive a killed client.
                # Servers on systems that cannot poll a socket refuse the setting; there such a statement runs to its end.
                with contextlib.suppress(asyncpg.CantChangeRuntimeParamError, asyncpg.InvalidParameterValueError):
                    await connection.execute(f"set client_connection_check_interval = '{_ORPHAN_CHECK_S}s'")
                row = await connection.fetchrow(query("own_backend"), list(WANTED), list(WANTED.values()))
                if is_pooled or row["pid"] != connection.get_server_pid():
                    await require_session_pooling(url, connection, timeout_s)
                await pin(connection, row)
            except BaseException:  # a cancel too: no caller has the connection yet, to close it
                connection.terminate()
                raise
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        if comes_of_transaction_pooling(error):
            raise UnsupportedServer(TRANSACTION_POOLING) from None
        raise DatabaseUnavailable(
            f"cannot connect to {redact(url)}: {summarize(error)}; check that the server runs, and "
            "ROWLEDGER_DATABASE_URL, or the other variable that is named for it"
        ) from error
    if row["backend_start"] is None:
        connection.terminate()
        raise UnsupportedServer(_ROLE_CANNOT_SEE_ITS_SESSIONS)
    return Session(connection, SessionIdentity(row["pid"], row["backend_start"]))


async def _open(url: str, application_name: str, timeout_s: float) -> tuple[asyncpg.Connection, bool]:
    """A connection with the settings sent at its start, and whether a pooler has refused these settings."""
    name = {"application_name": application_name}
    server_settings = {
        **name,
        **AT_STARTUP,
        "tcp_keepalives_idle": str(_DEAD_PEER_S // 2),
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": str(_DEAD_PEER_S * 1000),
    }
    try:
        return await _connection(url, server_settings, timeout_s), False
    except asyncpg.ProtocolViolationError as error:
        if not refuses_startup_settings(error):
            raise
    return await _connection(url, name, timeout_s), True


async def _connection(url: str, server_settings: dict[str, str], timeout_s: float) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(
            url, timeout=timeout_s, connection_class=NamingConnection, server_settings=server_settings
        )
    except asyncpg.PostgresError as error:
        hush(error)
        raise


async def check_server(session: Session) -> str:
    """The server's version; raises UnsupportedServer where a guarantee would not hold.

    Raises MissingPrivilege where row security could hide rows of the ledger.
    """
    facts = await session.connection.fetchrow(query("server_facts"))
    if facts["version_num"] < _OLDEST_SERVER:
        raise UnsupportedServer(f"the server is PostgreSQL {facts['version']}; Rowledger needs 14 or newer")
    if facts["encoding"] != "UTF8":
        raise UnsupportedServer(
            f"the database's encoding is {facts['encoding']}; Rowledger needs UTF8 (create database … encoding 'UTF8')"
        )
    await require_all_rows(session.connection)
    return str(facts["version"])


@contextlib.asynccontextmanager
async def deadline(session: Session, seconds: float) -> AsyncIterator[None]:  # noqa: C901, one branch an ending
    """Run the block until it ends, the connection is lost, or this many seconds have passed.

    Raises ConnectionResetError when the backend is gone, and DeadlineExpired when the time is up. In both cases the connection
    is gone too: what it was doing is unknown, and the server rolls back what did not commit.
    """
    connection = session.connection
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - asyncio guarantees it inside a coroutine
    lost = left = False

    def on_termination(_connection: object) -> None:
        nonlocal lost
        if not left:  # asyncpg may have scheduled the call before the listener was removed
            lost = True
            task.cancel()

    connection.add_termination_listener(on_termination)
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except asyncio.CancelledError:
        if not lost:
            connection.terminate()
            raise
        if task.uncancel() > 0:  # the task was also cancelled from elsewhere, which takes precedence
            raise
        raise ConnectionResetError("the server closed the connection") from None
    except TimeoutError as error:  # the limit's, or a dead peer's (ETIMEDOUT)
        connection.terminate()
        if limit.expired():
            raise DeadlineExpired(f"not done within {seconds:g} s") from error
        raise
    except Exception as error:
        if lost and task.cancelling():
            task.uncancel()
        if task.cancelling():  # the cancel is masked by an error that leaving the transaction raised
            connection.terminate()
            raise asyncio.CancelledError from error
        if connection.is_closed() and not isinstance(error, asyncpg.PostgresError):
            # The loss is masked: on a lost transport asyncpg raises whatever error it happens to run into.
            raise ConnectionResetError("the server closed the connection") from error
        raise
    finally:
        left = True
        connection.remove_termination_listener(on_termination)
