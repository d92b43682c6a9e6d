"""Replace, append, upsert: into every kind of target, exactly once, with a verdict that can be had again later."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pipeline.model.report import CheckName, PartitionReport
from pipeline.model.table import TableSpec
from pipeline.operations.verify import run_verify
from pipeline_tests.loading import (
    Recorder,
    assert_nothing_left_over,
    fetch,
    fetch_value,
    load,
    load_one,
    source_rows,
    table_rows,
)
from pipeline_tests.tables_of_modes import (
    APPENDED,
    APPENDED_KEYLESS,
    DAY,
    MOVING,
    NEXT_DAY,
    PATHS,
    REPLACED,
    UPSERTED,
    WHOLE_APPENDED,
    WHOLE_UPSERTED,
    Row,
    sales,
    write_sales,
)

FIRST = sales(range(30))
SECOND = sales(range(20, 50), amount=5.0)
"""Ten keys of it are those of the first."""
BOTH = {
    REPLACED.name: SECOND,
    APPENDED.name: FIRST + SECOND[10:],
    APPENDED_KEYLESS.name: FIRST + SECOND,
    UPSERTED.name: FIRST[:20] + SECOND,
}

_COLUMNS = "day date not null, region text not null, sale_id integer not null, amount double precision"
_TARGETS = {
    "missing": (),
    "plain": ("create table {t} ({c})",),
    "with more columns": (
        "create table {t} (row_id bigint generated always as identity, amount double precision, note text default 'mine', "
        "gone text, sale_id integer not null, region text not null, day date not null, "
        "doubled double precision generated always as (amount * 2) stored)",
        "alter table {t} drop column gone",
    ),
    "by range": ("create table {t} ({c}) partition by range (day)",),
    "by range, numbered": (
        "create table {t} (row_id bigint generated always as identity, {c}) partition by range (day)",
    ),
    "by range, with a default partition": (
        "create table {t} ({c}) partition by range (day)",
        "create table {t}_others partition of {t} default",
    ),
    "by month": (
        "create table {t} ({c}) partition by range (day)",
        "create table {t}_march partition of {t} for values from ('2024-03-01') to ('2024-04-01')",
    ),
    "by list": (
        "create table {t} ({c}) partition by list (region)",
        "create table {t}_north partition of {t} for values in ('north')",
        "create table {t}_south partition of {t} for values in ('south')",
    ),
    "by hash": (
        "create table {t} ({c}) partition by hash (sale_id)",
        "create table {t}_even partition of {t} for values with (modulus 2, remainder 0)",
        "create table {t}_odd partition of {t} for values with (modulus 2, remainder 1)",
    ),
    "by range, then by list": (
        "create table {t} ({c}) partition by range (day)",
        "create table {t}_march partition of {t} for values from ('2024-03-01') to ('2024-03-02') partition by list (region)",
        "create table {t}_north partition of {t}_march for values in ('north')",
        "create table {t}_others partition of {t}_march default",
    ),
    "with heirs": ("create table {t} ({c})", "create table {t}_heir () inherits ({t})"),
}


def make_target(database: str, spec: TableSpec, statements: tuple[str, ...]) -> None:
    for statement in statements:
        fetch(database, statement.format(t=f"public.{spec.name}", c=_COLUMNS))
    if statements and spec.key:
        fetch(database, f"create unique index on public.{spec.name} ({', '.join(spec.key)})")


def load_version(database: str, spec: TableSpec, landing: Path, rows: list[Row], key: str = DAY) -> PartitionReport:
    write_sales(landing, key, rows)
    return load_one(database, spec, landing, key)


def assert_verified(database: str, spec: TableSpec) -> None:
    failed = [check.summary for result in run_verify(spec, url=database) for check in result.checks if not check.passed]
    assert failed == []
    assert_nothing_left_over(database)


@pytest.mark.parametrize("target", _TARGETS)
@pytest.mark.parametrize("spec", [REPLACED, APPENDED, APPENDED_KEYLESS, UPSERTED], ids=lambda spec: spec.name)
def test_two_loads_of_a_partition_come_into_any_target(
    database: str, tmp_path: Path, spec: TableSpec, target: str
) -> None:
    make_target(database, spec, _TARGETS[target])
    stale = sales([900], NEXT_DAY) + (sales([901]) if spec is REPLACED else [])
    if target == "plain":  # nobody's rows: those of another day stay, and of this one too unless it is replaced
        fetch(database, f"insert into {spec.name} values ('{NEXT_DAY}', 'north', 900, 300)")
        fetch(database, f"insert into {spec.name} values ('{DAY}', 'north', 901, 300)")
    first = load_version(database, spec, tmp_path, FIRST)
    assert first.error is None, first.error
    second = load_version(database, spec, tmp_path, SECOND)
    assert second.error is None, second.error

    found = table_rows(database, spec)
    if target == "plain":
        foreign = Counter({row: 1 for row in found if "int 900" in row or ("int 901" in row and spec is not REPLACED)})
        assert len(foreign) == 2 - (spec is REPLACED), stale
        found -= foreign
    assert found == source_rows(BOTH[spec.name])
    assert second.dead_lettered_rows == (10 if spec is APPENDED else 0)
    states = [row[0] for row in fetch(database, "select state from rowledger.load order by load_id")]
    assert states == (["replaced", "published"] if spec is REPLACED else ["published"] * 2)
    assert_verified(database, spec)
    if target in ("with more columns", "by range, numbered"):
        assert fetch_value(
            database, f"select count(row_id) = count(distinct row_id) and count(*) = count(row_id) from {spec.name}"
        )
    if target == "with more columns":
        assert fetch_value(
            database, f"select bool_and(note = 'mine' and doubled is not distinct from amount * 2) from {spec.name}"
        )
    if target == "by range":
        assert fetch_value(database, f"select count(*) from pg_inherits where inhparent = '{spec.name}'::regclass") == 1

    fetch(database, f"update {spec.name} set amount = amount + 0.25 where sale_id = 1 or sale_id = 45")
    assert [result.passed for result in run_verify(spec, url=database)] == [False]
