"""Replace, append, upsert: into every kind of target, exactly once, with a verdict that can be had again later."""

import asyncio
from collections import Counter
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from pipeline_tests.support.assertions import assert_nothing_left_over, source_rows, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one
from pipeline_tests.support.replaying import replay, results
from pipeline_tests.support.tables_of_write_modes import (
    APPENDED,
    APPENDED_KEYLESS,
    DAY,
    KEYLESS_SPOOLED,
    MOVING,
    NARROW_SALES,
    NEXT_DAY,
    PATHS,
    REPLACED,
    REPLACED_AS_APPENDED,
    UPSERTED,
    WHOLE_APPENDED,
    WHOLE_UPSERTED,
    WIDE_SALES,
    Row,
    sales,
    write_sales,
)
from rowledger.cli import servers
from rowledger.cli.main import cli
from rowledger.contract.dead_letter import Stage
from rowledger.errors import DiscrepancyFound, SpecError, TargetMismatch
from rowledger.ledger.dead_letter_outcomes import DeadLetterResult
from rowledger.ledger.reports import CheckName, PartitionReport
from rowledger.postgres.catalogue import Target
from rowledger.postgres.publication import publish_by_attach
from rowledger.postgres.staging import create_staging
from rowledger.publish.verify import run_verify
from rowledger.spec.column import Column, ColumnType, TypeName
from rowledger.spec.condition import Equals
from rowledger.spec.load_handle import LoadHandle
from rowledger.spec.partition import Partition
from rowledger.spec.table import QualifiedName, TableSpec, WriteMode

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
        """create table {t} (row_id bigint generated always as identity, amount double precision, note text default 'mine',
        gone text, sale_id integer not null, region text not null, day date not null,
        doubled double precision generated always as (amount * 2) stored)""",
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


_PAIRS = [
    *((REPLACED, target) for target in _TARGETS),
    *((APPENDED, target) for target in ("missing", "with more columns", "by range, numbered", "by month", "by list")),
    *((APPENDED_KEYLESS, target) for target in ("plain", "by range", "with heirs")),
    *((UPSERTED, target) for target in ("missing", "plain", "with more columns", "by range, with a default partition")),
    *((UPSERTED, target) for target in ("by range, numbered", "by hash", "by range, then by list")),
]


@pytest.mark.parametrize(("spec", "target"), _PAIRS, ids=lambda value: str(getattr(value, "name", value)))
def test_two_loads_of_a_partition_come_into_any_target(
    database: str, tmp_path: Path, spec: TableSpec, target: str
) -> None:
    make_target(database, spec, _TARGETS[target])
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
        assert len(foreign) == 2 - (spec is REPLACED)
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


def test_the_same_rows_are_appended_once_however_they_are_cut(database: str, tmp_path: Path) -> None:
    write_sales(tmp_path, DAY, [*FIRST, FIRST[1]])
    assert load_one(database, APPENDED, tmp_path, DAY).error is None
    for settings in ({"workers": 2}, {"chunk_rows_max": 7}):
        observer = Recorder()
        again = load_one(database, APPENDED, tmp_path, DAY, observer=observer, **settings)
        assert again.error is None
        assert {check.name for check in again.checks if check.passed} == set(CheckName)
        assert "already appended by load 1; nothing was added" in observer.text
        assert "already appended by load 1" in again.checks[0].summary
    assert table_rows(database, APPENDED) == source_rows(FIRST)
    states = [row[0] for row in fetch(database, "select state from rowledger.load order by load_id")]
    assert states == ["published"]
    assert [tuple(row) for row in fetch(database, "select load_id, row_no from rowledger.dead_letter")] == [(1, 30)]
    assert_verified(database, APPENDED)


@pytest.mark.parametrize("spec", [APPENDED_KEYLESS, KEYLESS_SPOOLED, PATHS], ids=lambda spec: spec.name)
def test_rows_that_are_gone_are_not_called_appended_and_come_again_once_their_load_is_forgotten(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: TableSpec
) -> None:
    monkeypatch.setattr(servers, "existing_url", lambda: database)
    key = "a" if spec is PATHS else DAY
    assert load_version(database, spec, tmp_path, FIRST, key).error is None
    fetch(database, f"truncate {spec.name}")
    report = load_version(database, spec, tmp_path, FIRST, key)
    assert isinstance(report.error, DiscrepancyFound)
    assert "already appended by load 1; nothing was added, but" in str(report.error)
    assert f"rowledger forget --table {spec.name} --partition {key}, then rerun" in str(report.error)
    command = ["forget", "--table", spec.name, "--partition", key]
    assert CliRunner().invoke(cli, command, input="n\n").exit_code == 1
    told = CliRunner().invoke(cli, [*command, "--yes"])
    assert told.output == f"1 published load of table {spec.name} is forgotten\n"
    assert load_version(database, spec, tmp_path, FIRST, key).error is None
    assert table_rows(database, spec) == source_rows(FIRST)
    assert_verified(database, spec)


def test_two_runs_cannot_append_the_same_rows_side_by_side(database: str, tmp_path: Path) -> None:
    """Were they to get past each other, the ledger would not take the second."""
    load_version(database, APPENDED_KEYLESS, tmp_path, FIRST)
    with pytest.raises(asyncpg.UniqueViolationError, match="load_appended"):
        fetch(
            database,
            """insert into rowledger.load (table_name, target, partition_key, state, manifest_digest, enqueued_rows, chunks,
            write_mode, content_digest) select table_name, target, partition_key, state, manifest_digest, enqueued_rows, chunks,
            write_mode, content_digest from rowledger.load""",
        )


def test_an_upsert_says_what_it_inserted_and_what_it_updated(database: str, tmp_path: Path) -> None:
    load_version(database, UPSERTED, tmp_path, FIRST)
    fetch(database, f"alter table {UPSERTED.name} add column note text default 'mine'")
    fetch(database, f"update {UPSERTED.name} set note = 'kept'")
    observer = Recorder()
    write_sales(tmp_path, DAY, SECOND)
    report = load_one(database, UPSERTED, tmp_path, DAY, observer=observer)
    assert report.error is None
    assert "20 rows inserted, 10 updated" in observer.text
    details = next(check.details for check in report.checks if check.name is CheckName.ROW_BALANCE)
    assert (details["rows inserted"], details["rows updated"]) == (20, 10)
    notes = fetch(database, f"select note, count(*) from {UPSERTED.name} group by note order by note")
    assert [tuple(row) for row in notes] == [("kept", 30), ("mine", 20)]

    rerun = load_one(database, UPSERTED, tmp_path, DAY)
    assert rerun.error is None
    assert table_rows(database, UPSERTED) == source_rows(FIRST[:20] + SECOND)
    assert_verified(database, UPSERTED)


def test_rows_that_an_upsert_moves_to_another_day_are_verified_over_the_whole_table(
    database: str, tmp_path: Path
) -> None:
    write_sales(tmp_path, DAY, FIRST)
    write_sales(tmp_path, NEXT_DAY, sales(range(20, 50), NEXT_DAY))
    reports = load(database, MOVING, tmp_path, [DAY, NEXT_DAY], workers=2)
    assert [report.error for report in reports] == [None, None]
    assert load_one(database, MOVING, tmp_path, NEXT_DAY).error is None
    assert table_rows(database, MOVING) == source_rows(FIRST[:20] + sales(range(20, 50), NEXT_DAY))
    assert_verified(database, MOVING)
    fetch(database, f"delete from {MOVING.name} where sale_id = 3")
    verified = run_verify(MOVING, url=database)
    assert [result.passed for result in verified] == [False, False]
    assert "49 rows in the whole table, 50 are what the loads add up to" in verified[0].checks[0].summary


def test_partitions_that_only_say_what_is_read_are_appended_and_verified_together(
    database: str, tmp_path: Path
) -> None:
    for key, rows in (("a", FIRST), ("b", SECOND), ("a", SECOND)):
        assert load_version(database, PATHS, tmp_path, rows, key).error is None
    assert table_rows(database, PATHS) == source_rows(FIRST + SECOND + SECOND)
    assert_verified(database, PATHS)
    fetch(database, f"delete from {PATHS.name} where sale_id = 3")
    assert [result.passed for result in run_verify(PATHS, url=database)] == [False, False]


@pytest.mark.parametrize("spec", [WHOLE_APPENDED, WHOLE_UPSERTED], ids=lambda spec: spec.name)
def test_a_table_without_partitions_is_appended_to_or_upserted(database: str, tmp_path: Path, spec: TableSpec) -> None:
    for rows in (FIRST, SECOND):
        assert load_version(database, spec, tmp_path, rows, "all").error is None
    expected = FIRST + SECOND if spec is WHOLE_APPENDED else FIRST[:20] + SECOND
    assert table_rows(database, spec) == source_rows(expected)
    assert_verified(database, spec)


def test_a_change_of_write_mode_begins_a_new_sum(database: str, tmp_path: Path) -> None:
    make_target(database, APPENDED, _TARGETS["plain"])
    assert load_version(database, REPLACED_AS_APPENDED, tmp_path, FIRST).error is None
    assert load_version(database, APPENDED, tmp_path, sales(range(100, 130))).error is None
    assert table_rows(database, APPENDED) == source_rows(FIRST + sales(range(100, 130)))
    assert_verified(database, APPENDED)
    assert load_version(database, REPLACED_AS_APPENDED, tmp_path, SECOND).error is None
    assert table_rows(database, APPENDED) == source_rows(SECOND)
    assert_verified(database, REPLACED_AS_APPENDED)


def test_loads_add_up_over_a_column_that_came_between_them(database: str, tmp_path: Path) -> None:
    assert load_version(database, NARROW_SALES, tmp_path, FIRST, key="narrow").error is None
    fetch(database, f"alter table {WIDE_SALES.name} add column amount double precision")
    assert load_version(database, WIDE_SALES, tmp_path, SECOND, key="wide").error is None
    assert_verified(database, WIDE_SALES)
    assert_verified(database, NARROW_SALES)
    fetch(database, f"update {WIDE_SALES.name} set amount = 0 where sale_id = 7")
    assert {result.passed for result in run_verify(WIDE_SALES, url=database)} == {False}


def test_an_upsert_into_a_table_without_a_unique_index_on_the_key_is_refused_with_the_remedy(
    database: str, tmp_path: Path
) -> None:
    fetch(database, f"create table public.upserted ({_COLUMNS})")
    for index in (
        None,
        "create unique index on {t} (day, region, sale_id, amount)",
        "create unique index on {t} (day, region, sale_id) where sale_id > 3",
        "alter table {t} add unique (day, region, sale_id) deferrable",
    ):
        if index:
            fetch(database, index.format(t="upserted"))
        with pytest.raises(
            TargetMismatch, match=r'create unique index on "public"."upserted" \("day", "region", "sale_id"\)'
        ):
            load_version(database, UPSERTED, tmp_path, FIRST)
    fetch(database, "alter table upserted drop constraint upserted_day_region_sale_id_key")
    fetch(database, "create unique index on upserted (sale_id, day, region) include (amount)")
    assert load_version(database, UPSERTED, tmp_path, FIRST).error is None


def test_an_upsert_without_a_key_is_refused() -> None:
    with pytest.raises((SpecError, ValidationError), match="needs a key"):
        TableSpec(**{**dict(UPSERTED), "key": ()})


def test_partitions_that_cannot_be_told_apart_are_not_replaced(database: str, tmp_path: Path) -> None:
    spec = PATHS.model_copy(update={"write_mode": WriteMode.REPLACE})
    with pytest.raises(SpecError, match="cannot be told from those of others, so they cannot be replaced"):
        load_version(database, spec, tmp_path, FIRST, "a")
    assert fetch(database, "select from rowledger.load") == []


@pytest.mark.parametrize("spec", [APPENDED, UPSERTED], ids=lambda spec: spec.name)
def test_what_the_loads_add_up_to_stays_true_when_dead_letters_are_replayed(
    database: str, tmp_path: Path, spec: TableSpec
) -> None:
    make_target(database, spec, _TARGETS["with more columns"])
    fetch(database, f"alter table {spec.name} add constraint few check (sale_id <> 7 and sale_id <> 40)")
    for rows in (FIRST, SECOND):
        assert load_version(database, spec, tmp_path, rows).error is None
    fetch(database, f"alter table {spec.name} drop constraint few")
    report = replay(database, spec, stages=(Stage.COPY,))
    assert set(results(report).values()) == {DeadLetterResult.WRITTEN}
    assert table_rows(database, spec) == source_rows(BOTH[spec.name])
    assert_verified(database, spec)


_KEYS = {
    "text": ["O'Hare", "a b", "Zürich", "x" * 80, "back\\slash", "7", "true", "null", "a-b", "a_b", "a.b"],
    "character varying(9)": ["ab", "a'b"],
    "smallint": ["-1", "5"],
    "integer": ["-7", "0", "12"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "0"],
    "boolean": ["true", "false"],
    "date": ["2024-03-01"],
    "uuid": ["6f1c0f5e-0000-0000-0000-000000000001"],
}


@pytest.mark.parametrize("sql_type", _KEYS)
def test_the_partition_of_a_listed_key_is_found_again_whatever_the_key(database: str, sql_type: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(database, timeout=20)
        try:
            await connection.execute(
                f"create table places (place {sql_type} not null, version integer) partition by list (place)"
            )
            column_type = ColumnType.parse(sql_type)
            assert column_type is not None
            version = Column("version", ColumnType(TypeName.INTEGER), nullable=True)
            target = Target(
                oid=await connection.fetchval("select 'places'::regclass::oid"),
                name=QualifiedName(schema_name="public", table="places"),
                columns=(Column("place", column_type, nullable=False), version),
                strategy="l",
                partitioned_by="place",
            )
            for number, key in enumerate(_KEYS[sql_type] * 2, start=1):
                partition = Partition(key, (Equals("place", key),))
                handle = LoadHandle(number, 1)
                async with connection.transaction():
                    await create_staging(connection, target, handle, partition)
                    value = partition.conditions[0].value(column_type.name)  # type: ignore[union-attr]
                    await connection.execute(f"insert into rowledger.staging_{number} values ($1, {number})", value)
                    assert await publish_by_attach(connection, target, handle, partition, replaces=True) is None
            assert await connection.fetchval("select count(*) from places") == len(_KEYS[sql_type])
            assert await connection.fetchval("select min(version) from places") == len(_KEYS[sql_type]) + 1
        finally:
            await connection.close(timeout=10)

    asyncio.run(run())
