"""Look into a test's database."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import asyncpg


def fetch(database: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """The rows of one statement, on a connection of its own."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(database, timeout=20, server_settings={"application_name": "test"})
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close(timeout=10)

    return asyncio.run(run())


def fetch_value(database: str, statement: str, *arguments: object) -> Any:
    rows = fetch(database, statement, *arguments)
    return rows[0][0] if rows else None


def sessions(database: str) -> list[str]:
    """Sessions of Rowledger in this test's database."""
    rows = fetch(
        database,
        "select application_name from pg_stat_activity where datname = $1 and application_name like 'rowledger%'",
        urlsplit(database).path.removeprefix("/"),
    )
    return [row[0] for row in rows]


def staging_tables(database: str, state: str) -> list[str]:
    """Staging tables of loads in that state."""
    rows = fetch(
        database,
        "select relname from pg_class join rowledger.load on relname = 'staging_' || load_id where state = $1",
        state,
    )
    return [row[0] for row in rows]
