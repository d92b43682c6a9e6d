"""Connection poolers between Rowledger and the server: those that pool sessions are accepted, others are refused.

A lease, a fence, a session's settings and its prepared statements belong to one backend. PgBouncer with `pool_mode = session`
keeps the backend for as long as the client is connected. With `transaction` or `statement`, each transaction may run on
another backend.
"""

import asyncpg

from rowledger.errors import UnsupportedServer
from rowledger.postgres.statements import said_by_server
from rowledger.postgres.transactions import transaction

__all__ = [
    "TRANSACTION_POOLING",
    "comes_of_transaction_pooling",
    "refuses_startup_settings",
    "require_session_pooling",
]

TRANSACTION_POOLING = (
    "a connection pooler gives each transaction another session of the server (PgBouncer does with pool_mode = transaction or "
    "statement), and Rowledger needs sessions of its own; connect to the server itself, or to a pool with pool_mode = session"
)


def refuses_startup_settings(error: asyncpg.PostgresError) -> bool:
    """Whether a pooler has refused settings at the start of a session. The text is PgBouncer's; a server never sends it."""
    return error.sqlstate == "08P01" and "unsupported startup parameter" in _message(error)


def comes_of_transaction_pooling(error: BaseException) -> bool:
    """Whether a new session has failed because its statements, or the parts of one, ran on different backends."""
    if isinstance(error, asyncpg.InvalidSQLStatementNameError | asyncpg.DuplicatePreparedStatementError):
        return True
    return isinstance(error, asyncpg.PostgresError) and "in statement pooling mode" in _message(error)


def _message(error: asyncpg.PostgresError) -> str:
    return said_by_server(error)["message"] or ""


async def require_session_pooling(url: str, connection: asyncpg.Connection, timeout_s: float) -> None:
    """Raise UnsupportedServer where two sessions of a pooler share a backend. Within a transaction, every pooler keeps one.

    A second session holds a backend in a transaction. If that is the backend that the first session had, or if the first
    session has another one now, the pooler reassigns backends after each transaction.
    """
    before = await _backend_pid(connection)
    other = await asyncpg.connect(url, timeout=timeout_s, statement_cache_size=0)
    try:
        async with transaction(other):
            held = await other.fetchval("select pg_catalog.pg_backend_pid()")
            shared = held == before or await _backend_pid(connection) != before
    finally:
        other.terminate()
    if shared:
        raise UnsupportedServer(TRANSACTION_POOLING)


async def _backend_pid(connection: asyncpg.Connection) -> int:
    """The backend that serves the connection's next transaction."""
    async with transaction(connection):
        return int(await connection.fetchval("select pg_catalog.pg_backend_pid()"))
