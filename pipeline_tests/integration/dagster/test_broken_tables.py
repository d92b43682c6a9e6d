"""Dagster's definitions while one table's file has a mistake: the others work, and that one says what is wrong."""

import logging
from pathlib import Path

import dagster as dg
import pytest

from pipeline_tests.support.definitions import MARCH, table_defs
from pipeline_tests.support.tables import EVENTS
from rowledger.dagster.definitions import build_table_defs
from rowledger.errors import SpecError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
]

SOUND = """\
from pydantic import BaseModel
from rowledger.sources import ParquetFiles
from rowledger.spec import TableSpec


class Reading(BaseModel):
    sensor: int


READINGS = TableSpec(name="readings", key=("sensor",), row=Reading, source=ParquetFiles(path="{landing}/readings.parquet"))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "readings_table.py"
    path.write_text(SOUND, encoding="utf-8")
    return path


def _keys(defs: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}


def _failure(defs: dg.Definitions, job: str, **partition: str) -> str:
    result = defs.resolve_job_def(job).execute_in_process(raise_on_error=False, **partition)
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return data.description or ""


def test_a_table_is_defined_from_a_reference_to_its_file(file: Path) -> None:
    defs = build_table_defs(f"{file}:READINGS", jobs=True)

    assert _keys(defs) == {"readings"}
    assert defs.resolve_job_def("readings_load").nodes


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        ("from rowledger.spec", "from rowledger.spce", "readings_table.py: line 3: "),
        ("name=", "nmae=", "readings_table.py: line 10: "),
        ("class Reading(BaseModel):", "class Reading(BaseModel)", "readings_table.py: line 6: SyntaxError"),
        ("READINGS =", "RAEDINGS =", "has no READINGS"),
        ("READINGS = TableSpec", "READINGS = 1 or TableSpec", "is of the class int; name a TableSpec"),
        ("{landing}/", "{day}/", "its source names {day}"),
        ("int\n", "int | None\n", "key columns ['sensor'] may be null"),
    ],
    ids=["an import", "a field", "syntax", "no such name", "no spec", "a placeholder", "a nullable key"],
)
def test_the_others_are_defined_and_the_broken_one_fails_with_file_line_and_mistake(
    file: Path, caplog: pytest.LogCaptureFixture, right: str, wrong: str, mistake: str
) -> None:
    file.write_text(SOUND.replace(right, wrong), encoding="utf-8")

    with caplog.at_level(logging.WARNING, logger="rowledger"):
        broken = build_table_defs(f"{file}:READINGS", jobs=True)
    defs = dg.Definitions.merge(table_defs(EVENTS), broken)

    assert _keys(defs) == {"events", "readings"}
    assert mistake in caplog.text
    assert {node.name for node in defs.resolve_job_def("events_load").nodes} == {"events"}
    for job in ("readings_load", "readings_verify", "readings_replay"):
        failure = _failure(defs, job)
        assert failure.startswith("readings cannot be used: ")
        assert mistake in failure


def test_a_broken_table_keeps_its_key_and_its_partitions(file: Path) -> None:
    file.write_text(SOUND.replace("Model", "Mdoel"), encoding="utf-8")

    defs = build_table_defs(f"{file}:READINGS", jobs=True, partitions_def=MARCH, key=["lake", "readings"])

    assert _keys(defs) == {"lake/readings"}
    assert "cannot be used" in _failure(defs, "lake__readings_load", partition_key="2024-03-01")


def test_a_module_that_is_not_there_is_the_tables_own_mistake() -> None:
    assert "'no_such_module'" in _failure(build_table_defs("no_such_module:READINGS", jobs=True), "readings_load")


def test_a_spec_that_dagster_cannot_define_leaves_the_others_alone(file: Path) -> None:
    file.write_text(SOUND.replace("row=", 'upstream=("no such/name!",), row='), encoding="utf-8")
    defs = dg.Definitions.merge(table_defs(EVENTS), build_table_defs(f"{file}:READINGS", jobs=True))

    assert {"events", "readings"} <= _keys(defs)


def test_a_spec_that_is_given_as_such_and_does_not_fit_its_partitions_raises() -> None:
    with pytest.raises(SpecError, match="table events: partition_by is 'at', but it has no partitions"):
        build_table_defs(EVENTS)
