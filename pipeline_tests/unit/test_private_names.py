"""Private names of other libraries still mean what they meant in the versions in which they were read."""

import ast
import asyncio
import inspect
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage

import rowledger
from rowledger.private_names import request_cancel, transport_of
from rowledger.settings import child_environment

_LIBRARY = Path(rowledger.__file__).parent
_ENDS = """
import atexit, os, threading, time
from rowledger.private_names import run_exit_functions

atexit.register(lambda: print("exit function", flush=True))
threading.Thread(target=lambda: (time.sleep(0.2), print("thread", flush=True))).start()
run_exit_functions()
print("over", flush=True)
os._exit(0)
"""
_SEARCHES = """
from pydantic import BaseModel
from rowledger.private_names import pydantic_has_no_plugins

before = pydantic_has_no_plugins()

class Row(BaseModel):
    n: int

print(before, pydantic_has_no_plugins())
"""


def _printed(code: str, **changes: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(**changes), capture_output=True, text=True, check=True
    )
    return ran.stdout.splitlines()


def test_exit_functions_run_after_the_threads_have_ended() -> None:
    assert _printed(_ENDS) == ["thread", "exit function", "over"]


def test_pydantic_has_no_plugins_is_known_only_after_it_has_searched() -> None:
    assert _printed(_SEARCHES) == ["False True"]
    assert _printed(_SEARCHES, PYDANTIC_DISABLE_PLUGINS="1") == ["False False"]


def test_the_transport_of_a_connection_gives_its_socket(database: str) -> None:
    async def port_of_peer() -> int:
        connection = await asyncpg.connect(database)
        try:
            port: int = transport_of(connection).get_extra_info("socket").getpeername()[1]
            return port
        finally:
            await connection.close()

    assert asyncio.run(port_of_peer()) == urlsplit(database).port


def test_a_cancel_that_is_requested_ends_the_statement(database: str) -> None:
    async def cancelled() -> None:
        connection = await asyncpg.connect(database)
        try:
            sleeping = asyncio.create_task(connection.execute("select pg_sleep(600)"))
            await asyncio.sleep(0)  # it sends the statement
            while not sleeping.done():  # a request that comes before the statement has begun ends nothing
                await request_cancel(connection)
                await asyncio.wait({sleeping}, timeout=0.1)
            await sleeping
        finally:
            connection.terminate()

    with pytest.raises(asyncpg.QueryCanceledError):
        asyncio.run(cancelled())


def test_the_base_classes_of_dagster_s_storage_have_the_members_that_ours_replaces() -> None:
    assert "self._event_log_storage = " in inspect.getsource(DagsterPostgresStorage.__init__)
    assert "self._engine = " in inspect.getsource(PostgresEventLogStorage.__init__)
    assert list(inspect.signature(PostgresEventLogStorage._store_asset_event).parameters) == [
        "self", "conn", "event", "event_id",
    ]  # fmt: skip
    assert list(inspect.signature(PostgresEventLogStorage._event_to_row).parameters) == ["self", "event"]
    planned = inspect.signature(PostgresEventLogStorage._store_asset_check_evaluation_planned)
    assert list(planned.parameters) == ["self", "event", "event_id"]


def test_private_names_are_imported_in_the_two_modules_for_them_alone() -> None:
    found = {
        str(file.relative_to(_LIBRARY))
        for file in _LIBRARY.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import)
        for module in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        if any(part.startswith("_") and not part.startswith("__") for part in module.split("."))
    }
    assert found == {"dagster/private_names.py"}
