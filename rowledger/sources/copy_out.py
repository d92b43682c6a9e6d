"""Read a query of PostgreSQL by a COPY of text, the fastest way, where the texts of the values say all about them.

The text is not parsed here. It is cut into chunks, and workers parse them (`copied_text`). Arrays, records and whatever else
is read through ADBC's types stay with `databases`.
"""

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from rowledger.machine import guard_socket
from rowledger.private_names import request_cancel, transport_of
from rowledger.settings import secret_from_environment
from rowledger.sources.postgres_session import ORPHAN_CHECK, ORPHANS_STAY, session_settings, with_parameters_bound
from rowledger.sources.query_errors import SYNTAX_CLASS, without_values
from rowledger.spec import RESERVED_PREFIX

__all__ = ["CopyOut", "copy_out_of", "plain_address"]

_SCHEMES = {"postgresql", "postgres"}
_NAME = "rowledger source"
_DEAD_PEER_S = 30
_BLOCK_BYTES = 2**20
_OLDEST_SERVER = (12,)  # before, the text of a float could be another float's
_CLOSE_TIMEOUT_S = 2.0
_NOT_SUPPORTED_CLASS = "0A"
_NO_VALUES = {"record", "void", "unknown", "cstring"}
_OF_THE_SERVER = {
    *("bool", "int2", "int4", "int8", "float4", "float8", "date", "time", "timestamp", "timestamptz"),
    *("text", "varchar", "bpchar", "name", "bytea", "numeric", "uuid"),
}
"""Types that workers know by their names, which users' types may have too."""

_SET = """
select pg_catalog.set_config(pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[]), true), pg_catalog.version()
"""

_OF_LIBPQ = {
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
}  # fmt: skip
"""Parameters of libpq that decide nothing about which rows are read."""
_KNOWN = {"application_name", "options", "sslmode", "sslrootcert", "sslcert", "sslkey"}
"""Parameters that libpq and asyncpg read in the same way."""
_KNOWN_VARIABLES = {
    *("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGPASSFILE", "PGDATA", "PGAPPNAME"),
    *("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"),
}
_VARIABLE = re.compile(r"PG[A-Z]+")


def plain_address(url: SecretStr) -> SecretStr | None:
    """The URL for asyncpg; None where libpq, by which other queries are read, might understand it in another way."""
    parts = urlsplit(url.get_secret_value())
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    wanted = {name: value for name, value in given.items() if name not in _OF_LIBPQ}
    variables = {name for name in os.environ if _VARIABLE.fullmatch(name)}
    is_plain = bool(parts.hostname and parts.username and parts.path.strip("/")) and "," not in parts.netloc
    if not is_plain or not wanted.keys() <= _KNOWN or not variables <= _KNOWN_VARIABLES:
        return None
    wanted.setdefault("application_name", _NAME)
    return SecretStr(urlunsplit(parts._replace(scheme="postgresql", query=urlencode(wanted, quote_via=quote))))


@dataclass(eq=False)
class CopyOut:
    """One connection and one query, used by one thread; only `cancel` is called from another thread."""

    address: SecretStr
    timezone: str
    connect_timeout_s: float
    row_security: bool
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _connection: Any = field(default=None, init=False)
    _copying: asyncio.Task[None] | None = field(default=None, init=False)
    _was_cancelled: bool = field(default=False, init=False)
    _pieces: list[bytes] = field(default_factory=list, init=False)
    _first: list[bytes | Exception | None] = field(default_factory=list, init=False)

    def connect(self) -> bool:
        """Whether there is a connection; if not, libpq may have one, or says why there is none."""
        try:
            self._run(self._connect())
        except TimeoutError:
            raise
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError):
            return False
        return True

    def execute(self, query: str, parameters: Mapping[str, str]) -> dict[str, str] | None:
        """Start the query, and return the types of its columns by name; None where the rows have to be read in another way.

        The query contains a parameter as `{name}`.
        """
        with without_values():
            types: dict[str, str] | None = self._run(self._execute(query, parameters))
            return types

    def fetch(self) -> bytes | None:
        """The next records; None after the last."""
        block: bytes | Exception | None = self._first.pop() if self._first else self._run(self._queue.get())
        if not isinstance(block, Exception):
            return block
        with without_values():
            raise block

    def cancel(self) -> None:
        """End a call that runs in the other thread, and what the server does for it."""
        self._was_cancelled = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel_tasks)

    def close(self) -> None:
        """Close the connection in bounded time."""
        try:
            self._run(self._close())
        finally:
            self._runner.close()

    def _run(self, call: Any) -> Any:  # noqa: ANN401, a coroutine and its result
        self._loop = self._runner.get_loop()
        return self._runner.run(call)

    def _cancel_tasks(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    async def _connect(self) -> None:
        self._connection = await asyncpg.connect(
            self.address.get_secret_value(), timeout=self.connect_timeout_s, statement_cache_size=0
        )
        guard_socket(transport_of(self._connection).get_extra_info("socket"), dead_peer_s=_DEAD_PEER_S)

    async def _execute(self, query: str, parameters: Mapping[str, str]) -> dict[str, str] | None:
        settings = {**session_settings(self.timezone, row_security=self.row_security), "client_encoding": "UTF8"}
        query = with_parameters_bound(query, parameters, settings)
        try:
            types = await self._types(query) if await self._is_prepared(settings) else None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return None  # the driver meets the same error, and tells it
        if types is None:
            return None
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(1)
        self._copying = asyncio.create_task(self._copy(query))
        first = await self._queue.get()
        if isinstance(first, asyncpg.PostgresError) and first.sqlstate[:2] in {SYNTAX_CLASS, _NOT_SUPPORTED_CLASS}:
            return None
        self._first.append(first)
        return types

    async def _is_prepared(self, settings: Mapping[str, str]) -> bool:
        """Begin the transaction; returns whether the server writes values as is expected here."""
        connection = self._connection
        await connection.execute("begin isolation level repeatable read, read only")
        try:
            await connection.execute("; ".join(ORPHAN_CHECK))
        except asyncpg.PostgresError:
            await connection.execute(ORPHANS_STAY)
        product = (await connection.fetch(_SET, [*settings], [*settings.values()]))[0]["version"]
        encoding = connection.get_settings().server_encoding
        is_known = product.startswith("PostgreSQL ") and connection.get_server_version() >= _OLDEST_SERVER
        return bool(is_known and encoding != "SQL_ASCII")

    async def _types(self, query: str) -> dict[str, str] | None:
        """The types of the result's columns; None where not every column is plain, or the statement is no query."""
        statement = await self._connection.prepare(query)
        columns = statement.get_attributes()
        types = {
            column.name: column.type.name
            for column in columns
            if _is_plain(column.type) and not column.name.startswith(RESERVED_PREFIX)
        }
        return types if 0 < len(types) == len(columns) and not statement.get_parameters() else None

    async def _copy(self, query: str) -> None:
        """Put the records into the queue, then None, or the error with which the query ends."""
        size = 0

        async def take(records: bytes) -> None:
            nonlocal size
            self._pieces.append(records)
            size += len(records)
            if size >= _BLOCK_BYTES:
                size = 0
                await self._queue.put(self._joined())

        try:
            await self._connection.copy_from_query(f"\n{query}\n", output=take)
        except Exception as error:  # noqa: BLE001, raised where the records are awaited
            await self._queue.put(error)
            return
        if self._pieces:
            await self._queue.put(self._joined())
        await self._queue.put(None)

    def _joined(self) -> bytes:
        block = b"".join(self._pieces)
        self._pieces.clear()
        return block

    async def _close(self) -> None:
        connection, copying = self._connection, self._copying
        if connection is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                if self._was_cancelled or (copying is not None and not copying.done()):
                    await request_cancel(connection)
                else:
                    await connection.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass  # its end is noticed by the server when it sends the next rows
        finally:
            connection.terminate()
            if copying is not None:
                copying.cancel()


def copy_out_of(url_variable: str, **options: Any) -> CopyOut | None:  # noqa: ANN401, those of `CopyOut`
    """The database for a COPY of text, not connected yet; None where it is none, or its URL is left to libpq."""
    secret = secret_from_environment(url_variable)
    if secret is None or secret.get_secret_value().partition(":")[0].lower() not in _SCHEMES:
        return None
    # Other types of columns need the driver, so it is asked for whatever types there are.
    address = plain_address(secret) if find_spec("adbc_driver_postgresql") is not None else None
    return None if address is None else CopyOut(address, **options)


def _is_plain(kind: asyncpg.Type) -> bool:
    """Whether the texts of a column of this type say all about its values, and are what is read of it otherwise."""
    if kind.kind in {"array", "composite"} or kind.name in _NO_VALUES or kind.name.startswith("_"):
        return False
    return kind.schema == "pg_catalog" or kind.name not in _OF_THE_SERVER
