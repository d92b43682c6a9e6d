"""Rows that come with the load: written as those of any source, and known to the other commands without their source."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel, field_validator

import rowledger
from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import FAST
from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, ORDERS, READINGS, THIRD_DAY, Row, events
from rowledger import (
    GivenRows,
    LoadFailed,
    Partition,
    PartitionReport,
    RowTransform,
    SourceError,
    TableSpec,
    WriteMode,
    WriterSettings,
)
from rowledger.errors import SpecError

_GIVEN_EVENTS = EVENTS.model_copy(update={"source": GivenRows()})
_GIVEN_READINGS = READINGS.model_copy(update={"source": GivenRows(origin="the sensors")})
_GIVEN_ORDERS = ORDERS.model_copy(update={"source": GivenRows()})


class Amount(BaseModel):
    day: date
    amount: float


class Validated(BaseModel):
    day: date

    @field_validator("day", mode="before")
    @classmethod
    def _german(cls, value: object) -> object:
        return datetime.strptime(value, "%d.%m.%Y").date() if isinstance(value, str) else value  # noqa: DTZ007 - a date


def _load(
    database: str, spec: TableSpec, rows: object, keys: tuple[str, ...] = ("all",), **options: object
) -> list[PartitionReport]:
    writer = WriterSettings.model_validate({**FAST, **options})
    partitions = [partition_of(spec, key) for key in keys]
    return rowledger.load(spec, partitions, url=database, writer=writer, rows=rows, check=False)


def _broken(rows: list[Row], number: int) -> list[Row]:
    """The rows, one of which no column of the table takes."""
    return [row | {"code": "longer than 8"} if row["event_id"] == number else row for row in rows]


def test_a_function_gives_the_rows_of_each_partition(database: str) -> None:
    rows = {DAY: _broken(events(250), 120), NEXT_DAY: events(130, day=NEXT_DAY)}
    reports = _load(database, _GIVEN_EVENTS, lambda partition: pl.DataFrame(rows[partition.key]), (DAY, NEXT_DAY))

    assert [report.error for report in reports] == [None, None]
    assert [(report.written_rows, report.dead_lettered_rows, report.chunks) for report in reports] == [
        (249, 1, 3),
        (130, 0, 2),
    ]
    assert_accounted(database, _GIVEN_EVENTS, rows[DAY] + rows[NEXT_DAY])
    (letter,) = fetch(database, "select row_no, source from rowledger.dead_letter")
    assert (letter["row_no"], letter["source"]) == (120, "the given rows")


_FRAME = pl.DataFrame({"sensor": range(250), "value": [0.5] * 250}, schema={"sensor": pl.Int32, "value": pl.Float64})


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(_FRAME, id="polars"),
        pytest.param(_FRAME.lazy(), id="lazy"),
        pytest.param(_FRAME.to_arrow(), id="arrow"),
        pytest.param(pd.DataFrame(_FRAME.to_dict(as_series=False)), id="pandas"),
        pytest.param(_FRAME.to_dicts(), id="dicts"),
        pytest.param([_FRAME[:90], _FRAME[90:]], id="frames"),
        pytest.param(pa.table(_FRAME).to_reader(max_chunksize=70), id="reader"),
    ],
)
def test_the_rows_of_a_single_partition_may_be_given_themselves(database: str, rows: object) -> None:
    (report,) = _load(database, _GIVEN_READINGS, rows)

    assert report.error is None
    assert (report.written_rows, report.chunks) == (250, 3)
    assert fetch_value(database, "select sum(sensor) from readings where value = 0.5") == 249 * 125


def test_the_same_rows_given_again_go_on_where_the_first_load_ended(database: str) -> None:
    def rows(_partition: Partition) -> Iterator[pl.DataFrame]:
        for first in range(0, 250, 50):
            yield _FRAME[first : first + 50]
            if first == 200 and fails:
                raise ConnectionError("a secret of row 249")

    fails = [True]
    (first,) = _load(database, _GIVEN_READINGS, rows)
    assert isinstance(first.error, SourceError)
    assert str(first.error).startswith("the sensors raised builtins.ConnectionError behind 250 rows")
    assert "secret" not in str(first.error)
    assert fetch_value(database, "select count(*) from readings") == 0

    fails.clear()
    (second,) = _load(database, _GIVEN_READINGS, rows)
    assert (second.error, second.resumed, second.load_id) == (None, True, first.load_id)

    (third,) = _load(database, _GIVEN_READINGS, _FRAME[:-1])
    assert (third.written_rows, third.resumed) == (249, False)
    assert fetch_value(database, "select count(*) from readings") == 249
    assert_nothing_left_over(database)


def test_a_load_without_the_rows_says_who_gives_them(database: str) -> None:
    with pytest.raises(SourceError, match=r"table events: .* the program that loads it gives them; give them to"):
        _load(database, _GIVEN_EVENTS, None, (DAY,))
    with pytest.raises(SpecError, match=r"table readings: rows were given, but its source is ParquetFiles"):
        _load(database, READINGS, _FRAME)
    with pytest.raises(
        SpecError, match=rf"given for partition {DAY}, but the load is of partitions {DAY}, {NEXT_DAY}; "
    ):
        _load(database, _GIVEN_EVENTS, {DAY: events(2)}, (DAY, NEXT_DAY))


def test_a_row_outside_of_its_partition_is_a_dead_letter(database: str) -> None:
    rows = [{"order_id": n, "day": date(2024, 3, 1 + n // 99), "item": "x"} for n in range(100)]
    (report,) = _load(database, _GIVEN_ORDERS, rows, (DAY,))

    assert (report.error, report.written_rows, report.dead_lettered_rows) == (None, 99, 1)


def test_other_processes_verify_the_table_and_replay_its_letters_but_cannot_load_it(
    database: str, tmp_path: Path
) -> None:
    rows = _broken(events(40), 7)
    (report,) = _load(database, _GIVEN_EVENTS, rows, (DAY,))
    assert report.dead_lettered_rows == 1
    letter = tmp_path / "letters.ndjson"

    def command(*arguments: object) -> str:
        environment = {**os.environ, "ROWLEDGER_DATABASE_URL": database, "ROWLEDGER_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", "rowledger", *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "published" in command("status")
    command("verify", "--table", "events")
    command("dead-letters", "export", "--table", "events", "--output", letter)
    letter.write_text(letter.read_text().replace("longer than 8", "short"))
    command("dead-letters", "import", "--table", "events", letter)
    command("dead-letters", "replay", "--table", "events")
    command("verify", "--table", "events")
    assert fetch_value(database, "select code from events where event_id = 7") == "short"


def test_a_partition_of_which_not_all_rows_come_raises_for_its_caller(database: str) -> None:
    def rows(_partition: Partition) -> Iterator[Row]:
        yield {"sensor": 1, "value": 1.0}
        raise KeyError("sensor")

    with pytest.raises(LoadFailed, match=r"the sensors raised builtins.KeyError behind 1 rows"):
        rowledger.load(_GIVEN_READINGS, url=database, writer=WriterSettings(workers=1), rows=rows)


def test_rows_of_several_partitions_go_to_the_partition_that_their_values_name(database: str) -> None:
    rows = [*events(250), *_broken(events(130, day=NEXT_DAY), 12), *events(3, day="2024-03-07")]
    mixed = sorted(rows, key=lambda row: (row["event_id"], row["at"]))
    first, second, third = _load(database, _GIVEN_EVENTS, pl.DataFrame(mixed), (DAY, NEXT_DAY, THIRD_DAY))

    assert [report.error for report in (first, second, third)] == [None] * 3
    # Rows that belong to no partition of the load are dead letters of its first one.
    assert (first.written_rows, first.dead_lettered_rows) == (250, 3)
    assert (second.written_rows, second.dead_lettered_rows) == (129, 1)
    assert (third.written_rows, third.dead_lettered_rows) == (0, 0)
    assert_accounted(database, _GIVEN_EVENTS, rows)
    reasons = {
        row[0] for row in fetch(database, "select reason from rowledger.dead_letter where load_id = $1", first.load_id)
    }
    assert reasons == {f"at: belongs to another partition than {DAY}"}


def test_rows_that_come_in_pieces_are_split_as_they_come_and_go_on_where_the_first_load_ended(database: str) -> None:
    rows = [*events(150), *events(150, day=NEXT_DAY)]

    def pieces() -> Iterator[object]:
        for number, row in enumerate(rows):
            yield row | {"at": row["at"].isoformat()}
            if number % 100 == 99:
                yield "no row"

    load = partial(_load, database, _GIVEN_EVENTS, keys=(DAY, NEXT_DAY))
    with pytest.raises(SourceError, match=r"the given rows raised builtins.ZeroDivisionError behind"):
        load((row if n < 170 else 1 / 0 for n, row in enumerate(pieces())))
    assert fetch_value(database, "select count(*) from events") == 0

    reports = load(pieces())
    assert [(report.error, report.written_rows, report.dead_lettered_rows) for report in reports] == [
        (None, 150, 3),
        (None, 150, 0),
    ]
    assert_nothing_left_over(database)


def test_rows_that_cannot_be_split_are_refused_before_anything_is_written(database: str) -> None:
    partitions = [Partition(key, identifies_rows=False) for key in "ab"]
    with pytest.raises(SpecError, match="the rows of 2 partitions are given together: no columns tell"):
        rowledger.load(
            _GIVEN_READINGS.model_copy(update={"write_mode": WriteMode.UPSERT, "key": ("sensor",)}),
            partitions,
            url=database,
            rows=_FRAME,
        )
    transformed = _GIVEN_EVENTS.model_copy(update={"transform": RowTransform(function=print)})
    with pytest.raises(SpecError, match="its transform may change a row's partition"):
        _load(database, transformed, [], (DAY, NEXT_DAY))
    validated = TableSpec(name="validated", row=Validated, source=GivenRows(), partition_by="day")
    with pytest.raises(
        SpecError, match=r"together: Validated has validator .*'day'.*; give the rows of each by its key"
    ):
        _load(database, validated, [], (DAY, NEXT_DAY))


def test_rows_are_appended_once_however_the_partitions_of_a_load_are_chosen(database: str) -> None:
    spec = TableSpec(name="amounts", row=Amount, source=GivenRows(), partition_by="day", write_mode=WriteMode.APPEND)
    first, second = [{"day": DAY, "amount": 1}, {"day": DAY, "amount": 2}], [{"day": NEXT_DAY, "amount": 1.5}]

    with pytest.raises(
        SpecError, match=r"are given together, but write mode append .*; give the rows of each by its key"
    ):
        _load(database, spec, first + second, (DAY, NEXT_DAY))
    _load(database, spec, {DAY: first, NEXT_DAY: second}, (DAY, NEXT_DAY))
    _load(database, spec, first, (DAY,))

    assert fetch_value(database, "select count(*) from amounts") == 3


def test_a_validator_of_the_partition_column_reads_the_rows_that_are_given_by_key(database: str) -> None:
    spec = TableSpec(name="validated", row=Validated, source=GivenRows(), partition_by="day")
    rows = {DAY: [{"day": "01.03.2024"}], NEXT_DAY: [{"day": "02.03.2024"}]}

    reports = _load(database, spec, rows, (DAY, NEXT_DAY))

    assert [(report.written_rows, report.dead_lettered_rows) for report in reports] == [(1, 0), (1, 0)]
