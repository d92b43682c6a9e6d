"""Rows that only the target refuses, when they come into it: each a dead letter, in every write mode and in any language."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import asyncpg
import psycopg2
import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.tables_of_write_modes import (
    DAY,
    KEYLESS_PARCELS,
    PARCELS,
    PARCELS_REPLACED,
    TAGS,
    Row,
    parcels,
    write_parcels,
    write_tags,
)
from rowledger.errors import DeadLetterBudgetSpent, DiscrepancyFound, TargetMismatch
from rowledger.failpoints import Place
from rowledger.ledger.reports import PartitionReport
from rowledger.publish import finish as publish
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec, WriteMode

_PLAIN = "create table depot.parcels ({})"
_BY_RANGE = "create table depot.parcels ({}) partition by range (day)"
_COLUMNS = "parcel_id integer, day date, label text, customer integer, inside integer"
_KEYED = f"{_COLUMNS}, primary key (parcel_id, day)"
_EVERYWHERE = """select string_agg(kept, ' ') from (
    select to_jsonb(load)::text as kept from rowledger.load union all
    select to_jsonb(incident)::text from rowledger.incident union all
    select (to_jsonb(dead_letter) - 'payload' - 'traceback')::text from rowledger.dead_letter
) as kept"""


def _incompressible(size: int, seed: int = 0) -> str:
    return random.Random(seed).randbytes(size).hex()[:size]


def _target(database: str, *more: str, table: str = _PLAIN, columns: str = _KEYED) -> None:
    for statement in ("create schema depot", table.format(columns), *more):
        fetch(database, statement)


def _load(
    database: str, spec: TableSpec, landing: Path, rows: list[Row], observer: Recorder | None = None
) -> PartitionReport:
    (write_tags if spec is TAGS else write_parcels)(landing, rows)
    return load_one(database, spec, landing, DAY, observer=observer)


def _letters(database: str) -> list[tuple[object, ...]]:
    found = fetch(
        database,
        "select row_no, stage, sqlstate, constraint_name from rowledger.dead_letter "
        "join rowledger.load using (load_id) where load.state = 'published' order by load_id, row_no",
    )
    return [tuple(row) for row in found]


def _assert_taken(database: str, spec: TableSpec, report: PartitionReport, count: int, refused: list[int]) -> None:
    assert report.error is None, report.error
    assert (report.written_rows, report.dead_lettered_rows) == (count - len(refused), len(refused))
    assert [letter[0] for letter in _letters(database)] == refused
    assert fetch_value(database, f"select count(*) from {spec.target}") == count - len(refused)
    assert {result.passed for result in run_verify(spec, url=database)} == {True}
    assert_nothing_left_over(database)


_REFUSING = """create function depot.refuse() returns trigger language plpgsql as $$ begin
    if new.label like 'canary%%' then
        raise exception 'not %%', new.label using errcode = '%s', hint = new.label, column = new.label, constraint = new.label;
    end if;
    return new;
end $$"""


@pytest.mark.parametrize(
    ("mode", "table", "sqlstate", "when"),
    [
        (WriteMode.REPLACE, _PLAIN, "23514", "before"),
        (WriteMode.REPLACE, _BY_RANGE, "P0001", "after"),
        (WriteMode.REPLACE, _PLAIN, "40001", "before"),
        (WriteMode.APPEND, _PLAIN, "42501", "before"),
        (WriteMode.APPEND, _BY_RANGE, "08006", "before"),
        (WriteMode.UPSERT, _PLAIN, "57P01", "after"),
        (WriteMode.UPSERT, _PLAIN, "ABCDE", "before"),
    ],
)
def test_a_row_that_a_trigger_refuses_is_a_dead_letter_and_nobody_quotes_it(
    database: str, tmp_path: Path, mode: WriteMode, table: str, sqlstate: str, when: str
) -> None:
    trigger = f"create trigger refusing {when} insert on depot.parcels for each row execute function depot.refuse()"
    _target(database, _REFUSING % sqlstate, trigger, table=table)
    rows = parcels(250, {7: {"label": "canary 7"}, 8: {"label": "canary 8"}, 249: {"label": "canary 9"}})
    observer = Recorder()
    report = _load(database, PARCELS[mode], tmp_path, rows, observer)
    _assert_taken(database, PARCELS[mode], report, 250, [7, 8, 249])
    assert {letter[1:] for letter in _letters(database)} == {("copy", sqlstate, None)}
    assert sqlstate in observer.text
    assert "canary" not in observer.text + fetch_value(database, _EVERYWHERE)
    said = fetch_value(database, "select traceback from rowledger.dead_letter where row_no = 8")
    assert said.startswith("message: not canary 8\nhint: canary 8\n")


def test_a_statement_that_no_row_is_to_blame_for_costs_no_dead_letter(database: str, tmp_path: Path) -> None:
    function = """create function depot.refuse() returns trigger language plpgsql as $$ begin
        perform * from depot.canary; return new; end $$"""
    trigger = "create trigger refusing before insert on depot.parcels for each row execute function depot.refuse()"
    _target(database, function, trigger)
    report = _load(database, PARCELS_REPLACED, tmp_path, parcels(50))
    assert isinstance(report.error, TargetMismatch)
    assert "undefined table (SQLSTATE 42P01) in delete from" in str(report.error) or "insert into" in str(report.error)
    assert "canary" not in str(report.error)
    assert fetch_value(database, "select count(*) from rowledger.dead_letter") == 0


def test_too_many_refused_rows_spend_the_budget(database: str, tmp_path: Path) -> None:
    trigger = "create trigger refusing before insert on depot.parcels for each row execute function depot.refuse()"
    _target(database, _REFUSING % "P0001", trigger)
    report = _load(database, PARCELS_REPLACED, tmp_path, parcels(50, {n: {"label": "canary"} for n in range(40)}))
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert "are refused by the server: raise (SQLSTATE P0001)" in str(report.error)
    assert "canary" not in str(report.error)


def test_a_key_too_long_for_its_index_is_a_dead_letter(database: str, tmp_path: Path) -> None:
    rows: list[Row] = [{"name": f"tag {n}", "day": DAY, "note": None} for n in range(250)]
    rows[7]["name"] = rows[120]["name"] = _incompressible(9_000)
    rows[200]["name"] = _incompressible(9_000, 1)
    rows[201]["name"] = "tag 3"
    report = _load(database, TAGS, tmp_path, rows)
    _assert_taken(database, TAGS, report, 250, [7, 120, 200, 201])
    assert [letter[1:3] for letter in _letters(database)] == [("copy", "54000")] * 3 + [("key", None)]


@contextmanager
def _old_snapshot(database: str) -> Iterator[None]:
    """A reader that goes on seeing rows which others delete."""
    with closing(psycopg2.connect(database, connect_timeout=20)) as reader, reader.cursor() as cursor:
        reader.set_session(isolation_level="REPEATABLE READ")
        cursor.execute("select from pg_class")
        yield


def test_a_key_too_long_for_its_index_is_a_dead_letter_while_an_old_snapshot_is_kept(
    database: str, tmp_path: Path
) -> None:
    rows: list[Row] = [{"name": f"tag {n}", "day": DAY, "note": None} for n in range(250)]
    rows[7]["name"] = _incompressible(9_000)
    write_tags(tmp_path, rows)
    with _old_snapshot(database):
        report = load_one(database, TAGS, tmp_path, DAY, publish_snapshot_wait_s=0.1)
    _assert_taken(database, TAGS, report, 250, [7])


@pytest.mark.parametrize(
    ("mode", "sqlstate"), [(WriteMode.REPLACE, "57014"), (WriteMode.APPEND, "40001"), (WriteMode.UPSERT, "P0001")]
)
def test_a_row_that_a_unique_index_raises_for_is_a_dead_letter_whatever_the_sqlstate_and_snapshots(
    database: str, tmp_path: Path, mode: WriteMode, sqlstate: str
) -> None:
    _target(
        database,
        "create function depot.kind_of(label text) returns text immutable language plpgsql as $$ begin "
        f"if label like 'canary%' then raise exception '%', label using errcode = '{sqlstate}'; end if; return 'x'; end $$",
        "create unique index by_kind on depot.parcels (depot.kind_of(label), parcel_id)",
    )
    write_parcels(tmp_path, parcels(120, {50: {"label": "canary 1"}, 60: {"label": "canary 2"}}))
    observer = Recorder()
    with _old_snapshot(database):
        report = load_one(
            database, PARCELS[mode], tmp_path, DAY, observer=observer, publish_snapshot_wait_s=0.1, retry_budget_s=1
        )
    _assert_taken(database, PARCELS[mode], report, 120, [50, 60])
    assert {letter[1:3] for letter in _letters(database)} == {("copy", sqlstate)}
    assert "canary" not in observer.text + fetch_value(database, _EVERYWHERE)


@pytest.mark.parametrize(
    ("mode", "trigger", "does", "acting"),
    [
        (WriteMode.APPEND, "depot.parcels for each statement", "raise exception 'closed';", "trigger refusing)"),
        (WriteMode.UPSERT, "depot.first for each row", "return null;", "trigger refusing of depot.first)"),
    ],
)
def test_what_no_row_is_to_blame_for_names_the_triggers_of_the_table_and_its_partitions(
    database: str, tmp_path: Path, mode: WriteMode, trigger: str, does: str, acting: str
) -> None:
    _target(
        database,
        "create table depot.first partition of depot.parcels for values from ('2024-03-01') to ('2024-03-02')",
        f"create function depot.refuse() returns trigger language plpgsql as $$ begin {does} end $$",
        f"create trigger refusing before insert on {trigger} execute function depot.refuse()",
        table=_BY_RANGE,
    )
    report = _load(database, PARCELS[mode], tmp_path, parcels(50))
    assert type(report.error) in (TargetMismatch, DiscrepancyFound)
    assert acting in str(report.error)
    assert fetch_value(database, "select count(*) from rowledger.dead_letter") == 0


@pytest.mark.parametrize("mode", list(WriteMode))
def test_a_target_that_is_renamed_while_its_rows_are_staged_is_said_to_be(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: WriteMode
) -> None:
    async def rename(place: Place, **_facts: object) -> None:
        if place is Place.BEFORE_PUBLISH:
            await asyncio.to_thread(fetch, database, "alter table depot.parcels rename to former")

    _target(database)
    monkeypatch.setattr(publish, "async_failpoint", rename)
    report = _load(database, PARCELS[mode], tmp_path, parcels(50))
    assert isinstance(report.error, TargetMismatch)
    assert "target depot.parcels was dropped, renamed or made anew since the run began" in str(report.error)


@pytest.mark.parametrize("table", [_PLAIN, _BY_RANGE], ids=["plain", "by range"])
def test_a_value_too_large_for_an_index_or_a_page_is_a_dead_letter(database: str, tmp_path: Path, table: str) -> None:
    _target(
        database,
        "alter table depot.parcels alter label set storage plain",
        "create index by_label on depot.parcels (label) where customer = 2",
        "create index by_words on depot.parcels using gin (to_tsvector('simple', label))",
        table=table,
    )
    rows = parcels(
        250,
        {
            7: {"label": _incompressible(8_150)},
            30: {"label": _incompressible(5_000), "customer": 2},
            31: {"label": _incompressible(5_000)},
            90: {"label": _incompressible(8_150)},
        },
    )
    report = _load(database, PARCELS_REPLACED, tmp_path, rows)
    _assert_taken(database, PARCELS_REPLACED, report, 250, [7, 30, 90])
    assert {letter[1:] for letter in _letters(database)} == {("copy", "54000", None)}


@pytest.mark.parametrize("mode", [WriteMode.REPLACE, WriteMode.UPSERT])
def test_of_rows_that_exclude_each_other_one_stays(database: str, tmp_path: Path, mode: WriteMode) -> None:
    _target(database, "alter table depot.parcels add constraint apart exclude (customer with =)")
    rows = parcels(120, {n: {"customer": n % 118} for n in range(120)})
    report = _load(database, PARCELS[mode], tmp_path, rows)
    _assert_taken(database, PARCELS[mode], report, 120, [118, 119])
    assert {letter[1:] for letter in _letters(database)} == {("copy", "23P01", "apart")}


def test_of_equal_rows_without_a_key_that_exclude_each_other_the_first_stays(database: str, tmp_path: Path) -> None:
    _target(database, "alter table depot.parcels add constraint apart exclude (label with =)", columns=_COLUMNS)
    rows = [*parcels(40), *parcels(3), *parcels(2)]
    report = _load(database, KEYLESS_PARCELS, tmp_path, rows)
    _assert_taken(database, KEYLESS_PARCELS, report, 45, [40, 41, 42, 43, 44])


@pytest.mark.parametrize("kind", ["a collation", "citext"])
def test_keys_that_are_equal_to_the_server_alone_are_duplicates(database: str, tmp_path: Path, kind: str) -> None:
    if kind == "citext":
        fetch(database, "create extension citext")
        name = "name citext"
    else:
        icu = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
        try:
            fetch(database, f"create collation nocase ({icu})")
        except asyncpg.FeatureNotSupportedError:
            pytest.skip("the server was built without ICU")
        name = "name text collate nocase"
    fetch(database, f"create table tags ({name}, day date, note text, primary key (name, day))")
    rows: list[Row] = [{"name": f"tag {n}", "day": DAY, "note": None} for n in range(120)]
    rows[50]["name"] = "TAG 3"
    rows[51]["name"] = "Tag 3"
    report = _load(database, TAGS, tmp_path, rows)
    _assert_taken(database, TAGS, report, 120, [50, 51])
    assert {letter[1] for letter in _letters(database)} == {"key"}


def test_an_index_on_an_expression_that_raises_refuses_its_row_alone(database: str, tmp_path: Path) -> None:
    _target(
        database,
        "create unique index one_share on depot.parcels (parcel_id, day, (100 / (customer - 7)))",
        "create index by_share on depot.parcels ((100 / (customer - 8)))",
        "alter table depot.parcels add column share integer generated always as (100 / (customer - 9)) stored",
    )
    rows = parcels(120, {50: {"customer": 7}, 60: {"customer": 8}, 70: {"customer": 9}})
    report = _load(database, PARCELS_REPLACED, tmp_path, rows)
    _assert_taken(database, PARCELS_REPLACED, report, 120, [50, 60, 70])
    assert {letter[1:3] for letter in _letters(database)} == {("copy", "22012")}


def test_a_child_that_was_staged_before_its_parent_is_not_taken_for_refused(database: str, tmp_path: Path) -> None:
    _target(
        database,
        "alter table depot.parcels add unique (parcel_id)",
        "alter table depot.parcels add foreign key (inside) references depot.parcels (parcel_id)",
        _REFUSING % "P0001",
        "create trigger refusing before insert on depot.parcels for each row execute function depot.refuse()",
    )
    rows = parcels(240, {0: {"inside": 239}, 5: {"inside": 200}, 7: {"label": "canary"}})
    report = _load(database, PARCELS_REPLACED, tmp_path, rows)
    _assert_taken(database, PARCELS_REPLACED, report, 240, [7])


def test_a_row_without_a_partition_is_a_dead_letter_that_says_so(database: str, tmp_path: Path) -> None:
    _target(
        database,
        "create table depot.ones partition of depot.parcels for values in (1)",
        table="create table depot.parcels ({}) partition by list (customer)",
        columns=_COLUMNS,
    )
    report = _load(database, KEYLESS_PARCELS, tmp_path, parcels(50, {7: {"customer": 2}}))
    _assert_taken(database, KEYLESS_PARCELS, report, 50, [7])
    reason = fetch_value(database, "select reason from rowledger.dead_letter")
    assert reason == "refused by the server: check violation (SQLSTATE 23514), the table has no partition for it"
