"""The one place that owns a replay's transaction: rows of dead letters into the table, their letters, their load's balance.

What `chunk_transaction` is for a chunk. Rows are prepared before it begins. In it they are copied into a passing table of the
target's shape, which finds what the target's types and checks refuse, and inserted from there, which shows what was stored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg
import polars as pl

from pipeline.contract.fingerprint import Fingerprint, fingerprint_frame, fingerprint_from_row, fingerprint_sql
from pipeline.contract.payloads import frame_of_payloads
from pipeline.contract.row_types import read_row_types
from pipeline.errors import DiscrepancyFound, RowledgerError
from pipeline.failpoints import Place, failpoint
from pipeline.model.column import Column, ColumnType, TypeName
from pipeline.model.dead_letters import ReplayJob
from pipeline.model.outcome import Replayed
from pipeline.model.report import PayloadOf, Stage
from pipeline.model.table import TableSpec
from pipeline.postgres.catalogue import LEDGER_SCHEMA, Target, create_staging, drop_staging, partition_predicate, quoted
from pipeline.postgres.copy import copy_rows, encode_rows
from pipeline.postgres.dead_letters import (
    ChunkChange,
    Decision,
    ReplayLetter,
    lock_letters,
    lock_published_load,
    move_from_dead_letters,
    read_replay_letters,
    read_row_types_of_chunks,
    record_decisions,
)
from pipeline.postgres.ledger import LoadHandle
from pipeline.postgres.queries import query, quote_identifier
from pipeline.postgres.session import Session
from pipeline.postgres.sqlstate import Verdict, copy_location, sort_error, summarize
from pipeline.preparation.rows import prepare_rows
from pipeline.settings import WriterSettings

__all__ = ["replay_letters"]

_POSITION = Column("rowledger position", ColumnType(TypeName.INTEGER), nullable=False)
_WINDOW_AFTER_REFUSAL = 16
_UPSERT = "upsert"

_NO_ROW = "a line that is no row cannot be written: export it, make it a JSON object of columns, import it"
_OVERWRITES = (
    "a row before it in the source has the same key and stays; this one would overwrite it: edit its key, or discard it"
)


@dataclass(slots=True)
class _Prepared:
    """Letters sorted by what transform and contract say: rows `[i]` of `good` belong to letter `letter_ids[i]`."""

    good: pl.DataFrame
    letter_ids: list[int]
    refused: dict[int, Decision] = field(default_factory=dict)
    filtered_rows: int = 0


@dataclass(frozen=True, slots=True)
class _Unit:
    """One letter's rows, by their offsets into the good ones: they go into the table together, or not at all."""

    letter_id: int
    rows: tuple[int, ...]


class _KeyTaken(Exception):
    """These letters cannot have their keys."""

    def __init__(self, letter_ids: set[int], reason: str) -> None:
        super().__init__(reason)
        self.letter_ids = letter_ids


class _NotStored(Exception):
    """The table did not store the rows as they were sent."""


async def replay_letters(
    session: Session,
    spec: TableSpec,
    job: ReplayJob,
    settings: WriterSettings,
    *,
    on_progress: Callable[[int], None],
) -> Replayed:
    """Try the letters of the job on which its replay has not decided yet. What was decided stands in the ledger.

    A lost COMMIT reply does no harm: the load's row is locked first, so an earlier attempt in doubt has ended by then, and the
    letters that it has settled are left out. Whoever calls sees to the deadline and to the connection.
    """
    connection = session.connection
    letters = await read_replay_letters(connection, job.letter_ids, job.replay)
    failpoint(Place.BEFORE_REPLAY, **job.facts)
    failpoint(Place.WHILE_ENCODING, **job.facts, row=[letter.row_no for letter in letters])
    types = await read_row_types_of_chunks(connection, job.load_id, sorted({letter.chunk_no for letter in letters}))
    prepared = _prepare(spec, job, letters, types)
    _require_all_accounted(letters, prepared)
    on_progress(len(letters))
    await connection.execute(
        "begin;"
        f"set local statement_timeout = '{int(settings.statement_timeout_s * 1000)}ms';"
        f"set local lock_timeout = '{int(settings.lock_timeout_s * 1000)}ms';"
        f"set local idle_in_transaction_session_timeout = '{int(settings.stall_timeout_s * 1000)}ms';"
        "set local synchronous_commit = on;"
        "set constraints all immediate"
    )
    if not await lock_published_load(connection, job.load_id):
        await connection.execute("rollback")
        return Replayed()
    # What a lost attempt of this very replay has settled, or somebody has changed meanwhile, is not what was prepared.
    unchanged = await lock_letters(connection, letters)
    letters = [letter for letter in letters if letter.dead_letter_id in unchanged]
    if letters:
        writing = _Writing(connection, spec, job, settings, prepared, on_progress)
        await writing.run(letters)
    failpoint(Place.BEFORE_REPLAY_COMMIT, **job.facts)
    await connection.execute("commit")
    failpoint(Place.AFTER_REPLAY_COMMIT, **job.facts)
    return Replayed()


def _prepare(
    spec: TableSpec, job: ReplayJob, letters: Sequence[ReplayLetter], types: Mapping[int, bytes | None]
) -> _Prepared:
    """The rows of all letters through the current transform and contract."""
    prepared = _Prepared(pl.DataFrame(schema={column.name: column.type.frame_type for column in job.columns}), [])
    groups: dict[tuple[str, bytes | None], list[ReplayLetter]] = {}
    for letter in letters:
        if letter.payload_of == PayloadOf.LINE:
            prepared.refused[letter.dead_letter_id] = Decision(
                letter.dead_letter_id, stage=Stage.SOURCE, reason=_NO_ROW
            )
        elif spec.write_mode == _UPSERT and letter.stage == Stage.KEY and not letter.is_edited:
            prepared.refused[letter.dead_letter_id] = Decision(
                letter.dead_letter_id, stage=Stage.KEY, reason=_OVERWRITES
            )
        else:
            row_types = types[letter.chunk_no] if letter.payload_of == PayloadOf.SOURCE else None
            groups.setdefault((letter.payload_of, row_types), []).append(letter)
    for (payload_of, row_types), members in groups.items():
        known = _contract_types(job) if row_types is None else read_row_types(row_types)
        _prepare_group(prepared, spec, job, members, known, is_transformed=payload_of == PayloadOf.TRANSFORMED)
    return prepared


def _contract_types(job: ReplayJob) -> dict[str, pl.DataType]:
    """What is known of columns whose types were not recorded: text that reads as the column's date or time is one."""
    types = {column.name: column.type.frame_type for column in job.columns}
    return {name: dtype for name, dtype in types.items() if dtype.is_temporal()}


def _require_all_accounted(letters: Sequence[ReplayLetter], prepared: _Prepared) -> None:
    """A letter without rows and without a refusal counts as filtered: see that the transform has filtered as many."""
    accounted = prepared.refused.keys() | set(prepared.letter_ids)
    missing = sum(letter.dead_letter_id not in accounted for letter in letters)
    if missing != prepared.filtered_rows:
        raise DiscrepancyFound(f"{missing} dead letters are without a row, but {prepared.filtered_rows} were filtered")


def _prepare_group(
    prepared: _Prepared,
    spec: TableSpec,
    job: ReplayJob,
    letters: Sequence[ReplayLetter],
    types: Mapping[str, pl.DataType],
    *,
    is_transformed: bool,
) -> None:
    """Prepare letters together; what fails for them as a whole, as an unknown column does, is found by halving."""
    spans = [letters] if letters else []
    while spans:
        span = spans.pop()
        try:
            rows = prepare_rows(
                spec,
                job.columns,
                frame_of_payloads([letter.payload for letter in span], types),
                [letter.dead_letter_id for letter in span],
                job.partition,
                dead_letters_max=len(span),
                is_transformed=is_transformed,
            )
        except Exception as error:  # noqa: BLE001 - a person's payload, a user's function: anything may be wrong with them
            if len(span) == 1:
                number = span[0].dead_letter_id
                # Of our own errors alone the text is known to hold no value.
                reason = (
                    str(error) if isinstance(error, RowledgerError) else f"{type(error).__name__} while it was prepared"
                )
                prepared.refused[number] = Decision(number, stage=Stage.CONTRACT, reason=reason)
            else:
                middle = len(span) // 2
                spans += [span[middle:], span[:middle]]
            continue
        for letter in rows.rejected:
            prepared.refused.setdefault(
                letter.row_no,
                Decision(
                    letter.row_no,
                    stage=letter.stage,
                    reason=letter.reason,
                    column=letter.column,
                    traceback=letter.traceback,
                ),
            )
        prepared.good = prepared.good.vstack(rows.good)
        prepared.letter_ids += rows.row_nos
        prepared.filtered_rows += rows.filtered_rows


class _Writing:
    """The part of one transaction between its locks and its COMMIT."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        spec: TableSpec,
        job: ReplayJob,
        settings: WriterSettings,
        prepared: _Prepared,
        on_progress: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._spec = spec
        self._columns = columns = job.columns
        self._job = job
        self._settings = settings
        self._refused = prepared.refused
        self._letter_ids = prepared.letter_ids
        self._on_progress = on_progress
        self._names = [column.name for column in columns]
        positions = pl.int_range(prepared.good.height, dtype=pl.Int32, eager=True).alias(_POSITION.name)
        self._good = prepared.good.with_columns(positions)
        self._target = Target(oid=0, name=spec.target, columns=columns, partitioned_by=None)
        self._handle = LoadHandle(job.load_id, 0)
        self._staging = quoted(LEDGER_SCHEMA, self._handle.staging_table)

    async def run(self, letters: Sequence[ReplayLetter]) -> None:
        """Write what can be written, and record what became of each letter."""
        units = self._units(letters)
        written: list[_Unit] = []
        if units:
            await create_staging(self._connection, self._target, self._handle, self._job.partition)
            await self._connection.execute(
                f"alter table {self._staging} add column {quote_identifier(_POSITION.name)} {_POSITION.type.sql} not null"
            )
            written = await self._write_isolating(units)
            await drop_staging(self._connection, self._handle.staging_table)
        failpoint(Place.IN_REPLAY, **self._job.facts)
        await self._record(letters, written)

    def _units(self, letters: Sequence[ReplayLetter]) -> list[_Unit]:
        """The letters with rows to write, in source order. A letter of which one row is refused is refused as a whole."""
        rows: dict[int, list[int]] = {}
        for row, letter_id in enumerate(self._letter_ids):
            rows.setdefault(letter_id, []).append(row)
        ids = (letter.dead_letter_id for letter in letters)
        return [_Unit(number, tuple(rows[number])) for number in ids if number in rows and number not in self._refused]

    async def _write_isolating(self, units: list[_Unit]) -> list[_Unit]:
        """Write all units but those that the server refuses, in windows that shrink to where it does."""
        written: list[_Unit] = []
        window = len(units)
        while units:
            attempted = units[:window]
            await self._connection.execute("savepoint rows_sent")
            try:
                await self._write(attempted)
            except _KeyTaken as taken:
                await self._connection.execute("rollback to savepoint rows_sent")
                for letter_id in taken.letter_ids:
                    self._refused[letter_id] = Decision(letter_id, stage=Stage.KEY, reason=str(taken))
                units = [unit for unit in units if unit.letter_id not in taken.letter_ids]
            except (asyncpg.PostgresError, _NotStored) as error:
                if isinstance(error, asyncpg.PostgresError) and not _is_refusal(error):
                    raise
                await self._connection.execute("rollback to savepoint rows_sent")
                if len(attempted) == 1:
                    self._refused[attempted[0].letter_id] = _refusal(attempted[0].letter_id, error)
                    units, window = units[1:], _WINDOW_AFTER_REFUSAL
                else:
                    window = _units_before(attempted, error) or 1
            else:
                await self._connection.execute("release savepoint rows_sent")
                written += attempted
                units, window = units[window:], window * 4
            self._on_progress(1)
        return written

    async def _write(self, units: Sequence[_Unit]) -> None:
        """Copy the units' rows and insert them into the target; raises when one of them cannot go in."""
        rows = self._good[[row for unit in units for row in unit.rows]]
        columns = [*self._columns, _POSITION]
        await copy_rows(
            self._connection,
            encode_rows(rows.select(column.name for column in columns), columns, self._settings.batch_rows),
            schema_name=LEDGER_SCHEMA,
            table_name=self._handle.staging_table,
            columns=columns,
            on_sent=self._on_progress,
        )
        positions = rows[_POSITION.name].to_list()
        if self._spec.key:
            await self._require_free_keys(units, positions)
        stored = await self._connection.fetchrow(self._insert_sql(), positions)
        sent = fingerprint_frame(rows.select(self._names), self._columns)
        found = fingerprint_from_row(self._columns, stored[0], tuple(stored)[1:])
        if stored[0] != rows.height:
            raise _NotStored("a trigger of the table keeps the row out")
        if sent.differences(found):
            raise _NotStored("a trigger of the table changes its values")

    async def _require_free_keys(self, units: Sequence[_Unit], positions: Sequence[int]) -> None:
        """Raise _KeyTaken for rows whose key the table has, which it may have no index to tell; or for a repeated one."""
        named = ", ".join(self._spec.key)
        key = [quote_identifier(name) for name in self._spec.key]
        position = quote_identifier(_POSITION.name)
        rows = f"(select * from {self._staging} where {position} = any ($1::integer[])) as sent"  # noqa: S608 - quoted
        repeated = await self._connection.fetchval(
            f"select max(rows) from (select count(*) as rows from {rows} group by {', '.join(key)}) as counted",  # noqa: S608
            positions,
        )
        if repeated > 1:
            if len(units) == 1:
                raise _KeyTaken({units[0].letter_id}, f"the transform makes rows of one key of it ({named})")
            raise _RepeatedKey
        if self._spec.write_mode == _UPSERT:
            return
        predicate = partition_predicate(self._target, self._job.partition) or "true"
        same = " and ".join(f"present.{name} = sent.{name}" for name in key)
        target = quoted(self._spec.target.schema_name, self._spec.target.table)
        taken = await self._connection.fetch(
            f"select sent.{position} as position from {rows} "  # noqa: S608 - all quoted
            f"where exists (select from {target} as present where {same} and {predicate})",
            positions,
        )
        if taken:
            letter_ids = {self._letter_ids[row["position"]] for row in taken}
            raise _KeyTaken(letter_ids, f"a row of the table has the same key ({named})")

    def _insert_sql(self) -> str:
        """Insert the copied rows at the positions $1; gives their number and the totals of what was stored."""
        names = ", ".join(quote_identifier(name) for name in self._names)
        position = quote_identifier(_POSITION.name)
        target = quoted(self._spec.target.schema_name, self._spec.target.table)
        conflict = ""
        if self._spec.write_mode == _UPSERT:
            key = ", ".join(quote_identifier(name) for name in self._spec.key)
            others = [quote_identifier(name) for name in self._names if name not in self._spec.key]
            changes = ", ".join(f"{name} = excluded.{name}" for name in others or [quote_identifier(self._spec.key[0])])
            conflict = f" on conflict ({key}) do update set {changes}"
        return (
            f"with stored as (insert into {target} ({names}) overriding system value select {names} from {self._staging} "  # noqa: S608
            f"where {position} = any ($1::integer[]) order by {position}{conflict} returning {names}) "
            f"select {', '.join(['count(*)', *fingerprint_sql(self._columns, quote_identifier)])} from stored"
        )

    async def _record(self, letters: Sequence[ReplayLetter], written: Sequence[_Unit]) -> None:
        """Settle the letters, and move those that are none any more into their chunks' other counts."""
        rows_of = {unit.letter_id: unit.rows for unit in written}
        decisions = [
            self._refused.get(letter.dead_letter_id)
            or Decision(letter.dead_letter_id, written_rows=len(rows_of.get(letter.dead_letter_id, ())))
            for letter in letters
        ]
        if not await record_decisions(self._connection, decisions, self._job.replay, self._job.actor):
            raise DiscrepancyFound(f"load {self._job.load_id}: dead letters changed though they were locked")
        by_chunk: dict[int, list[int]] = {}
        for letter in letters:
            if letter.dead_letter_id not in self._refused:
                by_chunk.setdefault(letter.chunk_no, []).append(letter.dead_letter_id)
        for chunk_no, ids in sorted(by_chunk.items()):
            counts = [len(rows_of.get(number, ())) for number in ids]
            rows = self._good[[row for number in ids for row in rows_of.get(number, ())]]
            change = ChunkChange(
                written_rows=sum(counts),
                letters=len(ids),
                filtered_rows=counts.count(0),
                added_rows=sum(count - 1 for count in counts if count),
                fingerprint=await self._fingerprint_with(chunk_no, rows),
            )
            if not await move_from_dead_letters(self._connection, self._job.load_id, chunk_no, change):
                raise DiscrepancyFound(
                    f"load {self._job.load_id}, chunk {chunk_no}: its counts in the ledger do not add up, so no dead letter of "
                    "it is replayed; look at `rowledger verify`, and load the partition again"
                )

    async def _fingerprint_with(self, chunk_no: int, rows: pl.DataFrame) -> str | None:
        """The chunk's fingerprint with these rows; None where it has none."""
        text = await self._connection.fetchval(query("chunk_fingerprint"), self._job.load_id, chunk_no)
        if text is None:
            return None
        before, more = Fingerprint.from_json(text), fingerprint_frame(rows.select(self._names), self._columns)
        # A column that came or went since the load is null in the rows that were there before, or now.
        names = dict.fromkeys([*before, *more])
        sides = (Fingerprint({name: side.columns.get(name, (0, 0)) for name in names}) for side in (before, more))
        first, second = sides
        return (first + second).to_json()


class _RepeatedKey(_NotStored):
    """Two letters have the same key: the first goes in before the second is looked at."""


def _is_refusal(error: asyncpg.PostgresError) -> bool:
    return sort_error(error) is Verdict.ISOLATE


def _units_before(units: Sequence[_Unit], error: Exception) -> int:
    """How many units stand before the one that the server names; half of them where it names none."""
    line = copy_location(error).line if isinstance(error, asyncpg.PostgresError) else None
    if line is not None:
        rows = 0
        for index, unit in enumerate(units):
            rows += len(unit.rows)
            if line <= rows:
                return index
    return len(units) // 2


def _refusal(letter_id: int, error: Exception) -> Decision:
    """Why the server does not take one letter's rows."""
    if not isinstance(error, asyncpg.PostgresError):
        return Decision(letter_id, stage=Stage.COPY, reason=str(error))
    is_key = isinstance(error, asyncpg.UniqueViolationError)
    told = "a row of the table has the same value in a unique index" if is_key else "refused by the server"
    return Decision(
        letter_id,
        stage=Stage.KEY if is_key else Stage.COPY,
        reason=f"{told}: {summarize(error)}",
        sqlstate=error.sqlstate,
        constraint=getattr(error, "constraint_name", None),
        column=copy_location(error).column or getattr(error, "column_name", None),
    )
