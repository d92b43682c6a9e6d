"""Texts that differ and that the server holds equal, in the columns of partitions and of keys."""

import re
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over, source_rows, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load, load_one
from pipeline_tests.support.replaying import edit, replay, results
from pipeline_tests.support.tables import changed
from pipeline_tests.support.tables_of_write_modes import (
    APPENDED,
    BY_DAY_AND_REGION,
    BY_REGION,
    DAY,
    NEXT_DAY,
    REPLACED,
    UPSERTED,
    sales,
    write_sales,
)
from rowledger.errors import TargetMismatch
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec, WriteMode

_TYPES = {
    "text": "text collate public.ci",
    "varchar": "varchar(9) collate public.ci",
    "domain": "public.region",
    "citext": "citext",
}
_REFUSED = "column region, which tells the partitions apart, "
_UPPER, _LOWER = sales(range(1, 4), region="EU"), sales(range(4, 6), region="eu")


def _has_icu(database: str) -> bool:
    return bool(fetch_value(database, "select exists (select from pg_collation where collname = 'und-x-icu')"))


def _make_collation(database: str) -> None:
    """A collation that the server takes for nondeterministic; one that ignores case where the server is built with ICU."""
    if _has_icu(database):
        fetch(
            database,
            "create collation public.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        )
    else:
        fetch(database, 'create collation public.ci from "C"')
        fetch(database, "update pg_collation set collisdeterministic = false where oid = 'public.ci'::regcollation")


def _make_table(database: str, spec: TableSpec, region: str) -> None:
    if region == "citext":
        fetch(database, "create extension citext")
    else:
        _make_collation(database)
    if region == "domain":
        fetch(database, "create domain public.region as text collate public.ci")
    fetch(
        database,
        f"create table {spec.name} (day date not null, region {_TYPES[region]} not null, sale_id integer not null, "
        "amount double precision)",
    )
    if spec.key:
        fetch(database, f"create unique index on {spec.name} ({', '.join(spec.key)})")


def _assert_verified(database: str, spec: TableSpec) -> None:
    assert [
        check.summary for result in run_verify(spec, url=database) for check in result.checks if not check.passed
    ] == []
    assert_nothing_left_over(database)


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        *((BY_REGION.model_copy(update={"write_mode": mode}), "eu") for mode in WriteMode),
        (BY_REGION.model_copy(update={"key": ()}), "eu"),
        (BY_DAY_AND_REGION, f"{DAY}|eu"),
    ],
    ids=["replace", "append", "upsert", "no key", "two dimensions"],
)
def test_a_table_whose_partitions_a_collation_cannot_tell_apart_is_refused(
    database: str, tmp_path: Path, spec: TableSpec, key: str
) -> None:
    _make_table(database, spec, "text")
    with pytest.raises(TargetMismatch, match=rf"{_REFUSED}has the nondeterministic collation (public\.)?ci"):
        load_one(database, spec, tmp_path, key)
    assert fetch_value(database, "select count(*) from rowledger.load") == 0


@pytest.mark.parametrize("region", _TYPES)
def test_partitions_of_keys_that_were_equal_are_loaded_once_the_column_is_changed_as_told(
    database: str, tmp_path: Path, region: str
) -> None:
    _make_table(database, BY_REGION, region)
    fetch(database, f"insert into {BY_REGION.name} values ('{DAY}', 'EU', 0, 1)")
    for key, rows in (("EU", _UPPER), ("eu", _LOWER)):
        write_sales(tmp_path, key, rows)
    with pytest.raises(TargetMismatch, match=_REFUSED) as refused:
        load(database, BY_REGION, tmp_path, ["EU", "eu"])
    assert fetch_value(database, f"select count(*) from {BY_REGION.name}") == 1

    (change,) = re.findall(r"^  (alter table .*;)  --", str(refused.value), re.MULTILINE)
    fetch(database, change)
    assert [report.error for report in load(database, BY_REGION, tmp_path, ["EU", "eu"])] == [None, None]
    assert table_rows(database, BY_REGION) == source_rows(_UPPER + _LOWER)
    _assert_verified(database, BY_REGION)


@pytest.mark.parametrize("region", ["text", "citext"])
def test_rows_of_a_key_that_the_server_holds_equal_are_accounted_for(
    database: str, tmp_path: Path, region: str
) -> None:
    if region != "citext" and not _has_icu(database):
        pytest.skip("the server is built without ICU, whose collations alone ignore case")
    _make_table(database, REPLACED, region)
    upper, lower = sales(range(4), region="EU"), sales(range(2, 6), region="eu")
    write_sales(tmp_path, DAY, upper + lower)
    report = load_one(database, REPLACED, tmp_path, DAY)
    assert (report.error, report.written_rows) == (None, 6)
    letters = fetch(database, "select row_no, stage from rowledger.dead_letter order by row_no")
    assert [tuple(letter) for letter in letters] == [(4, "key"), (5, "key")]
    assert table_rows(database, REPLACED) == source_rows(upper + lower[2:])
    _assert_verified(database, REPLACED)


@pytest.mark.parametrize("region", ["text", "citext"])
def test_an_upsert_updates_the_row_whose_key_the_server_holds_equal(database: str, tmp_path: Path, region: str) -> None:
    if region != "citext" and not _has_icu(database):
        pytest.skip("the server is built without ICU, whose collations alone ignore case")
    _make_table(database, UPSERTED, region)
    other = sales(range(3), NEXT_DAY, region="EU")
    upper, lower = sales(range(4), region="EU"), sales(range(2, 6), region="eu")
    for key, rows in ((NEXT_DAY, other), (DAY, upper), (DAY, lower)):
        write_sales(tmp_path, key, rows)
        assert load_one(database, UPSERTED, tmp_path, key).error is None
    assert fetch_value(database, f"select count(*) from {UPSERTED.name}") == 9
    kept = fetch(database, f"select sale_id, amount from {UPSERTED.name} where day = '{DAY}' and sale_id >= 2")
    assert sorted(tuple(row) for row in kept) == sorted((row["sale_id"], row["amount"]) for row in lower)
    _assert_verified(database, UPSERTED)


def _make_table_with_index(database: str, spec: TableSpec, *, column: str = "", index: str, plain: bool = True) -> None:
    """A table whose index compares regions by another collation than its column does."""
    if not _has_icu(database):
        pytest.skip("the server is built without ICU, whose collations alone ignore case")
    _make_collation(database)
    fetch(
        database,
        f"create table {spec.name} (day date not null, region text {column} not null, sale_id integer not null, "
        "amount double precision)",
    )
    if plain:
        fetch(database, f"create unique index of_key on {spec.name} ({', '.join(spec.key)})")
    columns = ", ".join(f"{name} {index}" if name == "region" else name for name in spec.key)
    fetch(database, f"create unique index one_region on {spec.name} ({columns})")


@pytest.mark.parametrize("spec", [REPLACED, APPENDED, UPSERTED], ids=lambda spec: spec.name)
def test_rows_that_only_an_index_holds_equal_are_set_aside(database: str, tmp_path: Path, spec: TableSpec) -> None:
    _make_table_with_index(database, spec, index="collate public.ci")
    upper, lower = sales(range(4), region="EU"), sales(range(2, 6), region="eu")
    both = [upper + lower] if spec is REPLACED else [upper, lower]
    for rows in both:
        write_sales(tmp_path, DAY, rows)
        assert load_one(database, spec, tmp_path, DAY).error is None
    letters = fetch(database, "select row_no, stage, constraint_name from rowledger.dead_letter order by row_no")
    first = 4 if spec is REPLACED else 0
    assert [tuple(letter) for letter in letters] == [(number, "key", "one_region") for number in (first, first + 1)]
    assert table_rows(database, spec) == source_rows(upper + lower[2:])
    _assert_verified(database, spec)


def test_a_replayed_row_updates_no_row_that_only_an_index_holds_equal(database: str, tmp_path: Path) -> None:
    _make_table_with_index(database, UPSERTED, index="collate public.ci")
    upper, lower = sales(range(20), region="EU"), sales(range(20), region="eu")
    write_sales(tmp_path, DAY, changed(upper, {3: {"sale_id": 2**40}, 4: {"sale_id": 2**40}}))
    assert load_one(database, UPSERTED, tmp_path, DAY).error is None
    edit(database, UPSERTED, tmp_path, {3: {"sale_id": 3}, 4: {"sale_id": 7, "region": lower[0]["region"]}})
    assert results(replay(database, UPSERTED)) == {3: "written", 4: "refused"}
    assert table_rows(database, UPSERTED) == source_rows([row for row in upper if row["sale_id"] != 4])


@pytest.mark.parametrize(
    ("column", "index"), [("", "collate public.ci"), ("collate public.ci", 'collate "C"')], ids=["coarser", "finer"]
)
def test_an_upsert_takes_no_index_that_compares_keys_otherwise(
    database: str, tmp_path: Path, column: str, index: str
) -> None:
    _make_table_with_index(database, UPSERTED, column=column, index=index, plain=False)
    write_sales(tmp_path, DAY, _UPPER)
    with pytest.raises(TargetMismatch, match="has no unique index on the key") as refused:
        load_one(database, UPSERTED, tmp_path, DAY)
    (statement,) = re.findall(r"^  (create unique index .*;)  --", str(refused.value), re.MULTILINE)
    fetch(database, statement)
    assert load_one(database, UPSERTED, tmp_path, DAY).error is None
    _assert_verified(database, UPSERTED)
