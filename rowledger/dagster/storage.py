"""Dagster's own storage, which dagster.yaml names: dagster-postgres on the server that the settings give.

The embedded server starts here on demand, because Dagster opens its storage before any other code of Rowledger runs.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import click
import dagster as dg

from rowledger.dagster.private_names import AssetCheckExecutionRecordStatus, ConfigurableClassData, UserConfigSchema
from rowledger.errors import MissingPrivilege, RowledgerError
from rowledger.extras import missing_extra
from rowledger.postgres import connect, dagster_url, no_standby, query, quote_identifier, with_hosts_in_query

try:
    import psycopg2
    from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
    from dagster_postgres.utils import DagsterPostgresException
    from psycopg2 import errorcodes
    from psycopg2.sql import SQL, Identifier
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
except ModuleNotFoundError:
    raise click.ClickException(str(missing_extra("storage"))) from None  # which Dagster's commands print as one line

__all__ = ["RowledgerStorage"]

CONNECT_TIMEOUT_S = 10
# "rowldger"; only one installation at a time creates Dagster's tables in a database.
SETUP_LOCK_KEY = 0x726F776C64676572
SETUP_LOCK_TIMEOUT_S = 60
STANDBY_WAIT_S = 20
STANDBY_POLL_S = 0.5
EVENT_BATCH_SIZE = 1_000
_LISTED_EVENTS = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)

REMEDY = "check ROWLEDGER_DATABASE_URL or ROWLEDGER_DAGSTER_DATABASE_URL, and that the server runs"


class RowledgerStorage(DagsterPostgresStorage):
    """Takes its URL from ROWLEDGER_DAGSTER_DATABASE_URL or the target database, and creates its schema when missing.

    Raises click.ClickException, which every Dagster command prints as one line, when the server cannot be reached.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        # Dagster's own switch, off by default, which writes the materializations of one step together. 365 partitions
        # then cost a few statements instead of four each.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH_SIZE))
        with _one_line_errors():
            url = dagster_url()
            with _setup_lock(url):
                super().__init__(postgres_url=_sqlalchemy_url(url), inst_data=inst_data)
            self._event_log_storage = PooledEventLog(self.postgres_url)
        _remove_empty_homes()

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, _config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data)


class PooledEventLog(PostgresEventLogStorage):
    """Keeps a connection open between events, where dagster-postgres opens one or two for each.

    It also writes the events that announce a run's partitions in one statement, and those of its checks, where
    dagster-postgres writes them one by one: 365 announcements take 0.1 s instead of 5.
    """

    stores_evaluations_together = True
    """Whether `store_event_batch` takes check evaluations, which other storages refuse."""

    def __init__(self, postgres_url: str) -> None:
        super().__init__(postgres_url, should_autocreate_tables=False)
        # Pre-ping: a connection that a server restart has cut is replaced before an event is lost on it.
        self._engine = create_engine(
            postgres_url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=8, pool_pre_ping=True
        )
        self._last_ms = 0

    def store_event(self, event: dg.EventLogEntry) -> None:
        super().store_event(self._at_a_time_of_its_own(event))

    def _at_a_time_of_its_own(self, event: dg.EventLogEntry) -> dg.EventLogEntry:
        """The event, moved to the next free millisecond if an asset's page lists it.

        That page asks for events before a millisecond, so of events in one millisecond it would show only a few.
        """
        if not event.is_dagster_event or event.dagster_event_type not in _LISTED_EVENTS:
            return event
        at_ms = int(event.timestamp * 1000)
        if at_ms <= self._last_ms:
            at_ms = self._last_ms + 1
            # The middle of the millisecond, from which rounding cannot move it.
            event = event._replace(timestamp=(at_ms + 0.5) / 1000)
        self._last_ms = at_ms
        return event

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        events = [self._at_a_time_of_its_own(event) for event in events]
        if together := [event for event in events if _is_partition_s_evaluation(event)]:
            self._store_evaluations(together)
            for event in events:  # a batch of Dagster's takes no evaluation
                if not _is_partition_s_evaluation(event):
                    self.store_event(event)
            return
        announcements = [event for event in events if event.get_dagster_event().is_asset_materialization_planned]
        if not announcements:
            super().store_event_batch(events)
            return
        with self.index_transaction() as connection:
            insert = self.prepare_insert_event_batch(announcements)
            event_ids = connection.execute(insert.returning(insert.table.c.id)).scalars().all()
            # The row of an asset keeps only its latest event.
            numbered = zip(announcements, event_ids, strict=True)
            latest = {event.get_dagster_event().asset_key: (event, event_id) for event, event_id in numbered}
            for event, event_id in latest.values():
                self._store_asset_event(connection, event, event_id)
        for event in events:
            if not event.get_dagster_event().is_asset_materialization_planned:
                self.store_event(event)

    def _store_evaluations(self, events: Sequence[dg.EventLogEntry]) -> None:
        rows = json.dumps([{**self._event_to_row(event), **_evaluation_row(event)} for event in events], default=str)
        with self.index_connection() as connection:
            connection.exec_driver_sql(query("store_check_evaluations"), (rows,))

    def _store_asset_check_evaluation_planned(self, event: dg.EventLogEntry, event_id: int | None) -> None:
        """Announce a check, where dagster-postgres writes all partitions of the run again for each of them."""
        planned = event.get_dagster_event().asset_check_planned_data
        if planned.partitions_subset is None:
            super()._store_asset_check_evaluation_planned(event, event_id)
            return
        key = planned.asset_check_key
        alone = type(planned)(asset_key=key.asset_key, check_name=key.name)
        dagster_event = event.get_dagster_event()._replace(event_specific_data=alone)
        row = self._event_to_row(event._replace(dagster_event=dagster_event))
        status = AssetCheckExecutionRecordStatus.PLANNED.value
        values = (key.asset_key.to_string(), key.name, event.run_id, status, row["event"], row["timestamp"], event_id)
        with self.index_connection() as connection:
            connection.exec_driver_sql(
                query("announce_checks"),
                (*values, [str(one) for one in planned.partitions_subset.get_partition_keys()]),
            )


def _is_partition_s_evaluation(event: dg.EventLogEntry) -> bool:
    if not event.is_dagster_event or event.dagster_event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return False
    return event.get_dagster_event().asset_check_evaluation_data.partition is not None


def _evaluation_row(event: dg.EventLogEntry) -> dict[str, Any]:
    evaluation = event.get_dagster_event().asset_check_evaluation_data
    status = AssetCheckExecutionRecordStatus.SUCCEEDED if evaluation.passed else AssetCheckExecutionRecordStatus.FAILED
    target = evaluation.target_materialization_data
    return {
        "checked_asset_key": evaluation.asset_key.to_string(),
        "check_name": evaluation.check_name,
        "partition": evaluation.partition,
        "execution_status": status.value,
        "materialization_id": None if target is None else target.storage_id,
    }


def _remove_empty_homes() -> None:
    """Remove the folders that Dagster's commands create in the working directory where DAGSTER_HOME is not set.

    Nothing is stored in them, since dagster.yaml names another place for everything. A command that is killed would
    leave its folder forever. Dagster does not miss the folder at its end, and a folder with content stays.
    """
    for folder in Path().glob(".tmp_dagster_home_*"):
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _setup_lock(url: str) -> Iterator[None]:
    """Exclude other processes that open this storage, so that two first starts do not both create its schema and tables."""
    # A transaction holds the lock, not a session, so that it works behind a transaction pooler too.
    with closing(psycopg2.connect(url, connect_timeout=CONNECT_TIMEOUT_S)) as guard, guard.cursor() as cursor:
        cursor.execute("select set_config('lock_timeout', %s, true)", (f"{SETUP_LOCK_TIMEOUT_S}s",))
        cursor.execute("select pg_advisory_xact_lock(%s)", (SETUP_LOCK_KEY,))
        cursor.execute("select current_schema(), current_setting('search_path')")
        schema, search_path = cursor.fetchone() or (None, "")
        _require_standby(cursor)
        if schema is None:
            _create_schema(url, search_path.split(",")[0].strip().strip('"'))
        yield


def _require_standby(cursor: psycopg2.extensions.cursor) -> None:
    """Wait a while for the synchronous standby; without it each COMMIT of the storage would wait without an end.

    Raises StandbyMissing.
    """
    give_up_at = time.monotonic() + STANDBY_WAIT_S
    while True:
        cursor.execute(query("missing_standby"))
        if (found := cursor.fetchone()) is None:
            return
        if time.monotonic() >= give_up_at:
            raise no_standby(found[0])
        time.sleep(STANDBY_POLL_S)


def _create_schema(url: str, name: str) -> None:
    """Create the schema at once, so that the storage's own connections see it; raises MissingPrivilege."""
    with closing(psycopg2.connect(url, connect_timeout=CONNECT_TIMEOUT_S)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select current_user, exists (select from pg_namespace where nspname = %s)", (name,))
            role, is_there = cursor.fetchone() or ("", False)
            if is_there:  # but not in the search path: the role may not use it
                raise MissingPrivilege(
                    f"role {role} may not use schema {name}, where Dagster's storage is; as its owner run: "
                    f"grant usage, create on schema {quote_identifier(name)} to {quote_identifier(role)}"
                )
            try:
                cursor.execute(SQL("create schema {}").format(Identifier(name)))
            except psycopg2.errors.InsufficientPrivilege:
                raise MissingPrivilege(
                    f"role {role} may not create schema {name} for Dagster's storage; as the owner of the database run: "
                    f"create schema {quote_identifier(name)} authorization {quote_identifier(role)}; or set "
                    "ROWLEDGER_DAGSTER_DATABASE_URL to another database"
                ) from None


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except RowledgerError as error:
        raise click.ClickException(str(error)) from None
    except (psycopg2.Error, SQLAlchemyError, DagsterPostgresException) as error:
        raise click.ClickException(f"Dagster's storage cannot be opened: {_why(error)}; {REMEDY}") from None


def _why(error: Exception) -> str:
    """The condition's name and SQLSTATE, since the server's text must not be logged.

    For a refused connection psycopg2 has only the text, so a connection of Rowledger's finds the cause.
    """
    cause = getattr(error, "orig", None) or error.__cause__ or error
    code = getattr(cause, "pgcode", None)
    if code is not None:
        condition = errorcodes.lookup(code) if code in vars(errorcodes).values() else "an error of the database's own"
        return f"{condition.lower().replace('_', ' ')} (SQLSTATE {code})"
    if isinstance(cause, psycopg2.OperationalError):
        with ThreadPoolExecutor(max_workers=1) as thread:  # the caller's thread may have an event loop
            refusal = thread.submit(asyncio.run, _knock()).result()
        if refusal:
            return refusal
    return type(cause).__name__


async def _knock() -> str:
    """What a connection of Rowledger's meets on the same server; empty when it succeeds."""
    try:
        session = await connect(dagster_url(), application_name="rowledger storage", timeout_s=CONNECT_TIMEOUT_S)
    except RowledgerError as refusal:
        return str(refusal).partition("; ")[0]
    await session.close()
    return ""


def _sqlalchemy_url(url: str) -> str:
    """The URL in a form for SQLAlchemy, which knows only the scheme's long name, and several hosts only as parameters."""
    url = with_hosts_in_query(url)
    return f"postgresql://{url.removeprefix('postgres://')}" if url.startswith("postgres://") else url
