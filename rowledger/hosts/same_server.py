"""Whether a host's URL leads to the database in which the run works."""

import asyncpg

from rowledger.errors import DatabaseUnavailable
from rowledger.postgres import connect, query, summarize
from rowledger.settings import WriterSettings

__all__ = ["is_server_of_run"]


async def is_server_of_run(url: str, holder: str, limits: WriterSettings) -> bool:
    """Whether the run `holder` (hexadecimal) has a session or a lease there; raises DatabaseUnavailable, UnsupportedServer."""
    async with await connect(url, application_name="rowledger agent", timeout_s=limits.connect_timeout_s) as session:
        try:
            if await session.connection.fetchval(query("has_control_session"), holder):
                return True
            return bool(await session.connection.fetchval(query("has_lease"), holder))
        except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):  # no ledger of ours
            return False
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
            raise DatabaseUnavailable(f"the database does not answer ({summarize(error)}); check the server") from error
