"""Rows that the server refuses are all found, whatever refuses them and however many they are."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.tables import DAY, PARCELS, PATIENT_PARCELS, Row, changed, parcels, write_source

_LETTERS = "select row_no, sqlstate, constraint_name, reason from rowledger.dead_letter order by row_no"


def _load(database: str, tmp_path: Path, rows: list[Row]) -> list[tuple[object, ...]]:
    fetch(database, "create schema depot")
    fetch(
        database,
        "create table depot.parcels (day date not null, parcel_id integer not null "
        "constraint id_divides check (100 / (parcel_id - 61) > -1000), "
        "label text not null constraint label_is_sweet check (label not like 'bitter%'), "
        "constraint label_is_short check (length(label) < 60))",
    )
    write_source(tmp_path, "parcels", DAY, rows)
    assert load_one(database, PARCELS, tmp_path, DAY).error is None
    assert_accounted(database, PARCELS, rows)
    return [tuple(letter) for letter in fetch(database, _LETTERS)]


def test_rows_that_break_checks_are_named_with_their_own_constraint(database: str, tmp_path: Path) -> None:
    rows = changed(
        parcels(250),
        {7: {"label": "bitter"}, 8: {"label": "x" * 60}, 99: {"label": "bitter" * 20}, 249: {"label": "bitter"}},
    )
    del rows[61]  # which would divide by zero
    letters = _load(database, tmp_path, rows)
    assert [(letter[:3]) for letter in letters] == [
        (7, "23514", "label_is_sweet"),
        (8, "23514", "label_is_short"),
        (98, "23514", "label_is_short"),
        (248, "23514", "label_is_sweet"),
    ]
    for letter in letters:
        assert letter[3] == f"refused by the server: check violation (SQLSTATE 23514), constraint {letter[2]}"


def test_a_check_that_raises_leaves_the_search_to_go_row_by_row(database: str, tmp_path: Path) -> None:
    letters = _load(database, tmp_path, changed(parcels(250), {7: {"label": "bitter"}, 99: {"label": "bitter"}}))
    assert [letter[:3] for letter in letters] == [
        (7, "23514", "label_is_sweet"),
        (61, "22012", None),
        (99, "23514", "label_is_sweet"),
    ]


def test_a_check_whose_function_raises_refuses_its_row_alone(database: str, tmp_path: Path) -> None:
    fetch(database, "create schema depot")
    fetch(
        database,
        """create function depot.sweet(label text) returns boolean language plpgsql as
        $$ begin if label = 'bitter' then raise exception '% is bad', label; end if; return true; end $$""",
    )
    fetch(
        database,
        "create table depot.parcels (day date, parcel_id integer, label text not null check (depot.sweet(label)))",
    )
    rows = changed(parcels(50), {7: {"label": "bitter"}, 31: {"label": "bitter"}})
    write_source(tmp_path, "parcels", DAY, rows)
    assert load_one(database, PARCELS, tmp_path, DAY).error is None
    assert_accounted(database, PARCELS, rows)
    reason = "refused by the server: raise (SQLSTATE P0001)"
    assert [tuple(row) for row in fetch(database, _LETTERS)] == [(n, "P0001", None, reason) for n in (7, 31)]


def test_a_role_that_may_make_no_temporary_table_loads_all_the_same(database: str, tmp_path: Path) -> None:
    # The owner of a database has every right to it, so the rows are loaded by another role.
    name = urlsplit(database).path.removeprefix("/")
    fetch(database, f"revoke temporary on database {name} from public")
    fetch(
        database,
        "do $$ begin create role sieveless login password 'x'; exception when duplicate_object then null; end $$",
    )
    fetch(database, f"grant create on database {name} to sieveless")
    fetch(database, "grant all on schema rowledger to sieveless")
    fetch(database, "grant all on all tables in schema rowledger to sieveless")
    fetch(database, "grant all on all sequences in schema rowledger to sieveless")
    url = urlsplit(database)
    theirs = url._replace(netloc=f"sieveless:x@{url.hostname}:{url.port}").geturl()
    try:
        letters = _load(theirs, tmp_path, changed(parcels(150), {7: {"label": "bitter"}, 99: {"label": "bitter"}})[:61])
    finally:
        fetch(database, "reassign owned by sieveless to current_user")
        fetch(database, "drop owned by sieveless")
        fetch(database, "drop role sieveless")
    assert [letter[:3] for letter in letters] == [(7, "23514", "label_is_sweet")]


@pytest.mark.slow
def test_thousands_of_refusals_in_one_transaction_do_not_use_up_the_server_s_locks(
    database: str, tmp_path: Path
) -> None:
    """The default lock table has room for some 7,000 savepoints that are nested in each other."""
    rows = parcels(9_000)
    fetch(database, "create schema depot")
    fetch(
        database,
        "create table depot.parcels (day date not null, parcel_id integer not null check (1 / (parcel_id - parcel_id) = 1), "
        "label text not null)",
    )
    write_source(tmp_path, "parcels", DAY, rows, row_group_rows=9_000)
    report = load_one(database, PATIENT_PARCELS, tmp_path, DAY, chunk_rows_max=9_000)
    assert report.error is None
    assert report.dead_lettered_rows == 9_000
