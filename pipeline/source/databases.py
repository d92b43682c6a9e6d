"""The databases that a query may be asked of: how each connects, binds parameters, and gives its values exactly."""

import contextlib
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import SecretStr

from pipeline.errors import SourceError
from pipeline.model.source import DYNAMIC
from pipeline.source.values import FrameBuilder

__all__ = ["Database", "PostgresDatabase", "QueryRefused", "SqliteDatabase"]

_FETCH_ROWS = 8_192
_BOUNDS = {"lower", "upper"}


class QueryRefused(Exception):
    """What a database said, without any value and any secret."""


class Database(ABC):
    """One connection and one query, used by one thread; only `cancel` is called from another one."""

    def __init__(self, url: SecretStr, *, timezone: str, connect_timeout_s: float) -> None:
        self._url = url
        self._timezone = timezone
        self._connect_timeout_s = connect_timeout_s

    @abstractmethod
    def connect(self) -> None: ...

    @abstractmethod
    def execute(self, query: str, parameters: Mapping[str, str]) -> list[str]:
        """Begin the query and return its columns' names; a parameter stands in it as `{name}`."""

    @abstractmethod
    def fetch(self) -> pl.DataFrame | None:
        """The next rows; None behind the last."""

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
_AS_THEY_ARE = {
    *("bool", "int2", "int4", "int8", "float4", "float8", "numeric"),
    *("text", "varchar", "bpchar", "name", "bytea", "uuid", "date", "time", "timestamp", "timestamptz"),
}
"""Types whose values ADBC gives exactly. Of others it gives the bytes on the wire, or flattens them, or drops their point."""
_TYPE = b"POSTGRESQL:type"
_SPEAKABLE = re.compile(  # parts of messages that quote neither a row nor a secret
    r"Connection refused|authentication failed|timeout expired|could not translate host name|no pg_hba\.conf entry|"
    r"(?:database|role) \"[^\"]*\" does not exist|too many clients|division by zero|"
    r"cannot execute [A-Z ]+ in a read-only transaction|(?:canceling|terminating) [a-z]+ due to [a-z ]+"
)
_SYNTAX_CLASS = "42"  # syntax, names and rights: said before a row was read, so it quotes none


class PostgresDatabase(Database):
    """PostgreSQL, read by one COPY in binary form.

    A COPY takes no parameters. So they are bound into settings of the transaction, which the query reads back.
    """

    _connection: Any = None
    _cursor: Any = None
    _batches: Any = None
    _columns: dict[str, str]

    def connect(self) -> None:
        try:
            import adbc_driver_postgresql.dbapi as driver  # noqa: PLC0415, an optional dependency
        except ImportError:
            raise SourceError(
                "a query of PostgreSQL needs the package adbc-driver-postgresql; install rowledger[sql]"
            ) from None
        with _without_values():
            self._connection = driver.connect(self._address())
            self._cursor = self._connection.cursor(adbc_stmt_kwargs={_BATCH_BYTES_OPTION: str(_BATCH_BYTES)})

    def execute(self, query: str, parameters: Mapping[str, str]) -> list[str]:
        settings = {"timezone": self._timezone, "intervalstyle": "iso_8601", "datestyle": "ISO"}
        for number, (name, value) in enumerate(parameters.items()):
            kind = "timestamptz" if name in _BOUNDS else "text"
            settings[f"rowledger.parameter_{number}"] = value
            query = query.replace(f"{{{name}}}", f"current_setting('rowledger.parameter_{number}')::{kind}")
        with _without_values():
            self._cursor.execute("set transaction read only")
            for name, value in settings.items():
                self._cursor.execute("select set_config($1, $2, true)", [name, value])
                self._cursor.fetchall()
            schema = self._cursor.adbc_execute_schema(query)
            names: list[str] = schema.names
            kinds = [(field.metadata or {}).get(_TYPE, b"").decode() for field in schema]
            self._columns = dict(zip(names, kinds, strict=True))
            if len(self._columns) == len(names):
                self._cursor.execute(_as_exact_query(query, self._columns))
                self._batches = self._cursor.fetch_record_batch()
        return names

    def fetch(self) -> pl.DataFrame | None:
        import pyarrow as pa  # noqa: PLC0415, a worker, which imports this module, reads the spool alone

        from pipeline.source.arrow import frame_of  # noqa: PLC0415, as above

        with _without_values():
            try:
                batch = self._batches.read_next_batch()
            except StopIteration:
                return None
        frame = frame_of(pa.Table.from_batches([batch]), origin="the query")
        [json_field] = DYNAMIC.fields
        return frame.with_columns(
            pl.when(pl.col(name).is_not_null()).then(pl.struct(pl.col(name).alias(json_field.name))).alias(name)
            for name, kind in self._columns.items()
            if _is_json(kind)
        )

    def cancel(self) -> None:
        if self._cursor is not None:
            self._cursor.adbc_cancel()

    def close(self) -> None:
        for opened in (self._batches, self._cursor, self._connection):
            with contextlib.suppress(Exception):  # the next one has to be closed all the same
                if opened is not None:
                    opened.close()

    def _address(self) -> str:
        parts = urlsplit(self._url.get_secret_value())
        wanted = {"connect_timeout": str(max(int(self._connect_timeout_s), 2)), **_LINK}
        given = dict(parse_qsl(parts.query))
        return urlunsplit(parts._replace(scheme="postgresql", query=urlencode({**wanted, **given}, quote_via=quote)))


def _is_json(kind: str) -> bool:
    """Whether values of the type are asked for as JSON: arrays, of which ADBC does not tell the dimensions, and records."""
    return kind == "record" or kind.startswith("_")


def _as_exact_query(query: str, kinds: Mapping[str, str]) -> str:
    """The query, with its odd columns as text or JSON."""
    if _AS_THEY_ARE.issuperset(kinds.values()):
        return query
    columns = []
    for name, kind in kinds.items():
        column = '"' + name.replace('"', '""') + '"'
        if _is_json(kind):
            columns.append(f"to_json({column})::text as {column}")
        else:
            columns.append(column if kind in _AS_THEY_ARE else f"{column}::text as {column}")
    return f"select {', '.join(columns)} from (\n{query}\n) as source_query"  # noqa: S608, it is the user's own query


@contextlib.contextmanager
def _without_values() -> Iterator[None]:
    """An error of the driver as QueryRefused, with what it said where that can quote neither row nor secret."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001 - ADBC and pyarrow raise each their own
        told = _told(error)
    else:
        return
    raise QueryRefused(told)


def _told(error: Exception) -> str:
    sqlstate = getattr(error, "sqlstate", None) or ""
    text = str(error)
    if sqlstate.startswith(_SYNTAX_CLASS) and (message := re.search(r"ERROR:\s*(.+)", text)):
        return f"{message[1]} (SQLSTATE {sqlstate})"
    if cause := _SPEAKABLE.search(text):
        return cause[0]
    return f"{type(error).__name__}, SQLSTATE {sqlstate}" if sqlstate else type(error).__name__


# ---- SQLite -------------------------------------------------------------------------------------------------------------


class SqliteDatabase(Database):
    """SQLite, by Python's own module: ADBC's driver makes one type of a column whose values are of several, with loss."""

    _connection: sqlite3.Connection | None = None
    _cursor: sqlite3.Cursor

    def connect(self) -> None:
        # As elsewhere: three slashes before a relative path, four before an absolute one.
        path = unquote(self._url.get_secret_value().partition("://")[2]).removeprefix("/")
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(path)}?mode=ro", uri=True, timeout=self._connect_timeout_s, check_same_thread=False
            )
            self._connection.text_factory = _text_or_bytes
        except sqlite3.Error as error:
            raise QueryRefused(_told_by_sqlite(error)) from None

    def execute(self, query: str, parameters: Mapping[str, str]) -> list[str]:
        assert self._connection is not None  # noqa: S101 - it was connected first
        values = {}
        for number, (name, value) in enumerate(parameters.items()):
            values[f"parameter_{number}"] = self._local(value) if name in _BOUNDS else value
            query = query.replace(f"{{{name}}}", f":parameter_{number}")
        try:
            self._cursor = self._connection.execute(query, values)
        except sqlite3.Error as error:
            raise QueryRefused(_told_by_sqlite(error)) from None
        self._names = [column[0] for column in self._cursor.description or ()]
        self._builder = FrameBuilder(self._names, columns_max=len(self._names))
        return self._names

    def fetch(self) -> pl.DataFrame | None:
        try:
            rows = self._cursor.fetchmany(_FETCH_ROWS)
        except sqlite3.Error as error:
            raise QueryRefused(_told_by_sqlite(error)) from None
        if not rows:
            return None
        return self._builder.frame([self._builder.take(dict(zip(self._names, row, strict=True))) for row in rows])

    def cancel(self) -> None:
        if self._connection is not None:
            self._connection.interrupt()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _local(self, instant: str) -> str:
        return datetime.fromisoformat(instant).astimezone(ZoneInfo(self._timezone)).strftime("%Y-%m-%d %H:%M:%S")


def _text_or_bytes(content: bytes) -> str | bytes:
    """Text as text; what is called text and is no UTF-8 as the bytes that it is."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _told_by_sqlite(error: sqlite3.Error) -> str:
    """Names of tables and columns that do not exist are told; other messages may quote."""
    text = str(error)
    return text if text.startswith(("no such ", "unable to open ", "near ")) else type(error).__name__
