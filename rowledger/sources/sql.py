"""Rows of a query against another database, PostgreSQL through ADBC or SQLite: spooled as they come, loaded while they do.

One statement, one cursor: all rows are of one snapshot. It runs in a thread of its own, so that each wait for it has an end.
"""

import contextlib
import queue
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal, TypeVar

import polars as pl
from pydantic import Field

from rowledger.errors import RowledgerError, SourceError
from rowledger.settings import secret_from_environment
from rowledger.sources.databases import Database, PostgresDatabase, QueryRefused, SqliteDatabase
from rowledger.sources.spool import Spool, SpooledSource
from rowledger.spec import ChunkDescriptor, Partition, SourceContext

__all__ = ["SqlQuery"]

T = TypeVar("T")

_CLOSE_TIMEOUT_S = 5.0
_DATABASES: dict[str, type[Database]] = {
    "postgresql": PostgresDatabase,
    "postgres": PostgresDatabase,
    "sqlite": SqliteDatabase,
}


class SqlQuery(SpooledSource):
    """The rows of a query, whose order is that of the query; without `order by` a rerun may have to begin anew.

    `{partition_key}`, `{lower}` and `{upper}` in it are bound as parameters, never written into it: the partition's key as
    text (those of several dimensions by their names), and the bounds of its window, from `{lower}` on and before `{upper}`, as
    timestamptz (PostgreSQL, in the partition's time zone) or as the text `YYYY-MM-DD HH:MM:SS` of local time (SQLite).
    """

    kind: Literal["sql"] = "sql"
    query: str = Field(min_length=1, description="One SELECT.")
    url_variable: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable with the database's URL: postgresql://… or sqlite:///file.",
    )
    columns_max: int = Field(default=1_664, ge=1, le=100_000, description="Columns the query may give.")
    connect_timeout_s: float = Field(default=10, gt=0, le=300, description="Seconds to open the connection.")
    fetch_timeout_s: float = Field(
        default=300, gt=0, le=86_400, description="Seconds to wait for the first rows, and for the next ones each time."
    )
    row_security: bool = Field(
        default=False,
        description="Whether row security policies of a PostgreSQL source may leave rows out; otherwise the query fails there.",
    )

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        parameters = self._parameters(partition)
        database = self._database(partition, scope)
        with contextlib.closing(_Session(database, self.url_variable)) as session:
            session.run(database.connect, self.connect_timeout_s, "connecting")
            frames = self._frames(session, database, parameters)
            yield from Spool(scope).write(frames, origin=f"query of {self.url_variable}")

    def _frames(self, session: "_Session", database: Database, parameters: dict[str, str]) -> Iterator[pl.DataFrame]:
        execute = partial(database.execute, self.query.rstrip().rstrip(";"), parameters)
        names = session.run(execute, self.fetch_timeout_s, "executing the query")
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise SourceError(f"{self.url_variable}: the query gives several columns named {double}; name them apart")
        if len(names) > self.columns_max:
            raise SourceError(
                f"{self.url_variable}: the query gives {len(names)} columns, the limit is {self.columns_max} (columns_max)"
            )
        while (frame := session.run(database.fetch, self.fetch_timeout_s, "waiting for rows")) is not None:
            yield frame

    def _parameters(self, partition: Partition) -> dict[str, str]:
        """The values of the placeholders that the query has."""
        values = partition.placeholders
        if window := partition.window:
            values |= {"lower": window.lower.isoformat(sep=" "), "upper": window.upper.isoformat(sep=" ")}
        elif bounds := sorted(set(re.findall(r"\{(lower|upper)\}", self.query))):
            raise SourceError(f"the query has {bounds}, but partition {partition.key!r} is no one window of time")
        return {name: value for name, value in values.items() if f"{{{name}}}" in self.query}

    def _database(self, partition: Partition, scope: SourceContext) -> Database:
        secret = secret_from_environment(self.url_variable)
        if secret is None:
            raise SourceError(f"the environment variable {self.url_variable} is not set; it holds the database's URL")
        scheme = secret.get_secret_value().partition(":")[0].lower()
        if (kind := _DATABASES.get(scheme)) is None:
            raise SourceError(
                f"{self.url_variable} holds no URL of a known kind; it begins with postgresql:// or sqlite:///"
            )
        timezone = partition.window.timezone if partition.window else "UTC"
        return kind(
            secret,
            timezone=timezone,
            connect_timeout_s=self.connect_timeout_s,
            row_security=self.row_security,
            documents=scope.documents,
        )


class _Session:
    """The thread in which all calls of one database are made, one after another, each with an end."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._last: Future[Any] = Future()
        self._last.set_result(None)
        threading.Thread(target=self._serve, daemon=True).start()  # a call that hangs must not keep the process

    def run(self, call: Callable[[], T], timeout_s: float, doing: str) -> T:
        """The call's result; raises SourceError when it fails or takes longer, after the database was told to stop."""
        try:
            return self._submit(call).result(timeout_s)
        except TimeoutError:
            problem = f"took longer than {timeout_s:g} s"
        except RowledgerError:
            raise
        except QueryRefused as refusal:
            problem = f"failed: {refusal}"
        except Exception as error:  # noqa: BLE001 - of a driver; its text may quote rows or the URL
            problem = f"failed ({type(error).__name__})"
        raise SourceError(f"{self._name}: {doing} {problem}; see to the database or fix the query, then rerun")

    def close(self) -> None:
        """Stop what is going on and close the connection, in bounded time; raises nothing."""
        if not self._last.done():
            # In a thread: to cancel may hang as well. And waited for: nothing may be closed while it is cancelled.
            stopping = threading.Thread(target=self._stop_quietly, daemon=True)
            stopping.start()
            stopping.join(_CLOSE_TIMEOUT_S)
            if stopping.is_alive():
                return
        with contextlib.suppress(Exception):
            self._submit(self._database.close).result(_CLOSE_TIMEOUT_S)
        self._calls.put(None)

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def answer() -> None:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                future.set_exception(error)
            else:
                future.set_result(result)

        self._last = future
        self._calls.put(answer)
        return future

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _stop_quietly(self) -> None:
        with contextlib.suppress(Exception):
            self._database.cancel()
