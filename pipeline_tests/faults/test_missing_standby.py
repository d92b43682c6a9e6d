"""A synchronous standby that is missing: said before a run begins, or after a bounded wait; no backend is left in a COMMIT."""

import asyncio
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch_value, sessions
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.server_traps import execute, session, standby_asked_for, wait_at, wait_until_held
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.errors import StandbyMissing
from rowledger.ledger import migrations as migrate
from rowledger.postgres import standby
from rowledger.postgres.session import connect


def test_a_run_does_not_begin_without_the_standby(server: str, database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(120))
    with (
        standby_asked_for(server),
        pytest.raises(
            StandbyMissing, match=r"synchronous_standby_names = 'nowhere'.*nothing was done; bring the standby"
        ),
    ):
        load_one(database, EVENTS, tmp_path, DAY, retry_budget_s=0.5)
    assert fetch_value(database, "select count(*) from rowledger.load") == 0
    wait_until(lambda: not sessions(database), "sessions are gone")


@pytest.mark.parametrize("delay_s", [0, 0.7], ids=["at once", "as a busy machine does"])
def test_a_commit_that_waits_for_the_standby_ends_in_time(
    server: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay_s: float
) -> None:
    async def there_a_moment_ago(_connection: object) -> None:
        """As the standby was when the run began."""

    async def connect_to_end(*arguments: Any, **options: Any) -> SimpleNamespace:
        """The session that ends the COMMIT's backend hears of that later than the COMMIT's own session."""
        session = await connect(*arguments, **options)

        async def close() -> None:
            await asyncio.sleep(delay_s)
            await session.close()

        return SimpleNamespace(connection=session.connection, close=close)

    monkeypatch.setattr(standby, "connect", connect_to_end)
    write_source(tmp_path, "events", DAY, events(120))
    with monkeypatch.context() as patched, standby_asked_for(server), session(database) as bystander:
        execute(bystander, "select 1")
        patched.setattr(migrate, "require_standby", there_a_moment_ago)
        error = load_one(database, EVENTS, tmp_path, DAY, outage_budget_s=1).error
        assert isinstance(error, StandbyMissing)
        assert "no synchronous standby has confirmed it within 1 s (synchronous_standby_names = 'nowhere')" in str(
            error
        )
        wait_until(lambda: not sessions(database), "no backend is left in its COMMIT")
        execute(bystander, "select 1")  # the sessions of others go on
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(120))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_commit_that_waits_for_the_standby(
    server: str, database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    write_source(tmp_path, "events", DAY, events(120))
    waiting = (
        "select exists (select from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database() "
        "and application_name like 'rowledger%')"  # autovacuum waits for the standby as well
    )
    wait_at(database, "load", "new.state = 'published' and old.state <> 'published'")
    run = start(database, EVENTS, tmp_path, [DAY])
    wait_until_held(database)
    with standby_asked_for(server), session(database) as gatekeeper:
        execute(gatekeeper, "set local synchronous_commit = local")  # a COMMIT that does not wait itself
        execute(gatekeeper, "delete from public.gate")
        gatekeeper.commit()
        wait_until(lambda: fetch_value(database, waiting), "the COMMIT waits")
        run.send_signal(number)
        output, _ = run.communicate(timeout=20)
        assert "interrupted by" in output or "KeyboardInterrupt" in output
        wait_until(lambda: not sessions(database), "no backend is left in its COMMIT")
        execute(gatekeeper, "select 1")  # the sessions of others go on
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(120))
