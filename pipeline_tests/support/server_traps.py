"""Triggers that make the server act at an exact place of a load: wait until the test says go on, or fail a few times."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import psycopg2
import psycopg2.extensions

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.waiting import wait_until

Session: TypeAlias = psycopg2.extensions.connection


@contextmanager
def session(database: str) -> Iterator[Session]:
    """A session of the test's own, in a transaction from its first statement on; rolled back and closed at the end."""
    connection = psycopg2.connect(database, application_name="test")
    try:
        yield connection
    finally:
        connection.close()


def execute(connection: Session, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def wait_at(database: str, table: str, when: str, *, stubborn: bool = False) -> None:
    """Hold whoever updates a row of the ledger's table for which `when` is true, row lock in hand, until `go_on`.

    What is `stubborn` cannot be cancelled: only its session can be ended.
    """
    sleep = (
        "begin perform pg_sleep(0.01); exception when query_canceled then null; end"
        if stubborn
        else "perform pg_sleep(0.01)"
    )
    fetch(database, "create table public.gate as select 1 as is_closed")
    fetch(
        database,
        "create function public.wait_at_gate() returns trigger language plpgsql as $$ begin "
        f"while exists (select from public.gate) loop {sleep}; end loop; return null; end $$",
    )
    fetch(
        database,
        f"create trigger wait_at_gate after update on rowledger.{table} for each row when ({when}) "
        "execute function public.wait_at_gate()",
    )


def wait_until_held(database: str) -> None:
    """Return once a session of the run stands at the gate."""
    at_gate = (
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and application_name like 'rowledger%' "
        "and datname = current_database()"
    )
    wait_until(lambda: fetch_value(database, at_gate), "somebody stands at the gate", timeout_s=60)


@contextmanager
def standby_asked_for(server: str, names: str = "nowhere") -> Iterator[None]:
    """Let the server's COMMITs wait for a synchronous standby that there is not, while the block runs."""

    def set_to(wanted: str) -> None:
        fetch(server, f"alter system set synchronous_standby_names = '{wanted}'")
        fetch(server, "select pg_reload_conf()")
        wait_until(lambda: fetch_value(server, "show synchronous_standby_names") == wanted, "the server has reloaded")

    set_to(names)
    try:
        yield
    finally:
        set_to("")


def go_on(database: str) -> None:
    """Open the gate for good."""
    fetch(database, "delete from public.gate")


def fail_at(database: str, table: str, when: str, *, sqlstate: str, times: int) -> None:
    """Refuse the first few updates of the ledger's table for which `when` is true, as the server itself would.

    A sequence counts them: it is not rolled back with the transaction that failed.
    """
    fetch(database, "create sequence public.failures")
    fetch(
        database,
        "create function public.fail() returns trigger language plpgsql as $$ begin "
        f"if nextval('public.failures') <= {times} then raise exception 'made to fail' using errcode = '{sqlstate}'; "
        "end if; return new; end $$",
    )
    fetch(
        database,
        f"create trigger fail before update on rowledger.{table} for each row when ({when}) "
        "execute function public.fail()",
    )
