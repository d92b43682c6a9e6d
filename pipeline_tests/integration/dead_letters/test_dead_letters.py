"""Rows that cannot be written: each is kept once, with its reason, and its neighbours load."""

import json
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load, load_one, set_failpoints
from pipeline_tests.support.partitions import DAYS_OF_MARCH
from pipeline_tests.support.sour_tables import SOUR, make_sour_table
from pipeline_tests.support.tables import (
    DAY,
    EVENTS,
    ORDERS,
    PARCELS,
    STRICT_READINGS,
    Row,
    changed,
    events,
    orders,
    parcels,
    readings,
    write_source,
)
from rowledger.dead_letters.changes import list_dead_letters
from rowledger.errors import DeadLetterBudgetSpent
from rowledger.ledger.dead_letter_outcomes import DeadLetterSelection
from rowledger.load import partition_load


def _letters(database: str) -> list[dict[str, object]]:
    rows = fetch(
        database,
        "select chunk_no, row_no, stage, reason, sqlstate, constraint_name, column_name, payload::text "
        "from rowledger.dead_letter order by row_no",
    )
    return [dict(row) for row in rows]


def _event_with_key_of(row: Row, name: str) -> Row:
    return {**row, "name": name}


def test_rows_that_break_the_contract_are_set_aside_with_their_reason(database: str, tmp_path: Path) -> None:
    rows = changed(
        events(250),
        {
            0: {"event_id": -5},
            99: {"name": None},
            100: {"code": "far too long"},
            249: {"at": events(1, "2024-03-09")[0]["at"]},
        },
    )
    write_source(tmp_path, "events", DAY, rows)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (246, 4)
    letters = _letters(database)
    assert [(letter["row_no"], letter["chunk_no"], letter["column_name"]) for letter in letters] == [
        (0, 0, "event_id"),
        (99, 0, "name"),
        (100, 1, "code"),
        (249, 2, "at"),
    ]
    assert {letter["stage"] for letter in letters} == {"contract"}
    assert "another partition than 2024-03-01" in str(letters[3]["reason"])
    assert_accounted(database, EVENTS, rows)


def test_rows_that_the_server_refuses_are_set_aside_wherever_they_stand(database: str, tmp_path: Path) -> None:
    make_sour_table(database, "events")
    places = ([0], [99], [0, 99], [41, 42, 43], [100], [0, 100, 199, 200, 249])
    bad = dict(zip(DAYS_OF_MARCH, places, strict=False))
    rows = {
        day: changed(events(250, day), {number: {"name": f"no{SOUR}"} for number in numbers})
        for day, numbers in bad.items()
    }
    for day in bad:
        write_source(tmp_path, "events", day, rows[day])
    reports = load(database, EVENTS, tmp_path, list(bad))
    assert [report.error for report in reports] == [None] * len(bad)
    found: dict[str, list[int]] = {}
    for row in fetch(
        database,
        "select partition_key, row_no from rowledger.dead_letter join rowledger.load using (load_id) order by 1, 2",
    ):
        found.setdefault(row["partition_key"], []).append(row["row_no"])
    assert found == bad
    letters = _letters(database)
    assert {(letter["stage"], letter["sqlstate"], letter["constraint_name"]) for letter in letters} == {
        ("copy", "23514", "no_sour_name")
    }
    assert json.loads(str(letters[0]["payload"]))["name"] == f"no{SOUR}"
    assert_accounted(database, EVENTS, [row for of_day in rows.values() for row in of_day])


def test_a_chunk_of_nothing_but_refusals_is_set_aside_whole(database: str, tmp_path: Path) -> None:
    make_sour_table(database, "events")
    rows = changed(events(200), {number: {"name": SOUR} for number in range(100)})
    write_source(tmp_path, "events", DAY, rows)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (100, 100)
    assert_accounted(database, EVENTS, rows)


def test_refusals_behind_contract_rejects_are_tied_to_the_right_rows(database: str, tmp_path: Path) -> None:
    make_sour_table(database, "events")
    rows = changed(
        events(250),
        {101: {"event_id": -1}, 103: {"name": SOUR}, 104: {"event_id": -1}, 105: {"name": SOUR}, 198: {"name": SOUR}},
    )
    write_source(tmp_path, "events", DAY, rows)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert [(letter["row_no"], letter["stage"]) for letter in _letters(database)] == [
        (101, "contract"),
        (103, "copy"),
        (104, "contract"),
        (105, "copy"),
        (198, "copy"),
    ]
    assert_accounted(database, EVENTS, rows)


def test_an_existing_table_s_own_rules_hold(database: str, tmp_path: Path) -> None:
    fetch(database, "create schema depot")
    fetch(
        database,
        "create table depot.parcels (day date, parcel_id integer, label character varying(30), "
        "constraint not_seven check (parcel_id % 100 <> 7))",
    )
    rows = changed(parcels(250), {12: {"label": "x" * 31}, 13: {"label": "x" * 30}, 14: {"label": "ü" * 30}})
    write_source(tmp_path, "parcels", DAY, rows)
    report = load_one(database, PARCELS, tmp_path, DAY)
    assert report.error is None
    letters = _letters(database)
    assert [letter["row_no"] for letter in letters] == [7, 12, 107, 207]
    checked = [letter for letter in letters if letter["stage"] == "copy"]
    assert {(letter["sqlstate"], letter["constraint_name"]) for letter in checked} == {("23514", "not_seven")}
    assert "character varying(30)" in str(letters[1]["reason"])
    assert_accounted(database, PARCELS, rows)


def test_a_refusal_without_a_row_number_is_found_by_halving(database: str, tmp_path: Path) -> None:
    fetch(database, "create schema depot")
    fetch(database, "create table depot.parcels (day date, parcel_id integer, label text)")
    write_source(tmp_path, "parcels", DAY, parcels(1))
    load_one(database, PARCELS, tmp_path, DAY)
    # A deferred constraint is checked behind the COPY, without saying where.
    rows = parcels(100)
    write_source(tmp_path, "parcels", DAY, rows)
    fetch(
        database,
        "create function depot.refuse() returns trigger language plpgsql as $$ begin "
        "if exists (select from new_rows where parcel_id = 61) then raise exception 'no' using errcode = '23514'; end if; "
        "return null; end $$",
    )
    fetch(
        database,
        "create function depot.watch() returns event_trigger language plpgsql as $$ declare found record; begin "
        "for found in select * from pg_event_trigger_ddl_commands() "
        "where object_type = 'table' and schema_name = 'rowledger' and command_tag = 'CREATE TABLE' loop "
        "execute format('create trigger refuse after insert on %s referencing new table as new_rows "
        "for each statement execute function depot.refuse()', found.object_identity); end loop; end $$",
    )
    fetch(database, "create event trigger watch on ddl_command_end execute function depot.watch()")
    report = load_one(database, PARCELS, tmp_path, DAY)
    assert report.error is None
    assert [(letter["row_no"], letter["sqlstate"]) for letter in _letters(database)] == [(61, "23514")]
    assert_accounted(database, PARCELS, rows)


def test_of_rows_with_one_key_the_first_in_source_order_stays(database: str, tmp_path: Path) -> None:
    rows = events(300)
    rows[50] = _event_with_key_of(rows[3], "again, within the chunk")
    rows[150] = _event_with_key_of(rows[3], "again, in the next chunk")
    rows[299] = _event_with_key_of(rows[200], "again, in the last chunk")
    rows[120] = {**rows[110]}  # a whole row twice
    write_source(tmp_path, "events", DAY, rows)
    report = load_one(database, EVENTS, tmp_path, DAY, workers=2)
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (296, 4)
    letters = _letters(database)
    assert [(letter["row_no"], letter["chunk_no"]) for letter in letters] == [(50, 0), (120, 1), (150, 1), (299, 2)]
    assert {letter["stage"] for letter in letters} == {"key"}
    kept = (3, 110, 3, 200)
    for letter, first in zip(letters, kept, strict=True):
        assert letter["reason"] == f"same key (at, event_id) as row {first} of the source, which stays"
    assert fetch_value(database, "select name from events where event_id = 3") == rows[3]["name"]
    assert_accounted(database, EVENTS, rows)


def test_the_first_row_stays_even_if_its_chunk_is_written_last(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(300)
    rows[250] = _event_with_key_of(rows[10], "later in the source")
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "before_begin=sigkill@chunk=0,attempt=1")
    assert load_one(database, EVENTS, tmp_path, DAY, workers=2).error is None
    assert fetch_value(database, "select name from events where event_id = 10") == rows[10]["name"]
    assert_accounted(database, EVENTS, rows)


def test_a_refused_row_does_not_count_as_the_first_of_its_key(database: str, tmp_path: Path) -> None:
    make_sour_table(database, "events")
    rows = events(200)
    rows[20] = {**rows[5], "name": "second"}
    rows[150] = {**rows[5], "name": "third"}
    rows[5] = {**rows[5], "name": SOUR}
    write_source(tmp_path, "events", DAY, rows)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert [(letter["row_no"], letter["stage"]) for letter in _letters(database)] == [(5, "copy"), (150, "key")]
    assert "as row 20 of" in str(_letters(database)[1]["reason"])
    assert_accounted(database, EVENTS, rows)


def test_a_key_without_the_partition_column_is_kept_unique_within_the_partition(database: str, tmp_path: Path) -> None:
    rows = orders(150)
    rows[140] = {**rows[2], "item": "again"}
    write_source(tmp_path, "orders", DAY, rows)
    report = load_one(database, ORDERS, tmp_path, DAY)
    assert report.error is None
    assert [letter["row_no"] for letter in _letters(database)] == [140]
    assert_accounted(database, ORDERS, rows)


@pytest.mark.parametrize("kind", ["contract", "server"])
def test_a_spent_budget_fails_the_load_and_keeps_what_was_learned(database: str, tmp_path: Path, kind: str) -> None:
    bad = [5, 6, 7, 150, 160]
    changes: dict[int, Row] = {number: {"sensor": 2**40} for number in bad}
    if kind == "server":
        fetch(
            database,
            "create table public.strict_readings (sensor integer, value double precision, "
            "constraint small check (value < 100))",
        )
        changes = {number: {"value": 1000.0} for number in bad}
    write_source(tmp_path, "readings", "all", changed(readings(200), changes))
    report = load_one(database, STRICT_READINGS, tmp_path, "all")
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert "budget is 2" in str(report.error)
    assert fetch_value(database, "select count(*) from strict_readings") == 0
    assert fetch_value(database, "select state from rowledger.load") == "rejected"
    kept, _ = list_dead_letters(database, "strict_readings", DeadLetterSelection())
    assert [letter.row_no for letter in kept][:3] == [5, 6, 7]

    rows = changed(readings(200), {5: changes[5], 150: changes[150]})
    write_source(tmp_path, "readings", "all", rows)
    rerun = load_one(database, STRICT_READINGS, tmp_path, "all")
    assert rerun.error is None
    assert not rerun.resumed
    assert_accounted(database, STRICT_READINGS, rows)


def test_a_budget_spent_on_nulls_names_the_remedy(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", changed(readings(200), {n: {"sensor": None} for n in range(5, 15)}))
    report = load_one(database, STRICT_READINGS, tmp_path, "all")

    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert "sensor: is null, but the column is not nullable (" in str(report.error)
    assert "If the source may have nulls, declare sensor as `X | None`. See them:" in str(report.error)


def test_a_budget_spent_by_many_chunks_together_fails_the_load(database: str, tmp_path: Path) -> None:
    rows = changed(readings(400), {number: {"sensor": 2**40} for number in (50, 150, 250, 350)})
    write_source(tmp_path, "readings", "all", rows)
    report = load_one(database, STRICT_READINGS, tmp_path, "all")
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert fetch_value(database, "select count(*) from strict_readings") == 0
    assert fetch_value(database, "select state from rowledger.load") == "rejected"


def test_duplicates_spend_the_budget_too(database: str, tmp_path: Path) -> None:
    rows = [{**events(1)[0], "name": f"copy {number}"} for number in range(100)]
    write_source(tmp_path, "events", DAY, rows)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert "99 rows repeat a key" in str(report.error)
    assert fetch_value(database, "select count(*) from events") == 0
    assert fetch_value(database, "select state from rowledger.load") == "rejected"


def test_a_run_that_dies_behind_a_spent_budget_does_not_block_the_next(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned is kept before the load is rejected; a run killed in between leaves it with a load that goes on."""
    rows = changed(readings(200), {number: {"sensor": 2**40} for number in (5, 6, 7)})
    write_source(tmp_path, "readings", "all", rows)

    async def die(*_arguments: object) -> None:
        raise ConnectionResetError("the run died here")

    with monkeypatch.context() as patch:
        patch.setattr(partition_load, "reject_load", die)
        load_one(database, STRICT_READINGS, tmp_path, "all")
    assert fetch_value(database, "select state from rowledger.load") == "loading"
    rerun = load_one(database, STRICT_READINGS, tmp_path, "all")
    assert isinstance(rerun.error, DeadLetterBudgetSpent)
    assert rerun.resumed
    assert fetch_value(database, "select count(*) from rowledger.dead_letter") == 3
    assert fetch_value(database, "select state from rowledger.load") == "rejected"
