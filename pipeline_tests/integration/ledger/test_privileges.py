"""A role loads with the least privileges, and is told all that it lacks before anything is written."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over, source_rows, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.roles import Role, execute, new_role
from pipeline_tests.support.tables import PARCELS as OWN_PARCELS, parcels, write_source
from pipeline_tests.support.tables_of_write_modes import APPENDED, DAY, PATHS, REPLACED, UPSERTED, sales, write_sales
from rowledger.errors import MissingPrivilege, UnsupportedServer
from rowledger.ledger.table_status import read_status
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec

COLUMNS = "day date not null, region text not null, sale_id integer not null, amount double precision"
FIRST, SECOND = sales(range(30)), sales(range(20, 50), amount=5.0)


@pytest.fixture
def role(database: str) -> Iterator[Role]:
    with new_role(database) as made:
        yield made


def test_a_role_that_owns_one_schema_loads_with_a_ledger_schema_made_for_it(
    empty_database: str, tmp_path: Path
) -> None:
    with new_role(empty_database) as role:
        execute(
            empty_database,
            f"revoke create on schema public from public; create schema depot authorization {role.name};"
            f"create schema rowledger; grant usage, create on schema rowledger to {role.name}",
        )
        for _ in range(2):
            write_source(tmp_path, "parcels", DAY, parcels(50))
            report = load_one(role.url, OWN_PARCELS, tmp_path, DAY)
            assert report.error is None
        assert all(result.passed for result in run_verify(OWN_PARCELS, url=role.url))
        assert [row.published and row.published.counts.written_rows for row in read_status(role.url)] == [50]
        assert_nothing_left_over(empty_database)


def test_a_role_that_logs_in_as_one_and_works_as_another_loads_as_that_other(
    empty_database: str, tmp_path: Path
) -> None:
    with new_role(empty_database) as owner, new_role(empty_database) as login:
        database_name = urlsplit(empty_database).path.removeprefix("/")
        execute(
            empty_database,
            f"create schema depot authorization {owner.name}; grant create on database {database_name} to {owner.name};"
            f"grant {owner.name} to {login.name}; alter role {login.name} set role = {owner.name}",
        )
        write_source(tmp_path, "parcels", DAY, parcels(50))
        with pytest.raises(UnsupportedServer, match="grant it pg_read_all_stats and pg_signal_backend"):
            load_one(login.url, OWN_PARCELS, tmp_path, DAY)
        execute(empty_database, f"grant pg_read_all_stats, pg_signal_backend to {owner.name}")
        for _ in range(2):
            assert load_one(login.url, OWN_PARCELS, tmp_path, DAY).error is None
        assert fetch_value(empty_database, "select tableowner from pg_tables where tablename = 'parcels'") == owner.name
        assert all(result.passed for result in run_verify(OWN_PARCELS, url=login.url))
        assert_nothing_left_over(empty_database)


@pytest.mark.parametrize(
    ("spec", "minimum", "divided"),
    [
        pytest.param(REPLACED, {"SELECT", "INSERT", "DELETE"}, True, id="replace"),
        pytest.param(REPLACED, {"SELECT", "INSERT", "DELETE"}, False, id="replace in a plain table"),
        pytest.param(APPENDED, {"SELECT", "INSERT"}, True, id="append"),
        pytest.param(UPSERTED, {"SELECT", "INSERT", "UPDATE"}, True, id="upsert"),
        pytest.param(PATHS, {"SELECT", "INSERT", "UPDATE"}, False, id="append to rows that are counted together"),
    ],
)
def test_what_the_message_names_is_enough_and_no_more(
    database: str, role: Role, tmp_path: Path, spec: TableSpec, minimum: set[str], *, divided: bool
) -> None:
    table = f"{spec.target.schema_name}.{spec.target.table}"
    key = DAY if spec is not PATHS else "a"
    fetch(
        database, f"create table {table} (row_id bigserial, {COLUMNS}){' partition by range (day)' if divided else ''}"
    )
    if divided:
        fetch(
            database, f"create table {table}_all partition of {table} for values from ('2024-01-01') to ('2025-01-01')"
        )
    if spec.key:
        fetch(database, f"create unique index on {table} (day, region, sale_id)")
    write_sales(tmp_path, key, FIRST)
    with pytest.raises(MissingPrivilege) as refused:
        load_one(role.url, spec, tmp_path, key)
    assert "\n" not in str(refused.value)
    assert fetch_value(database, "select count(*) from rowledger.load") == 0
    execute(database, ";".join(refused.value.statements))
    assert load_one(role.url, spec, tmp_path, key).error is None
    write_sales(tmp_path, key, SECOND if spec is not APPENDED else SECOND[10:])
    assert load_one(role.url, spec, tmp_path, key).error is None
    assert all(result.passed for result in run_verify(spec, url=role.url))
    granted = fetch(
        database,
        "select privilege_type from information_schema.role_table_grants where grantee = $1 and table_name = $2",
        role.name,
        spec.target.table,
    )
    assert {row[0] for row in granted} == minimum
    assert_nothing_left_over(database)


def test_a_missing_delete_is_named_and_not_blamed_on_the_row_model(database: str, role: Role, tmp_path: Path) -> None:
    _grant_ledger(database, role)
    fetch(database, f"create table public.replaced ({COLUMNS})")
    fetch(database, f"grant select, insert on public.replaced to {role.name}")
    write_sales(tmp_path, DAY, FIRST)
    with pytest.raises(MissingPrivilege, match=r'lacks delete on table "public"."replaced"') as refused:
        load_one(role.url, REPLACED, tmp_path, DAY)
    assert f'grant delete on table "public"."replaced" to "{role.name}"' in str(refused.value)
    assert "row model" not in str(refused.value)


def test_privileges_on_each_column_are_enough_to_insert(database: str, role: Role, tmp_path: Path) -> None:
    _grant_ledger(database, role)
    fetch(database, f"create table public.appended ({COLUMNS}, note text)")
    names = "day, region, sale_id, amount"
    fetch(database, f"grant select, insert ({names}) on public.appended to {role.name}")
    write_sales(tmp_path, DAY, FIRST)
    assert load_one(role.url, APPENDED, tmp_path, DAY).error is None
    assert table_rows(database, APPENDED) == source_rows(FIRST)


def test_a_partition_that_the_role_may_not_make_is_named_with_its_statement(
    database: str, role: Role, tmp_path: Path
) -> None:
    _grant_ledger(database, role)
    fetch(database, f"create table public.replaced ({COLUMNS}) partition by range (day)")
    fetch(database, f"grant select, insert, delete on public.replaced to {role.name}")
    write_sales(tmp_path, DAY, FIRST)
    error = load_one(role.url, REPLACED, tmp_path, DAY).error
    assert isinstance(error, MissingPrivilege)
    execute(database, ";".join(error.statements))
    assert load_one(role.url, REPLACED, tmp_path, DAY).error is None
    assert table_rows(database, REPLACED) == source_rows(FIRST)


def test_a_sequence_that_a_default_needs_is_named(database: str, role: Role, tmp_path: Path) -> None:
    _grant_ledger(database, role)
    fetch(database, f"create table public.appended (row_id bigserial, {COLUMNS})")
    fetch(database, f"grant select, insert on public.appended to {role.name}")
    write_sales(tmp_path, DAY, FIRST)
    with pytest.raises(MissingPrivilege, match=r'lacks usage on sequence "public"."appended_row_id_seq"'):
        load_one(role.url, APPENDED, tmp_path, DAY)


def _grant_ledger(database: str, role: Role) -> None:
    fetch(database, f"grant usage, create on schema rowledger to {role.name}")
    fetch(database, f"grant select, insert, update, delete on all tables in schema rowledger to {role.name}")
