"""Sessions on the ledger outside a run. The server and the ledger are checked for what the session needs."""

import contextlib
from collections.abc import AsyncIterator

from rowledger.contract import Contract
from rowledger.ledger.migrations import check_ledger
from rowledger.ledger.required_privileges import require_to_load, require_to_write_ledger
from rowledger.postgres import ServerSession, check_server, limit_lock_waits, require_standby, server_session
from rowledger.settings import WriterSettings
from rowledger.spec import TableSpec

__all__ = ["ledger_session"]


@contextlib.asynccontextmanager
async def ledger_session(
    url: str,
    *,
    purpose: str,
    doing: str,
    limits: WriterSettings,
    writes: bool = False,
    loads: TableSpec | None = None,
) -> AsyncIterator[ServerSession]:
    """Open a session on a ledger of this version.

    With `writes` the session may write to the ledger, with `loads` also load that table. Raises LedgerMissing where
    nothing was ever loaded, LedgerMismatch, MissingPrivilege that names the GRANT, StandbyMissing for a session that
    writes, UnsupportedServer, and what `server_session` raises.
    """
    async with server_session(url, purpose=purpose, doing=doing, limits=limits) as session:
        connection = session.connection
        await check_server(session.session)
        await limit_lock_waits(connection, limits.lock_timeout_s)
        if loads is not None:
            await require_to_load(connection, loads, list(Contract.of(loads.row).columns), ())
        elif writes:
            await require_to_write_ledger(connection, doing)
        await check_ledger(connection)
        if writes or loads is not None:
            await require_standby(connection)
        yield session
