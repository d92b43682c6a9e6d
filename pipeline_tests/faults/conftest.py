"""What several fault tests share: a proxy, a server of a test's own, runs as processes."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline_tests.conftest import on_connection
from pipeline_tests.support import run_process
from pipeline_tests.support.proxy import Proxy
from rowledger.embedded.server import EmbeddedServer
from rowledger.ledger.migrations import ensure_ledger


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    """A proxy in front of this test's database."""
    with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def own_server(open_folder: Path) -> Iterator[EmbeddedServer]:
    """A server of this test's own with an empty ledger, whose processes may be stopped and killed."""
    server = EmbeddedServer(open_folder / "postgres")
    on_connection(server.ensure_running(), ensure_ledger)
    try:
        yield server
    finally:
        server.destroy()


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start runs as processes of their own; what is left of them is killed behind the test."""
    with contextlib.ExitStack() as stack:

        def start_one(*arguments: object, **options: object) -> subprocess.Popen[str]:
            process = run_process.start(*arguments, **options)  # type: ignore[arg-type]
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start_one
