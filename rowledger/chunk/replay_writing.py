"""Write dead letters' rows into the table: stage them, insert all but those that the table refuses, read them back as stored.

It runs in the transaction of `replay_transaction`, and never commits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
import polars as pl

from rowledger.chunk.copy_isolation import copy_isolating
from rowledger.chunk.jobs import ReplayJob
from rowledger.chunk.replay_preparation import PreparedDeadLetters
from rowledger.chunk.replay_settlement import Stored, settle_dead_letters
from rowledger.contract import Fingerprint, Refusal, Stage, fingerprint_frame, fingerprint_query, read_fingerprint
from rowledger.failpoints import Place, failpoint
from rowledger.ledger import DeadLetterToReplay, LockedLoad
from rowledger.postgres import (
    LEDGER_SCHEMA,
    Target,
    create_staging,
    drop_staging,
    encode_rows,
    insert_statement,
    is_about_rows_for_sure,
    lock_target_against_writers,
    may_be_about_rows,
    partition_predicate,
    query,
    quote_identifier,
    quoted,
    refusal_of,
    same_key,
)
from rowledger.settings import WriterSettings
from rowledger.spec import Column, ColumnType, LoadHandle, TableSpec, TypeName, WriteMode

__all__ = ["ReplayWriting"]

_POSITION = Column("rowledger position", ColumnType(TypeName.INTEGER), nullable=False)
_POSITION_SQL = quote_identifier(_POSITION.name)
_CHOSEN = f"{_POSITION_SQL} = any ($1::integer[])"
_WINDOW_AFTER_REFUSAL = 16


class _KeyTaken(Exception):
    """The keys of these letters' rows are taken."""

    def __init__(self, dead_letter_ids: set[int], reason: str) -> None:
        super().__init__(reason)
        self.dead_letter_ids = dead_letter_ids


class _NotStored(Exception):
    """The table did not store the rows as sent, or smaller windows must show which of them it can store."""


@dataclass
class ReplayWriting:
    """The part of one replay transaction between its locks and its COMMIT."""

    connection: asyncpg.Connection
    spec: TableSpec
    target: Target
    load: LockedLoad
    job: ReplayJob
    settings: WriterSettings
    prepared: PreparedDeadLetters
    on_progress: Callable[[int], None]

    def __post_init__(self) -> None:
        self._refused = self.prepared.refused
        self._dead_letter_ids = self.prepared.dead_letter_ids
        self._rows_of: dict[int, list[int]] = {}  # the positions of each letter's rows
        for position, dead_letter_id in enumerate(self._dead_letter_ids):
            self._rows_of.setdefault(dead_letter_id, []).append(position)
        self._good = self.prepared.good.with_row_index(_POSITION.name).cast({_POSITION.name: pl.Int32})
        self._names = [column.name for column in self.job.columns]
        self._handle = LoadHandle(self.job.load_id, 0)
        self._staging = quoted(LEDGER_SCHEMA, self._handle.staging_table)
        self._has_triggers = False
        self._updated_rows = 0
        self._replaced = Fingerprint.empty(self.job.columns)

    async def run(self, letters: Sequence[DeadLetterToReplay]) -> None:
        """Write the rows that the table takes, and record the outcome of each letter."""
        written: list[int] = []
        if self._to_write(letters):
            await self._stage(letters)
            self._has_triggers = await self.connection.fetchval(query("has_triggers_or_rules"), self.target.oid)
            if self.load.write_mode is WriteMode.UPSERT or self._has_triggers:
                # No other session may write meanwhile, so that updates and the effects of triggers can be counted.
                partition = None if self._may_move else self.job.partition
                await lock_target_against_writers(self.connection, self.target, partition)
            written = await self._insert_isolating(self._to_write(letters))
            await drop_staging(self.connection, self._handle.staging_table)
        failpoint(Place.IN_REPLAY, **self.job.facts)
        rows_of = {dead_letter_id: self._rows_of[dead_letter_id] for dead_letter_id in written}
        stored = Stored(self._good, rows_of, self._updated_rows, self._replaced)
        await settle_dead_letters(self.connection, self.job, self.load, letters, self._refused, stored)

    def _to_write(self, letters: Sequence[DeadLetterToReplay]) -> list[int]:
        """The letters with rows to write, in source order. If one row of a letter is refused, the whole letter is."""
        ids = (letter.dead_letter_id for letter in letters)
        return [number for number in ids if number in self._rows_of and number not in self._refused]

    async def _stage(self, letters: Sequence[DeadLetterToReplay]) -> None:
        """COPY the rows to write, each with its position, into a staging table with the target's types and checks."""
        await create_staging(self.connection, self.target, self._handle, self.job.partition)
        await self.connection.execute(
            f"alter table {self._staging} add column {_POSITION_SQL} {_POSITION.type.sql} not null"
        )
        columns = [*self.job.columns, _POSITION]
        sent = [(number, position) for number in self._to_write(letters) for position in self._rows_of[number]]
        rows = self._good[[position for _, position in sent]].select(column.name for column in columns)
        row_no_of = {letter.dead_letter_id: letter.row_no for letter in letters}
        refused = await copy_isolating(
            self.connection,
            rows,
            encode_rows(rows, columns, self.settings.batch_rows),
            row_nos=np.array([row_no_of[number] for number, _ in sent]),
            staging_table=self._handle.staging_table,
            columns=columns,
            batch_rows=self.settings.batch_rows,
            refusals_max=rows.height,
            on_sent=self.on_progress,
        )
        self._refused |= {sent[offset][0]: cause for offset, cause in refused.items()}

    async def _insert_isolating(self, ids: list[int]) -> list[int]:
        """Insert the rows of all letters but those that the table refuses, in windows that shrink around a refusal."""
        written: list[int] = []
        window = len(ids)
        while ids:
            tried = ids[:window]
            # Released in any case: thousands of nested savepoints would exhaust the server's lock table.
            ending = "rollback to savepoint rows_sent; release savepoint rows_sent"
            await self.connection.execute("savepoint rows_sent")
            try:
                await self._insert(tried)
            except _KeyTaken as taken:
                self._refused |= dict.fromkeys(taken.dead_letter_ids, Refusal(stage=Stage.KEY, reason=str(taken)))
                ids = [number for number in ids if number not in taken.dead_letter_ids]
            except (asyncpg.PostgresError, _NotStored) as error:
                is_the_servers = isinstance(error, asyncpg.PostgresError)
                if is_the_servers and not may_be_about_rows(error):
                    raise
                if is_the_servers and not is_about_rows_for_sure(error):
                    await self.connection.execute("rollback to savepoint rows_sent")
                    # An error that also occurs without rows is not about a row.
                    await self._measure(self._insert_sql(), [])
                if len(tried) == 1:
                    self._refused[tried[0]] = _refusal(error)
                    ids, window = ids[1:], _WINDOW_AFTER_REFUSAL
                else:
                    window = len(tried) // 2
            else:
                written += tried
                ids, window = ids[window:], window * 4
                ending = "release savepoint rows_sent"
            await self.connection.execute(ending)
            self.on_progress(1)
        return written

    async def _insert(self, ids: Sequence[int]) -> None:
        """Insert the letters' staged rows into the target; raises if the table refuses or alters one of them."""
        positions = [row for number in ids for row in self._rows_of[number]]
        rows = self._good[positions]
        updated_rows, replaced = 0, Fingerprint.empty(self.job.columns)
        if self.spec.key:
            await self._require_distinct_keys(ids, positions)
        if self.load.write_mode is WriteMode.UPSERT:
            updated_rows, replaced = await self._measure(self._rows_to_update_sql(), positions)
        elif self.spec.key:
            await self._require_free_keys(positions)
        before = await self._measure_scope() if self._has_triggers else None
        stored_rows, stored = await self._measure(self._insert_sql(), positions)
        if stored_rows != rows.height:
            raise _NotStored("a trigger of the table keeps the row out")
        if fingerprint_frame(rows.select(self._names), self.job.columns).differences(stored):
            raise _NotStored("a trigger of the table changes its values")
        if before is not None:
            # RETURNING shows a row as it was before AFTER triggers.
            found_rows, found = await self._measure_scope()
            if found_rows != before[0] + stored_rows - updated_rows:
                raise _NotStored("a trigger of the table keeps the row out, or writes other ones")
            if (before[1] + stored - replaced).differences(found):
                raise _NotStored("a trigger of the table changes its values, or other rows")
        self._updated_rows += updated_rows
        self._replaced += replaced

    async def _measure_scope(self) -> tuple[int, Fingerprint]:
        """Rows and fingerprint of the partition; of the whole table if an update may move a row between partitions."""
        predicate = "true" if self._may_move else partition_predicate(self.target, self.job.partition)
        names = ", ".join(quote_identifier(name) for name in self._names)
        return await self._measure(f"select {names} from {self.target.sql} where {predicate}")  # noqa: S608

    @property
    def _may_move(self) -> bool:
        """Whether an update may move a row from one partition to another."""
        return self.load.write_mode is WriteMode.UPSERT and not self._has_partition_in_key

    @property
    def _has_partition_in_key(self) -> bool:
        return set(self.job.partition.columns) <= set(self.spec.key)

    async def _measure(self, rows_sql: str, *arguments: Sequence[int]) -> tuple[int, Fingerprint]:
        """The number of rows that the statement returns, and their fingerprint; $1 is usually a list of staged positions."""
        measuring = fingerprint_query(self.job.columns, quote_identifier, "rows")
        found = await self.connection.fetch(f"with rows as ({rows_sql}) {measuring}", *arguments)
        return read_fingerprint(self.job.columns, found)

    async def _require_distinct_keys(self, ids: Sequence[int], positions: Sequence[int]) -> None:
        """Raise _NotStored if letters share a key, so that a smaller window inserts the first before the others are tried."""
        key = ", ".join(quote_identifier(name) for name in self.spec.key)
        distinct = await self.connection.fetchval(
            f"select count(distinct ({key})) from {self._staging} where {_CHOSEN}",  # noqa: S608 - quoted
            positions,
        )
        if distinct == len(positions):
            return
        if len(ids) == 1:
            named = ", ".join(self.spec.key)
            raise _KeyTaken(set(ids), f"the transform makes several rows of one key of it ({named})")
        raise _NotStored

    async def _require_free_keys(self, positions: Sequence[int]) -> None:
        """Raise _KeyTaken for keys that are already in the table, which may have no unique index to detect them."""
        # A key that includes the partition needs no search in the others; under REPLACE, a key counts within its partition.
        is_narrow = self.load.write_mode is WriteMode.REPLACE or self._has_partition_in_key
        predicate = partition_predicate(self.target, self.job.partition) if is_narrow else "true"
        taken = await self.connection.fetch(
            f"select {_POSITION_SQL} as position from {self._staging} as staged where {_CHOSEN} and exists ("  # noqa: S608
            f"select from {self.target.sql} as present "
            f"where {same_key(self.spec.key, 'staged', 'present')} and {predicate})",
            positions,
        )
        if taken:
            dead_letter_ids = {self._dead_letter_ids[row["position"]] for row in taken}
            raise _KeyTaken(dead_letter_ids, f"a row of the table has the same key ({', '.join(self.spec.key)})")

    def _rows_to_update_sql(self) -> str:
        """Select the table's rows that the staged rows at the positions $1 will replace."""
        names = ", ".join(f"present.{quote_identifier(name)}" for name in self._names)
        return (
            f"select {names} from {self.target.sql} as present where exists (select from {self._staging} as staged "  # noqa: S608
            f"where {_CHOSEN} and {same_key(self.spec.key, 'staged', 'present')})"
        )

    def _insert_sql(self) -> str:
        """Insert the staged rows at the positions $1, and return them as stored."""
        names = ", ".join(quote_identifier(name) for name in self._names)
        updates = self.load.write_mode is WriteMode.UPSERT
        insert = insert_statement(self.target, self._handle, updates=updates, where=_CHOSEN)
        return f"{insert} returning {names}"


def _refusal(error: Exception) -> Refusal:
    """Why the table refuses one letter's rows."""
    if not isinstance(error, asyncpg.PostgresError):
        return Refusal(stage=Stage.COPY, reason=str(error))
    return refusal_of(error, by_index="a row of the table has the same value in a unique index")
