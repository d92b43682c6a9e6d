"""`rowledger load`: partitions named on the command line, loaded without Dagster, and judged by the exit code."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch_value
from pipeline_tests.support.loading import load
from pipeline_tests.support.tables import (
    DAY,
    EVENTS,
    NEXT_DAY,
    STRICT_READINGS,
    THIRD_DAY,
    changed,
    events,
    readings,
    write_source,
)
from rowledger.dagster.partitions import partition_maker
from rowledger.ledger.bounds import partition_of_bounds
from rowledger.settings import child_environment

Run = Callable[..., Result]

EVENTS_SPEC = "pipeline_tests.support.tables:EVENTS"
SETTINGS = ("--set", "workers=1", "--set", "chunk_rows_max=100")

PROJECT = """
from typing import Annotated
from pydantic import BaseModel, Field
from rowledger import CsvFiles, TableSpec

class Weather(BaseModel):
    station: str
    celsius: Annotated[float, Field(ge=-90)]

WEATHER = TableSpec(
    name="weather", row=Weather, source=CsvFiles(path="weather.csv"), dead_letters={"rows_max": 1, "share_max": 1}
)
"""


@pytest.fixture
def load_events(rowledger: Run, tmp_path: Path) -> Run:
    """`rowledger load …` with small settings and this test's landing folder."""
    return lambda *arguments: rowledger("load", *arguments, "--landing-dir", tmp_path, *SETTINGS)


def test_days_are_loaded_with_the_bounds_that_dagster_gives_them(
    database: str, load_events: Run, tmp_path: Path
) -> None:
    rows = [*events(30), *events(20, NEXT_DAY)]
    write_source(tmp_path, "events", DAY, events(30))
    write_source(tmp_path, "events", NEXT_DAY, events(20, NEXT_DAY))

    told = load_events(EVENTS_SPEC, "--partition-range", f"{DAY}...{NEXT_DAY}", "--by", "day")

    assert (told.exit_code, told.stderr.count("error")) == (0, 0), told.output
    assert "50 of 50 rows written" in told.stderr
    assert [line.split()[:5] for line in told.stdout.splitlines()[3:5]] == [
        [DAY, "30", "30", "0", "0"],
        [NEXT_DAY, "20", "20", "0", "0"],
    ]
    assert_accounted(database, EVENTS, rows)
    recorded = partition_of_bounds(
        DAY, fetch_value(database, "select partition::text from rowledger.load where partition_key = $1", DAY)
    )
    assert recorded == partition_maker(EVENTS, dg.DailyPartitionsDefinition(DAY, NEXT_DAY))(DAY)


def test_a_partition_of_the_ledger_is_loaded_again_by_its_table_and_key_alone(
    database: str, load_events: Run, rowledger: Run, tmp_path: Path
) -> None:
    write_source(tmp_path, "events", DAY, events(30))
    load(database, EVENTS, tmp_path, [DAY])
    write_source(tmp_path, "events", DAY, rows := events(10))

    told = load_events("events", "--partition", DAY)

    assert told.exit_code == 0, told.output
    assert_accounted(database, EVENTS, rows)
    assert rowledger("verify").exit_code == 0
    told = load_events("events", "--partition", DAY, "--by", "month")
    assert (told.exit_code, "leave --by out" in told.stderr) == (2, True)
    told = load_events("events", "--partition", NEXT_DAY)
    assert (told.exit_code, "give --by day" in told.stderr) == (2, True)


def test_the_reason_is_the_last_line_and_partitions_that_are_well_stay(
    database: str, load_events: Run, tmp_path: Path
) -> None:
    write_source(tmp_path, "events", DAY, changed(events(40), {number: {"event_id": -1} for number in range(30)}))
    write_source(tmp_path, "events", THIRD_DAY, events(20, THIRD_DAY))

    told = load_events(EVENTS_SPEC, "--partition-range", f"{DAY}...{THIRD_DAY}", "--by", "day")

    assert told.exit_code == 1
    head, day, next_day = told.stderr.splitlines()[-3:]
    assert head == "error: table events: 2 of 3 partitions not published"
    assert day.startswith(f"table events, partition {DAY}: 30 rows were refused, the budget is 20")
    assert next_day.startswith(f"table events, partition {NEXT_DAY}: ")
    assert f"{NEXT_DAY}.parquet" in next_day
    assert [line.split()[0] for line in told.stdout.splitlines() if "failed" in line] == [DAY, NEXT_DAY]
    assert fetch_value(database, "select count(*) from events") == 20


def test_json_has_the_balance_of_each_partition(load_events: Run, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, changed(events(20), {3: {"event_id": -1}}))

    told = load_events(EVENTS_SPEC, "--partition", DAY, "--partition", NEXT_DAY, "--by", "day", "--json")

    assert told.exit_code == 1
    found = json.loads(told.stdout)
    day, next_day = found["partitions"]
    assert (found["published"], found["totals"]["published_partitions"]) == (False, 1)
    assert (day["enqueued_rows"], day["written_rows"], day["dead_lettered_rows"], day["missing_rows"]) == (20, 19, 1, 0)
    assert (day["published"], day["error"]) == (True, None)
    assert (next_day["published"], next_day["error_kind"]) == (False, "SourceError")


def test_a_published_load_with_dead_letters_names_the_command_that_lists_them(
    load_events: Run, rowledger: Run, tmp_path: Path
) -> None:
    write_source(tmp_path, "events", DAY, changed(events(20), {3: {"event_id": -1}}))
    told = load_events(EVENTS_SPEC, "--partition", DAY, "--by", "day")
    said = told.stdout.splitlines()[-1]
    assert (told.exit_code, said) == (0, f"1 dead letter: rowledger dead-letters list --table events --partition {DAY}")
    assert rowledger(*said.partition(": rowledger ")[2].split()).exit_code == 0


def test_a_whole_table_needs_no_partition(database: str, load_events: Run, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", rows := readings(20))
    told = load_events("-m", "pipeline_tests.support.tables", "strict_readings")
    assert told.exit_code == 0, told.output
    assert_accounted(database, STRICT_READINGS, rows)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ((), 2, "Missing argument 'SPEC'"),
        ((EVENTS_SPEC,), 2, "name partitions by --partition"),
        ((EVENTS_SPEC, "--partition", "nope", "--by", "day"), 2, "unknown partition 'nope'"),
        ((EVENTS_SPEC, "-m", "pipeline_tests.support.tables"), 2, "give one of them"),
        ((EVENTS_SPEC, "--set", "worker=1"), 2, "'worker=1' is not NAME=VALUE with one of batch_rows"),
        ((EVENTS_SPEC, "--set", "workers=many"), 2, "workers: Input should be a valid integer"),
        ((EVENTS_SPEC, "--set", "heartbeat_s=10", "--set", "stall_timeout_s=1"), 2, "at least twice heartbeat_s"),
        (("pipeline_tests.support.tables:NOTHING",), 1, "NOTHING"),
        (("-m", "pipeline_tests.support.tables", "nothing"), 1, "no spec of table nothing"),
        (("-m", "pipeline_tests.support.tables", "events"), 1, "two specs are of table events"),
        (("nothing",), 1, "the ledger has no table 'nothing'; it knows none; or name its spec"),
    ],
)
def test_a_mistake_of_usage_is_told_from_a_failure(
    rowledger: Run, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    told = rowledger("load", *arguments)
    assert (told.exit_code, said in told.stderr) == (exit_code, True), told.output


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., list[str]]:
    """A folder with a project of one file, and the program that loads its table."""
    (tmp_path / "tables.py").write_text(PROJECT)
    (tmp_path / "weather.csv").write_text("station,celsius\nOslo,-3.5\nBergen,4\n")
    return lambda *arguments: [sys.executable, "-m", "rowledger", "load", *arguments]


@pytest.mark.parametrize("arguments", [("tables.py:WEATHER",), ("tables:WEATHER",), ("-m", "tables.py", "weather")])
def test_a_project_of_one_file_is_loaded_from_its_folder(
    database: str, tmp_path: Path, project: Callable[..., list[str]], arguments: tuple[str, ...]
) -> None:
    environment = child_environment(ROWLEDGER_DATABASE_URL=database)
    done = subprocess.run(
        project(*arguments), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert fetch_value(database, "select count(*) from weather") == 2

    (tmp_path / "weather.csv").write_text("station,celsius\nOslo,-300\nBergen,-300\n")
    done = subprocess.run(
        project(*arguments), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: table weather, partition all: 2 rows were refused")
    assert "-300" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_terminal_gets_a_bar_and_the_same_verdict(
    database: str, tmp_path: Path, project: Callable[..., list[str]]
) -> None:
    here, there = pty.openpty()
    environment = child_environment(ROWLEDGER_DATABASE_URL=database, TERM="xterm", COLUMNS="160")
    with subprocess.Popen(
        project("tables.py:WEATHER"), cwd=tmp_path, env=environment, stdout=there, stderr=there, stdin=there
    ) as process:
        os.close(there)
        drawn = b""
        while True:
            try:
                part = os.read(here, 4096)
            except OSError:  # the terminal's other end is closed
                break
            if not part:
                break
            drawn += part
    os.close(here)
    text = drawn.decode()
    assert process.returncode == 0, text
    assert "reading the source" in text
    assert "0/0" not in text
    assert "\x1b[32mpublished" in text
