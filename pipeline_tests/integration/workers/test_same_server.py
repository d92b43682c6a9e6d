"""How a host finds out that its URL leads to the database of the run: by the run's sessions there."""

import asyncio
from uuid import uuid4

import pytest

from rowledger.hosts.same_server import is_server_of_run
from rowledger.postgres.session import connect
from rowledger.settings import WriterSettings


@pytest.mark.parametrize("name", ["rowledger control of {}", "rowledger control 7 of {}", "rowledger share 3/12 of {}"])
def test_each_session_of_the_run_s_own_process_tells_its_database(database: str, name: str) -> None:
    run, other, limits = uuid4().hex, uuid4().hex, WriterSettings()

    async def scenario() -> tuple[bool, bool]:
        async with await connect(database, application_name=name.format(run), timeout_s=20):
            return await is_server_of_run(database, run, limits), await is_server_of_run(database, other, limits)

    assert asyncio.run(scenario()) == (True, False)
