"""Settings of a server, a database or a role do not change what our statements and the rows' values mean."""

import asyncio
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from pipeline_tests.support.assertions import assert_accounted, source_rows, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load, load_one
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, PARCELS, events, parcels, write_source
from rowledger.errors import UnsupportedServer
from rowledger.postgres.session import connect
from rowledger.postgres.session_settings import WANTED
from rowledger.publish.forget import run_forget
from rowledger.publish.verify import run_verify

HOSTILE = {
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "client_encoding": "latin1",
    "timezone": "Asia/Kathmandu",
    "timezone_abbreviations": "India",
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "xmloption": "document",
    "xmlbinary": "hex",
    "quote_all_identifiers": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "on",
    "gin_fuzzy_search_limit": "1",
    "exit_on_error": "on",
    "statement_timeout": "50ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "20ms",
    "idle_session_timeout": "20ms",
    "jit": "on",
    "session_replication_role": "replica",
    "transaction_timeout": "10s",  # the server counts from before the first statement
    "enable_seqscan": "off",
    "synchronous_commit": "off",
}


def execute(database: str, *statements: str) -> None:
    """Each in a transaction of its own."""
    connection = psycopg2.connect(database)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


@contextmanager
def hostile_settings(database: str) -> Iterator[None]:
    """All of them for this test's database, while the block runs."""
    name = urlsplit(database).path.removeprefix("/")
    known = {row[0].lower() for row in fetch(database, "select name from pg_settings")}
    execute(
        database,
        *(
            f"alter role current_user in database {name} set {key} = '{value}'"
            for key, value in HOSTILE.items()
            if key in known
        ),
    )
    try:
        yield
    finally:  # by way of another database, where they do not hold
        elsewhere = urlsplit(database)._replace(path="/postgres").geturl()
        execute(elsewhere, f"alter role current_user in database {name} reset all")


def _settings_of_a_session(url: str, *names: str) -> dict[str, str]:
    async def look() -> dict[str, str]:
        session = await connect(url, application_name="test", timeout_s=20)
        try:
            return {name: await session.connection.fetchval(f"show {name}") for name in names}
        finally:
            await session.close()

    return asyncio.run(look())


def test_what_a_session_means_does_not_depend_on_the_database_s_settings(database: str) -> None:
    known = {row[0].lower() for row in fetch(database, "select name from pg_settings")}
    wanted = {name: value for name, value in WANTED.items() if name.lower() in known}
    with hostile_settings(database):
        found = _settings_of_a_session(database, *wanted, "session_replication_role")
    assert found == {**wanted, "session_replication_role": "origin"}


def test_every_operation_works_whatever_the_database_s_settings(database: str, tmp_path: Path) -> None:
    rows = events(150)
    rows[7] = {**rows[7], "name": "back\\slash ' quote $$ %s {}", "note": "\\'); --"}
    others = events(50, NEXT_DAY, first=1000)
    write_source(tmp_path, "events", DAY, rows)
    write_source(tmp_path, "events", NEXT_DAY, others)
    with hostile_settings(database):
        for _ in range(2):
            reports = load(database, EVENTS, tmp_path, [DAY, NEXT_DAY], workers=2)
            assert [report.error for report in reports] == [None, None]
            assert all(verification.passed for verification in run_verify(EVENTS, url=database))
    assert table_rows(database, EVENTS) == source_rows(rows + others)
    with hostile_settings(database):
        assert len(run_forget(EVENTS, url=database, partition_keys=[DAY])) == 1


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_the_first_two_runs_at_once_work_under_a_stricter_isolation(
    empty_database: str, tmp_path: Path, level: str
) -> None:
    name = urlsplit(empty_database).path.removeprefix("/")
    execute(empty_database, f"alter role current_user in database {name} set default_transaction_isolation = '{level}'")
    write_source(tmp_path, "events", DAY, events(120))
    write_source(tmp_path, "events", NEXT_DAY, events(50, NEXT_DAY, first=1000))
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(load_one, empty_database, EVENTS, tmp_path, day) for day in (DAY, NEXT_DAY)]
        assert [run.result(timeout=120).error for run in runs] == [None, None]
    assert_accounted(empty_database, EVENTS, events(120) + events(50, NEXT_DAY, first=1000))


def test_names_of_the_server_are_not_taken_from_schemas_of_the_search_path(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(120))
    name = urlsplit(database).path.removeprefix("/")
    execute(
        database,
        "create schema shadow",
        "create view shadow.pg_class as select * from pg_catalog.pg_class where false",
        "create function shadow.hashtext(text) returns integer language sql as 'select 1'",
        "create function shadow.pg_backend_pid() returns integer language sql as 'select 1'",
        "create function shadow.equal(text, text) returns boolean language sql as 'select false'",
        "create operator shadow.= (leftarg = text, rightarg = text, function = shadow.equal)",
        f"alter role current_user in database {name} set search_path = shadow, pg_catalog, public",
    )
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert _settings_of_a_session(database, "search_path") == {"search_path": '"shadow", "public", pg_temp'}
    execute(database, f"alter role current_user in database {name} reset all")
    assert_accounted(database, EVENTS, events(120))


def test_a_trigger_finds_what_it_names_in_the_role_s_search_path(database: str, tmp_path: Path) -> None:
    name = urlsplit(database).path.removeprefix("/")
    execute(
        database,
        "create schema app; create table app.notes (label text)",
        "create function app.on_row() returns trigger language plpgsql as "
        "$$begin insert into notes values (new.label); return new; end$$",
        "create schema depot; create table depot.parcels (day date, parcel_id bigint, label text)",
        "create trigger on_row before insert on depot.parcels for each row execute function app.on_row()",
        f"alter role current_user in database {name} set search_path = app",
    )
    write_source(tmp_path, "parcels", DAY, parcels(50))
    assert load_one(database, PARCELS, tmp_path, DAY).error is None
    assert fetch_value(database, "select count(*) from app.notes") == 50


def test_a_role_that_cannot_leave_replica_mode_is_refused(database: str) -> None:
    role = f"replica_{uuid.uuid4().hex[:12]}"
    execute(
        database,
        f"create role {role} login password 'x'",
        f"alter role {role} set session_replication_role = replica",
    )
    parts = urlsplit(database)
    url = parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}").geturl()
    try:
        with pytest.raises(UnsupportedServer, match="session_replication_role is replica for this role"):
            _settings_of_a_session(url)
    finally:
        execute(database, f"drop role {role}")
