"""Transactions and savepoints as blocks: what is undone, and what is sent together with their first statement."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from rowledger.postgres.transactions import lock_timeout, transaction


def _run(database: str, work: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(database)
        try:
            await connection.execute("create table noted (word text unique)")
            await work(connection)
        finally:
            connection.terminate()

    asyncio.run(run())


async def _noted(connection: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await connection.fetch("select word from noted order by word")]


def test_an_error_in_an_inner_block_undoes_that_block_alone(database: str) -> None:
    async def work(connection: asyncpg.Connection) -> None:
        async with transaction(connection):
            await connection.execute("insert into noted values ('a')")
            for _ in range(2):
                with pytest.raises(asyncpg.UniqueViolationError):  # noqa: PT012 - the error has to leave a block
                    async with transaction(connection):
                        await connection.execute("insert into noted values ('b')")
                        async with transaction(connection):
                            await connection.execute("insert into noted values ('a')")
            async with transaction(connection):
                await connection.execute("insert into noted values ('c')")
        assert not connection.is_in_transaction()
        assert await _noted(connection) == ["a", "c"]

    _run(database, work)


def test_an_error_undoes_the_transaction_and_leaves_the_session_usable(database: str) -> None:
    async def work(connection: asyncpg.Connection) -> None:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the error has to leave a block
            async with transaction(connection):
                await connection.execute("insert into noted values ('a')")
                raise ZeroDivisionError
        with pytest.raises(asyncpg.UndefinedTableError):
            async with transaction(connection, "lock table not_there"):
                raise AssertionError("the block has not begun")
        assert not connection.is_in_transaction()
        assert await _noted(connection) == []

    _run(database, work)


def test_what_is_sent_with_begin_lasts_until_the_end_of_the_block(database: str) -> None:
    async def work(connection: asyncpg.Connection) -> None:
        shown = "select current_setting('lock_timeout')"
        async with transaction(connection, lock_timeout(7)):
            assert await connection.fetchval(shown) == "7s"
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the error has to leave a block
                async with transaction(connection, lock_timeout(2)):
                    assert await connection.fetchval(shown) == "2s"
                    raise ZeroDivisionError
            assert await connection.fetchval(shown) == "7s"
        assert await connection.fetchval(shown) == "0"

    _run(database, work)


def test_a_block_that_may_only_read_cannot_write(database: str) -> None:
    async def work(connection: asyncpg.Connection) -> None:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):  # noqa: PT012 - the error has to leave a block
            async with transaction(connection, isolation="repeatable_read", read_only=True):
                assert await connection.fetchval("show transaction_isolation") == "repeatable read"
                await connection.execute("insert into noted values ('a')")

    _run(database, work)


def test_a_cancel_cuts_the_connection_and_does_not_wait_for_the_server(database: str) -> None:
    async def work(connection: asyncpg.Connection) -> None:
        async def sleep() -> None:
            async with transaction(connection):
                await connection.execute("select pg_sleep(60)")

        task = asyncio.create_task(sleep())
        while not connection.is_in_transaction():  # noqa: ASYNC110 - the server has no event
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert connection.is_closed()

    _run(database, work)
