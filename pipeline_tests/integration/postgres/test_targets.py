"""Tables that were there before: respected, or refused with every difference named."""

from datetime import date
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one
from pipeline_tests.support.tables import (
    CHUNKS,
    DAY,
    EVENTS,
    NEXT_DAY,
    ORDERS,
    PARCELS,
    READINGS,
    changed,
    events,
    orders,
    parcels,
    readings,
    write_source,
)
from rowledger.errors import TargetMismatch

_OTHER_DAY = "2024-02-28"


def _existing(database: str, *statements: str) -> None:
    for statement in statements:
        fetch(database, statement)


def test_an_existing_plain_table_keeps_its_other_rows(database: str, tmp_path: Path) -> None:
    _existing(
        database,
        "create schema depot",
        "create table depot.parcels (label text, note text default 'of the table', parcel_id bigint, day date)",
        f"insert into depot.parcels values ('another day', 'mine', 1, '{_OTHER_DAY}'), ('stale', 'mine', 2, '{DAY}')",
    )
    for rows in (parcels(150), parcels(120)):
        write_source(tmp_path, "parcels", DAY, rows)
        assert load_one(database, PARCELS, tmp_path, DAY).error is None
        left = fetch(database, "select day, label, note from depot.parcels where note = 'mine'")
        assert [tuple(row) for row in left] == [(date(2024, 2, 28), "another day", "mine")]
        fetch(database, "delete from depot.parcels where note = 'mine'")
        assert_accounted(database, PARCELS, rows)
        fetch(database, f"insert into depot.parcels values ('another day', 'mine', 1, '{_OTHER_DAY}')")
    assert fetch_value(database, "select count(*) from depot.parcels where note = 'of the table'") == 120


def test_two_days_of_a_plain_table_are_loaded_side_by_side(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "orders", DAY, orders(150, DAY))
    write_source(tmp_path, "orders", NEXT_DAY, orders(150, NEXT_DAY, first=1000))
    reports = load(database, ORDERS, tmp_path, [DAY, NEXT_DAY], workers=2)
    assert [report.error for report in reports] == [None, None]
    assert_accounted(database, ORDERS, orders(150, DAY) + orders(150, NEXT_DAY, first=1000))


def test_an_existing_partitioned_table_gets_its_partition_swapped(database: str, tmp_path: Path) -> None:
    _existing(
        database,
        "create schema depot",
        "create table depot.parcels (day date not null, parcel_id integer, label text) partition by range (day)",
        f"create table depot.old_part partition of depot.parcels for values from ('{DAY}') to ('{NEXT_DAY}')",
        f"insert into depot.parcels values ('{DAY}', 1, 'stale')",
    )
    rows = parcels(120)
    write_source(tmp_path, "parcels", DAY, rows)
    before = fetch_value(database, "select 'depot.old_part'::regclass::oid")
    assert load_one(database, PARCELS, tmp_path, DAY).error is None
    assert_accounted(database, PARCELS, rows)
    assert fetch_value(database, "select 'depot.old_part'::regclass::oid") != before
    assert fetch_value(database, "select count(*) from depot.old_part") == 120
    assert fetch_value(database, "select count(*) from pg_inherits where inhparent = 'depot.parcels'::regclass") == 1


def test_partitions_cut_another_way_take_the_rows_without_being_replaced(database: str, tmp_path: Path) -> None:
    _existing(
        database,
        "create schema depot",
        "create table depot.parcels (day date not null, parcel_id integer, label text) partition by range (day)",
        "create table depot.march partition of depot.parcels for values from ('2024-03-01') to ('2024-04-01')",
        f"insert into depot.parcels values ('{DAY}', 1, 'old'), ('{NEXT_DAY}', 1, 'of the next day')",
    )
    write_source(tmp_path, "parcels", DAY, parcels(20))
    assert load_one(database, PARCELS, tmp_path, DAY).error is None
    assert (
        fetch_value(database, f"delete from depot.march where day = '{NEXT_DAY}' returning label") == "of the next day"
    )
    assert_accounted(database, PARCELS, parcels(20))


def test_a_row_that_a_unique_index_refuses_is_set_aside_without_being_quoted(database: str, tmp_path: Path) -> None:
    _existing(
        database,
        "create schema depot",
        "create table depot.parcels (day date, parcel_id integer, label text)",
        "create unique index one_label on depot.parcels (label)",
        f"insert into depot.parcels values ('{_OTHER_DAY}', 1, 'canary')",
    )
    write_source(tmp_path, "parcels", DAY, changed(parcels(20), {7: {"label": "canary"}}))
    observer = Recorder()
    report = load_one(database, PARCELS, tmp_path, DAY, observer=observer)
    assert report.error is None
    assert "canary" not in f"{report} {observer.text}"
    assert fetch_value(database, "select count(*) from depot.parcels") == 20
    letters = fetch(database, "select row_no, stage, constraint_name from rowledger.dead_letter")
    assert [tuple(letter) for letter in letters] == [(7, "key", "one_label")]


def test_a_trigger_that_drops_rows_is_noticed(database: str, tmp_path: Path) -> None:
    _existing(
        database,
        "create schema depot",
        "create table depot.parcels (day date, parcel_id integer, label text)",
        "create function depot.swallow() returns trigger language plpgsql as "
        "$$ begin if new.parcel_id = 5 then return null; end if; return new; end $$",
        "create trigger swallow before insert on depot.parcels for each row execute function depot.swallow()",
    )
    write_source(tmp_path, "parcels", DAY, parcels(20))
    report = load_one(database, PARCELS, tmp_path, DAY)
    assert report.error is not None
    assert "20 rows staged, 19 inserted" in str(report.error)
    assert fetch_value(database, "select count(*) from depot.parcels") == 0
    fetch(database, "drop trigger swallow on depot.parcels")
    assert load_one(database, PARCELS, tmp_path, DAY).error is None
    assert_accounted(database, PARCELS, parcels(20))


def test_a_trigger_that_changes_values_is_noticed(database: str, tmp_path: Path) -> None:
    _existing(
        database,
        "create schema depot",
        "create table depot.parcels (day date, parcel_id integer, label text)",
        "create function depot.alter() returns trigger language plpgsql as "
        "$$ begin new.label = 'changed'; return new; end $$",
        "create trigger alter before insert on depot.parcels for each row execute function depot.alter()",
    )
    write_source(tmp_path, "parcels", DAY, parcels(20))
    report = load_one(database, PARCELS, tmp_path, DAY)
    assert report.error is not None
    assert "label" in str(report.error)
    assert fetch_value(database, "select count(*) from depot.parcels") == 0


def test_every_difference_of_a_table_of_another_shape_is_named_and_nothing_is_made(
    database: str, tmp_path: Path
) -> None:
    _existing(
        database,
        "create schema depot",
        "create table depot.parcels (parcel_id integer generated always as (1) stored, label interval month, "
        "extra integer not null, fine integer, also_fine integer not null default 3)",
    )
    write_source(tmp_path, "parcels", DAY, parcels(3))
    with pytest.raises(TargetMismatch) as caught:
        load(database, PARCELS, tmp_path, [DAY])
    text = str(caught.value)
    assert "depot.parcels" in text
    for piece in (
        "column day (date) is missing",
        "parcel_id is generated",
        "label is interval month",
        "extra (integer)",
    ):
        assert piece in text
    assert "fine" not in text.replace("not fit", "")
    assert fetch_value(database, "select count(*) from rowledger.load") == 0
    assert fetch_value(database, "select count(*) from pg_class where relname like 'staging_%'") == 0


def test_a_column_of_a_type_that_cannot_hold_the_contract_is_refused(database: str, tmp_path: Path) -> None:
    _existing(database, "create schema depot", "create table depot.parcels (day text, parcel_id integer, label text)")
    write_source(tmp_path, "parcels", DAY, parcels(3))
    with pytest.raises(TargetMismatch, match="day"):
        load(database, PARCELS, tmp_path, [DAY])


def test_a_view_is_no_target(database: str, tmp_path: Path) -> None:
    _existing(database, "create view public.readings as select 1 as sensor, 2.0::double precision as value")
    write_source(tmp_path, "readings", "all", readings(3))
    with pytest.raises(TargetMismatch, match="not a table"):
        load(database, READINGS, tmp_path, ["all"])


def test_a_whole_table_that_others_depend_on_keeps_its_identity(database: str, tmp_path: Path) -> None:
    _existing(
        database,
        "create table public.readings (sensor integer not null, value double precision)",
        "insert into public.readings values (1, 1)",
        "create view public.averages as select sensor, avg(value) from public.readings group by sensor",
    )
    rows = readings(120)
    write_source(tmp_path, "readings", "all", rows)
    assert load_one(database, READINGS, tmp_path, "all").error is None
    assert_accounted(database, READINGS, rows)
    assert fetch_value(database, "select count(*) from public.averages") == 7


def test_rights_on_a_partitioned_table_survive_a_reload(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(10))
    write_source(tmp_path, "readings", "all", readings(10))
    for _ in range(2):
        load(database, EVENTS, tmp_path, [DAY])
        load(database, READINGS, tmp_path, ["all"])
        _existing(database, "grant select on public.events, public.readings to pg_monitor")
    load(database, EVENTS, tmp_path, [DAY])
    load(database, READINGS, tmp_path, ["all"])
    for table in ("events", "readings"):
        assert fetch_value(database, f"select has_table_privilege('pg_monitor', 'public.{table}', 'select')")


def test_a_target_may_have_the_name_of_a_table_of_the_ledger(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", readings(120))
    for _ in range(2):
        assert load_one(database, CHUNKS, tmp_path, "all").error is None
    assert_accounted(database, CHUNKS, readings(120))
