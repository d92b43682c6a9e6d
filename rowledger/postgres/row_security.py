"""Row security: a policy that hides rows from the session's role would silently falsify every count and every replacement."""

import asyncpg

from rowledger.errors import MissingPrivilege
from rowledger.postgres.privileges import role_of
from rowledger.postgres.queries import query, quote_identifier, quoted

__all__ = ["require_all_rows"]


async def require_all_rows(connection: asyncpg.Connection, target_oid: int | None = None) -> None:
    """Raise MissingPrivilege where row security applies to the session's role on a table that Rowledger reads or writes.

    Those are the ledger's tables, or with `target_oid` that table and the parents of its foreign keys. Policies of partitions
    do not apply: rows are read and written through the partitioned table.
    """
    found = await connection.fetch(query("row_security"), target_oid)
    if not found:
        return
    role = await role_of(connection)
    tables = [quoted(row["schema_name"], row["table_name"]) for row in found]
    statement = f"alter role {quote_identifier(role)} bypassrls"
    is_owner = all(row["is_owner"] for row in found)
    otherwise = (
        "; ".join(f"alter table {table} no force row level security" for table in tables)
        if is_owner
        else "load as the owner of the table"
    )
    raise MissingPrivilege(
        f"row security applies to role {quote_identifier(role)} on table {', '.join(tables)}: its policies can hide rows, and "
        "rows that are hidden can be neither counted nor replaced; nothing was done. As a superuser run: "
        f"{statement}; or {otherwise}",
        statements=[statement],
    )
