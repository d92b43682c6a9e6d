"""Mistakes about COPY: its count, and the rows around one that the server refuses."""

import contextlib
from collections.abc import Callable, Sequence

import asyncpg

from pipeline_tests.faults.deliberate_bugs.bug import bug, in_place_of
from rowledger.chunk.copy_isolation import _Copying
from rowledger.errors import ChunkFailed
from rowledger.postgres import EncodedRows, copy_location, copy_rows
from rowledger.spec import Column

_CHUNK_TESTS = "pipeline_tests/integration/chunk/test_chunk_transaction.py"
_ISOLATION_TESTS = "pipeline_tests/integration/chunk/test_isolation.py"


@bug(
    test=f"{_CHUNK_TESTS}::test_a_chunk_of_which_the_server_takes_fewer_rows_than_were_sent_is_not_committed",
    noticed="DID NOT RAISE",
)
def count_of_copy_unread() -> None:
    """COPY raised nothing, so it took every row."""

    @in_place_of(copy_rows)
    async def copy(
        connection: asyncpg.Connection,
        encoded: EncodedRows,
        *,
        schema_name: str,
        table_name: str,
        columns: Sequence[Column],
        on_sent: Callable[[int], None],
    ) -> None:
        with contextlib.suppress(ChunkFailed):
            await copy_rows(
                connection,
                encoded,
                schema_name=schema_name,
                table_name=table_name,
                columns=columns,
                on_sent=on_sent,
            )


@bug(
    test=f"{_ISOLATION_TESTS}::test_a_check_that_raises_leaves_the_search_to_go_row_by_row",
    noticed="rows written by the ledger: 247",
)
def neighbours_of_a_refused_row_dropped() -> None:
    """COPY stopped at a row, so the rows before it are in."""
    right = _Copying._copy
    refused: int | None = None

    @in_place_of(_Copying._copy)
    async def copy(self: _Copying, encoded: EncodedRows, first: int) -> asyncpg.PostgresError | None:
        nonlocal refused
        if encoded.rows and first + encoded.rows == refused:
            return None
        error = await right(self, encoded, first)
        line = copy_location(error).line if error is not None else None
        refused = None if line is None else first + line - 1
        return error
