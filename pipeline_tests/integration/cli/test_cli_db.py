"""`rowledger db`, as a user calls it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rowledger.embedded.server import EmbeddedServer

ROOT = Path(__file__).parents[3]
BAD_URL = "mysql://user:s3cr3t@host/db"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(open_folder: Path) -> Iterator[Path]:
    yield open_folder / "home"
    EmbeddedServer(open_folder / "home" / "postgres").destroy()


@pytest.fixture
def rowledger(home: Path) -> Run:
    """Run the command in a folder of its own."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "ROWLEDGER_HOME": str(home), **variables}
        command = [sys.executable, "-m", "rowledger", *arguments]
        return subprocess.run(
            command, env=environment, cwd=home.parent, capture_output=True, text=True, timeout=90, check=False
        )

    return run


def test_start_url_psql_stop(rowledger: Run, home: Path) -> None:
    assert "has started" in rowledger("db", "start").stdout
    assert "runs already" in rowledger("db", "start").stdout
    assert rowledger("db", "url").stdout.strip() == EmbeddedServer(home / "postgres").url()
    answer = rowledger("db", "psql", "--", "-X", "-A", "-t", "-c", "select 6 * 7")
    assert (answer.stdout, answer.stderr, answer.returncode) == ("42\n", "", 0)
    assert "has stopped" in rowledger("db", "stop").stdout
    assert "does not run" in rowledger("db", "stop").stdout


def test_url_starts_a_server_that_was_stopped(rowledger: Run, home: Path) -> None:
    rowledger("db", "start")
    rowledger("db", "stop")
    rowledger("db", "url")
    assert EmbeddedServer(home / "postgres").running()


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["verify"],
        ["incidents", "--table", "flights"],
        ["dead-letters", "list", "--table", "flights"],
        ["dead-letters", "show", "1"],
        ["dead-letters", "replay", "--table", "flights"],
        ["forget", "--table", "flights", "--yes"],
        ["db", "url"],
        ["db", "psql"],
    ],
    ids=" ".join,
)
def test_a_command_that_looks_creates_no_server_and_says_where_it_looked(
    rowledger: Run, home: Path, command: list[str]
) -> None:
    answer = rowledger(*command)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith(f"error: there is no embedded server in {home / 'postgres'}")
    assert "ROWLEDGER_HOME" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not home.exists()


def test_psql_ends_with_its_own_exit_code(rowledger: Run) -> None:
    rowledger("db", "start")
    answer = rowledger("db", "psql", "--", "-X", "-c", "select nonsense")
    assert answer.returncode == 1
    assert 'column "nonsense" does not exist' in answer.stderr


def test_psql_uses_a_given_server_and_no_argument_shows_the_password(rowledger: Run, database: str, home: Path) -> None:
    shell = r"\! tr '\0' ' ' </proc/$PPID/cmdline"
    answer = rowledger("db", "psql", "--", "-X", "-A", "-t", "-c", shell, ROWLEDGER_DATABASE_URL=database)
    parts = urlsplit(database)
    assert parts.path[1:] in answer.stdout
    assert parts.password
    assert parts.password not in answer.stdout
    name = rowledger("db", "psql", "--", "-XAtc", "select current_database()", ROWLEDGER_DATABASE_URL=database)
    assert name.stdout.strip() == parts.path[1:]
    assert not (home / "postgres").exists()


@pytest.mark.parametrize(("action", "exit_code"), [("start", 0), ("stop", 1), ("destroy", 1)])
def test_a_given_server_is_not_ours_to_start_or_end(
    rowledger: Run, server: str, home: Path, action: str, exit_code: int
) -> None:
    answer = rowledger("db", action, ROWLEDGER_DATABASE_URL=server)
    assert answer.returncode == exit_code
    assert f"not Rowledger's to {action}" in answer.stderr
    assert not home.exists()


def test_an_error_is_one_line_without_password_or_traceback(rowledger: Run) -> None:
    answer = rowledger("db", "url", ROWLEDGER_DATABASE_URL=BAD_URL)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith("error: ROWLEDGER_DATABASE_URL starts with 'mysql'")
    assert "s3cr3t" not in answer.stderr


def test_the_traceback_is_shown_when_asked_for(rowledger: Run) -> None:
    answer = rowledger("--traceback", "db", "url", ROWLEDGER_DATABASE_URL=BAD_URL)
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr
    assert "s3cr3t" not in answer.stderr


def test_destroy_asks_first_and_then_deletes_all(rowledger: Run, home: Path) -> None:
    rowledger("db", "start")
    assert rowledger("db", "destroy").returncode == 1  # no terminal, no answer
    assert EmbeddedServer(home / "postgres").running()
    assert rowledger("db", "destroy", "--yes").returncode == 0
    assert not EmbeddedServer(home / "postgres").data_dir.exists()


def test_help_imports_nothing_heavy(home: Path) -> None:
    code = (
        "import sys, rowledger.cli.main as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: print(sorted({'pydantic', 'asyncpg', 'polars', 'dagster', 'psutil'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert "Start, stop and reach the database." in done.stdout
    assert done.stdout.endswith("[]\n")
    assert not home.exists()
