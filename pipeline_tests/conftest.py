"""A server for the session, a database for each test, and settings that nothing outside leaks into."""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest
from pyarrow import fs

from pipeline_tests.support.object_store import object_store, variables
from rowledger.embedded.server import EmbeddedServer
from rowledger.ledger.migrations import ensure_ledger
from rowledger.settings import settings

# How long an example takes is the machine's affair: a test that fails of it fails at random.
hypothesis.settings.register_profile("rowledger", deadline=None)
hypothesis.settings.load_profile("rowledger")


def pytest_configure() -> None:
    """Take SIGINT: a shell's background job ignores it, and so would every process that the tests start and interrupt."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder for this test that other users may enter."""
    with _open_folder() as folder:
        yield folder


@contextmanager
def _open_folder() -> Iterator[Path]:
    """A temporary folder that other users may enter, as pytest's own, for root, may not be."""
    folder = Path(tempfile.mkdtemp(prefix="rowledger-test-")).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def on_connection(url: str, action: Callable[[asyncpg.Connection], Awaitable[object]]) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=30)
        try:
            async with asyncio.timeout(60):
                await action(connection)
        finally:
            await connection.close(timeout=10)

    asyncio.run(run())


def _execute(url: str, statement: str) -> None:
    on_connection(url, lambda connection: connection.execute(statement))


@contextmanager
def _new_database(server: str, kind: str, template: str) -> Iterator[str]:
    name = f"rowledger_{kind}_{uuid.uuid4().hex[:12]}"
    _execute(server, f"create database {name} template {template} encoding 'UTF8'")
    try:
        yield name
    finally:
        _execute(server, f"drop database {name} with (force)")


def _with_database(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


@pytest.fixture(autouse=True)
def _settings_of_this_test_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("ROWLEDGER_", "PG"))]:
        if name != "ROWLEDGER_TEST_DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROWLEDGER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a server whose superuser we are: ROWLEDGER_TEST_DATABASE_URL, or a fresh embedded one."""
    if given := os.environ.get("ROWLEDGER_TEST_DATABASE_URL"):
        yield given
        return
    with _open_folder() as folder:
        embedded = EmbeddedServer(folder / "postgres")
        try:
            yield embedded.ensure_running()
        finally:
            embedded.destroy()


@pytest.fixture(scope="session")
def _template(server: str) -> Iterator[str]:
    """A database with the ledger's tables, which is cloned for each test and which nobody connects to."""
    with _new_database(server, "template", "template0") as name:
        on_connection(_with_database(server, name), ensure_ledger)
        yield name


@pytest.fixture
def database(server: str, _template: str) -> Iterator[str]:
    """The URL of a fresh database with an empty ledger."""
    with _new_database(server, "test", _template) as name:
        yield _with_database(server, name)


@pytest.fixture
def other_database(server: str, _template: str) -> Iterator[str]:
    """The URL of a second one."""
    with _new_database(server, "other", _template) as name:
        yield _with_database(server, name)


@pytest.fixture
def empty_database(server: str) -> Iterator[str]:
    """The URL of a fresh database without anything in it."""
    with _new_database(server, "empty", "template0") as name:
        yield _with_database(server, name)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port of the loopback address that nobody listens on, held for the test."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an object store that lasts as long as the tests of this process."""
    with object_store(tmp_path_factory.mktemp("store")) as address:
        yield address


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> fs.S3FileSystem:
    """The store, with an empty bucket `shop`; its address and credentials are in the usual variables."""
    for name, value in variables(endpoint).items():
        monkeypatch.setenv(name, value)
    store = fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True, allow_bucket_deletion=True)
    store.create_dir("shop")
    store.delete_dir_contents("shop")
    return store
