"""Find the staged rows that a table refuses: write them to it in parts, which shrink where it refuses, and undo all of it.

Triggers, exclusion constraints, the limits of an index or a page, and indexes on expressions that raise act only when
a row enters the target or an index, and their errors name no row. The search does not depend on the server's language
or the wording of its messages.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.contract import Refusal, Stage
from rowledger.postgres import (
    LEDGER_SCHEMA,
    ROWS_TO_BLAME,
    ErrorAction,
    add_columns,
    ensure_partition,
    insert_statement,
    is_of_its_row,
    may_be_about_rows,
    partition_predicate,
    query,
    quote_identifier,
    quoted,
    refusal_of,
    rewrite_staging,
    sort_error,
)
from rowledger.publish.conflicts import GROUP, Conflict
from rowledger.publish.finish_context import FinishContext, read_repeated_load, require_all_committed
from rowledger.publish.set_aside import set_rows_aside
from rowledger.spec import WriteMode

__all__ = ["Rehearsed", "set_refused_aside", "set_unindexable_aside"]

_REASONS_TOLD_MAX = 3

Place = tuple[int, int]
"""A staged row's ctid."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The result of a rehearsal: how many rows became dead letters, and why."""

    rows: int = 0
    why: str = ""


async def set_refused_aside(connection: asyncpg.Connection, load: FinishContext) -> Rehearsed:
    """Make dead letters of the staged rows that the target refuses. Runs in the caller's transaction.

    Rows are tried in the order in which they were staged. When two rows exclude each other, the one that was written
    first is kept.
    """
    target = load.target
    updates = load.spec.write_mode is WriteMode.UPSERT

    async def prepare() -> None:
        if target.added:
            await add_columns(connection, target, load.handle)
        await ensure_partition(connection, target, load.partition)
        if load.spec.write_mode is WriteMode.REPLACE:
            predicate = partition_predicate(target, load.partition)
            await connection.execute(f"delete from {target.sql} where {predicate}")  # noqa: S608 - quoted

    def statement(condition: str) -> str:
        return insert_statement(target, load.handle, updates=updates, where=condition)

    return await _set_aside(connection, load, _Rehearsal(connection, load, prepare, statement))


async def set_unindexable_aside(connection: asyncpg.Connection, load: FinishContext) -> Rehearsed:
    """Make dead letters of staged rows that no unique index can hold, whatever the other rows are: too large, or raising."""
    staging = quoted(LEDGER_SCHEMA, load.handle.staging_table)
    trial = quoted(LEDGER_SCHEMA, f"{load.handle.staging_table}_trial")
    oid = await connection.fetchval("select to_regclass($1)::oid", staging)
    columns = await connection.fetch(query("relation_columns"), oid)
    names = ", ".join(quote_identifier(column["name"]) for column in columns if not column["generated"])
    definitions = [index.definition for index in (*load.target.key_indexes, *load.target.unique_indexes)]
    if load.spec.key:
        definitions.append(f"btree ({', '.join(quote_identifier(name) for name in load.spec.key)})")

    async def prepare() -> None:
        await connection.execute(
            f"create table {trial} (like {staging} including all excluding indexes excluding constraints)"
        )
        for definition in definitions:  # not unique: here no row is compared with another
            await connection.execute(f"create index on {trial} using {definition}")

    def statement(condition: str) -> str:
        return f"insert into {trial} ({names}) select {names} from {staging} where {condition}"  # noqa: S608 - quoted

    return await _set_aside(connection, load, _Rehearsal(connection, load, prepare, statement))


async def _set_aside(connection: asyncpg.Connection, load: FinishContext, rehearsal: "_Rehearsal") -> Rehearsed:
    await require_all_committed(connection, load)
    if await read_repeated_load(connection, load.spec, load.partition, load.manifest) is not None:
        return Rehearsed()
    if not (refused := await rehearsal.run()):
        return Rehearsed()
    conflict = await _conflict(connection, load, refused)
    rows = await set_rows_aside(connection, conflict, load)
    await rewrite_staging(connection, load.handle.staging_table)  # an index that is built next would meet them again
    return Rehearsed(rows=rows, why=conflict.what)


async def _conflict(connection: asyncpg.Connection, load: FinishContext, refused: dict[Place, Refusal]) -> Conflict:
    """The refused rows, to be found again in the source: by their key, or by all their values.

    Rows without a key may equal rows that the table accepts, where it excludes the second of them. Then as many of
    the equal rows are set aside as were refused, the last in source order.
    """
    staging = quoted(LEDGER_SCHEMA, load.handle.staging_table)
    columns = load.spec.key or tuple(column.name for column in load.target.columns)
    selected = ", ".join(f"staged.{quote_identifier(name)}" for name in columns)
    reasons = list(dict.fromkeys(refusal.reason for refusal in refused.values()))
    what = f"are {'; '.join(reasons[:_REASONS_TOLD_MAX])}"
    by_place = _values({place: number for number, place in enumerate(refused)})
    rows_sql = (
        f'select staged.ctid, {selected}, given.number as "{GROUP}" from {staging} as staged '  # noqa: S608 - quoted
        f"join {by_place} on staged.ctid = given.place"
    )
    if load.spec.key:
        return Conflict(rows_sql, columns, what, "", Stage.COPY, refusals=dict(enumerate(refused.values())))
    content = f"row({selected})::text"
    found = await connection.fetch(
        f'select staged.ctid, dense_rank() over (order by {content} collate "C") as number '  # noqa: S608 - quoted
        f"from {staging} as staged join {by_place} on staged.ctid = given.place"
    )
    numbers = {row["ctid"]: row["number"] for row in found}
    firsts = {number: place for place, number in reversed(numbers.items())}
    rows_sql = (
        f'select staged.ctid, {selected}, model.number as "{GROUP}" from {staging} as staged join ('  # noqa: S608 - quoted
        f"select {content} as content, given.number from {staging} as staged "
        f"join {_values({place: number for number, place in firsts.items()})} on staged.ctid = given.place"
        f") as model on {content} = model.content"
    )
    return Conflict(
        rows_sql,
        columns,
        what,
        "",
        Stage.COPY,
        refusals={number: refused[place] for number, place in firsts.items()},
        going={number: list(numbers.values()).count(number) for number in firsts},
    )


def _values(numbers: dict[Place, int]) -> str:
    rows = ", ".join(f"({_tid(place)}, {number}::bigint)" for place, number in numbers.items())
    return f"(values {rows}) as given (place, number)"


def _tid(place: Place) -> str:
    block, line = place
    return f"'({block:d},{line:d})'::tid"


class _Rehearsal:
    """One search. `prepare` makes the table ready, and `statement` writes those staged rows to it that meet a condition."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        load: FinishContext,
        prepare: Callable[[], Awaitable[None]],
        statement: Callable[[str], str],
    ) -> None:
        self._connection = connection
        self._staging = quoted(LEDGER_SCHEMA, load.handle.staging_table)
        self._names = [column.name for column in load.target.columns]
        self._prepare = prepare
        self._statement = statement
        self._refused: dict[Place, asyncpg.PostgresError] = {}
        self._rows_max = load.spec.dead_letters.allowed_rows(load.manifest.enqueued_rows) + 1
        self._has_taken = False

    async def run(self) -> dict[Place, Refusal]:
        """The refused rows, at most one more than the budget allows; none where the table would refuse any row, or no rows."""
        await self._connection.execute("savepoint rehearsal")
        try:
            await self._prepare()
            if await self._why_not("false") is not None:
                return {}
            await self._search()
            await self._try_again()
        except asyncpg.PostgresError as error:
            if sort_error(error) is ErrorAction.RETRY:
                raise
            return {}
        finally:
            if not self._connection.is_closed():
                await self._connection.execute("rollback to savepoint rehearsal; release savepoint rehearsal")
        return {
            place: refusal_of(error, self._names, by_index="refused by a unique index")
            for place, error in self._refused.items()
        }

    async def _search(self) -> None:
        """Search block by block, and within a block row by row."""
        blocks = await self._connection.fetchval(
            "select pg_relation_size(to_regclass($1)) / current_setting('block_size')::integer", self._staging
        )
        position, window = 0, max(1, blocks)
        while position < blocks and len(self._refused) < self._rows_max:
            stop = min(blocks, position + window)
            if await self._why_not(_between(position, stop)) is None:
                self._has_taken = True
                position, window = stop, window * 4
            elif stop - position > 1:
                window = (stop - position) // 2
            else:
                await self._search_block(position)
                position = stop

    async def _search_block(self, block: int) -> None:
        found = await self._connection.fetch(
            f"select ctid from {self._staging} where {_between(block, block + 1)} order by ctid"  # noqa: S608 - quoted
        )
        places = [row["ctid"] for row in found]
        position, window = 0, max(1, len(places) // 2)
        while position < len(places) and len(self._refused) < self._rows_max:
            tried = places[position : position + window]
            error = await self._why_not(_among(tried))
            if error is None:
                self._has_taken = True
                position, window = position + len(tried), window * 4
            elif len(tried) > 1:
                window = len(tried) // 2
            else:
                self._blame(tried[0], error)
                position += 1

    async def _try_again(self) -> None:
        """Try refused rows again: one that needs another row, such as a parent in the same table, may find it there now."""
        while self._refused:
            taken = [place for place in self._refused if await self._why_not(_among([place])) is None]
            for place in taken:
                del self._refused[place]
            if not taken:
                return

    def _blame(self, place: Place, error: asyncpg.PostgresError) -> None:
        """Count a row as refused; raises the error where any row seems to cause it, as with a missing privilege."""
        self._refused[place] = error
        if self._has_taken or is_of_its_row(error):
            return
        if len(self._refused) >= min(ROWS_TO_BLAME, self._rows_max):
            raise error

    async def _why_not(self, condition: str) -> asyncpg.PostgresError | None:
        """Write these rows next to those that were accepted so far; returns the table's error about one of them, or None."""
        await self._connection.execute("savepoint rehearsed; set constraints all immediate")
        try:
            await self._connection.execute(self._statement(condition))
        except asyncpg.PostgresError as error:
            if not may_be_about_rows(error):
                raise
            await self._connection.execute("rollback to savepoint rehearsed; release savepoint rehearsed")
            return error
        await self._connection.execute("release savepoint rehearsed")
        return None


def _between(block: int, stop: int) -> str:
    return f"ctid >= {_tid((block, 0))} and ctid < {_tid((stop, 0))}"


def _among(places: Sequence[Place]) -> str:
    return f"ctid = any (array[{', '.join(map(_tid, places))}])"
