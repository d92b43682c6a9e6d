"""COPY all rows but those that the server refuses, at a cost in proportion to the refusals.

Binary COPY names the row at which it failed: the rows before it are copied again, it is set aside, and COPY continues after it.
If the cause is a CHECK constraint, which thousands of rows may break, one query first finds all rows that break one.
If the server names no row, or the wrong one (it writes rows in batches, and reports some errors at a batch's last row), the
rows are halved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import asyncpg
import numpy as np
import polars as pl

from rowledger.chunk.preparation import Refusal
from rowledger.contract import Stage
from rowledger.postgres import (
    LEDGER_SCHEMA,
    ROWS_TO_BLAME,
    EncodedRows,
    ErrorAction,
    copy_location,
    copy_rows,
    encode_rows,
    explain_refusal,
    find_rewritten,
    identifiers,
    is_about_rows_for_sure,
    is_of_its_row,
    may_be_about_rows,
    place_of,
    query,
    quote_identifier,
    quoted,
    rewritable,
    server_text,
    sort_error,
)
from rowledger.spec import Column

__all__ = ["Copied", "copy_isolating"]

_WINDOW_ROWS_MIN = 16
_SIEVE = "rowledger_sieve"
_SIEVE_NO = "rowledger no"
_CHECK_VIOLATION = "23514"


@dataclass(slots=True)
class Copied:
    """The outcome of COPY: the offsets of the rows that the server refused, in no order, and why."""

    refused: list[int] = field(default_factory=list)
    causes: list[Refusal] = field(default_factory=list)

    def refuse(self, offset: int, cause: Refusal) -> None:
        self.refused.append(offset)
        self.causes.append(cause)


async def copy_isolating(
    connection: asyncpg.Connection,
    rows: pl.DataFrame,
    encoded: EncodedRows,
    *,
    row_nos: Sequence[int],
    staging_table: str,
    columns: Sequence[Column],
    batch_rows: int,
    refusals_max: int,
    on_sent: Callable[[int], None],
) -> Copied:
    """COPY the rows, `encoded` as a whole already, into a staging table; runs in the caller's transaction.

    `row_nos[i]` is the number of row i in messages: an error that is not about rows names the row at which it occurred.
    Stops once there are more than `refusals_max` refusals, with some rows not copied; the caller then writes none of them.
    Raises errors that no row causes.
    """
    copying = _Copying(connection, rows, row_nos, staging_table, columns, batch_rows, on_sent)
    if not (read_by_the_server := rewritable(columns)):
        return await copying.run(encoded, refusals_max)
    await connection.execute("savepoint before_rows")
    copied = await copying.run(encoded, refusals_max)
    if len(copied.refused) <= refusals_max:
        rewritten = await find_rewritten(connection, rows, read_by_the_server, leaving_out=copied.refused)
        for offset, column in rewritten.items():
            copied.refuse(offset, _rewriting(column))
        if rewritten:
            await connection.execute("rollback to savepoint before_rows")
        if rewritten and len(copied.refused) <= refusals_max:
            keep = pl.repeat(True, rows.height, eager=True).scatter(copied.refused, False)  # noqa: FBT003 - polars' signature
            await copying.copy_again(rows.filter(keep))
    await connection.execute("release savepoint before_rows")
    return copied


class _Copying:
    """The COPY of one frame into a staging table."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        rows: pl.DataFrame,
        row_nos: Sequence[int],
        staging_table: str,
        columns: Sequence[Column],
        batch_rows: int,
        on_sent: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._rows = rows
        self._row_nos = row_nos
        self._offsets = np.arange(rows.height)  # offsets of the rows of `_rows` among the given rows
        self._staging_table = staging_table
        self._columns = columns
        self._batch_rows = batch_rows
        self._on_sent = on_sent
        self._copied = Copied()
        self._is_possible = False  # whether a COPY without rows has succeeded
        self._has_taken = False  # whether the table has taken a row

    async def run(self, encoded: EncodedRows, refusals_max: int) -> Copied:
        error = await self._copy(encoded, 0) if refusals_max >= 0 else None
        if error is None:
            return self._copied
        if error.sqlstate == _CHECK_VIOLATION and await self._sieve():
            error = None
        await self._copy_piecewise(refusals_max, error)
        return self._copied

    async def copy_again(self, rows: pl.DataFrame) -> None:
        """COPY rows that the table has already accepted once."""
        if (error := await self._try(encode_rows(rows, self._columns, self._batch_rows))) is not None:
            raise error

    async def _copy_piecewise(self, refusals_max: int, first: asyncpg.PostgresError | None) -> None:
        """COPY window by window; `first` is the error of the COPY of all rows, if that was tried."""
        position, window = 0, self._rows.height
        bad, refusal = self._rows.height, None  # the row that is known to be refused, and why
        error, stop = first, self._rows.height
        blind = False  # whether the server has named a row while one before it was refused
        while position < self._rows.height and len(self._copied.refused) <= refusals_max:
            if refusal is not None and position == bad:
                self._refuse(position, refusal, refusals_max + 1)
                position, bad, refusal = position + 1, self._rows.height, None
                continue
            if error is None:
                stop = min(self._rows.height, position + window, bad)
                error = await self._copy(
                    encode_rows(self._rows[position:stop], self._columns, self._batch_rows), position
                )
            if error is None:
                self._has_taken = True
                position, window = stop, window * 4
                continue
            if refusal is not None and stop == bad:
                blind, bad, refusal = True, self._rows.height, None
            line = None if blind else copy_location(error).line
            if line is not None and 1 <= line <= stop - position:
                bad, refusal = position + line - 1, error
                window = max(_WINDOW_ROWS_MIN, 2 * line)
            elif stop - position == 1:
                bad, refusal, blind = position, error, False
            else:
                window = (stop - position) // 2
            error = None

    def _refuse(self, position: int, error: asyncpg.PostgresError, most: int) -> None:
        """Set a row aside; raises the error if every row seems to cause it, as a missing privilege does."""
        cause = _cause(error, self._columns)
        self._copied.refuse(int(self._offsets[position]), cause)
        if self._has_taken or cause.column is not None or is_of_its_row(error):
            return
        if len(self._copied.refused) >= min(ROWS_TO_BLAME, self._rows.height, most):
            raise error

    async def _copy(self, encoded: EncodedRows, first: int) -> asyncpg.PostgresError | None:
        """COPY rows in a savepoint, `first` being the position of the first; the error about a row, or None."""
        error = await self._try(encoded, first)
        if error is None or is_about_rows_for_sure(error) or self._is_possible:
            return error
        without_rows = await self._try(encode_rows(self._rows[:0], self._columns, self._batch_rows))
        if without_rows is not None:
            raise without_rows
        self._is_possible = True
        return error

    async def _try(self, encoded: EncodedRows, first: int = 0) -> asyncpg.PostgresError | None:
        await self._connection.execute("savepoint rows_sent")
        try:
            await copy_rows(
                self._connection,
                encoded,
                schema_name=LEDGER_SCHEMA,
                table_name=self._staging_table,
                columns=self._columns,
                on_sent=self._on_sent,
            )
        except asyncpg.PostgresError as error:
            if not may_be_about_rows(error):
                line = copy_location(error).line
                if line is not None and 1 <= line <= encoded.rows:
                    place_of(error, self._row_nos[int(self._offsets[first + line - 1])])
                raise
            # Released too: thousands of nested savepoints would exhaust the server's lock table.
            await self._connection.execute("rollback to savepoint rows_sent; release savepoint rows_sent")
            return error
        await self._connection.execute("release savepoint rows_sent")
        return None

    async def _sieve(self) -> bool:
        """Refuse all rows that break a CHECK constraint, found by one query; returns whether the query was possible."""
        connection, staging = self._connection, quoted(LEDGER_SCHEMA, self._staging_table)
        checks = [tuple(row) for row in await connection.fetch(query("check_constraints"), staging)]
        if not checks:
            return False
        await connection.execute("savepoint sieve")
        try:
            await connection.execute(
                # COPY numbers the rows in the order in which they are sent.
                f"create temporary table {_SIEVE} (like {staging} including defaults including generated, "
                f"{quote_identifier(_SIEVE_NO)} bigint generated always as identity) on commit drop"
            )
            await copy_rows(
                connection,
                encode_rows(self._rows, self._columns, self._batch_rows),
                schema_name="pg_temp",
                table_name=_SIEVE,
                columns=self._columns,
                on_sent=self._on_sent,
            )
            named = " ".join(f"when not ({expression}) then {number}" for number, (_, expression) in enumerate(checks))
            found = await connection.fetch(
                f"select * from (select {quote_identifier(_SIEVE_NO)} - 1 as position, case {named} end as number "  # noqa: S608 - the server's own expressions
                f"from {_SIEVE}) as judged where number is not null order by position"
            )
        except asyncpg.PostgresError as refusal:
            # A row has another fault, or the role may not create temporary tables: COPY then finds row by row.
            if sort_error(refusal) is ErrorAction.RETRY and not isinstance(refusal, asyncpg.QueryCanceledError):
                raise  # except a cancelled query, after which COPY can name the row that takes too long
            return False
        finally:
            if not connection.is_closed():
                await connection.execute("rollback to savepoint sieve; release savepoint sieve")
        for position, number in found:
            name = checks[number][0]
            reason = f"refused by the server: check violation (SQLSTATE {_CHECK_VIOLATION}), constraint {name}"
            cause = Refusal(Stage.COPY, reason, sqlstate=_CHECK_VIOLATION, constraint=name)
            self._copied.refuse(int(self._offsets[position]), cause)
        keep = np.ones(self._rows.height, dtype=np.bool_)
        keep[[row["position"] for row in found]] = False
        self._rows, self._offsets = self._rows.filter(pl.Series(keep)), self._offsets[keep]
        return True


def _rewriting(column: Column) -> Refusal:
    """The refusal of a row whose text the server would store as another value."""
    return Refusal(
        Stage.COPY,
        f"is not a {column.type.sql} as the server writes it: it would be stored rounded, or as something else; write it as "
        "the server prints it, or declare the field with a Python type",
        column=column.name,
    )


def _cause(error: asyncpg.PostgresError, columns: Sequence[Column]) -> Refusal:
    """Why the server refused a row, without the row's values."""
    names = [column.name for column in columns]
    column, constraint = identifiers(error, names)
    return Refusal(
        stage=Stage.COPY,
        reason=f"refused by the server: {explain_refusal(error, names)}",
        column=copy_location(error, names).column or column,
        sqlstate=error.sqlstate,
        constraint=constraint,
        server_text=server_text(error),
    )
