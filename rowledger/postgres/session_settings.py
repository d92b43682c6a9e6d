"""The settings of every Rowledger session, whatever the server, the database, the role or a pooler sets.

A setting belongs here if it changes what Rowledger's statements or a row's values mean, lets the server leave out rows, or ends
a statement or a session, for which Rowledger has its own deadlines. A setting that only decides where new objects are created
(tablespace, access method), the role that acts (`role`) or how long a COMMIT waits (`synchronous_commit`) stays as it is.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from rowledger.errors import UnsupportedServer
from rowledger.postgres.queries import query, quote_identifier

__all__ = ["AT_STARTUP", "DURABLE", "WANTED", "pin"]

DURABLE = (
    "select pg_catalog.set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'"
)
"""The statement that makes a transaction's COMMIT wait at least for the disk, and for standbys as the role's setting says."""

AT_STARTUP: dict[str, str] = {
    # What the text of a statement means. No statement contains an unescaped value; these guard against one that would.
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "transform_null_equals": "off",
    "array_nulls": "on",
    # What the text of a value means, and how the server prints values, expressions and names.
    "TimeZone": "UTC",
    "timezone_abbreviations": "Default",
    "DateStyle": "ISO, YMD",  # with YMD the server refuses 01/02/2024, which is ambiguous
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "xmlbinary": "base64",
    "quote_all_identifiers": "off",
    # Which rows a statement sees.
    "default_transaction_isolation": "read committed",  # after a wait for a lock, the statement sees what its holder did
    "default_transaction_deferrable": "off",
    "row_security": "off",  # the server raises an error where a policy would leave out rows
    "gin_fuzzy_search_limit": "0",
    # Which tables a statement locks: with pruning, only the partitions that can have its rows.
    "enable_partition_pruning": "on",
    # What ends a statement or a session: each transaction sets its own limits.
    "exit_on_error": "off",  # after a refused row, the same session continues
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "jit": "off",  # compiling takes longer than the short statements run
}
"""Settings sent when a session is opened, so that they apply to its first statement."""

WANTED: dict[str, str] = {
    **AT_STARTUP,
    "client_encoding": "UTF8",  # sent at startup by asyncpg
    "transaction_timeout": "0",  # known from PostgreSQL 17 on; an older server would refuse the connection
}
"""Settings that a session is checked against once it is open; one that the server does not know is left out."""


async def pin(connection: asyncpg.Connection, found: Mapping[str, Any]) -> None:
    """Set what `own_backend` has found to differ; raises UnsupportedServer where the role may not.

    The search path keeps the role's schemas, since types, triggers and checks of the target may need them. The server's own
    names are found before those of the schemas, and temporary ones after them.
    """
    schemas = [name for name in found["schemas"] if name != "pg_catalog" and not name.startswith("pg_temp")]
    path = ", ".join([*map(quote_identifier, schemas), "pg_temp"])
    names = found["differing"]
    values = [WANTED[name] for name in names]
    await connection.fetch(query("pin_settings"), [*names, "search_path"], [*values, path])
    if found["replication_role"] == "origin":
        return
    try:
        await connection.execute("set session_replication_role = origin")
    except asyncpg.InsufficientPrivilegeError:
        raise UnsupportedServer(
            f"session_replication_role is {found['replication_role']} for this role, under which the server skips triggers and "
            "foreign keys, and the role may not change it; let an administrator reset it for the role or the database"
        ) from None
