"""A row model that is corrected after its table was made: the table is made anew, or the statements to alter it are given."""

import re
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.tables import CORRECTED_PARCELS, DAY, PARCELS, changed, parcels, write_source
from rowledger.errors import DeadLetterBudgetSpent, TargetMismatch

_ROWS = changed(parcels(50), {number: {"label": None} for number in range(30)})


def _red_first_load(database: str, landing: Path) -> None:
    """A load that has made the table, and is refused since most of its rows do not keep the contract."""
    write_source(landing, "parcels", DAY, _ROWS)
    assert isinstance(load_one(database, PARCELS, landing, DAY).error, DeadLetterBudgetSpent)
    assert fetch_value(database, "select count(*) from depot.parcels") == 0


def _statements(mismatch: BaseException) -> list[str]:
    return re.findall(r"^  (.*)$", str(mismatch), flags=re.MULTILINE)


def test_a_table_that_nothing_has_come_into_is_made_anew_for_a_corrected_model(database: str, tmp_path: Path) -> None:
    _red_first_load(database, tmp_path)
    assert load_one(database, CORRECTED_PARCELS, tmp_path, DAY).error is None
    assert_accounted(database, CORRECTED_PARCELS, _ROWS)


@pytest.mark.parametrize(
    "use",
    [
        "create view depot.seen as select label from depot.parcels",
        "insert into depot.parcels values ('2024-03-20', 1, 'mine')",
        "grant select on depot.parcels to public",
        "create index on depot.parcels (label)",
        "comment on column depot.parcels.label is 'what it says'",
        "create table depot.later partition of depot.parcels for values from ('2024-03-20') to ('2024-03-21')",
        "comment on table depot.parcels is 'mine'",
    ],
)
def test_a_table_that_others_use_is_not_made_anew_and_the_statement_that_fits_it_is_given(
    database: str, tmp_path: Path, use: str
) -> None:
    _red_first_load(database, tmp_path)
    if use.startswith("insert"):
        fetch(database, "create table depot.mine partition of depot.parcels default")
    fetch(database, use)
    before = fetch_value(database, "select 'depot.parcels'::regclass::oid")
    with pytest.raises(TargetMismatch, match="column label is not null, the contract allows null") as mismatch:
        load_one(database, CORRECTED_PARCELS, tmp_path, DAY)
    (statement,) = _statements(mismatch.value)
    assert statement.startswith('alter table "depot"."parcels" alter column "label" drop not null;')
    fetch(database, statement)
    assert load_one(database, CORRECTED_PARCELS, tmp_path, DAY).error is None
    assert fetch_value(database, "select 'depot.parcels'::regclass::oid") == before


def test_a_table_with_published_rows_is_not_made_anew(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "parcels", DAY, parcels(20))
    assert load_one(database, PARCELS, tmp_path, DAY).error is None
    fetch(database, "delete from depot.parcels")
    with pytest.raises(TargetMismatch, match="drop not null"):
        load_one(database, CORRECTED_PARCELS, tmp_path, DAY)


def test_the_statements_given_for_every_kind_of_difference_make_the_table_fit(database: str, tmp_path: Path) -> None:
    fetch(database, "create schema depot")
    fetch(database, "create domain depot.named as text not null")
    fetch(
        database,
        "create table depot.parcels (day date, parcel_id text, label depot.named, other integer not null)",
    )
    write_source(tmp_path, "parcels", DAY, _ROWS)
    for _ in range(2):  # what can be seen of the columns, then of their types
        with pytest.raises(TargetMismatch) as mismatch:
            load_one(database, CORRECTED_PARCELS, tmp_path, DAY)
        for statement in _statements(mismatch.value):
            fetch(database, statement)
    assert load_one(database, CORRECTED_PARCELS, tmp_path, DAY).error is None
    assert_accounted(database, CORRECTED_PARCELS, _ROWS)
