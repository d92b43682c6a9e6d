"""Whatever others have made of a partition, or of a table that is loaded whole, is found before the table is replaced."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.tables import DAY, NEXT_DAY, PARCELS, parcels, write_source
from rowledger.postgres.catalogue import Target
from rowledger.postgres.publication import publish_by_attach, publish_by_swap
from rowledger.postgres.replacement import read_attach_obstacle, read_swap_obstacle
from rowledger.postgres.staging import add_key, create_staging
from rowledger.spec.column import Column, ColumnType, TypeName
from rowledger.spec.condition import Equals
from rowledger.spec.load_handle import LoadHandle
from rowledger.spec.partition import Partition
from rowledger.spec.table import QualifiedName

_PLACE = Column("place", ColumnType(TypeName.INTEGER), nullable=False)
_LABEL = Column("label", ColumnType(TypeName.TEXT), nullable=True)
_HANDLE = LoadHandle(1, 1)
_NORTH = Partition("1", (Equals("place", "1"),))
_WHOLE = Partition(key="all")
_TRIGGER = "create function pass() returns trigger language plpgsql as 'begin return new; end'"

_OF_BOTH = {
    "trigger audit": (_TRIGGER, "create trigger audit before insert on {t} for each row execute function pass()"),
    "rule quiet": ("create rule quiet as on update to {t} do also select 1",),
    "index own_index": ("create index own_index on {t} (label)",),
    "index once": ("alter table {t} add constraint once exclude using btree (label with =)",),
    "CHECK constraint short": ("alter table {t} add constraint short check (length(label) < 9)",),
    "foreign key known": (
        "create table known (label text primary key)",
        "alter table {t} add constraint known foreign key (label) references known",
    ),
    "foreign key child_of": (
        "alter table {t} add constraint own_key unique (place)",
        "create table below (place integer constraint child_of references {t} (place))",
    ),
    "column label (default)": ("alter table {t} alter label set default 'none'",),
    "column label (nullability)": ("alter table {t} alter label set not null",),
    "column label (statistics target)": ("alter table {t} alter label set statistics 500",),
    "column label (options)": ("alter table {t} alter label set (n_distinct = 7)",),
    "column label (storage)": ("alter table {t} alter label set storage external",),
    "column label (grants)": ("grant select (label) on {t} to public",),
    "column label (comment)": ("comment on column {t}.label is 'what it says'",),
    "a comment": ("comment on table {t} is 'of the north'",),
    "a comment on constraint short": (
        "alter table {t} add constraint short check (length(label) < 9)",
        "comment on constraint short on {t} is 'short'",
    ),
    "is in publication outside": ("create publication outside for table {t}",),
    "row security": ("alter table {t} enable row level security",),
    "policy mine": ("create policy mine on {t} using (true)",),
    "storage parameters": ("alter table {t} set (fillfactor = 70)",),
    "storage parameters of its TOAST table": ("alter table {t} set (toast.autovacuum_enabled = off)",),
    "its persistence": ("alter table {t} set unlogged",),
    "a replica identity": ("alter table {t} replica identity full",),
    "extended statistics pairs": ("create statistics pairs on place, label from {t}",),
    "sequence counter, which belongs to it": ("create sequence counter owned by {t}.label",),
    "view seen, which depends on it": ("create view seen as select label from {t}",),
    "function of_it({t}), which depends on it": ("create function of_it({t}) returns text language sql return 'x'",),
    "grants of its own": ("revoke delete on {t} from current_user",),
    "index sorted": ("create index sorted on {t} (label)", "cluster {t} using sorted"),
}
_OF_A_PARTITION = {
    "trigger every": (
        _TRIGGER,
        "create trigger every after update on places for each row execute function pass()",
        "alter table places_1 disable trigger every",
    ),
    "index places_1_label_idx": (
        "create index on places (label)",
        "alter index places_1_label_idx set (fillfactor = 50)",
    ),
    "is divided further": (
        "drop table places_1",
        "create table places_1 partition of places for values in (1) partition by hash (label)",
        "create table places_1_0 partition of places_1 for values with (modulus 1, remainder 0)",
    ),
    "the DEFAULT partition places_rest has rows of this partition": (
        "drop table places_1",
        "create table places_rest partition of places default",
        "insert into places values (1, 'astray')",
    ),
    "public.places is in publication outside": ("create publication outside for table places",),
    "public.places is in publication everything": ("create publication everything for all tables",),
}
_OF_A_WHOLE_TABLE = {
    "other columns, or in another order": ("alter table places_1 add column later text",),
    "inheritance": ("create table heir () inherits (places_1)",),
    "another table has taken its place": ("alter table places_1 rename to gone", "create table places_1 ()"),
}
_HARMLESS = (
    "grant select, insert on places_1 to public",
    "grant update on places_1 to pg_monitor with grant option",
    "insert into places_1 values (1, 'old')",
    "analyze places_1",
)


async def _target(connection: asyncpg.Connection, table: str, *, is_partitioned: bool) -> Target:
    return Target(
        oid=await connection.fetchval("select $1::text::regclass::oid", table),
        name=QualifiedName(schema_name="public", table=table),
        columns=(_PLACE, _LABEL),
        strategy="l" if is_partitioned else None,
        partitioned_by="place" if is_partitioned else None,
    )


def _obstacle(
    database: str, statements: Sequence[str], *, is_partition: bool, before: Sequence[str] = ()
) -> tuple[str | None, str | None, list[str]]:
    """The obstacle of a partition, or of a whole table, named `places_1`; what publishing says; and its grants then."""

    async def run() -> tuple[str | None, str | None, list[str]]:
        connection = await asyncpg.connect(database, timeout=20)
        try:
            if is_partition:
                await connection.execute(
                    "create table places (place integer not null, label text) partition by list (place)"
                )
                await connection.execute("create table places_1 partition of places for values in (1)")
            else:
                await connection.execute("create table places_1 (place integer not null, label text)")
            partition = _NORTH if is_partition else _WHOLE
            for statement in before:
                await connection.execute(statement.format(t="places_1"))
            name = "places" if is_partition else "places_1"
            target = await _target(connection, name, is_partitioned=is_partition)
            await create_staging(connection, target, _HANDLE, partition)
            for statement in statements:
                await connection.execute(statement.format(t="places_1"))
            async with connection.transaction():
                if is_partition:
                    obstacle = await read_attach_obstacle(connection, target, _HANDLE, partition, replaces=True)
                    said = await publish_by_attach(connection, target, _HANDLE, partition, replaces=True)
                else:
                    obstacle = await read_swap_obstacle(connection, target, _HANDLE)
                    said = await publish_by_swap(connection, target, _HANDLE)
            grants = await connection.fetch(
                "select unnest(relacl)::text from pg_class where relname = 'places_1' order by 1"
            )
            return obstacle, said, [row[0] for row in grants]
        finally:
            await connection.close(timeout=10)

    return asyncio.run(run())


@pytest.mark.parametrize("lost", [*_OF_BOTH, *_OF_A_PARTITION])
def test_a_partition_that_has_something_of_its_own_is_not_replaced(database: str, lost: str) -> None:
    statements = _OF_BOTH.get(lost) or _OF_A_PARTITION[lost]
    obstacle, said, _ = _obstacle(database, statements, is_partition=True)
    assert lost.format(t="places_1") in str(obstacle)
    if "DEFAULT" not in lost and "public.places" not in lost:
        assert said == obstacle


@pytest.mark.parametrize("lost", [*_OF_BOTH, *_OF_A_WHOLE_TABLE])
def test_a_whole_table_that_has_something_of_its_own_is_not_replaced(database: str, lost: str) -> None:
    statements = _OF_BOTH.get(lost) or _OF_A_WHOLE_TABLE[lost]
    obstacle, said, _ = _obstacle(database, statements, is_partition=False)
    assert lost.format(t="places_1") in str(obstacle)
    assert said == obstacle


@pytest.mark.parametrize("is_partition", [True, False])
def test_what_can_be_given_anew_is_no_obstacle(database: str, is_partition: bool) -> None:  # noqa: FBT001
    obstacle, said, grants = _obstacle(database, _HARMLESS, is_partition=is_partition)
    assert (obstacle, said) == (None, None)
    assert any(grant.startswith("pg_monitor=w*/") for grant in grants)
    assert any(grant.startswith("=ar/") for grant in grants)


def test_what_a_partition_has_from_its_parent_is_no_obstacle(database: str) -> None:
    inherited = (
        _TRIGGER,
        "create table owners (label text primary key)",
        "alter table places add column number integer generated always as (place * 2) stored",
        "alter table places add constraint p check (place > 0), add constraint o foreign key (label) references owners",
        "alter table places alter label set default 'none', alter label set storage external",
        "create index on places (label)",
        "create unique index on places (place, label)",
        "create trigger every after update on places for each row execute function pass()",
        "comment on column places.label is 'what it says'",
    )
    assert _obstacle(database, (), is_partition=True, before=inherited)[:2] == (None, None)


def test_a_partition_with_a_trigger_an_index_and_a_check_keeps_them_and_gets_the_new_rows(
    database: str, tmp_path: Path
) -> None:
    fetch(database, "create schema depot")
    fetch(
        database,
        "create table depot.parcels (day date not null, parcel_id integer, label text) partition by range (day)",
    )
    fetch(database, f"create table depot.march partition of depot.parcels for values from ('{DAY}') to ('{NEXT_DAY}')")
    fetch(database, "create table depot.log (parcel_id integer)")
    fetch(
        database,
        "create function depot.note() returns trigger language plpgsql as "
        "'begin insert into depot.log values (new.parcel_id); return null; end'",
    )
    fetch(database, "create trigger note after insert on depot.march for each row execute function depot.note()")
    fetch(database, "create index by_label on depot.march (label)")
    fetch(database, "alter table depot.march add constraint positive check (parcel_id >= 0)")
    before = fetch_value(database, "select 'depot.march'::regclass::oid")
    rows = parcels(120)
    write_source(tmp_path, "parcels", DAY, rows)
    recorder = Recorder()
    assert load_one(database, PARCELS, tmp_path, DAY, observer=recorder).error is None
    assert_accounted(database, PARCELS, rows)
    assert fetch_value(database, "select 'depot.march'::regclass::oid") == before
    assert fetch_value(database, "select count(*) from depot.log") == 120
    (told,) = [line for line in recorder.lines if "deleted and inserted" in line]
    assert "partition march has CHECK constraint positive, index by_label, trigger note" in told


def test_a_whole_table_keeps_the_name_of_its_key_when_it_is_swapped(database: str) -> None:
    async def run() -> tuple[str | None, bool, str]:
        connection = await asyncpg.connect(database, timeout=20)
        try:
            await connection.execute(
                "create table places (place integer constraint one_a_place primary key, label text)"
            )
            target = await _target(connection, "places", is_partitioned=False)
            await create_staging(connection, target, _HANDLE, _WHOLE)
            await add_key(connection, _HANDLE, ["place"])
            said = await publish_by_swap(connection, target, _HANDLE)
            is_new = await connection.fetchval("select 'places'::regclass::oid <> $1::oid", target.oid)
            name = "select conname::text from pg_constraint where conrelid = 'places'::regclass and contype = 'p'"
            return said, is_new, await connection.fetchval(name)
        finally:
            await connection.close(timeout=10)

    assert asyncio.run(run()) == (None, True, "one_a_place")


def test_an_index_that_a_load_has_built_for_the_parents_key_is_no_obstacle_to_the_next(
    database: str, tmp_path: Path
) -> None:
    fetch(database, "create schema depot")
    fetch(
        database,
        "create table depot.parcels (day date, parcel_id integer, label text, primary key (day, parcel_id)) "
        "partition by range (day)",
    )
    for count in (40, 60):
        write_source(tmp_path, "parcels", DAY, parcels(count))
        recorder = Recorder()
        assert load_one(database, PARCELS, tmp_path, DAY, observer=recorder).error is None
        assert "deleted and inserted" not in recorder.text
    assert_accounted(database, PARCELS, parcels(60))


def test_a_table_that_has_the_name_of_a_partition_does_not_stop_a_load(database: str, tmp_path: Path) -> None:
    rows = parcels(50)
    write_source(tmp_path, "parcels", DAY, rows)
    fetch(database, "create schema depot")
    fetch(database, "create table depot.parcels_2024_03_01 (note text)")
    assert load_one(database, PARCELS, tmp_path, DAY).error is None
    assert_accounted(database, PARCELS, rows)
    assert fetch_value(database, "select count(*) from depot.parcels_2024_03_01_2") == 50
