"""A source with odd headers becomes a table with plain names; a table named by the aliases is told how to go on."""

import json
from datetime import date
from pathlib import Path
from typing import Annotated

import polars as pl
import pytest
from pydantic import BaseModel, Field

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load, load_one
from pipeline_tests.support.replaying import assert_verified, edit, replay, results
from rowledger.contract.sql_types import Integer, varchar
from rowledger.dead_letters.changes import export_dead_letters
from rowledger.errors import SourceError, TargetMismatch
from rowledger.ledger.dead_letter_outcomes import DeadLetterSelection
from rowledger.sources.csv import CsvFiles
from rowledger.spec.table import DeadLetterBudget, Drift, TableSpec

DAY = "2024-03-01"


class Sample(BaseModel):
    """A row of a laboratory's export."""

    sample_number: Annotated[Integer, Field(alias="Sample Number", gt=0)]
    taken_on: date = Field(validation_alias="Taken on")
    patient: Annotated[str, varchar(9)] = Field(alias="Patient (name)")


class FormerSample(BaseModel):
    """The same row, with a table whose columns are named as those of the source."""

    sample_number: Annotated[Integer, Field(gt=0)] = Field(
        validation_alias="Sample Number", serialization_alias="Sample Number"
    )
    taken_on: date = Field(validation_alias="Taken on")
    patient: Annotated[str, varchar(9)] = Field(validation_alias="Patient (name)", serialization_alias="Patient (name)")


def _spec(row: type[BaseModel], key: str, sensitive: str) -> TableSpec:
    return TableSpec(
        name="samples",
        row=row,
        source=CsvFiles(path="{landing}/{partition_key}.csv"),
        partition_by="taken_on",
        key=(key,),
        sensitive=(sensitive,),
        dead_letters=DeadLetterBudget(share_max=1),
    )


SAMPLES = _spec(Sample, "sample_number", "patient")
FORMER_SAMPLES = _spec(FormerSample, "Sample Number", "Patient (name)")


def _write(landing: Path, *, first: int = 1) -> None:
    lines = [f"{first},{DAY},Ada", f"{-first},{DAY},Bo", f"{first + 1},{DAY},Cleo\n"]
    (landing / f"{DAY}.csv").write_text("\n".join(["Sample Number,Taken on,Patient (name)", *lines]))


def test_a_table_has_the_fields_names_and_its_dead_letters_the_source_s(database: str, tmp_path: Path) -> None:
    _write(tmp_path)
    report = load_one(database, SAMPLES, tmp_path, DAY)

    assert report.error is None, report.error
    assert [tuple(row.items()) for row in fetch(database, "select * from samples order by 1")] == [
        (("sample_number", number), ("taken_on", date(2024, 3, 1)), ("patient", name))
        for number, name in ((1, "Ada"), (2, "Cleo"))
    ]
    (letter,) = fetch(database, "select column_name, reason, payload::text from rowledger.dead_letter")
    assert letter["column_name"] == "sample_number"
    assert json.loads(letter["payload"]) == {"Sample Number": "-1", "Taken on": DAY, "Patient (name)": "Bo"}
    file = tmp_path / "letters.ndjson"
    export_dead_letters(database, SAMPLES, DeadLetterSelection(), file, reveal=False)
    (line,) = map(json.loads, file.read_text().splitlines())
    assert line["payload"] == {"Sample Number": "-1", "Taken on": DAY, "Patient (name)": "[redacted]"}
    assert line["redacted"] == ["Patient (name)"]


@pytest.mark.parametrize("drift", [Drift.FREEZE, Drift.EVOLVE])
def test_a_table_named_by_the_aliases_is_renamed_as_told_and_its_dead_letters_are_replayed(
    database: str, tmp_path: Path, drift: Drift
) -> None:
    spec = SAMPLES.model_copy(update={"drift": drift})
    _write(tmp_path)
    assert load_one(database, FORMER_SAMPLES.model_copy(update={"drift": drift}), tmp_path, DAY).error is None
    assert fetch_value(database, 'select count(*) from samples where "Sample Number" > 0') == 2

    with pytest.raises(TargetMismatch) as caught:
        load(database, spec, tmp_path, [DAY])
    told = str(caught.value)
    assert 'a column "Sample Number", which is the alias of its field: rename it' in told
    assert "Field(validation_alias='Sample Number', serialization_alias='Sample Number')" in told
    for statement in told.partition("or the table:\n")[2].splitlines():
        fetch(database, statement)

    edit(database, spec, tmp_path, {1: {"Sample Number": "3"}})
    assert results(replay(database, spec)) == {1: "written"}
    assert [row[0] for row in fetch(database, "select sample_number from samples order by 1")] == [1, 2, 3]
    assert_verified(database, spec)
    _write(tmp_path, first=7)
    assert load_one(database, spec, tmp_path, DAY).error is None
    assert_verified(database, spec)


def test_a_source_s_column_that_no_field_reads_is_not_taken_for_the_table_s(database: str, tmp_path: Path) -> None:
    rows = {"Sample Number": [1], "Taken on": [date(2024, 3, 1)], "Patient (name)": ["Ada"], "sample_number": [9]}
    pl.DataFrame(rows).write_csv(tmp_path / f"{DAY}.csv")

    report = load_one(database, SAMPLES.model_copy(update={"drift": Drift.EVOLVE}), tmp_path, DAY)

    assert isinstance(report.error, SourceError)
    assert "column 'sample_number' cannot become a column of the table, because field sample_number" in str(
        report.error
    )
