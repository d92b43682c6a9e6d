"""A synchronous standby that is missing: said before a run begins, or after a bounded wait; no backend is left in a COMMIT."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import StandbyMissing
from pipeline.postgres import migrate, standby
from pipeline.postgres.session import connect
from pipeline_tests.loading import assert_accounted, fetch_value, load_one, sessions, wait_until
from pipeline_tests.server_traps import standby_asked_for
from pipeline_tests.tables_for_tests import DAY, EVENTS, events, write_source


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
    with monkeypatch.context() as patched, standby_asked_for(server):
        patched.setattr(migrate, "require_standby", there_a_moment_ago)
        error = load_one(database, EVENTS, tmp_path, DAY, outage_budget_s=1).error
        assert isinstance(error, StandbyMissing)
        assert "no synchronous standby has confirmed it within 1 s (synchronous_standby_names = 'nowhere')" in str(
            error
        )
        wait_until(lambda: not sessions(database), "no backend is left in its COMMIT")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(120))
