"""`rowledger dead-letters list`: one by one and by reason, with the refused values for people at a terminal."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import Result

from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import SECRET_EVENTS
from pipeline_tests.support.tables import DAY, EVENTS, Row, changed, events, write_source
from rowledger.settings import child_environment
from rowledger.spec.table import TableSpec

Run = Callable[..., Result]

FEW = changed(events(30), {3: {"event_id": -3}, 7: {"code": "far too long"}, 9: {"event_id": -9, "code": "\x1b[31m"}})
MANY = changed(
    events(80), {number: {"event_id": -number} if number % 3 else {"code": "far too long"} for number in range(1, 31)}
)


@pytest.fixture
def listed(database: str, rowledger: Run, tmp_path: Path) -> Callable[..., Result]:
    """Load rows, and list the dead letters of the table."""

    def load_and_list(rows: Sequence[Row], *options: object, spec: TableSpec = EVENTS) -> Result:
        write_source(tmp_path, "events", DAY, rows)
        assert load_one(database, spec, tmp_path, DAY).error is None
        return rowledger("dead-letters", "list", "--table", spec.name, *options)

    return load_and_list


def _cells(told: Result) -> list[list[str]]:
    return [line.split() for line in told.stdout.splitlines() if line[:1] == " " and line.strip()[:1].isdigit()]


def test_values_are_not_written_to_a_pipe_unless_asked_for(listed: Callable[..., Result], rowledger: Run) -> None:
    assert "far too long" not in listed(FEW).output

    told = rowledger("dead-letters", "list", "--table", "events", "--values")

    assert "value" in told.stdout
    assert [row[4] for row in _cells(told)][:1] == ["-3"]
    assert '"far too long"' in told.stdout
    assert "\x1b" not in told.stdout


def test_a_terminal_shows_values_but_none_of_a_sensitive_column(
    database: str, listed: Callable[..., Result], tmp_path: Path
) -> None:
    listed(FEW, spec=SECRET_EVENTS)
    here, there = pty.openpty()
    command = [sys.executable, "-m", "rowledger", "dead-letters", "list", "--table", "secret_events"]
    environment = child_environment(ROWLEDGER_DATABASE_URL=database, TERM="xterm", COLUMNS="200")
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=there, stderr=there, stdin=there) as process:
        os.close(there)
        shown = b""
        while part := _read(here):
            shown += part
    os.close(here)
    text = shown.decode()
    assert process.returncode == 0, text
    assert "-3" in text
    assert '"[redacted]"' in text
    assert "far too long" not in text


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the terminal's other end is closed
        return b""


def test_many_are_listed_by_reason(listed: Callable[..., Result], rowledger: Run) -> None:
    told = listed(MANY, "--values")

    assert told.exit_code == 0
    first, second = _cells(told)
    assert (first[0], first[1], first[2], first[3]) == ("20", "contract", "event_id", "-1")
    assert (second[0], second[1], second[2]) == ("10", "contract", "code")
    assert "1, 2, 4, 5, 7, …" in told.stdout
    assert "30 dead letters, 2 reasons; --limit 30 lists them one by one" in told.stdout
    one_by_one = rowledger("dead-letters", "list", "--table", "events", "--limit", 30)
    assert len(_cells(one_by_one)) == 30


def test_few_are_listed_by_reason_on_request(listed: Callable[..., Result], rowledger: Run) -> None:
    told = listed(FEW, "--by", "reason")
    assert sum(int(row[0]) for row in _cells(told)) == 3
    assert "far too long" not in told.output
    groups = json.loads(rowledger("dead-letters", "list", "--table", "events", "--by", "reason", "--json").stdout)
    assert sum(group["dead_letters"] for group in groups) == 3
    assert {group["column_name"] for group in groups} == {"event_id", "code"}
    narrowed = rowledger("dead-letters", "list", "--table", "events", "--by", "reason", "--column", "event_id")
    assert len(_cells(narrowed)) == 1
