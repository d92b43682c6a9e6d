"""The ledger is made and upgraded by runs and by an admin, one at a time, and never under a run that is at work on it."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner

from pipeline_tests.support.assertions import edited_loads
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.roles import Role, new_role
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from rowledger.cli.main import cli
from rowledger.embedded.server import EmbeddedServer
from rowledger.errors import LedgerBusy, LedgerMismatch, MissingPrivilege, NothingRecorded
from rowledger.ledger.migrations import ensure_ledger
from rowledger.ledger.script import ledger_script
from rowledger.ledger.table_status import read_status
from rowledger.ledger.upgrade import run_migrate
from rowledger.postgres.queries import migrations
from rowledger.publish.verify import run_verify

NEWEST = migrations()[-1].version
RUN = "rowledger control of " + "a" * 32
ON_A_HOST_OR_BY_A_POOLER = (
    RUN + " - 10.0.0.1:5432",
    "rowledger control 12 of " + "a" * 32,
    "rowledger worker 12.4194304 of " + "a" * 32,
)


def _make_ledger(url: str, newest: int) -> None:
    """A ledger as a Rowledger made it that knew fewer migrations, and no checksums."""

    async def apply() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(
            "create schema rowledger; create table rowledger.schema_version "
            "(version integer primary key, name text not null, applied_at timestamptz not null default now())"
        )
        for step in migrations()[:newest]:
            await connection.execute(step.sql)
            await connection.execute("insert into rowledger.schema_version values ($1, $2)", step.version, step.name)
        await connection.close()

    asyncio.run(apply())


@pytest.fixture
def older_database(empty_database: str) -> str:
    """A database with a ledger as version 0.1.0 made it."""
    _make_ledger(empty_database, 5)
    return empty_database


@pytest.fixture
def role(empty_database: str) -> Iterator[Role]:
    with new_role(empty_database) as made:
        yield made


def test_two_that_migrate_at_once_make_one_ledger(empty_database: str) -> None:
    assert _ensure_at_once(empty_database, 4) == [None] * 4
    assert fetch_value(empty_database, "select count(*) from rowledger.schema_version") == NEWEST


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_default_isolation_changes_nothing_for_two_that_migrate_at_once(empty_database: str, isolation: str) -> None:
    assert _ensure_at_once(empty_database, 4, default_transaction_isolation=isolation) == [None] * 4
    assert fetch_value(empty_database, "select count(*) from rowledger.schema_version") == NEWEST


def test_an_older_ledger_gets_checksums_and_keeps_its_loads(older_database: str, tmp_path: Path) -> None:
    done = run_migrate(older_database)
    assert (done.before, done.after) == (5, NEWEST)
    recorded = fetch(older_database, "select version, checksum from rowledger.schema_version order by version")
    assert [tuple(row) for row in recorded] == [(step.version, step.checksum) for step in migrations()]
    write_source(tmp_path, "events", DAY, events(30))
    assert load_one(older_database, EVENTS, tmp_path, DAY).error is None
    assert fetch_value(older_database, "select rowledger_version from rowledger.load") != ""


@pytest.mark.parametrize("name", [RUN, *ON_A_HOST_OR_BY_A_POOLER])
def test_an_upgrade_waits_for_a_run_that_is_at_work_and_names_it(older_database: str, name: str) -> None:
    async def upgrade() -> None:
        running = await asyncpg.connect(older_database, server_settings={"application_name": name})
        connection = await asyncpg.connect(older_database)
        try:
            with pytest.raises(LedgerBusy, match=rf"upgraded from version 5 to {NEWEST}, and a run \(role .*at work"):
                await ensure_ledger(connection, wait_s=0)
            upgrading = asyncio.create_task(ensure_ledger(connection, wait_s=60))
            await asyncio.sleep(0)
            await running.close()
            await upgrading
        finally:
            await connection.close()

    asyncio.run(upgrade())
    assert fetch_value(older_database, "select max(version) from rowledger.schema_version") == NEWEST


def test_a_migration_that_was_edited_is_named(database: str, tmp_path: Path) -> None:
    fetch(database, "update rowledger.schema_version set checksum = md5('other') where version = 3")
    write_source(tmp_path, "events", DAY, events(30))
    with pytest.raises(LedgerMismatch, match=r"migration 0003_any_source of the ledger is not the one"):
        load_one(database, EVENTS, tmp_path, DAY)


def test_a_role_that_does_not_own_an_older_ledger_is_told_who_does(older_database: str, role: Role) -> None:
    for statement in (
        f"grant usage, create on schema rowledger to {role.name}",
        f"grant select, insert, update, delete on all tables in schema rowledger to {role.name}",
    ):
        fetch(older_database, statement)
    with pytest.raises(MissingPrivilege, match=r"has to be upgraded by its owner, role \w+; this session is role"):
        run_migrate(role.url)


def test_roles_that_load_may_use_what_an_upgrade_brings(empty_database: str, role: Role) -> None:
    _make_ledger(empty_database, 4)
    fetch(empty_database, f"grant usage, create on schema rowledger to {role.name}")
    fetch(empty_database, f"grant select, insert, update, delete on all tables in schema rowledger to {role.name}")
    assert run_migrate(empty_database).before == 4
    may_insert = "select has_table_privilege($1, 'rowledger.letter_event', 'insert')"  # which migration 5 brings
    assert fetch_value(empty_database, may_insert, role.name)


@pytest.mark.parametrize("start", ["empty_database", "older_database", "database"])
def test_the_printed_script_makes_and_upgrades_the_same_ledger(start: str, request: pytest.FixtureRequest) -> None:
    url: str = request.getfixturevalue(start)
    with new_role(url) as writer, new_role(url) as reader:
        script = CliRunner().invoke(
            cli, ["db", "migrate", "--print-sql", "--grant-to", writer.name, "--grant-read-to", reader.name]
        )
        assert script.exit_code == 0, script.output
        for _ in range(2):
            _psql(url, script.output)
        recorded = fetch(url, "select version, name, checksum from rowledger.schema_version order by version")
        assert [tuple(row) for row in recorded] == [(step.version, step.name, step.checksum) for step in migrations()]
        with pytest.raises(NothingRecorded):  # it was read, and is empty
            read_status(reader.url)
        assert run_migrate(writer.url).before == NEWEST


def test_the_printed_script_quotes_a_role_as_it_is() -> None:
    assert 'to "it""s; drop table x; --";' in ledger_script(['it"s; drop table x; --'])


@pytest.mark.parametrize("name", [RUN, *ON_A_HOST_OR_BY_A_POOLER])
def test_a_script_refuses_to_upgrade_under_a_run(older_database: str, name: str) -> None:
    async def refused() -> str:
        running = await asyncpg.connect(older_database, server_settings={"application_name": name})
        try:
            return await asyncio.to_thread(_psql, older_database, ledger_script(), expected=3)
        finally:
            await running.close()

    assert "a run is at work on the ledger" in asyncio.run(refused())


def test_the_command_grants_and_says_what_it_did(
    empty_database: str, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", empty_database)
    first = CliRunner().invoke(cli, ["db", "migrate", "--grant-to", role.name])
    assert (first.exit_code, f"at version {NEWEST} now, and was missing" in first.output) == (0, True), first.output
    assert f"role {role.name} was granted" in first.output
    again = CliRunner().invoke(cli, ["db", "migrate"])
    assert f"at version {NEWEST} already" in again.output
    unknown = CliRunner().invoke(cli, ["db", "migrate", "--grant-to", "nobody here"])
    assert unknown.exit_code == 1
    assert "Traceback" not in unknown.output


def test_the_version_says_which_build_it_is() -> None:
    told = CliRunner().invoke(cli, ["--version"]).output
    assert re.fullmatch(r"rowledger, version \d+\.\d+\.\d+(\.dev\d+(\+g[0-9a-f]+)?)?\n", told)


def _ensure_at_once(url: str, count: int, **server_settings: str) -> list[Any]:
    async def run() -> list[Any]:
        connections = [await asyncpg.connect(url, server_settings=server_settings) for _ in range(count)]
        try:
            return await asyncio.gather(*map(ensure_ledger, connections), return_exceptions=True)
        finally:
            for connection in connections:
                await connection.close()

    return asyncio.run(run())


def _psql(url: str, script: str, *, expected: int = 0) -> str:
    program = EmbeddedServer(Path("unused")).psql_path
    done = subprocess.run(
        [program, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={url}"],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PGCONNECT_TIMEOUT": "20"},
    )
    assert done.returncode == expected, done.stderr
    return done.stderr


def test_a_ledger_in_a_restored_dump_is_as_it_was(database: str, empty_database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(30))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    program = EmbeddedServer(Path("unused")).psql_path.with_name("pg_dump")
    dump = subprocess.run([program, f"--dbname={database}"], capture_output=True, text=True, timeout=60, check=True)
    # An older server does not know each setting that a newer pg_dump sets.
    subprocess.run(
        [program.with_name("psql"), "--no-psqlrc", "--quiet", f"--dbname={empty_database}"],
        input=dump.stdout,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert edited_loads(empty_database) == []
    assert all(result.passed for result in run_verify(EVENTS, url=empty_database))
    assert load_one(empty_database, EVENTS, tmp_path, DAY).error is None
