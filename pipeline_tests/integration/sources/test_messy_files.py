"""Whole loads of files as they really come: each row is in the table or in the dead letters, with a reason that is true."""

from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.messy_files import MESSY, Messy


@pytest.mark.parametrize("messy", MESSY, ids=lambda messy: messy.spec.name)
def test_each_row_of_a_messy_file_is_where_it_belongs(database: str, tmp_path: Path, messy: Messy) -> None:
    messy.write(tmp_path)

    report = load_one(database, messy.spec, tmp_path, "all")

    assert report.error is None, report.error
    names = ", ".join(f'"{name}"' for name in messy.spec.row.model_fields)
    in_table = [tuple(row) for row in fetch(database, f'select {names} from "{messy.spec.target.table}"')]
    assert sorted(in_table, key=repr) == sorted(messy.rows, key=repr)
    letters = fetch(
        database, "select source_row, stage, reason, source from rowledger.dead_letter order by source_row, row_no"
    )
    assert [(letter["source_row"], letter["stage"]) for letter in letters] == [dead[:2] for dead in messy.dead]
    for letter, (_, _, reason) in zip(letters, messy.dead, strict=True):
        assert reason in letter["reason"]
        assert letter["source"] == str(tmp_path / messy.name)
    assert report.enqueued_rows == len(messy.rows) + len(messy.dead)
    assert_nothing_left_over(database)
