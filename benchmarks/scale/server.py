"""The target server as the benchmark sees it: its CPU, its free disk, and a schema and a database that are gone in the end."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.postmaster import find_postmaster, server_cpu_s
from benchmarks.scale.tables import SCHEMA

DATABASE = SCHEMA
_STATEMENT_TIMEOUT_S = 3_600
_DROPPED_AT_ONCE = 1_000


def execute(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""

    async def run(connection: asyncpg.Connection) -> None:
        for statement in statements:
            await connection.execute(statement, timeout=_STATEMENT_TIMEOUT_S)

    asyncio.run(_connected(url, run))


def fetch(url: str, sql: str, *parameters: object) -> list[asyncpg.Record]:
    """The rows of a query."""
    return list(asyncio.run(_connected(url, lambda connection: connection.fetch(sql, *parameters))))


def fetch_value(url: str, sql: str, *parameters: object) -> Any:  # noqa: ANN401 - whatever the query gives
    """The first value of a query's first row."""
    return fetch(url, sql, *parameters)[0][0]


def count_rows(url: str, table: str) -> int:
    """The rows of a table. Partitions are counted some at a time: a query of thousands needs more locks than a server has."""
    leaves = (
        "select format('%I.%I', nspname, relname) from pg_partition_tree(($1::text)::regclass) as tree"
        " join pg_class on pg_class.oid = tree.relid join pg_namespace on pg_namespace.oid = relnamespace where tree.isleaf"
    )
    names = [row[0] for row in fetch(url, leaves, table)] or [table]
    groups = (names[start : start + _DROPPED_AT_ONCE] for start in range(0, len(names), _DROPPED_AT_ONCE))
    counts = (" + ".join(f"(select count(*) from {name})" for name in group) for group in groups)  # noqa: S608 - the server's own
    return sum(fetch_value(url, f"select {count}") for count in counts)


def binary_copy_bytes(url: str, table: str) -> int:
    """The bytes of a table's rows in binary COPY."""
    sent = 0

    async def count(data: bytes) -> None:
        nonlocal sent
        sent += len(data)

    asyncio.run(
        _connected(url, lambda connection: connection.copy_from_query(f"table {table}", output=count, format="binary"))
    )
    return sent


def clear(url: str) -> None:
    """Nobody's table stays: autovacuum would work on it while the next load is measured."""
    _drop_schema(url)
    with contextlib.suppress(asyncpg.InsufficientPrivilegeError):  # a server of the user's choice: then it is left out
        execute(url, "checkpoint")


def leave_nothing(url: str) -> None:
    """Drop the tables, and what the ledger has of them, staging tables of killed loads included."""
    _drop_schema(url)
    if fetch_value(url, "select to_regclass('rowledger.load') is null"):
        return
    loads = [row[0] for row in fetch(url, "select load_id from rowledger.load where target like $1", f"{SCHEMA}.%")]
    execute(url, *(f"drop table if exists rowledger.staging_{load_id}" for load_id in loads))
    asyncio.run(
        _connected(
            url,
            lambda connection: connection.execute(
                "delete from rowledger.load where load_id = any($1::bigint[])", loads
            ),
        )
    )


def _drop_schema(url: str) -> None:
    """Partitions first, some at a time: a statement that drops thousands of tables needs more locks than a server has."""
    partitions = (
        "select format('%I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace"
        " where nspname = $1 and relispartition and relkind = 'r' limit $2"
    )
    while names := [row[0] for row in fetch(url, partitions, SCHEMA, _DROPPED_AT_ONCE)]:
        execute(url, f"drop table {', '.join(names)}")
    execute(url, f"drop schema if exists {SCHEMA} cascade")


@contextlib.contextmanager
def own_database(url: str) -> Iterator[str | None]:
    """The URL of a fresh database beside the target's, for what goes to fixed tables; None where we may not make one."""
    try:
        execute(url, f"drop database if exists {DATABASE} with (force)", f"create database {DATABASE}")
    except asyncpg.InsufficientPrivilegeError:
        yield None
        return
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{DATABASE}"))
    finally:
        execute(url, f"drop database if exists {DATABASE} with (force)")


def postmaster_pid(url: str) -> int | None:
    """The server's first process; None where it runs on another machine."""
    postmaster = asyncio.run(_connected(url, find_postmaster))
    return None if postmaster is None else postmaster.pid


def cpu_s(url: str) -> float | None:
    """CPU seconds of the server and all its processes, ended ones included; None if it does not run on this machine."""
    postmaster = asyncio.run(_connected(url, find_postmaster))
    return None if postmaster is None else server_cpu_s(postmaster)


def disk_free_bytes(url: str, folder: Path) -> int:
    """Free bytes where our files go; of the server's own disk where it can be seen from here, if that is less."""
    free = shutil.disk_usage(folder).free
    with contextlib.suppress(asyncpg.PostgresError, OSError):  # not shown to everybody, or on another machine
        free = min(free, shutil.disk_usage(fetch_value(url, "show data_directory")).free)
    return free


async def _connected(url: str, use: Any) -> Any:  # noqa: ANN401 - a coroutine function of a connection, and its result
    connection = await asyncpg.connect(url, timeout=30)
    try:
        return await use(connection)
    finally:
        await connection.close()
