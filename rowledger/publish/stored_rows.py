"""Write a load's rows to the target by statements, and compare what the target has stored with what was read and counted.

A trigger or rule of the target may change, add or drop rows, so a statement that raises no error is not enough.
"""

import asyncpg

from rowledger.contract import Fingerprint, fingerprint_query, read_fingerprint
from rowledger.counted import counted
from rowledger.errors import DiscrepancyFound
from rowledger.ledger import ChunkTotals
from rowledger.postgres import drop_staging, query, quote_identifier
from rowledger.publish.baseline import CountedRows, measure_target
from rowledger.publish.finish_context import FinishContext
from rowledger.publish.reconcile import Measured, fingerprint_check, read_ledger_fingerprint

__all__ = ["hear_deferred", "require_kept", "require_same", "require_stored", "store_rows"]


async def hear_deferred(connection: asyncpg.Connection) -> None:
    """Run deferred constraints and their triggers now, while their errors can be told from a failed COMMIT."""
    await connection.execute("set constraints all immediate")


async def store_rows(connection: asyncpg.Connection, load: FinishContext, statement: str) -> Measured:
    """Run an INSERT, and measure the rows as the table has stored them."""
    columns, fingerprint = load.target.columns, load.settings.fingerprint
    names = ", ".join(quote_identifier(column.name) for column in columns)
    measuring = (
        fingerprint_query(columns, quote_identifier, "stored") if fingerprint else "select 0, count(*) from stored"
    )
    found = await connection.fetch(f"with stored as ({statement} returning {names}) {measuring}")
    await hear_deferred(connection)
    await drop_staging(connection, load.handle.staging_table)
    return Measured(*read_fingerprint(columns, found)) if fingerprint else Measured(found[0][1], None)


async def require_stored(
    connection: asyncpg.Connection, load: FinishContext, totals: ChunkTotals, stored: Measured, done: str
) -> None:
    """Raise DiscrepancyFound unless the statement has stored all rows that were read. `done` is its verb for the message."""
    problems = []
    if stored.rows != totals.counts.written_rows:
        problems.append(
            f"{counted(totals.counts.written_rows, 'row')} staged, {stored.rows} {done} in {load.spec.target}"
        )
    await require_same(connection, load, totals, stored.fingerprint, problems)


async def require_kept(
    connection: asyncpg.Connection,
    load: FinishContext,
    scope: CountedRows,
    before: Measured,
    stored: Measured,
    replaced: Measured | None,
) -> None:
    """Raise DiscrepancyFound unless the table has the rows that it had, and those that the INSERT has stored."""
    found = await measure_target(connection, load, scope.predicate)
    gone = replaced or Measured(0, None)
    expected_rows = before.rows + stored.rows - gone.rows
    problems = []
    if found.rows != expected_rows:
        problems.append(
            f"{counted(found.rows, 'row')} found in {load.spec.target}, {expected_rows} were there or have been stored"
        )
    if before.fingerprint is not None and stored.fingerprint is not None and found.fingerprint is not None:
        expected = before.fingerprint + stored.fingerprint
        if gone.fingerprint is not None:
            expected -= gone.fingerprint
        check = fingerprint_check(expected, found.fingerprint)
        problems += [] if check.passed else [check.summary]
    await _raise_for(connection, load, problems)


async def require_same(
    connection: asyncpg.Connection,
    load: FinishContext,
    totals: ChunkTotals,
    found: Fingerprint | None,
    problems: list[str],
) -> None:
    """Raise DiscrepancyFound for these problems, and where the stored values differ from those that were read."""
    if found is not None:
        expected = await read_ledger_fingerprint(connection, load.handle.load_id, totals, load.target.columns)
        check = fingerprint_check(expected, found)
        problems += [] if check.passed else [check.summary]
    await _raise_for(connection, load, problems)


async def _raise_for(connection: asyncpg.Connection, load: FinishContext, problems: list[str]) -> None:
    if problems:
        acting = [row[0] for row in await connection.fetch(query("acts_on_rows"), load.target.oid)]
        raise DiscrepancyFound(
            f"{load.name}: {'; '.join(problems)}; look for triggers or rules on the target"
            + (f" ({', '.join(acting)})" if acting else "")
        )
