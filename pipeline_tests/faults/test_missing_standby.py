"""A synchronous standby that is missing: said before a run begins, or after a bounded wait; no backend is left in a COMMIT."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import StandbyMissing
from pipeline.postgres import migrate
from pipeline_tests.integration.test_session_settings import execute
from pipeline_tests.loading import assert_accounted, fetch_value, load_one, sessions, wait_until
from pipeline_tests.tables_for_tests import DAY, EVENTS, events, write_source


@pytest.fixture
def missing_standby(server: str, database: str) -> Iterator[None]:  # noqa: ARG001 - its sessions are to be first
    """The server waits for a standby that there is not, until the test ends."""

    def set_to(names: str) -> None:
        execute(server, f"alter system set synchronous_standby_names = '{names}'", "select pg_reload_conf()")
        wait_until(lambda: fetch_value(server, "show synchronous_standby_names") == names, "the server has reloaded")

    set_to("nowhere")
    try:
        yield
    finally:
        set_to("")


@pytest.mark.usefixtures("missing_standby")
def test_a_run_does_not_begin_without_the_standby(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(120))
    with pytest.raises(
        StandbyMissing, match=r"synchronous_standby_names = 'nowhere'.*nothing was done; bring the standby"
    ):
        load_one(database, EVENTS, tmp_path, DAY, retry_budget_s=0.5)
    assert fetch_value(database, "select count(*) from rowledger.load") == 0
    wait_until(lambda: not sessions(database), "sessions are gone")


def test_a_commit_that_waits_for_the_standby_ends_in_time(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    async def there_a_moment_ago(_connection: object) -> None:
        """As the standby was when the run began."""

    write_source(tmp_path, "events", DAY, events(120))
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "require_standby", there_a_moment_ago)
        request.getfixturevalue("missing_standby")
        error = load_one(database, EVENTS, tmp_path, DAY, outage_budget_s=1).error
    assert isinstance(error, StandbyMissing)
    assert "no synchronous standby has confirmed it within 1 s (synchronous_standby_names = 'nowhere')" in str(error)
    wait_until(lambda: not sessions(database), "no backend is left in its COMMIT")
    execute(database, "alter system set synchronous_standby_names = ''", "select pg_reload_conf()")
    wait_until(lambda: fetch_value(database, "show synchronous_standby_names") == "", "the standby is not asked for")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(120))
