"""COPY all rows but those that the server refuses, at a cost in proportion to the refusals.

Binary COPY names the row at which it failed: the rows before it are copied again, it is set aside, and COPY continues after it.
If the cause is a CHECK constraint, which thousands of rows may break, one query first finds all rows that break one.
If the server names no row, or the wrong one (it writes rows in batches, and reports some errors at a batch's last row), the
rows are halved.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import asyncpg
import numpy as np
import numpy.typing as npt
import polars as pl

from rowledger.contract import Refusal, Stage
from rowledger.postgres import (
    LEDGER_SCHEMA,
    ROWS_TO_BLAME,
    EncodedRows,
    ErrorAction,
    copy_location,
    copy_rows,
    encode_rows,
    find_rewritten,
    is_about_rows_for_sure,
    is_of_its_row,
    may_be_about_rows,
    place_of,
    query,
    quote_identifier,
    quoted,
    refusal_of,
    rewritable,
    sort_error,
)
from rowledger.spec import Column

__all__ = ["copy_isolating", "rows_without"]

_WINDOW_ROWS_MIN = 16
_SIEVE = "rowledger_sieve"
_SIEVE_NO = "rowledger no"
_CHECK_VIOLATION = "23514"


async def copy_isolating(
    connection: asyncpg.Connection,
    rows: pl.DataFrame,
    encoded: EncodedRows,
    *,
    row_nos: npt.NDArray[np.int64],
    staging_table: str,
    columns: Sequence[Column],
    batch_rows: int,
    refusals_max: int,
    on_sent: Callable[[int], None],
) -> dict[int, Refusal]:
    """COPY the rows, `encoded` as a whole already, into a staging table; runs in the caller's transaction.

    Returns why the server refused rows, by their offsets, in no order. `row_nos[i]` is the number of row i in messages: an
    error that is not about rows names the row at which it occurred. Stops once there are more than `refusals_max` refusals,
    with some rows not copied; the caller then writes none of them. Raises errors that no row causes.
    """
    copying = _Copying(connection, rows, row_nos, staging_table, columns, batch_rows, on_sent)
    if not (read_by_the_server := rewritable(columns)):
        return await copying.run(encoded, refusals_max)
    await connection.execute("savepoint before_rows")
    refused = await copying.run(encoded, refusals_max)
    if len(refused) <= refusals_max:
        rewritten = await find_rewritten(connection, rows, read_by_the_server, leaving_out=refused)
        if rewritten:
            refused |= {offset: _rewriting(column) for offset, column in rewritten.items()}
            await connection.execute("rollback to savepoint before_rows")
            if len(refused) <= refusals_max:
                await copying.copy_again(rows_without(rows, refused))
    await connection.execute("release savepoint before_rows")
    return refused


def rows_without(rows: pl.DataFrame, offsets: Collection[int]) -> pl.DataFrame:
    """The rows except those at the offsets."""
    if not offsets:
        return rows
    keep = pl.repeat(True, rows.height, eager=True).scatter([*offsets], False)  # noqa: FBT003 - polars' signature
    return rows.filter(keep)


@dataclass(slots=True)
class _Copying:
    """The COPY of one frame into a staging table."""

    connection: asyncpg.Connection
    rows: pl.DataFrame
    row_nos: npt.NDArray[np.int64]
    staging_table: str
    columns: Sequence[Column]
    batch_rows: int
    on_sent: Callable[[int], None]
    offsets: npt.NDArray[np.int64] = field(init=False)  # offsets of the rows of `rows` among the given rows
    refused: dict[int, Refusal] = field(default_factory=dict)
    is_possible: bool = False  # whether a COPY without rows has succeeded
    has_taken: bool = False  # whether the table has taken a row

    def __post_init__(self) -> None:
        self.offsets = np.arange(self.rows.height)

    async def run(self, encoded: EncodedRows, refusals_max: int) -> dict[int, Refusal]:
        error = await self._copy(encoded, 0) if refusals_max >= 0 else None
        if error is None:
            return self.refused
        if error.sqlstate == _CHECK_VIOLATION and await self._sieve():
            error = None
        await self._copy_piecewise(refusals_max, error)
        return self.refused

    async def copy_again(self, rows: pl.DataFrame) -> None:
        """COPY rows that the table has already accepted once."""
        if (error := await self._try(self._encoded(rows))) is not None:
            raise error

    async def _copy_piecewise(self, refusals_max: int, first: asyncpg.PostgresError | None) -> None:
        """COPY window by window; `first` is the error of the COPY of all rows, if that was tried."""
        position, window = 0, self.rows.height
        bad, refusal = self.rows.height, None  # the row that is known to be refused, and why
        error, stop = first, self.rows.height
        blind = False  # whether the server has named a row while one before it was refused
        while position < self.rows.height and len(self.refused) <= refusals_max:
            if refusal is not None and position == bad:
                self._refuse(position, refusal, refusals_max + 1)
                position, bad, refusal = position + 1, self.rows.height, None
                continue
            if error is None:
                stop = min(self.rows.height, position + window, bad)
                error = await self._copy(self._encoded(self.rows[position:stop]), position)
            if error is None:
                self.has_taken = True
                position, window = stop, window * 4
                continue
            if refusal is not None and stop == bad:
                blind, bad, refusal = True, self.rows.height, None
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
        cause = refusal_of(error, [column.name for column in self.columns])
        self.refused[int(self.offsets[position])] = cause
        if self.has_taken or cause.column is not None or is_of_its_row(error):
            return
        if len(self.refused) >= min(ROWS_TO_BLAME, self.rows.height, most):
            raise error

    async def _copy(self, encoded: EncodedRows, first: int) -> asyncpg.PostgresError | None:
        """COPY rows in a savepoint, `first` being the position of the first; the error about a row, or None."""
        error = await self._try(encoded, first)
        if error is None or is_about_rows_for_sure(error) or self.is_possible:
            return error
        without_rows = await self._try(self._encoded(self.rows[:0]))
        if without_rows is not None:
            raise without_rows
        self.is_possible = True
        return error

    def _encoded(self, rows: pl.DataFrame) -> EncodedRows:
        return encode_rows(rows, self.columns, self.batch_rows)

    async def _try(self, encoded: EncodedRows, first: int = 0) -> asyncpg.PostgresError | None:
        await self.connection.execute("savepoint rows_sent")
        try:
            await copy_rows(
                self.connection,
                encoded,
                schema_name=LEDGER_SCHEMA,
                table_name=self.staging_table,
                columns=self.columns,
                on_sent=self.on_sent,
            )
        except asyncpg.PostgresError as error:
            if not may_be_about_rows(error):
                line = copy_location(error).line
                if line is not None and 1 <= line <= encoded.rows:
                    place_of(error, int(self.row_nos[self.offsets[first + line - 1]]))
                raise
            # Released too: thousands of nested savepoints would exhaust the server's lock table.
            await self.connection.execute("rollback to savepoint rows_sent; release savepoint rows_sent")
            return error
        await self.connection.execute("release savepoint rows_sent")
        return None

    async def _sieve(self) -> bool:
        """Refuse all rows that break a CHECK constraint, found by one query; returns whether the query was possible."""
        connection, staging = self.connection, quoted(LEDGER_SCHEMA, self.staging_table)
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
                self._encoded(self.rows),
                schema_name="pg_temp",
                table_name=_SIEVE,
                columns=self.columns,
                on_sent=self.on_sent,
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
            cause = Refusal(stage=Stage.COPY, reason=reason, sqlstate=_CHECK_VIOLATION, constraint=name)
            self.refused[int(self.offsets[position])] = cause
        positions = [row["position"] for row in found]
        self.rows, self.offsets = rows_without(self.rows, positions), np.delete(self.offsets, positions)
        return True


def _rewriting(column: Column) -> Refusal:
    """The refusal of a row whose text the server would store as another value."""
    return Refusal(
        stage=Stage.COPY,
        reason=f"is not a {column.type.sql} as the server writes it: it would be stored rounded, or as something else; write "
        "it as the server prints it, or declare the field with a Python type",
        column=column.name,
    )
