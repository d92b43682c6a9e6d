"""Set aside rows that cannot be published together: when rows share a key, for example, the first in source order is kept.

Staging tables have no index while they are filled, so duplicates are found only when the key is built, and rows
without a parent when they are looked for. Then the source is read once more for exactly these rows. Only the source
knows which one came first, whatever order the workers had, and what each of them looked like.
"""

import asyncpg

from rowledger.errors import Fenced
from rowledger.postgres import query
from rowledger.publish.conflicts import GROUP, Conflict
from rowledger.publish.finish_context import FinishContext

__all__ = ["set_rows_aside"]


async def set_rows_aside(connection: asyncpg.Connection, conflict: Conflict, load: FinishContext) -> int:
    """Move the surplus rows to the dead letters and return their number. Runs in the caller's transaction.

    Raises TooManySetAside, with some of the rows, when they are more than the budget allows; Fenced; and
    DiscrepancyFound when the source does not have the rows that the staging table has.
    """
    handle = load.handle
    if await connection.fetchval(query("lock_load"), handle.load_id, handle.epoch) is None:
        raise Fenced(f"load {handle.load_id}: another run has taken it over")
    found_rows, groups = await connection.fetchrow(
        f'select count(*), count(distinct "{GROUP}") from ({conflict.rows_sql}) as found'  # noqa: S608 - all quoted
    )
    if not found_rows:
        return 0
    from rowledger.publish.surplus_rows import move_surplus  # noqa: PLC0415, few loads have any

    return await move_surplus(connection, conflict, load, found_rows=found_rows, groups=groups)
