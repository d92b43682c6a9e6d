"""A connection pooler between us and the server: one that shares backends between clients is named, any other works."""

import asyncio
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.pooler import Pooler
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from rowledger.errors import UnsupportedServer
from rowledger.postgres.session import connect


@pytest.mark.parametrize("forgets_settings", [False, True])
def test_a_pooler_that_shares_a_backend_by_transaction_is_named(
    database: str, tmp_path: Path, *, forgets_settings: bool
) -> None:
    write_source(tmp_path, "events", DAY, events(10))
    with (
        Pooler(database, shares_backend=True, forgets_settings=forgets_settings) as pooler,
        pytest.raises(
            UnsupportedServer, match=r"a connection pooler gives each transaction another session .*pool_mode"
        ),
    ):
        load_one(pooler.url, EVENTS, tmp_path, DAY)


@pytest.mark.parametrize("forgets_settings", [False, True])
def test_a_load_works_by_way_of_a_pooler_that_gives_each_client_a_backend(
    database: str, tmp_path: Path, *, forgets_settings: bool
) -> None:
    write_source(tmp_path, "events", DAY, events(150))
    with Pooler(database, shares_backend=False, forgets_settings=forgets_settings) as pooler:
        assert load_one(pooler.url, EVENTS, tmp_path, DAY).error is None

        async def row_security() -> str:
            session = await connect(pooler.url, application_name="test", timeout_s=20)
            try:
                return str(await session.connection.fetchval("show row_security"))
            finally:
                await session.close()

        assert asyncio.run(row_security()) == "off"
    assert_accounted(database, EVENTS, events(150))
