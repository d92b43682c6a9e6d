"""Those who look on while a phase runs: the progress that the ledger shows, and a reader of the target."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import psycopg2
import psycopg2.errors

from pipeline_tests.faults.nemesis.sources import COLUMN_TYPES, SourceVersion, partition_predicate
from rowledger.spec.table import TableSpec

__all__ = ["Ledger", "Progress", "Reader", "State", "expected_state"]

State = tuple[int, str]
"""Rows of a partition and a hash over all of their columns, in any order."""

EMPTY: State = (0, "0")
_READ_PAUSE_S = 0.03
_AWAY_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """What has happened since a point in time."""

    chunks: int = 0
    published: int = 0
    sessions: tuple[str, ...] = ()


class _Connection:
    """A connection that is opened again whenever the server has been away."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._connection: Any = None

    def fetch(self, statement: str, arguments: Sequence[object] = ()) -> list[tuple[Any, ...]] | None:
        """The rows; None when the server is not there. Other errors are the caller's."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg2.connect(
                    self._url,
                    connect_timeout=3,
                    application_name=self._name,
                    options="-c statement_timeout=20s -c timezone=UTC",
                )
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
                return rows
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if isinstance(error, psycopg2.errors.QueryCanceled | psycopg2.errors.LockNotAvailable):
                raise
            self.close()
            return None

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None


class Ledger:
    """The ledger of one database, as far as it is there."""

    def __init__(self, url: str) -> None:
        self._connection = _Connection(url, "nemesis ledger")

    def now(self) -> object:
        """The server's clock."""
        while (rows := self._connection.fetch("select clock_timestamp()")) is None:
            time.sleep(_AWAY_PAUSE_S)
        return rows[0][0]

    def progress(self, since: object) -> Progress | None:
        """What has happened since then; None when the server is away."""
        try:
            rows = self._connection.fetch(
                "select (select count(*) from rowledger.chunk where state = 'committed' and committed_at >= %s), "
                "(select count(*) from rowledger.load where state in ('published', 'replaced') and ended_at >= %s), "
                "(select coalesce(array_agg(application_name), '{}') from pg_stat_activity "
                "where application_name like 'rowledger%%' and datname = current_database())",
                (since, since),
            )
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
            return Progress()
        return Progress(rows[0][0], rows[0][1], tuple(rows[0][2])) if rows else None

    def fetch(self, statement: str, arguments: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a statement; nothing when the server is away or the ledger has not been made."""
        try:
            return self._connection.fetch(statement, arguments) or []
        except psycopg2.errors.UndefinedTable:
            return []

    def close(self) -> None:
        self._connection.close()


@dataclass
class Reader:
    """A user of the target who reads each partition over and over; what it saw is judged afterwards."""

    url: str
    spec: TableSpec
    keys: Sequence[str]
    seen: dict[str, list[State]] = field(default_factory=dict)
    """Of each partition the states in the order they were seen, without repetitions."""
    reads: int = 0
    errors: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Read for as long as the block runs."""
        stop = threading.Event()
        thread = threading.Thread(target=self._read_on, args=(stop,), name="reader", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=60)

    def read_once(self) -> bool:
        """Read each partition; False when the server was away."""
        connection = _Connection(self.url, "nemesis reader")
        try:
            answers = [self._read(connection, key) for key in self.keys]
            return all(answers)
        finally:
            connection.close()

    def judge(self, versions: Mapping[str, Sequence[State]]) -> list[str]:
        """Each state seen is one that a whole version left, and none is older than one seen before."""
        findings = [f"a reader got an error: {error}" for error in dict.fromkeys(self.errors)]
        for key, states in self.seen.items():
            known = [EMPTY, *versions[key]]
            if strange := [state for state in states if state not in known]:
                findings.append(f"a reader saw partition {key} with {strange}; whole versions are {known}")
            elif sorted(states, key=known.index) != states:
                findings.append(f"a reader saw partition {key} go back: versions {[known.index(s) for s in states]}")
        return findings

    def _read_on(self, stop: threading.Event) -> None:
        connection = _Connection(self.url, "nemesis reader")
        try:
            while not stop.wait(_READ_PAUSE_S):
                for key in self.keys:
                    if not self._read(connection, key):
                        stop.wait(_AWAY_PAUSE_S)
        finally:
            connection.close()

    def _read(self, connection: _Connection, key: str) -> bool:
        states = self.seen.setdefault(key, [])
        target = f'"{self.spec.target.schema_name}"."{self.spec.target.table}"'
        try:
            rows = connection.fetch(_state_query(self.spec.name, target, partition_predicate(self.spec.name, key)))
        except psycopg2.errors.UndefinedTable:
            rows = [EMPTY]  # before the first load; a table that vanishes later is seen as one that goes back
        except psycopg2.Error as error:
            self.errors.append(f"{type(error).__name__}: {str(error).strip()}")
            return False
        if rows is None:
            return False
        self.reads += 1
        state = (int(rows[0][0]), str(rows[0][1]))
        if not states or states[-1] != state:
            states.append(state)
        return True


def expected_state(url: str, table: str, version: SourceVersion) -> State:
    """The state that the version's good rows have, by way of a table of our own and asyncpg's encoding."""

    async def run() -> State:
        types = COLUMN_TYPES[table]
        connection = await asyncpg.connect(url, timeout=20, server_settings={"TimeZone": "UTC"})
        try:
            columns = ", ".join(f'"{name}" {sql_type}' for name, sql_type in types.items())
            await connection.execute(f"create temporary table expected ({columns})")
            records = [tuple(row[name] for name in types) for row in version.good]
            await connection.copy_records_to_table("expected", records=records, columns=list(types), timeout=60)
            row = await connection.fetchrow(_state_query(table, "expected", "true"))
        finally:
            await connection.close(timeout=10)
        return int(row[0]), str(row[1])

    return asyncio.run(run())


def _state_query(table: str, relation: str, predicate: str) -> str:
    columns = ", ".join(f'"{name}"' for name in COLUMN_TYPES[table])
    return (
        f"select count(*), coalesce(sum(hashtextextended(row({columns})::text, 0)), 0)::text "
        f"from {relation} where {predicate}"
    )
