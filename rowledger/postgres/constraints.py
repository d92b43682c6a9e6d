"""What a table requires of its rows beyond their types: unique indexes and foreign keys, read from the catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.postgres.queries import query

__all__ = ["ForeignKey", "UniqueIndex", "read_foreign_keys", "read_unique_indexes"]


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index of a table.

    `definition` is the text after USING in its CREATE INDEX. `expressions` are SQL over the table's columns, with the
    collations by which the index compares them, `predicate` is that of a partial index, and `columns` are all columns that
    these use. One that `is_plain` has all rows and columns alone, which it compares as the table does. Rows with a null in an
    expression are not compared unless `nulls_equal`. An index that is not `immediate` belongs to a deferrable constraint. One
    that is not `is_valid`, as after a failed CREATE INDEX CONCURRENTLY, may refuse new rows too, but ON CONFLICT cannot use it.
    """

    name: str
    definition: str
    expressions: Sequence[str]
    columns: Sequence[str]
    predicate: str | None
    is_plain: bool
    nulls_equal: bool
    immediate: bool
    is_valid: bool

    def is_on(self, key: Sequence[str]) -> bool:
        """Whether it keeps exactly this key unique over all rows."""
        return self.is_plain and set(self.columns) == set(key)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key that this session can check: its columns, and the (quoted) table and columns that they refer to.

    Values are compared by the collations of the parent's columns.
    """

    name: str
    columns: Sequence[str]
    parent: str
    parent_columns: Sequence[str]
    parent_collations: Sequence[str]
    is_full: bool
    is_on_itself: bool


async def read_unique_indexes(connection: asyncpg.Connection, oid: int) -> tuple[UniqueIndex, ...]:
    """The unique indexes of a table, its primary key included. One that is not valid yet is not fully enforced."""
    return tuple(UniqueIndex(**row) for row in await connection.fetch(query("unique_indexes"), oid))


async def read_foreign_keys(connection: asyncpg.Connection, oid: int) -> tuple[ForeignKey, ...]:
    """The enforced foreign keys of a table whose parents this session may read in full, as the server does to check them."""
    return tuple(ForeignKey(**row) for row in await connection.fetch(query("foreign_keys"), oid))
