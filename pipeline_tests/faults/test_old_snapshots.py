"""Readers whose snapshot is older than a publish see the old rows: never none, and never a part of the new ones."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psycopg2
import psycopg2.extensions
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one
from pipeline_tests.support.server_gate import Where, gate
from pipeline_tests.support.tables import DAY, EVENTS, READINGS, Row, events, readings, write_source
from rowledger.failpoints import Place
from rowledger.postgres import snapshots
from rowledger.publish import finish as publish
from rowledger.spec.load_handle import LoadHandle
from rowledger.spec.table import TableSpec

_COMMITTED = (
    "select count(*) filter (where chunk.state = 'committed'), count(*) from rowledger.chunk "
    "join rowledger.load using (load_id) where load.state = 'loading'"
)
_TOLD = "deleted and inserted instead of moved with their table, since 1 session(s) of this database have a snapshot"


@contextmanager
def _reader(database: str) -> Iterator[psycopg2.extensions.cursor]:
    """A session in a transaction that keeps the snapshot of its first statement."""
    with closing(psycopg2.connect(database, connect_timeout=20, application_name="a reader")) as connection:
        connection.set_session(isolation_level="REPEATABLE READ")
        yield connection.cursor()


def _ask(reader: psycopg2.extensions.cursor, statement: str) -> tuple[Any, ...]:
    reader.execute(statement)
    found = reader.fetchone()
    assert found is not None
    return tuple(found)


def _rows(table: str, count: int) -> list[Row]:
    return {"events": events, "readings": readings}[table](count)


@pytest.mark.parametrize(
    ("spec", "key", "old"),
    [(EVENTS, DAY, 150), (EVENTS, DAY, 0), (READINGS, "all", 150)],
    ids=["attach", "first", "swap"],
)
def test_a_reader_from_the_middle_of_a_load_sees_the_old_rows_after_the_publish(
    database: str, tmp_path: Path, spec: TableSpec, key: str, old: int
) -> None:
    if old:
        write_source(tmp_path, spec.name, key, _rows(spec.name, old))
        assert load_one(database, spec, tmp_path, key).error is None
    write_source(tmp_path, spec.name, key, _rows(spec.name, 300))
    recorder = Recorder()
    with ThreadPoolExecutor(1) as threads, _reader(database) as reader, gate(database, Where.IN_COMMIT) as closed:
        loading = threads.submit(
            load_one, database, spec, tmp_path, key, observer=recorder, publish_snapshot_wait_s=0.1, workers=1
        )
        closed.wait()
        assert _ask(reader, _COMMITTED) == (1, 3)
        closed.open()
        assert loading.result().error is None
        assert fetch_value(database, f"select count(*) from {spec.name}") == 300
        assert _ask(reader, f"select count(*) from {spec.name}") == (old,)
    assert _TOLD in recorder.text
    assert_accounted(database, spec, _rows(spec.name, 300))


def test_a_reader_from_before_a_load_sees_the_old_rows_after_the_publish(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(150))
    load_one(database, EVENTS, tmp_path, DAY)
    write_source(tmp_path, "events", DAY, events(300))
    with _reader(database) as reader:
        _ask(reader, "select 1 from pg_class limit 1")
        assert load_one(database, EVENTS, tmp_path, DAY, publish_snapshot_wait_s=0).error is None
        assert _ask(reader, "select count(*) from events") == (150,)
    assert_accounted(database, EVENTS, events(300))


def test_a_reader_that_came_after_the_last_chunk_holds_up_nothing_and_sees_all_new_rows(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path, "events", DAY, events(150))
    load_one(database, EVENTS, tmp_path, DAY)
    write_source(tmp_path, "events", DAY, events(300))
    recorder = Recorder()
    before = fetch_value(database, "select 'events_2024_03_01'::regclass::oid")
    with _reader(database) as reader:

        async def reached(place: Place, **_facts: object) -> None:
            if place is Place.BEFORE_PUBLISH:
                _ask(reader, "select 1 from pg_class limit 1")

        monkeypatch.setattr(publish, "async_failpoint", reached)
        assert load_one(database, EVENTS, tmp_path, DAY, observer=recorder, publish_snapshot_wait_s=0).error is None
        assert _ask(reader, "select count(*) from events") == (300,)
    assert "deleted and inserted" not in recorder.text
    assert fetch_value(database, "select 'events_2024_03_01'::regclass::oid") != before


_Act = Callable[[], None]


@pytest.fixture
def after_first_look(monkeypatch: pytest.MonkeyPatch) -> Callable[[_Act], None]:
    """Have something done once a publish has seen that there are old snapshots."""
    original = snapshots._read

    def arrange(act: _Act) -> None:
        done = threading.Event()

        async def read(connection: asyncpg.Connection, handle: LoadHandle) -> dict[str, str]:
            found = await original(connection, handle)
            if found and not done.is_set():
                done.set()
                act()
            return found

        monkeypatch.setattr(snapshots, "_read", read)

    return arrange


def test_a_publish_waits_for_a_reader_with_an_old_snapshot_and_attaches_when_it_has_ended(
    database: str, tmp_path: Path, after_first_look: Callable[[_Act], None]
) -> None:
    write_source(tmp_path, "events", DAY, events(150))
    load_one(database, EVENTS, tmp_path, DAY)
    before = fetch_value(database, "select 'events_2024_03_01'::regclass::oid")
    write_source(tmp_path, "events", DAY, events(300))
    recorder = Recorder()
    with _reader(database) as reader:
        _ask(reader, "select 1 from pg_class limit 1")
        after_first_look(reader.connection.rollback)
        assert load_one(database, EVENTS, tmp_path, DAY, observer=recorder, publish_snapshot_wait_s=60).error is None
    assert "deleted and inserted" not in recorder.text
    assert fetch_value(database, "select 'events_2024_03_01'::regclass::oid") != before
    assert_accounted(database, EVENTS, events(300))


def test_a_snapshot_that_is_handed_on_while_a_publish_waits_counts_as_old_as_it_is(
    database: str, tmp_path: Path, after_first_look: Callable[[_Act], None]
) -> None:
    write_source(tmp_path, "events", DAY, events(150))
    load_one(database, EVENTS, tmp_path, DAY)
    write_source(tmp_path, "events", DAY, events(300))
    with _reader(database) as exporter, _reader(database) as importer:
        (snapshot,) = _ask(exporter, "select pg_export_snapshot()")

        def hand_on() -> None:
            importer.execute(f"set transaction snapshot '{snapshot}'")
            exporter.connection.rollback()

        after_first_look(hand_on)
        assert load_one(database, EVENTS, tmp_path, DAY, publish_snapshot_wait_s=1).error is None
        assert _ask(importer, "select count(*) from events") == (150,)
    assert_accounted(database, EVENTS, events(300))


def test_a_reader_that_does_not_end_is_waited_for_once_in_a_run(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    original = snapshots._read

    async def read(connection: asyncpg.Connection, handle: LoadHandle) -> dict[str, str]:
        looks.append(handle.load_id)
        return await original(connection, handle)

    monkeypatch.setattr(snapshots, "_read", read)
    days = [DAY, "2024-03-02", "2024-03-03"]
    for day in days:
        write_source(tmp_path, "events", day, events(20, day))
    with _reader(database) as reader:
        _ask(reader, "select 1 from pg_class limit 1")
        done = load(database, EVENTS, tmp_path, days, publish_snapshot_wait_s=0.3, partitions_in_flight=1)
        assert [report.error for report in done] == [None, None, None]
        assert _ask(reader, "select count(*) from pg_class where relname = 'events'") == (0,)
    assert sorted(looks.count(load_id) for load_id in set(looks))[:2] == [1, 1]


def test_publish_by_moving_can_be_switched_off(database: str, tmp_path: Path) -> None:
    for count in (50, 70):
        write_source(tmp_path, "events", DAY, events(count))
        assert load_one(database, EVENTS, tmp_path, DAY, publish_by_moving=False).error is None
        oid = fetch_value(database, "select 'events_2024_03_01'::regclass::oid")
    write_source(tmp_path, "events", DAY, events(60))
    assert load_one(database, EVENTS, tmp_path, DAY, publish_by_moving=False).error is None
    assert fetch_value(database, "select 'events_2024_03_01'::regclass::oid") == oid
    assert_accounted(database, EVENTS, events(60))
