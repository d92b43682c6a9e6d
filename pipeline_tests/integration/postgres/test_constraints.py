"""Targets that ask more of their rows than types: foreign keys, unique indexes, triggers, rules, row security, heirs."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.tables_of_write_modes import (
    DAY,
    KEYLESS_PARCELS,
    NEXT_DAY,
    PARCELS,
    PARCELS_APPENDED,
    PARCELS_REPLACED,
    PARCELS_UPSERTED,
    Row,
    parcels,
    write_parcels,
)
from rowledger.errors import DeadLetterBudgetSpent, DiscrepancyFound, TargetMismatch
from rowledger.ledger.reports import PartitionReport
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec, WriteMode

_COLUMNS = "parcel_id integer, day date, label text, customer integer, inside integer, primary key (parcel_id, day)"
_PLAIN = "create table depot.parcels ({})"
_BY_RANGE = "create table depot.parcels ({}) partition by range (day)"


def _target(database: str, *more: str, table: str = _PLAIN, columns: str = _COLUMNS) -> None:
    fetch(database, "create schema depot")
    fetch(database, table.format(columns))
    for statement in more:
        fetch(database, statement)


def _load(database: str, spec: TableSpec, landing: Path, rows: list[Row], key: str = DAY) -> PartitionReport:
    write_parcels(landing, rows, key)
    return load_one(database, spec, landing, key)


def _ids(database: str) -> list[int]:
    return [row[0] for row in fetch(database, "select parcel_id from depot.parcels order by 1")]


def _letters(database: str) -> list[tuple[object, ...]]:
    found = fetch(
        database,
        """select row_no, stage, sqlstate, constraint_name, reason from rowledger.dead_letter
        join rowledger.load using (load_id) where load.state = 'published' order by load_id, row_no""",
    )
    return [tuple(row) for row in found]


def _assert_verified(database: str, spec: TableSpec) -> None:
    assert {result.passed for result in run_verify(spec, url=database)} == {True}
    assert_nothing_left_over(database)


_CUSTOMERS = ("create table depot.customers (id integer primary key)", "insert into depot.customers values (1), (2)")
_TO_CUSTOMERS = "alter table depot.parcels add constraint of_customer foreign key (customer) references depot.customers"


@pytest.mark.parametrize("table", [_PLAIN, _BY_RANGE], ids=["plain", "by range"])
@pytest.mark.parametrize("mode", WriteMode)
def test_a_row_without_its_parent_is_a_dead_letter_and_its_neighbours_load(
    database: str, tmp_path: Path, mode: WriteMode, table: str
) -> None:
    _target(database, *_CUSTOMERS, _TO_CUSTOMERS, table=table)
    rows = parcels(25, {3: {"customer": 7}, 4: {"customer": None}, 17: {"customer": 7}, 20: {"customer": 2}})
    report = _load(database, PARCELS[mode], tmp_path, rows)
    assert report.error is None, report.error
    assert _ids(database) == [number for number in range(25) if number not in (3, 17)]
    reason = "refused by foreign key of_customer (customer): no row of depot.customers has these values of (id)"
    assert _letters(database) == [(number, "copy", "23503", "of_customer", reason) for number in (3, 17)]
    _assert_verified(database, PARCELS[mode])


def test_foreign_keys_of_several_columns_are_seen_as_the_server_sees_them(database: str, tmp_path: Path) -> None:
    _target(
        database,
        "create table depot.places (a integer, b integer, primary key (a, b))",
        "insert into depot.places values (1, 1)",
        "alter table depot.parcels add constraint simple foreign key (customer, inside) references depot.places",
        """alter table depot.parcels add constraint "In Full" foreign key (inside, customer)
        references depot.places (b, a) match full""",
    )
    rows = parcels(
        6,
        {
            0: {"customer": 1, "inside": 1},
            1: {"customer": 1, "inside": 2},
            2: {"customer": None, "inside": None},
            3: {"customer": None, "inside": 1},
            4: {"customer": 1, "inside": None},
            5: {"customer": 1, "inside": 1},
        },
    )
    assert _load(database, PARCELS_REPLACED, tmp_path, rows).error is None
    assert _ids(database) == [0, 2, 5]
    assert [(letter[0], letter[3]) for letter in _letters(database)] == [(1, "In Full"), (3, "In Full"), (4, "In Full")]


@pytest.mark.parametrize("mode", WriteMode)
def test_a_row_may_have_its_parent_in_its_own_load_and_goes_when_that_goes(
    database: str, tmp_path: Path, mode: WriteMode
) -> None:
    _target(
        database,
        "alter table depot.parcels add unique (parcel_id)",
        "alter table depot.parcels add constraint in_parcel foreign key (inside) references depot.parcels (parcel_id)",
        f"insert into depot.parcels values (100, '{NEXT_DAY}'), (101, '{DAY}')",
    )
    changes = {1: {"inside": 0}, 2: {"inside": 3}, 4: {"inside": 99}, 5: {"inside": 4}, 6: {"inside": 5}}
    rows = parcels(10, {**changes, 7: {"inside": 100}, 8: {"inside": 101}})
    assert _load(database, PARCELS[mode], tmp_path, rows).error is None
    gone = {4, 5, 6} | ({8} if mode is WriteMode.REPLACE else set())
    old = [100] if mode is WriteMode.REPLACE else [100, 101]
    assert _ids(database) == [*(number for number in range(10) if number not in gone), *old]
    assert [letter[0] for letter in _letters(database)] == sorted(gone)


def test_orphans_over_the_budget_refuse_the_load_before_the_source_is_read_again(database: str, tmp_path: Path) -> None:
    _target(database, *_CUSTOMERS, _TO_CUSTOMERS)
    report = _load(database, PARCELS_REPLACED, tmp_path, parcels(10, {number: {"customer": 7} for number in range(9)}))
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert "9 rows were refused, the budget is 6" in str(report.error)
    assert "no row of depot.customers has these values of (id)" in str(report.error)
    assert _ids(database) == []


def test_a_foreign_key_between_columns_of_two_collations_is_checked_by_the_parents(
    database: str, tmp_path: Path
) -> None:
    _target(
        database,
        'create table depot.labels (label text collate "C" primary key)',
        "insert into depot.labels select 'label ' || n from generate_series(0, 8) as n",
        "alter table depot.parcels add constraint of_label foreign key (label) references depot.labels",
        columns=_COLUMNS.replace("label text", 'label text collate "POSIX"'),
    )
    report = _load(database, PARCELS_REPLACED, tmp_path, parcels(10))
    assert report.error is None, report.error
    assert _ids(database) == list(range(9))
    assert [letter[3] for letter in _letters(database)] == ["of_label"]
    _assert_verified(database, PARCELS_REPLACED)


_UNIQUE = {
    "plain": ("create unique index one_label on depot.parcels (label)", {}),
    "expression": ("create unique index one_label on depot.parcels (lower(label))", {"label": "LABEL 2"}),
    "partial": ("create unique index one_label on depot.parcels (label) where customer = 1", {}),
    "constraint": (
        "alter table depot.parcels add constraint one_label unique (label) deferrable initially deferred",
        {},
    ),
}


@pytest.mark.parametrize("index", _UNIQUE)
def test_of_rows_that_share_what_an_index_keeps_unique_the_first_stays(
    database: str, tmp_path: Path, index: str
) -> None:
    statement, change = _UNIQUE[index]
    _target(database, statement, f"insert into depot.parcels values (900, '{NEXT_DAY}', 'label 5', 1)")
    rows = parcels(15, {11: {"label": "label 2", **change}, 12: {"label": None}, 13: {"label": None}})
    write_parcels(tmp_path, rows)
    observer = Recorder()
    report = load_one(database, PARCELS_APPENDED, tmp_path, DAY, workers=2, chunk_rows_max=4, observer=observer)
    assert report.error is None, report.error
    assert _ids(database) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 900]
    there, same = _letters(database)
    columns = "label, customer" if index == "partial" else "label"
    reason = f"same values of unique index one_label ({columns}) as"
    assert there == (5, "key", "23505", "one_label", f"{reason} a row that is in the table already")
    assert same == (11, "key", "23505", "one_label", f"{reason} row 2 of the source, which stays")
    assert "label 2" not in observer.text
    assert "1 row(s) repeat values of unique index one_label" in observer.text
    _assert_verified(database, PARCELS_APPENDED)


def test_an_upsert_sets_aside_what_another_row_of_the_table_has(database: str, tmp_path: Path) -> None:
    _target(
        database,
        "create unique index one_label on depot.parcels (label)",
        f"insert into depot.parcels values (900, '{NEXT_DAY}', 'label 5', 1), (3, '{DAY}', 'label 3', 1)",
    )
    assert _load(database, PARCELS_UPSERTED, tmp_path, parcels(9, {3: {"label": "label 3"}})).error is None
    assert _ids(database) == [0, 1, 2, 3, 4, 6, 7, 8, 900]
    assert [letter[:4] for letter in _letters(database)] == [(5, "key", "23505", "one_label")]
    _assert_verified(database, PARCELS_UPSERTED)


@pytest.mark.parametrize("table", [_PLAIN, _BY_RANGE], ids=["that was not finished", "that a partition lacks"])
def test_an_upsert_needs_an_index_on_the_key_that_is_valid(database: str, tmp_path: Path, table: str) -> None:
    columns = _COLUMNS.removesuffix(", primary key (parcel_id, day)")
    _target(database, table=table, columns=columns)
    if table is _PLAIN:
        fetch(database, f"insert into depot.parcels values (3, '{DAY}', 'one', 1), (3, '{DAY}', 'two', 1)")
        with pytest.raises(asyncpg.UniqueViolationError):
            fetch(database, "create unique index concurrently broken on depot.parcels (parcel_id, day)")
        fetch(database, "delete from depot.parcels where label = 'two'")
    else:
        fetch(database, "create table depot.parcels_of_day partition of depot.parcels default")
        fetch(database, "create unique index broken on only depot.parcels (parcel_id, day)")
    with pytest.raises(TargetMismatch, match=r"no unique index on the key, .* an invalid one"):
        _load(database, PARCELS_UPSERTED, tmp_path, parcels(9))
    fetch(database, "create unique index on depot.parcels (parcel_id, day)")
    assert _load(database, PARCELS_UPSERTED, tmp_path, parcels(9)).error is None
    assert _ids(database) == list(range(9))
    _assert_verified(database, PARCELS_UPSERTED)


@pytest.mark.parametrize(
    ("key", "index"),
    [
        ("parcel_id, day", "create unique index one_label on depot.parcels (lower(label)) where customer = 1"),
        ("parcel_id", "create index on depot.parcels (label)"),
    ],
    ids=["unique index", "primary key"],
)
def test_a_replacement_sets_aside_what_a_row_of_another_partition_has(
    database: str, tmp_path: Path, key: str, index: str
) -> None:
    columns = _COLUMNS.replace("primary key (parcel_id, day)", f"primary key ({key})")
    _target(database, index, f"insert into depot.parcels values (5, '{NEXT_DAY}', 'LABEL 6', 1)", columns=columns)
    is_key = key == "parcel_id"
    for count in (9, 8):
        assert _load(database, PARCELS_REPLACED, tmp_path, parcels(count)).error is None
        gone = 5 if is_key else 6
        assert _ids(database) == sorted([5, *(number for number in range(count) if number != gone)])
        assert [letter[:4] for letter in _letters(database)] == [
            (gone, "key", "23505", "parcels_pkey" if is_key else "one_label")
        ]
    _assert_verified(database, PARCELS_REPLACED)


def test_nulls_that_an_index_holds_to_be_equal_are_duplicates_too(database: str, tmp_path: Path) -> None:
    if fetch_value(database, "select current_setting('server_version_num')::integer") < 150_000:
        pytest.skip("NULLS NOT DISTINCT came with PostgreSQL 15")
    _target(database, "create unique index one_label on depot.parcels (label) nulls not distinct")
    assert (
        _load(database, PARCELS_APPENDED, tmp_path, parcels(9, {3: {"label": None}, 7: {"label": None}})).error is None
    )
    assert [letter[0] for letter in _letters(database)] == [7]
    write_parcels(tmp_path, parcels(9, {12: {"label": None}}, first=9))
    assert load_one(database, PARCELS_APPENDED, tmp_path, DAY).error is None
    assert [letter[0] for letter in _letters(database)] == [7, 3]


def test_a_unique_index_goes_along_with_an_attached_partition(database: str, tmp_path: Path) -> None:
    _target(database, "create unique index one_label on depot.parcels (label, day)", table=_BY_RANGE)
    for _ in range(2):
        assert _load(database, PARCELS_REPLACED, tmp_path, parcels(9, {7: {"label": "label 2"}})).error is None
        assert _ids(database) == [0, 1, 2, 3, 4, 5, 6, 8]
    assert fetch_value(database, "select count(*) from pg_indexes where tablename = 'parcels_2024_03_01'") == 2


def test_a_table_that_others_refer_to_is_replaced_row_by_row(database: str, tmp_path: Path) -> None:
    _target(
        database,
        f"insert into depot.parcels select number, '{DAY}' from generate_series(0, 9) as number",
        """create table depot.notes (parcel_id integer, day date,
        constraint of_parcel foreign key (parcel_id, day) references depot.parcels)""",
        f"insert into depot.notes values (3, '{DAY}')",
    )
    assert _load(database, PARCELS_REPLACED, tmp_path, parcels(8)).error is None
    assert _ids(database) == list(range(8))
    report = _load(database, PARCELS_REPLACED, tmp_path, parcels(4, first=4))
    assert isinstance(report.error, TargetMismatch)
    assert "constraint of_parcel" in str(report.error)
    assert _ids(database) == list(range(8))

    fetch(database, "alter table depot.notes drop constraint of_parcel")
    fetch(
        database,
        """alter table depot.notes add constraint of_parcel foreign key (parcel_id, day) references depot.parcels
        on delete cascade""",
    )
    report = _load(database, PARCELS_REPLACED, tmp_path, parcels(9))
    assert isinstance(report.error, TargetMismatch)
    assert "of_parcel of depot.notes" in str(report.error)
    assert "upsert" in str(report.error)
    assert fetch_value(database, "select count(*) from depot.notes") == 1
    assert _load(database, PARCELS_UPSERTED, tmp_path, parcels(9)).error is None
    assert _ids(database) == list(range(9))


def test_a_check_of_the_whole_row_is_refused_with_the_remedy(database: str, tmp_path: Path) -> None:
    _target(database, "alter table depot.parcels add check (parcels is not null)")
    report = _load(database, PARCELS_REPLACED, tmp_path, parcels(3))
    assert isinstance(report.error, TargetMismatch)
    assert "one of its CHECK constraints speaks of the whole row" in str(report.error)


def test_a_deferred_constraint_is_heard_before_the_commit(database: str, tmp_path: Path) -> None:
    _target(
        database,
        "alter table depot.parcels add exclude using btree (label with =) deferrable initially deferred",
    )
    report = _load(database, PARCELS_APPENDED, tmp_path, parcels(9, {7: {"label": "label 2"}}))
    assert report.error is None, report.error
    reason = "refused by the server: exclusion violation (SQLSTATE 23P01), constraint parcels_label_excl"
    assert _letters(database) == [(7, "copy", "23P01", "parcels_label_excl", reason)]
    assert _ids(database) == [0, 1, 2, 3, 4, 5, 6, 8]


def _trigger(body: str, when: str = "before insert") -> tuple[str, ...]:
    return (
        f"create function depot.act() returns trigger language plpgsql as $$ begin {body} end $$",
        f"create trigger act {when} on depot.parcels for each row execute function depot.act()",
    )


@pytest.mark.parametrize("table", [_PLAIN, _BY_RANGE], ids=["plain", "by range"])
@pytest.mark.parametrize("mode", WriteMode)
def test_a_trigger_that_swallows_or_changes_rows_is_named_and_nothing_is_published(
    database: str, tmp_path: Path, mode: WriteMode, table: str
) -> None:
    body = "if new.parcel_id = 5 then return null; end if; return new;"
    if mode is WriteMode.APPEND:
        body = "new.label = 'changed'; return new;"
    _target(database, *_trigger(body), table=table)
    report = _load(database, PARCELS[mode], tmp_path, parcels(9))
    assert isinstance(report.error, DiscrepancyFound)
    assert "trigger act" in str(report.error)
    assert ("label: 9 values" if mode is WriteMode.APPEND else "9 rows staged, 8 inserted") in str(report.error)
    assert _ids(database) == []
    fetch(database, "drop trigger act on depot.parcels")
    assert _load(database, PARCELS[mode], tmp_path, parcels(9)).error is None
    assert _ids(database) == list(range(9))


_AFTERWARDS = {
    "deletes": "delete from depot.parcels where parcel_id = new.parcel_id and parcel_id = 5; return null;",
    "changes": "update depot.parcels set label = 'changed' where parcel_id = new.parcel_id and parcel_id = 5; return null;",
}


@pytest.mark.parametrize(
    ("mode", "act", "kind", "when"),
    [
        (WriteMode.APPEND, "deletes", "", ""),
        (WriteMode.APPEND, "changes", "constraint ", "deferrable initially deferred "),
        (WriteMode.UPSERT, "changes", "", ""),
        (WriteMode.UPSERT, "deletes", "constraint ", "deferrable initially deferred "),
        (WriteMode.REPLACE, "deletes", "constraint ", "deferrable initially deferred "),
    ],
)
def test_what_a_trigger_does_behind_the_insert_is_no_silent_change(
    database: str, tmp_path: Path, mode: WriteMode, act: str, kind: str, when: str
) -> None:
    """RETURNING shows the row as it was before."""
    _target(
        database,
        f"create function depot.act() returns trigger language plpgsql as $$ begin {_AFTERWARDS[act]} end $$",
    )
    assert _load(database, PARCELS[mode], tmp_path, parcels(5)).error is None
    fetch(
        database,
        f"create {kind}trigger act after insert on depot.parcels {when}for each row execute function depot.act()",
    )
    report = _load(database, PARCELS[mode], tmp_path, parcels(9, first=2 if mode is WriteMode.UPSERT else 5))
    assert isinstance(report.error, DiscrepancyFound)
    assert "trigger act" in str(report.error)
    assert _ids(database) == list(range(5))


@pytest.mark.parametrize("mode", WriteMode)
def test_a_trigger_that_only_takes_note_sees_every_row(database: str, tmp_path: Path, mode: WriteMode) -> None:
    _target(
        database,
        "create table depot.seen (parcel_id integer)",
        *_trigger("insert into depot.seen values (new.parcel_id); return null;", "after insert"),
        table=_BY_RANGE,
    )
    assert _load(database, PARCELS[mode], tmp_path, parcels(9)).error is None
    assert fetch_value(database, "select count(*) from depot.seen") == 9
    _assert_verified(database, PARCELS[mode])


def test_a_rule_that_sends_rows_elsewhere_is_named(database: str, tmp_path: Path) -> None:
    _target(
        database,
        "create table depot.elsewhere (like depot.parcels)",
        "create rule away as on insert to depot.parcels do instead insert into depot.elsewhere select new.*",
    )
    report = _load(database, PARCELS_REPLACED, tmp_path, parcels(9))
    assert isinstance(report.error, DiscrepancyFound)
    assert "rule away" in str(report.error)
    appended = _load(database, PARCELS_APPENDED, tmp_path, parcels(9))
    assert isinstance(appended.error, TargetMismatch)
    assert "feature not supported" in str(appended.error)
    assert fetch_value(database, "select count(*) from depot.elsewhere") == 0


def test_rows_of_heirs_are_not_replaced(database: str, tmp_path: Path) -> None:
    _target(
        database,
        "create table depot.heir () inherits (depot.parcels)",
        f"insert into depot.heir values (700, '{DAY}')",
    )
    for count in (9, 7):
        assert _load(database, PARCELS_REPLACED, tmp_path, parcels(count)).error is None
        assert _ids(database) == [*range(count), 700]
    _assert_verified(database, PARCELS_REPLACED)


def test_a_target_that_is_a_partition_itself_takes_the_rows_that_it_may_have(database: str, tmp_path: Path) -> None:
    fetch(database, "create schema depot")
    fetch(database, f"create table depot.all_parcels ({_COLUMNS}) partition by range (day, parcel_id)")
    fetch(
        database,
        f"""create table depot.parcels partition of depot.all_parcels
        for values from ('{DAY}', 0) to ('{DAY}', 7)""",
    )
    assert _load(database, PARCELS_REPLACED, tmp_path, parcels(9)).error is None
    assert _ids(database) == list(range(7))
    assert [(letter[0], letter[2]) for letter in _letters(database)] == [(7, "23514"), (8, "23514")]


def test_rows_that_another_has_added_meanwhile_are_looked_for_again_and_set_aside(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _target(database)
    write_parcels(tmp_path, parcels(9))

    async def reached(place: object, **_facts: object) -> None:
        if str(place) == "before_publish" and not _ids_in_thread(database):
            _in_thread(database, f"insert into depot.parcels values (4, '{DAY}')")

    monkeypatch.setattr("rowledger.publish.finish.async_failpoint", reached)
    report = load_one(database, PARCELS_APPENDED, tmp_path, DAY)
    assert report.error is None, report.error
    assert _ids(database) == list(range(9))
    assert [letter[0] for letter in _letters(database)] == [4]
    _assert_verified(database, PARCELS_APPENDED)


def test_an_append_without_a_key_adds_equal_rows_as_often_as_they_come(database: str, tmp_path: Path) -> None:
    rows = parcels(4) + parcels(4)
    assert _load(database, KEYLESS_PARCELS, tmp_path, rows).error is None
    assert _load(database, KEYLESS_PARCELS, tmp_path, parcels(5)).error is None
    assert _ids(database) == sorted([*range(4), *range(4), *range(5)])
    _assert_verified(database, KEYLESS_PARCELS)


def _in_thread(database: str, statement: str) -> list[object]:
    """Done in a thread, since we are called inside an event loop and `fetch` wants its own."""
    with ThreadPoolExecutor(1) as thread:
        return [row[0] for row in thread.submit(fetch, database, statement).result()]


def _ids_in_thread(database: str) -> list[object]:
    return _in_thread(database, "select parcel_id from depot.parcels")
