"""Check what a role may do before anything is done; one error names all missing privileges, with the GRANT statements.

The checks need no privilege. A role that owns an object has every privilege on it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.errors import MissingPrivilege
from rowledger.postgres.queries import query, quote_identifier, quoted

__all__ = ["Grant", "missing_on_schema", "missing_on_table", "require_privileges", "role_of"]


@dataclass(frozen=True, slots=True)
class Grant:
    """Privileges that a role lacks on an object; `on` is SQL, `schema "s"` or `table "s"."t"`."""

    privileges: tuple[str, ...]
    on: str

    def to(self, role: str) -> str:
        """The GRANT statement."""
        return f"grant {', '.join(self.privileges)} on {self.on} to {quote_identifier(role)}"


async def require_privileges(connection: asyncpg.Connection, missing: Sequence[Grant], *, purpose: str) -> None:
    """Raise MissingPrivilege where a privilege is missing; its message names all of them."""
    if not missing:
        return
    grants = list(dict.fromkeys(missing))
    role = await role_of(connection)
    told = " and ".join(f"{', '.join(grant.privileges)} on {grant.on}" for grant in grants)
    statements = [grant.to(role) for grant in grants]
    raise MissingPrivilege(
        f"role {quote_identifier(role)} lacks {told}, which {purpose} needs; nothing was done. As the owner or a superuser "
        f"run: {'; '.join(statements)};",
        statements=statements,
    )


async def role_of(connection: asyncpg.Connection) -> str:
    """The role whose privileges apply in this session."""
    return str(await connection.fetchval("select current_user::text"))


async def missing_on_schema(connection: asyncpg.Connection, schema_name: str, wanted: Collection[str]) -> list[Grant]:
    """Privileges among `wanted` (usage, create) that the role lacks on a schema.

    Where the schema is missing, the role needs CREATE on the database instead.
    """
    row = await connection.fetchrow(query("schema_privileges"), schema_name)
    if row["is_there"]:
        lacking = tuple(privilege for privilege in wanted if not row[privilege])
        return [Grant(lacking, f"schema {quote_identifier(schema_name)}")] if lacking else []
    return [] if row["may_create"] else [Grant(("create",), f"database {quote_identifier(row['database'])}")]


async def missing_on_table(
    connection: asyncpg.Connection,
    schema_name: str,
    table_name: str,
    wanted: Sequence[str],
    *,
    columns: Sequence[str] = (),
) -> list[Grant]:
    """Privileges among `wanted` that the role lacks on an existing table.

    INSERT and UPDATE count as granted where the role has them on each of `columns`.
    """
    rows = await connection.fetch(
        query("missing_table_privileges"), schema_name, table_name, list(wanted), list(columns)
    )
    lacking = tuple(row["privilege"] for row in rows)
    return [Grant(lacking, f"table {quoted(schema_name, table_name)}")] if lacking else []
