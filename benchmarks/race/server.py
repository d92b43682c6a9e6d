"""The server as the harness sees it: tables of the benchmark's own schemas, checkpoints, CPU seconds, what a table holds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from benchmarks.contestants.task import SCHEMA, SOURCE_SCHEMA
from benchmarks.postmaster import find_postmaster, server_cpu_s
from rowledger.spec.column import Column, TypeName

__all__ = ["NULL_FIGURE", "SCALE_OF_FLOATS", "Contents", "Server"]

T = TypeVar("T")

_STATEMENT_TIMEOUT_S = 1_800
NULL_FIGURE = 1_000_003
"""What a null counts in a sum, so that it is not taken for a zero."""
SCALE_OF_FLOATS = 2**20
"""What floats are multiplied by before their fraction is cut off: a power of two, which changes none of their digits."""

_MARK = "made by make bench, which drops it"
_NO_ROWS_BINARY = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a table holds: its rows and one figure made of all values of all rows, whatever their order."""

    rows: int
    digest: int


class Server:
    """A server and what we may do on it. Everything happens in our own schemas, each time on a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._postmaster = self._on_connection(find_postmaster)
        self.may_checkpoint = self._try_checkpoint()

    @property
    def version(self) -> str:
        """Such as 18.6."""
        return str(self._fetch("show server_version"))

    @property
    def settings(self) -> dict[str, str]:
        """The settings that bear on a load."""
        names = ("shared_buffers", "max_wal_size", "wal_level", "wal_compression", "fsync", "maintenance_work_mem")
        return {name: str(self._fetch(f"show {name}")) for name in names}

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, so that its CPU seconds can be read."""
        return self._postmaster is not None

    def empty_schema(self, schema: str = SCHEMA) -> None:
        """Drop everything in a schema of ours: no old table is to be vacuumed while the next contestant is measured.

        Raises SystemExit if somebody else has made a schema of that name.
        """
        self._drop_schema(schema)
        self._execute(f"create schema {schema}; comment on schema {schema} is '{_MARK}'")

    def leave_nothing(self) -> None:
        """Drop both of our schemas. Raises SystemExit as `empty_schema` does."""
        for schema in (SCHEMA, SOURCE_SCHEMA):
            self._drop_schema(schema)

    def _drop_schema(self, schema: str) -> None:
        mark = self._fetch(
            f"select coalesce((select coalesce(obj_description(oid, 'pg_namespace'), '') from pg_namespace"  # noqa: S608
            f" where nspname = '{schema}'), '{_MARK}')"
        )
        if mark != _MARK:
            raise SystemExit(
                f"the database has a schema {schema} that this benchmark has not made; it would be dropped"
            )
        self._execute("set client_min_messages = warning", f"drop schema if exists {schema} cascade")

    def create_table(self, schema: str, name: str, columns: Sequence[Column]) -> None:
        """An empty table, the same that Rowledger makes of its contract."""
        lines = (f"{one.name} {one.type.sql}{'' if one.nullable else ' not null'}" for one in columns)
        self._execute(f"create table {schema}.{name} ({', '.join(lines)})")

    def settle_table(self, schema: str, name: str) -> None:
        """Do at once what the server would do to a new table while others are measured."""
        self._execute(
            f"alter table {schema}.{name} set (autovacuum_enabled = false)", f"vacuum (freeze, analyze) {schema}.{name}"
        )

    def drop_table(self, schema: str, name: str) -> None:
        """Drop it."""
        self._execute(f"drop table {schema}.{name}")

    def checkpoint(self) -> None:
        """Write out what earlier contestants left in memory, where that is allowed."""
        if self.may_checkpoint:
            self._execute("checkpoint")

    def cpu_s(self) -> float | None:
        """CPU seconds of the server and all its processes, ended ones included; None if it runs elsewhere."""
        return None if self._postmaster is None else server_cpu_s(self._postmaster)

    def contents(self, schema: str, table: str, columns: Sequence[Column]) -> Contents:
        """Rows and digest; raises asyncpg's error if there is no such table.

        Hashes of whole rows are summed: that sees a lost, a doubled and a changed row, and a value that changed places.
        """
        names = ", ".join(column.name for column in columns)
        row = self._fetch_row(
            f"select count(*), coalesce(sum(hash_record_extended(row({names}), 0)), 0) from {schema}.{table}"  # noqa: S608
        )
        return Contents(int(row[0]), int(row[1]))

    def sums(self, schema: str, table: str, columns: Sequence[Column]) -> dict[str, Decimal]:
        """One figure a column: the sum of numbers, of days since 1970, of bytes of text. Tells which column is wrong."""
        figures = ", ".join(f"sum(coalesce({_figure(column)}, {NULL_FIGURE}))" for column in columns)
        row = self._fetch_row(f"select {figures} from {schema}.{table}")  # noqa: S608 - our own names
        return {one.name: Decimal(figure or 0) for one, figure in zip(columns, row, strict=True)}

    def copy_in(self, schema: str, table: str, pieces: Any) -> None:  # noqa: ANN401 - any asynchronous iterable of bytes
        """Load binary COPY."""

        async def copy(connection: asyncpg.Connection) -> None:
            await connection.copy_to_table(table, schema_name=schema, source=pieces, format="binary")

        self._on_connection(copy)

    def readable_folder(self, candidates: Sequence[Path]) -> Path:
        """The first folder out of which the server itself can COPY; raises OSError with the reason if there is none."""
        reasons = []
        for folder in candidates:
            probe = folder / "probe.copy"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
                probe.write_bytes(_NO_ROWS_BINARY)
                probe.chmod(0o644)
                self._execute(
                    f"create temporary table probe (a integer); copy probe from '{_quoted(probe)}' (format binary)"
                )
            except (asyncpg.PostgresError, OSError) as error:
                reasons.append(str(error))
            else:
                return folder
            finally:
                probe.unlink(missing_ok=True)
        raise OSError("; ".join(dict.fromkeys(reasons)))

    def _try_checkpoint(self) -> bool:
        try:
            self._execute("checkpoint")
        except asyncpg.InsufficientPrivilegeError:
            return False
        return True

    def _execute(self, *statements: str) -> None:
        async def execute(connection: asyncpg.Connection) -> None:
            for statement in statements:
                await connection.execute(statement)

        self._on_connection(execute)

    def _fetch(self, sql: str) -> object:
        return self._fetch_row(sql)[0]

    def _fetch_row(self, sql: str) -> asyncpg.Record:
        async def fetch(connection: asyncpg.Connection) -> asyncpg.Record:
            return await connection.fetchrow(sql)

        return self._on_connection(fetch)

    def _on_connection(self, action: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        async def run() -> T:
            connection = await asyncpg.connect(self.url, timeout=30, command_timeout=_STATEMENT_TIMEOUT_S)
            try:
                return await action(connection)
            finally:
                await connection.close()

        return asyncio.run(run())


def _figure(column: Column) -> str:
    match column.type.name:
        case TypeName.DATE:
            return f"({column.name} - date '1970-01-01')"
        case TypeName.TIMESTAMPTZ:
            return f"extract(epoch from {column.name}) * 1000000"
        case TypeName.DOUBLE:
            return f"trunc({column.name} * {SCALE_OF_FLOATS})::bigint"
        case TypeName.BOOLEAN:
            return f"{column.name}::integer"
        case TypeName.TEXT | TypeName.VARCHAR | TypeName.CHAR:
            return f"octet_length({column.name})"
        case _:
            return column.name


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
