"""One session for one piece of work that is not retried: bounded in time, with errors that name the work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from rowledger.errors import DatabaseUnavailable, MissingPrivilege, RowledgerError
from rowledger.postgres.retry import may_retry
from rowledger.postgres.session import Session, connect, deadline
from rowledger.postgres.sqlstate import summarize
from rowledger.postgres.standby import commit_in_time
from rowledger.postgres.transactions import transaction
from rowledger.settings import WriterSettings

__all__ = ["ServerSession", "server_session"]


@dataclass(frozen=True, slots=True)
class ServerSession:
    """An open session. `commit_begins` is set when a COMMIT begins; `commit_in_time` bounds the wait from then on."""

    session: Session
    commit_begins: asyncio.Event
    _closing: contextlib.AsyncExitStack

    @property
    def connection(self) -> asyncpg.Connection:
        return self.session.connection

    def keep(self) -> Session:
        """Leave the session open at the end of the block; from then on it is the caller's. Call this as the last thing."""
        self._closing.pop_all()
        return self.session

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Open a transaction whose COMMIT waits for a missing standby for a bounded time."""
        async with transaction(self.connection):
            yield
            self.commit_begins.set()


@contextlib.asynccontextmanager
async def server_session(
    url: str, *, purpose: str, doing: str, limits: WriterSettings, wait_s: float = 0
) -> AsyncIterator[ServerSession]:
    """Open a session for the block, which may take `statement_timeout_s` and `wait_s`.

    It is closed afterwards, unless it is kept. `purpose` names the session on the server; `doing` names the work in errors.
    Raises MissingPrivilege, RowledgerError for another refusal, and DatabaseUnavailable, with its cause, for an error that may
    not occur again.
    """
    opened = await connect(url, application_name=f"rowledger {purpose}", timeout_s=limits.connect_timeout_s)
    try:
        async with contextlib.AsyncExitStack() as closing:
            session = await closing.enter_async_context(opened)
            async with (
                commit_in_time(url, session, limits.outage_budget_s) as commit_begins,
                deadline(session, limits.statement_timeout_s + wait_s),
            ):
                yield ServerSession(session, commit_begins, closing)
    except asyncpg.InsufficientPrivilegeError as error:
        raise MissingPrivilege(
            f"{doing}: the server refused for want of a privilege ({summarize(error)}); it was revoked meanwhile, or is one "
            "on something that the table depends on"
        ) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if isinstance(error, asyncpg.PostgresError) and not may_retry(error):
            raise RowledgerError(f"{doing}: the server refused: {summarize(error)}") from None
        raise DatabaseUnavailable(f"{doing} failed: {summarize(error)}; try again") from error
