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
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, STRICT_READINGS, Row, changed, events, write_source
from rowledger.ledger.row_places import RowPlace, told_rows
from rowledger.settings import child_environment
from rowledger.sources.parquet import ParquetFiles
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
    return _cells_of(told.stdout)


def _cells_of(listed: str) -> list[list[str]]:
    return [line.split() for line in listed.splitlines() if line[:1] == " " and line.strip()[:1].isdigit()]


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
    assert "30 dead letters, 2 reasons; rows count from 0, without a header\n" in told.stdout
    assert "\n--limit 30 shows a line for each dead letter, " in told.stdout
    one_by_one = rowledger("dead-letters", "list", "--table", "events", "--limit", 30)
    assert len(_cells(one_by_one)) == 30


def test_few_are_listed_by_reason_on_request(listed: Callable[..., Result], rowledger: Run) -> None:
    told = listed(FEW, "--by", "reason")
    assert sum(int(row[0]) for row in _cells(told)) == 3
    assert "far too long" not in told.output
    assert "\n--limit 3 in place of --by reason shows a line for each dead letter, " in told.stdout
    groups = json.loads(rowledger("dead-letters", "list", "--table", "events", "--by", "reason", "--json").stdout)
    assert sum(group["dead_letters"] for group in groups) == 3
    assert {group["column_name"] for group in groups} == {"event_id", "code"}
    narrowed = rowledger("dead-letters", "list", "--table", "events", "--by", "reason", "--column", "event_id")
    assert len(_cells(narrowed)) == 1


def test_a_row_is_named_with_its_own_file(database: str, rowledger: Run, tmp_path: Path) -> None:
    for day in (DAY, NEXT_DAY):
        write_source(tmp_path, "events", day, changed(events(30, day), {27: {"event_id": -1}}))
        assert load_one(database, EVENTS, tmp_path, day).error is None

    by_reason = rowledger("dead-letters", "list", "--table", "events", "--by", "reason").stdout
    assert f"27 of {DAY}.parquet, 27 of {NEXT_DAY}.parquet" in " ".join(by_reason.split())
    one_by_one = rowledger("dead-letters", "list", "--table", "events").stdout
    assert [row[1:4] for row in _cells_of(one_by_one)] == [[day, "27", f"{day}.parquet"] for day in (DAY, NEXT_DAY)]
    assert one_by_one.endswith("\nrows count from 0, without a header\n")


def test_a_row_has_a_number_in_its_file_and_one_in_its_partition(database: str, rowledger: Run, tmp_path: Path) -> None:
    """As with `vim +27`, `27` of a file and of a partition of several files are easily taken for another."""
    spec = EVENTS.model_copy(update={"source": ParquetFiles(path="{landing}/events/{partition_key}/*/part.parquet")})
    rows = events(60)
    write_source(tmp_path, "events", f"{DAY}/a/part", rows[:30])
    write_source(tmp_path, "events", f"{DAY}/b/part", changed(rows[30:], {4: {"event_id": -1}, 5: {"event_id": -1}}))
    assert load_one(database, spec, tmp_path, DAY).error is None

    listed = rowledger("dead-letters", "list", "--table", "events").stdout
    assert ".parquet:" not in listed
    assert [row[1:6] for row in _cells_of(listed)] == [
        [n, "row", m, "of", "part.parquet"] for n, m in (("34", "4"), ("35", "5"))
    ]
    by_reason = rowledger("dead-letters", "list", "--table", "events", "--by", "reason").stdout
    assert "4, 5 of part.parquet" in by_reason
    shown = rowledger("dead-letters", "show", 1).stdout
    assert "row 4 of " in shown
    assert "b/part.parquet (rows count from 0, without a header)" in shown


def test_files_of_one_name_are_told_apart_by_their_folders(database: str, tmp_path: Path) -> None:
    spec = EVENTS.model_copy(update={"source": ParquetFiles(path="{landing}/events/{partition_key}/*/part.parquet")})
    rows = events(60)
    for folder, own in (("a", rows[:30]), ("b", rows[30:])):
        write_source(
            tmp_path, "events", f"{DAY}/{folder}/part", changed(own, {n: {"event_id": -1} for n in range(4, 20)})
        )
    report = load_one(database, spec, tmp_path, DAY)

    assert "(32 rows: rows 4, 5, 6, 7, 8, … of part.parquet)" in str(report.error)
    several = (RowPlace(8, "/x/a/part", ""), RowPlace(9, "/x/a/part", ""), RowPlace(9, "/x/b/part", ""))
    assert told_rows(several, has_more=True) == "8, 9 of a/part, 9 of b/part, …"
    assert told_rows([RowPlace(8, "", "north")], has_more=False) == "8 of partition north"


def test_dead_letters_of_all_tables_are_listed_unless_one_is_named(
    database: str, rowledger: Run, tmp_path: Path
) -> None:
    assert load_one(database, EVENTS, _written(tmp_path, "events", DAY, FEW), DAY).error is None
    bad_reading = [{"sensor": None, "value": 1.0}]
    assert load_one(database, STRICT_READINGS, _written(tmp_path, "readings", "all", bad_reading), "all").error is None
    in_full = [["--table", "events"], ["--table", "strict_readings"]]
    events_alone, readings_alone = (rowledger("dead-letters", "list", *options).stdout for options in in_full)

    assert (
        rowledger("dead-letters", "list").stdout
        == f"table events\n{events_alone}table strict_readings\n{readings_alone}"
    )
    assert rowledger("dead-letters", "list", "--partition", DAY).stdout == f"table events\n{events_alone}"
    for by in ([], ["--by", "reason"]):
        told = json.loads(rowledger("dead-letters", "list", "--json", *by).stdout)
        assert {found["table"] for found in told} == {"events", "strict_readings"}
    of_reading = [found["dead_letter_id"] for found in _json_of(rowledger, "--table", "strict_readings")]
    assert _json_of(rowledger, "--id", *of_reading) == _json_of(rowledger, "--table", "strict_readings")
    every_id = [option for found in _json_of(rowledger) for option in ("--id", found["dead_letter_id"])]
    assert (
        _json_of(rowledger, *every_id)
        == _json_of(rowledger, "--partition", "all", "--partition", DAY)
        == _json_of(rowledger)
    )
    unknown = rowledger("dead-letters", "list", "--partition", "nope")
    assert (unknown.exit_code, "loaded into partition nope of any table" in unknown.output) == (1, True)
    assert rowledger("dead-letters", "list", "--stage", "crash").stdout == "no table has dead letters that fit\n"


def _written(landing: Path, table: str, key: str, rows: Sequence[Row]) -> Path:
    write_source(landing, table, key, rows)
    return landing


def _json_of(rowledger: Run, *options: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(rowledger("dead-letters", "list", "--json", *options).stdout)
    return found
