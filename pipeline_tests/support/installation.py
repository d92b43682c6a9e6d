"""Dagster's own commands, its daemon and its API, in a folder with this repository's dagster.yaml and a database."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg2

__all__ = ["COMMAND_TIMEOUT_S", "ROOT", "GraphQL", "Installation", "dagster_dev", "wait_for"]

ROOT = Path(__file__).parents[2]
# Reached only by what hangs: where other work takes the processors, a backfill of three days takes 120 s.
COMMAND_TIMEOUT_S = 300
START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 120
ANSWER_TIMEOUT_S = 60

T = TypeVar("T")
GraphQL = Callable[..., dict[str, Any]]


class Installation:
    """A folder with dagster.yaml and workspace.yaml, an environment, and a database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.home = folder / "home"
        self.failpoints = ""
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(ROOT / name, folder)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("ROWLEDGER_", "DAGSTER_"))
        }
        return inherited | {
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "ROWLEDGER_DATABASE_URL": self.url,
            "ROWLEDGER_HOME": str(self.home),
            "ROWLEDGER_FAILPOINTS": self.failpoints,
        }

    def dagster(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(sys.executable, "-m", "dagster", *arguments)

    def dg(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `dg` on a project here that is this repository's."""
        return self._run(self.dg_program(), *arguments)

    def dg_program(self) -> Path:
        if not (self.folder / "pipeline").exists():
            shutil.copy(ROOT / "pyproject.toml", self.folder)
            (self.folder / "pipeline").symlink_to(ROOT / "pipeline")
        return Path(sys.executable).with_name("dg")

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def materialize(self, select: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.dagster("asset", "materialize", "-m", "pipeline.definitions", "--select", select, *arguments)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def wait_for(look: Callable[[], T | None], timeout_s: float = COMMAND_TIMEOUT_S) -> T:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.5)
    raise TimeoutError


@contextmanager
def dagster_dev(installation: Installation, *command: str | Path) -> Iterator[GraphQL]:
    """`dagster dev`, or another such command, with its daemon and webserver; gives a function that asks its API."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (installation.folder / "dev.log").open("w")
    process = subprocess.Popen(
        [*(command or (sys.executable, "-m", "dagster", "dev")), "--port", str(port)],
        cwd=installation.folder,
        env=installation.environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    def ask(query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            json.dumps({"query": query, "variables": variables or {}}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as response:
            answer: dict[str, Any] = json.load(response)["data"]
        return answer

    def ready() -> bool | None:
        try:
            return bool(ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")) or None
        except OSError:
            return None

    try:
        wait_for(ready, START_TIMEOUT_S)
        yield ask
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            log.close()
