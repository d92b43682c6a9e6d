"""The databases that a query may run on: how each connects, binds parameters, and returns its values exactly."""

import contextlib
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
from pydantic import SecretStr

from rowledger.errors import SourceError
from rowledger.extras import missing_extra
from rowledger.settings import secret_from_environment
from rowledger.sources.frame_builder import FrameBuilder
from rowledger.sources.plain_values import text_or_bytes
from rowledger.sources.postgres_session import (
    BOUNDS,
    ORPHAN_CHECK,
    ORPHANS_STAY,
    session_settings,
    with_parameters_bound,
)
from rowledger.sources.postgres_values import (
    ARRAY_BASES,
    UNKNOWN_ARRAY,
    exact_frame,
    exact_query,
    is_json,
    quoted,
)
from rowledger.sources.query_errors import QueryRefused, without_values

__all__ = ["Database", "PostgresDatabase", "SqliteDatabase", "database_of"]

_FETCH_ROWS = 8_192
_FORMS = (
    "postgresql://user:password@host:5432/database, sqlite:///shop.db (a file in the working directory) or "
    "sqlite:////data/shop.db (a file by its absolute path)"
)


@dataclass(eq=False)
class Database(ABC):
    """One connection and one query, used by one thread; only `cancel` is called from another thread."""

    url: SecretStr
    timezone: str
    connect_timeout_s: float
    row_security: bool
    documents: frozenset[str] | None
    """Those of the `SourceContext`."""

    @abstractmethod
    def connect(self) -> None: ...

    @abstractmethod
    def execute(self, query: str, parameters: Mapping[str, str]) -> list[str]:
        """Start the query and return its columns' names; the query contains a parameter as `{name}`."""

    @abstractmethod
    def fetch(self) -> pl.DataFrame | pa.Table | None:
        """The next rows; None after the last."""

    @abstractmethod
    def cancel(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


# ---- PostgreSQL ---------------------------------------------------------------------------------------------------------

_LINK = {
    "application_name": "rowledger source",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_BATCH_BYTES_OPTION = "adbc.postgresql.batch_size_hint_bytes"
_BATCH_BYTES = 4 * 2**20
_TYPE = b"POSTGRESQL:type"


class PostgresDatabase(Database):
    """PostgreSQL, read by one binary COPY.

    COPY takes no parameters, so they become settings of the transaction, which the query reads.
    """

    _connection: Any = None
    _cursor: Any = None
    _batches: Any = None
    _columns: dict[str, str]

    def __init__(self, url: SecretStr, **options: Any) -> None:  # noqa: ANN401, those of the base class
        super().__init__(url, **options)
        try:
            # Imported here: on a busy machine the import takes longer than `connect` may take.
            import adbc_driver_postgresql.dbapi as driver  # noqa: PLC0415, an optional dependency
        except ImportError:
            raise missing_extra("sql") from None
        self._driver: Any = driver

    def connect(self) -> None:
        with without_values():
            self._open(self._driver.connect(self._address()))
            self._cursor.execute("select current_setting('quote_all_identifiers')")
            if self._cursor.fetchone()[0] != "off":
                # The driver looks up the types by unquoted names once, when it connects.
                self.close()
                self._open(self._driver.connect(self._address("-c quote_all_identifiers=off")))

    def _open(self, connection: Any) -> None:  # noqa: ANN401, of an optional dependency
        self._connection = connection
        self._cursor = connection.cursor(adbc_stmt_kwargs={_BATCH_BYTES_OPTION: str(_BATCH_BYTES)})

    def execute(self, query: str, parameters: Mapping[str, str]) -> list[str]:
        settings = session_settings(self.timezone, row_security=self.row_security)
        query = with_parameters_bound(query, parameters, settings)
        with without_values():
            self._connection.rollback()  # so that a new transaction begins here
            self._cursor.execute("set transaction isolation level repeatable read, read only")
            self._end_when_orphaned()
            self._cursor.execute("select current_setting('server_encoding')")
            # A SQL_ASCII server would refuse a UTF8 query for a single text that is not UTF-8.
            settings["client_encoding"] = "SQL_ASCII" if self._cursor.fetchone()[0] == "SQL_ASCII" else "UTF8"
            for name, value in settings.items():
                self._cursor.execute("select set_config($1, $2, true)", [name, value])
                self._cursor.fetchall()
            schema = self._cursor.adbc_execute_schema(query)
            names: list[str] = schema.names
            kinds = [(field.metadata or {}).get(_TYPE, b"").decode() for field in schema]
            self._columns = dict(zip(names, kinds, strict=True))
            if len(self._columns) == len(names):
                self._resolve_arrays(query)
                self._cursor.execute(exact_query(query, self._columns))
                self._batches = self._cursor.fetch_record_batch()
        return names

    def _end_when_orphaned(self) -> None:
        savepoint, check = ORPHAN_CHECK
        self._cursor.execute(savepoint)
        try:
            self._cursor.execute(check)
        except self._driver.Error:
            self._cursor.execute(ORPHANS_STAY)

    def fetch(self) -> pl.DataFrame | None:
        with without_values():
            try:
                batch = self._batches.read_next_batch()
            except StopIteration:
                return None
            return exact_frame(pa.Table.from_batches([batch]), self._columns, self.documents)

    def _resolve_arrays(self, query: str) -> None:
        """Ask the server for the element types of arrays that have domains, composites and other user-defined types."""
        for name, kind in self._columns.items():
            if is_json(kind) and kind.removeprefix("_") not in ARRAY_BASES:
                value = f"select {quoted(name)} from (\n{query}\n) as source_query limit 0"  # noqa: S608, the user's own
                self._cursor.execute(UNKNOWN_ARRAY.format(value=value))
                [(element,)] = self._cursor.fetchall()
                if element == "composite" and (self.documents is None or name in self.documents):
                    element = "record"
                self._columns[name] = f"_{element}"

    def cancel(self) -> None:
        if self._cursor is not None:
            self._cursor.adbc_cancel()

    def close(self) -> None:
        for opened in (self._batches, self._cursor, self._connection):
            with contextlib.suppress(Exception):  # the next one must be closed all the same
                if opened is not None:
                    opened.close()

    def _address(self, options: str = "") -> str:
        """The URL with the settings of every connection; `options` are added after those of the URL."""
        parts = urlsplit(self.url.get_secret_value())
        wanted = {"connect_timeout": str(max(int(self.connect_timeout_s), 2)), **_LINK}
        given = dict(parse_qsl(parts.query))
        if options:
            given["options"] = f"{given.get('options', '')} {options}".lstrip()
        return urlunsplit(parts._replace(scheme="postgresql", query=urlencode({**wanted, **given}, quote_via=quote)))


# ---- SQLite -------------------------------------------------------------------------------------------------------------


class SqliteDatabase(Database):
    """SQLite, with Python's module: ADBC's driver converts a column with values of several types to one type, with loss."""

    _connection: sqlite3.Connection | None = None
    _cursor: sqlite3.Cursor

    def connect(self) -> None:
        # The usual form of such URLs: three slashes before a relative path, four before an absolute one.
        path = unquote(self.url.get_secret_value().partition("://")[2]).removeprefix("/")
        if not Path(path).is_file():
            raise QueryRefused(
                "unable to open database file: its URL leads to none. sqlite:///shop.db is a file in the working directory, "
                "sqlite:////data/shop.db one by its absolute path"
            )
        with without_values():
            self._connection = sqlite3.connect(
                f"file:{quote(path)}?mode=ro", uri=True, timeout=self.connect_timeout_s, check_same_thread=False
            )
            self._connection.text_factory = text_or_bytes

    def execute(self, query: str, parameters: Mapping[str, str]) -> list[str]:
        assert self._connection is not None  # noqa: S101 - it was connected first
        values = {}
        for number, (name, value) in enumerate(parameters.items()):
            values[f"parameter_{number}"] = self._local(value) if name in BOUNDS else value
            query = query.replace(f"{{{name}}}", f":parameter_{number}")
        with without_values():
            self._cursor = self._connection.execute(query, values)
        self._names = [column[0] for column in self._cursor.description or ()]
        self._builder = FrameBuilder(self._names, columns_max=len(self._names))
        return self._names

    def fetch(self) -> pa.Table | None:
        with without_values():
            rows = self._cursor.fetchmany(_FETCH_ROWS)
        if not rows:
            return None
        return self._builder.table_of(self._names, rows)

    def cancel(self) -> None:
        if self._connection is not None:
            self._connection.interrupt()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _local(self, instant: str) -> str:
        return datetime.fromisoformat(instant).astimezone(ZoneInfo(self.timezone)).strftime("%Y-%m-%d %H:%M:%S")


# ---- which one ----------------------------------------------------------------------------------------------------------

_DATABASES: dict[str, type[Database]] = {
    "postgresql": PostgresDatabase,
    "postgres": PostgresDatabase,
    "sqlite": SqliteDatabase,
}


def database_of(url_variable: str, **options: Any) -> Database:  # noqa: ANN401, those of `Database`
    """The database whose URL is in the environment variable, not connected yet; raises SourceError."""
    secret = secret_from_environment(url_variable)
    if secret is None:
        raise SourceError(f"the environment variable {url_variable} is not set; it holds the database's URL")
    if (kind := _DATABASES.get(secret.get_secret_value().partition(":")[0].lower())) is None:
        raise SourceError(f"{url_variable} holds no URL of a known kind; write {_FORMS}")
    return kind(secret, **options)
