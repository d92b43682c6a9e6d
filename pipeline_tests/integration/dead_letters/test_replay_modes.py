"""Dead letters come back into tables of every write mode and every division, and the loads of a table still add up."""

from pathlib import Path

import pytest

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import assert_verified, edit, replay, results
from pipeline_tests.support.tables import changed
from pipeline_tests.support.tables_of_write_modes import (
    APPENDED,
    APPENDED_KEYLESS,
    BY_DAY_AND_REGION,
    DAY,
    MOVING,
    NEXT_DAY,
    PATHS,
    REPLACED,
    REPLACED_AS_APPENDED,
    UPSERTED,
    WEEKLY,
    WHOLE_APPENDED,
    WHOLE_UPSERTED,
    Row,
    sales,
    write_sales,
)
from rowledger.ledger.dead_letter_outcomes import DeadLetterResult
from rowledger.spec.table import TableSpec

_REFUSED = {n: {"sale_id": 2**40} for n in (3, 4, 5)}
_NUMBERED = (
    "create table {t} (row_id bigint generated always as identity, note text default 'mine', day date not null, "
    "region text not null, sale_id integer not null, amount double precision)"
)


def _load(database: str, landing: Path, spec: TableSpec, rows: list[Row], key: str) -> None:
    write_sales(landing, "/".join(reversed(key.split("|"))), rows)
    report = load_one(database, spec, landing, key)
    assert report.error is None, report.error


@pytest.mark.parametrize(
    ("spec", "key", "target"),
    [
        (REPLACED, DAY, _NUMBERED),
        (APPENDED, DAY, ""),
        (APPENDED, DAY, f"{_NUMBERED} partition by range (day)"),
        (APPENDED_KEYLESS, DAY, ""),
        (UPSERTED, DAY, ""),
        (UPSERTED, DAY, _NUMBERED),
        (MOVING, DAY, ""),
        (WHOLE_APPENDED, "all", _NUMBERED),
        (WHOLE_UPSERTED, "all", ""),
        (PATHS, "a", ""),
        (BY_DAY_AND_REGION, f"{DAY}|north", ""),
    ],
    ids=lambda value: str(getattr(value, "name", value))[:40],
)
def test_corrected_rows_come_back_into_every_kind_of_table(
    database: str, tmp_path: Path, spec: TableSpec, key: str, target: str
) -> None:
    if target:
        fetch(database, target.format(t=f"public.{spec.name}"))
    if target and spec.key:
        fetch(database, f"create unique index on public.{spec.name} ({', '.join(spec.key)})")
    rows = sales(range(20), region="north")
    _load(database, tmp_path, spec, changed(rows, _REFUSED), key)
    edit(database, spec, tmp_path, {n: {"sale_id": n} for n in _REFUSED})

    report = replay(database, spec)

    assert results(report) == dict.fromkeys(_REFUSED, "written")
    assert fetch_value(database, f"select count(distinct sale_id) from {spec.name}") == 20
    assert fetch_value(database, f"select count(*) from {spec.name}") == 20
    assert_verified(database, spec)


@pytest.mark.parametrize("spec", [APPENDED, APPENDED_KEYLESS, WHOLE_APPENDED], ids=lambda spec: spec.name)
def test_letters_of_each_appended_load_add_to_their_own(database: str, tmp_path: Path, spec: TableSpec) -> None:
    key = "all" if spec is WHOLE_APPENDED else DAY
    _load(database, tmp_path, spec, changed(sales(range(20)), _REFUSED), key)
    edit(database, spec, tmp_path, {n: {"sale_id": n} for n in _REFUSED})
    _load(database, tmp_path, spec, changed(sales(range(100, 120)), _REFUSED), key)

    report = replay(database, spec)

    assert (report.count(DeadLetterResult.WRITTEN), report.count(DeadLetterResult.REFUSED)) == (3, 3)
    written = fetch(database, "select sum(written_rows) from rowledger.chunk group by load_id order by load_id")
    assert [row[0] for row in written] == [20, 17]
    assert_verified(database, spec)


def test_an_append_takes_no_key_that_another_load_has_brought(database: str, tmp_path: Path) -> None:
    _load(database, tmp_path, APPENDED, sales(range(20)), DAY)
    _load(database, tmp_path, APPENDED, changed(sales(range(100, 120)), _REFUSED), DAY)
    edit(database, APPENDED, tmp_path, {3: {"sale_id": 3}, 4: {"sale_id": 999}})
    assert results(replay(database, APPENDED)) == {3: "refused", 4: "written", 5: "refused"}
    assert_verified(database, APPENDED)


@pytest.mark.parametrize("spec", [UPSERTED, MOVING, WHOLE_UPSERTED], ids=lambda spec: spec.name)
def test_an_upsert_updates_the_row_that_has_the_key(database: str, tmp_path: Path, spec: TableSpec) -> None:
    key = "all" if spec is WHOLE_UPSERTED else DAY
    _load(database, tmp_path, spec, sales(range(30)), key)
    _load(database, tmp_path, spec, changed(sales(range(20, 50)), _REFUSED), key)
    # Row 3 has the key of a row of its own load, row 4 one of the first load, row 5 a new one.
    edit(
        database,
        spec,
        tmp_path,
        {
            3: {"sale_id": 41, "amount": 3.5, "region": "south"},
            4: {"sale_id": 2, "amount": 4.5, "region": "north"},
            5: {"sale_id": 500},
        },
    )

    report = replay(database, spec)

    assert results(report) == {3: "written", 4: "written", 5: "written"}
    assert fetch_value(database, f"select amount from {spec.name} where sale_id = 41") == 3.5
    assert fetch_value(database, f"select amount from {spec.name} where sale_id = 2") == 4.5
    assert fetch_value(database, f"select count(*) from {spec.name}") == 51
    assert_verified(database, spec)


def test_a_key_s_second_row_does_not_overwrite_the_first_one_by_a_replay(database: str, tmp_path: Path) -> None:
    rows = sales(range(20))
    rows[15] = {**rows[4], "amount": 99.0}
    _load(database, tmp_path, UPSERTED, rows, DAY)

    (outcome,) = replay(database, UPSERTED).outcomes

    assert (outcome.row_no, outcome.result) == (15, DeadLetterResult.REFUSED)
    assert "stays; this one would overwrite it" in outcome.reason
    assert fetch_value(database, "select amount from upserted where sale_id = 4") == rows[4]["amount"]
    assert_verified(database, UPSERTED)


def test_letters_of_a_load_that_others_stand_for_by_now_stay_out(database: str, tmp_path: Path) -> None:
    _load(database, tmp_path, REPLACED_AS_APPENDED, changed(sales(range(20)), _REFUSED), DAY)
    edit(database, REPLACED_AS_APPENDED, tmp_path, {n: {"sale_id": n} for n in _REFUSED})
    _load(database, tmp_path, APPENDED, sales(range(100, 120)), DAY)

    report = replay(database, REPLACED_AS_APPENDED)

    assert report.count(DeadLetterResult.SKIPPED) == 3
    assert "write mode was changed" in report.outcomes[0].reason
    assert fetch_value(database, "select count(*) from appended") == 37
    assert_verified(database, APPENDED)


def test_a_row_of_another_week_stays_out(database: str, tmp_path: Path) -> None:
    monday = "2024-03-04"
    bad = {3: {"day": None}, 4: {"sale_id": 2**40}}
    _load(database, tmp_path, WEEKLY, changed(sales(range(20), monday), bad), monday)
    edit(database, WEEKLY, tmp_path, {3: {"day": NEXT_DAY}, 4: {"sale_id": 4}})
    report = replay(database, WEEKLY)
    assert results(report) == {3: "refused", 4: "written"}
    assert "another partition" in report.outcomes[0].reason
    assert_verified(database, WEEKLY)
