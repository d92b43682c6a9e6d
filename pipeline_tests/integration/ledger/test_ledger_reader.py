"""Reading the ledger changes nothing, works with SELECT alone, and says in a sentence what is missing."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.roles import Role, execute, new_role
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from rowledger.errors import DatabaseUnavailable, LedgerMismatch, LedgerMissing, MissingPrivilege
from rowledger.ledger.reader import ledger_reader
from rowledger.ledger.table_status import read_status
from rowledger.publish.verify import run_verify
from rowledger.settings import WriterSettings


@pytest.fixture
def reader(database: str) -> Iterator[Role]:
    with new_role(database) as role:
        yield role


def test_status_needs_select_alone_and_names_the_grant(database: str, reader: Role, tmp_path: Path) -> None:
    _load(database, tmp_path)
    with pytest.raises(MissingPrivilege, match=r"lacks usage on schema .rowledger. and select on table") as refused:
        read_status(reader.url)
    assert "\n" not in str(refused.value)
    execute(database, ";".join(refused.value.statements))
    assert [row.published and row.published.counts.written_rows for row in read_status(reader.url)] == [30]


def test_verify_names_the_grant_on_the_target(database: str, reader: Role, tmp_path: Path) -> None:
    _load(database, tmp_path)
    fetch(database, f"grant usage on schema rowledger to {reader.name}")
    fetch(database, f"grant select on all tables in schema rowledger to {reader.name}")
    with pytest.raises(MissingPrivilege, match=r'lacks select on table "public"."events"') as refused:
        run_verify(EVENTS, url=reader.url)
    execute(database, ";".join(refused.value.statements))
    assert all(result.passed for result in run_verify(EVENTS, url=reader.url))


def test_reading_waits_for_a_lock_no_longer_than_lock_timeout_s(database: str) -> None:
    async def read() -> None:
        async with ledger_reader(database, purpose="status", limits=WriterSettings(lock_timeout_s=0.1)) as connection:
            await connection.fetch("select from rowledger.load")

    with closing(psycopg2.connect(database, connect_timeout=20)) as holder, holder.cursor() as cursor:
        cursor.execute("lock table rowledger.load in access exclusive mode")
        with pytest.raises(DatabaseUnavailable, match=r"lock not available \(SQLSTATE 55P03\).* see pg_locks"):
            asyncio.run(asyncio.wait_for(read(), 30))


def test_reading_makes_no_ledger(empty_database: str) -> None:
    with pytest.raises(LedgerMissing, match="has no ledger: nothing has been loaded into it"):
        read_status(empty_database)
    with pytest.raises(LedgerMissing):
        run_verify(EVENTS, url=empty_database)
    assert fetch_value(empty_database, "select to_regnamespace('rowledger')") is None


def test_reading_an_older_ledger_says_who_upgrades_it(database: str) -> None:
    fetch(
        database,
        "delete from rowledger.schema_version where version = (select max(version) from rowledger.schema_version)",
    )
    with pytest.raises(
        LedgerMismatch, match=r"the ledger is at version \d+, and Rowledger .* upgrades it by `rowledger db migrate`"
    ):
        read_status(database)


def test_reading_a_newer_ledger_says_so(database: str) -> None:
    fetch(database, "insert into rowledger.schema_version (version, name) values (9999, 'later')")
    with pytest.raises(LedgerMismatch, match="the ledger is at version 9999, newer than this Rowledger knows"):
        run_verify(EVENTS, url=database)


def test_verify_of_a_table_that_is_gone_does_not_make_it(database: str, tmp_path: Path) -> None:
    _load(database, tmp_path)
    fetch(database, "drop table public.events")
    with pytest.raises(Exception, match=r"public.events is missing"):
        run_verify(EVENTS, url=database)
    assert fetch_value(database, "select to_regclass('public.events')") is None


def _load(database: str, landing: Path) -> None:
    write_source(landing, "events", DAY, events(30))
    assert load_one(database, EVENTS, landing, DAY).error is None
