"""A server that crashes between the last chunk and the verdict: what the crash has undone is done again.

Chunks commit without waiting for the disk, so a crash may take back what workers have reported.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.own_server import crash
from pipeline_tests.support.tables import DAY, EVENTS, KEYED_READINGS, READINGS, Row, events, readings, write_source
from rowledger.embedded.server import EmbeddedServer
from rowledger.failpoints import Place
from rowledger.publish import sift
from rowledger.spec.table import TableSpec


@pytest.fixture
def forgetful_server(own_server: EmbeddedServer) -> EmbeddedServer:
    """A server that puts a commit on disk only when something makes it."""
    url = own_server.url()
    fetch(url, "alter system set wal_writer_delay = '10s'")
    fetch(url, "select pg_reload_conf()")
    return own_server


class _Crash:
    """Crashes the server, once, and starts it again."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self.happened = False

    def __call__(self) -> None:
        if not self.happened:
            self.happened = True
            crash(self._server)
            self._server.ensure_running()


def _before_reconcile(monkeypatch: pytest.MonkeyPatch, crash: Callable[[], None]) -> None:
    async def reached(place: Place, **_facts: object) -> None:
        if place is Place.BEFORE_RECONCILE:
            await asyncio.to_thread(crash)

    monkeypatch.setattr("rowledger.publish.finish.async_failpoint", reached)


def _before_duplicates(monkeypatch: pytest.MonkeyPatch, crash: Callable[[], None]) -> None:
    original = sift.set_rows_aside

    async def reached(*arguments: Any, **options: Any) -> int:
        await asyncio.to_thread(crash)
        return await original(*arguments, **options)

    monkeypatch.setattr(sift, "set_rows_aside", reached)


_DOUBLED: list[Row] = [{"sensor": number // 2, "value": float(number)} for number in range(100)]
_CASES = {
    "with a key": (EVENTS, DAY, events(300), _before_reconcile),
    "without a key": (READINGS, "all", readings(300), _before_reconcile),
    "duplicates set aside": (KEYED_READINGS, "all", _DOUBLED, _before_reconcile),
    "duplicates found": (KEYED_READINGS, "all", _DOUBLED, _before_duplicates),
}


@pytest.mark.parametrize("case", _CASES)
def test_what_a_crash_has_undone_is_done_again(
    forgetful_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    spec, key, rows, arrange = _CASES[case]
    assert isinstance(spec, TableSpec)
    url = forgetful_server.url()
    if spec is KEYED_READINGS:  # an own table without a key does not refuse what the staging table's key was to refuse
        fetch(url, "create table public.keyed_readings (sensor integer, value double precision)")
    write_source(tmp_path, "events" if spec is EVENTS else "readings", key, rows)
    crash = _Crash(forgetful_server)
    arrange(monkeypatch, crash)
    observer = Recorder()
    report = load_one(url, spec, tmp_path, key, observer=observer)
    assert crash.happened
    assert report.error is None
    if spec is KEYED_READINGS:
        assert report.dead_lettered_rows == 50
        assert fetch_value(url, "select count(*) - count(distinct sensor) from keyed_readings") == 0
    assert_accounted(url, spec, rows)


def test_a_key_taken_away_before_the_verdict_is_built_again(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(50)
    write_source(tmp_path, "events", DAY, rows)
    taken: list[int] = []

    def take() -> None:
        if not taken:
            load_id = fetch_value(database, "select load_id from rowledger.load")
            name = fetch_value(
                database,
                f"select conname from pg_constraint where conrelid = 'rowledger.staging_{load_id}'::regclass"
                " and contype = 'p'",
            )
            fetch(database, f'alter table rowledger.staging_{load_id} drop constraint "{name}"')
            taken.append(load_id)

    _before_reconcile(monkeypatch, take)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert taken
    assert_accounted(database, EVENTS, rows)
