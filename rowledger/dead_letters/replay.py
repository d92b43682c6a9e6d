"""Replay dead letters: each row through the current transform and contract, and into the table its load was published to.

A worker process does it, a batch in a transaction, because a row may kill the process that reads it. As with chunks its
messages are hints: what became of each letter is read from the ledger, which a batch that was cut off left as it was.
"""

import asyncio
import contextlib
import getpass
import itertools
import logging
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import asyncpg

from rowledger.chunk import ReplayJob
from rowledger.contract import Contract, Stage
from rowledger.dead_letters.changes import find_known_dead_letters
from rowledger.dead_letters.replay_worker import ReplayWorker
from rowledger.errors import (
    DatabaseUnavailable,
    ReplayFailed,
    TargetMismatch,
    UnknownPartition,
)
from rowledger.failpoints import active_failpoints
from rowledger.ledger import (
    Actor,
    DeadLetterOutcome,
    DeadLetterResult,
    DeadLetterSelection,
    DeadLetterState,
    Decision,
    Holder,
    KeptDeadLetter,
    LoadState,
    ReplayReport,
    SupervisorSessions,
    check_ledger,
    lock_dead_letters,
    lock_published_load,
    read_columns_written,
    read_outcomes,
    read_replay_dead_letters,
    record_decisions,
    require_to_load,
)
from rowledger.load import run_interruptible
from rowledger.postgres import (
    OutageGate,
    check_server,
    connect,
    ensure_target,
    require_standby,
    summarize,
    with_columns,
)
from rowledger.settings import WriterSettings
from rowledger.spec import Column, Drift, Partition, TableSpec
from rowledger.workers import (
    A_ROW_MAY_DO_IT,
    DEATHS_OF_ONE_ROW,
    Hello,
    WorkerDied,
    find_crashing_rows,
    require_no_worker,
)

__all__ = ["REPLAYABLE", "person", "replay_selected", "run_replay"]

REPLAYABLE = (DeadLetterState.OPEN, DeadLetterState.MENDED)

_BATCH_LETTERS_MAX = 1_000
_BATCH_BYTES_MAX = 32 * 2**20
_TRIES_MAX = 10  # of a batch whose letters are changed by others again and again

Log = Callable[[int, str], None]


def person(note: str = "") -> Actor:
    """The user who runs this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "somebody"
    return Actor(f"{user}@{socket.gethostname()}", note)


def run_replay(
    spec: TableSpec,
    selection: DeadLetterSelection,
    *,
    url: str,
    writer: WriterSettings,
    actor: Actor,
    log: Log,
    on_outcome: Callable[[DeadLetterOutcome], None] = lambda _outcome: None,
    partition_of: Callable[[str], Partition] | None = None,
) -> ReplayReport:
    """Replay the selected letters that are open or mended; `on_outcome` is called for each, in source order.

    Raises RowledgerError for what concerns them all; what had committed by then stays, and a further replay continues after it.
    """
    return run_interruptible(
        replay_selected(
            spec,
            selection,
            url=url,
            writer=writer,
            actor=actor,
            log=log,
            on_outcome=on_outcome,
            partition_of=partition_of,
        )
    )


async def replay_selected(
    spec: TableSpec,
    selection: DeadLetterSelection,
    *,
    url: str,
    writer: WriterSettings,
    actor: Actor,
    log: Log,
    on_outcome: Callable[[DeadLetterOutcome], None] = lambda _outcome: None,
    partition_of: Callable[[str], Partition] | None = None,
) -> ReplayReport:
    """`run_replay` for callers that have an event loop of their own."""
    require_no_worker("a replay")
    if rules := active_failpoints():
        log(logging.WARNING, f"failpoints are on: {rules}")
    started = time.monotonic()
    letters, columns = await _look(spec, selection, url, writer)
    replaying = _Replay(spec, partition_of or spec.partitions.partition, columns, url, writer, actor, log, on_outcome)
    if letters:
        try:
            async with replaying.open():
                await replaying.run(letters)
        except asyncpg.PostgresError as error:
            raise ReplayFailed(f"table {spec.name}: the ledger refuses: {summarize(error)}") from None
    return ReplayReport(
        table=spec.name,
        replay=replaying.replay,
        outcomes=tuple(replaying.outcomes),
        worker_deaths=replaying.deaths,
        seconds=time.monotonic() - started,
    )


async def _look(
    spec: TableSpec, selection: DeadLetterSelection, url: str, writer: WriterSettings
) -> tuple[list[KeptDeadLetter], tuple[Column, ...]]:
    """The letters to try, and the columns of the target; a server that never answered is not waited for."""
    if selection.ids is None and selection.states is None:
        selection = selection.model_copy(update={"states": REPLAYABLE})
    session = await connect(url, application_name="rowledger replay", timeout_s=writer.connect_timeout_s)
    try:
        async with asyncio.timeout(writer.statement_timeout_s):
            await check_server(session)
            await require_to_load(session.connection, spec, list(Contract.of(spec.row).columns))
            await check_ledger(session.connection)
            await require_standby(session.connection)
            letters, _ = await find_known_dead_letters(session.connection, spec.name, selection)
            if not letters:
                return [], ()
            contract = Contract.of(spec.row)
            target = await ensure_target(session.connection, spec, contract.columns)
            if spec.drift is Drift.EVOLVE:  # columns that loads have brought since can be written too
                names = await read_columns_written(session.connection, str(spec.target))
                target = await with_columns(session.connection, target, names)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(
            f"table {spec.name}: looking at its dead letters failed: {summarize(error)}"
        ) from error
    finally:
        await session.close()
    try:
        contract.require_writable(target.column_types)
    except TargetMismatch as mismatch:
        raise TargetMismatch(f"target table {spec.target}: {mismatch}") from None
    return letters, target.columns


@dataclass(frozen=True, slots=True)
class _Batch:
    """Letters of one load that go into one transaction. `is_known_to_kill` is of a batch of a single letter."""

    job: ReplayJob
    is_known_to_kill: bool

    def of(self, ids: Sequence[int]) -> "_Batch":
        """Some of its letters."""
        return replace(self, job=replace(self.job, dead_letter_ids=tuple(ids)))

    def again(self) -> "_Batch":
        """One attempt more."""
        return replace(self, job=replace(self.job, attempt=self.job.attempt + 1))


class _Replay:
    """One replay: its worker, its sessions, what it has found out."""

    def __init__(
        self,
        spec: TableSpec,
        partition_of: Callable[[str], Partition],
        columns: tuple[Column, ...],
        url: str,
        writer: WriterSettings,
        actor: Actor,
        log: Log,
        on_outcome: Callable[[DeadLetterOutcome], None],
    ) -> None:
        self.replay = uuid.uuid4()
        self.outcomes: list[DeadLetterOutcome] = []
        self._spec = spec
        self._partition_of = partition_of
        self._columns = columns
        self._writer = writer
        self._actor = actor
        self._log = log
        self._on_outcome = on_outcome
        holder = Holder.this_process()
        self._gate = gate = OutageGate(url, writer, log=log, ended=lambda _told: None)
        self._sessions = SupervisorSessions(url, writer, size=1, holder=holder, gate=gate, log=log)
        self._worker = ReplayWorker(
            Hello.of(spec, url=url, settings=writer, holder=holder.token.hex),
            table=spec.name,
            gate=gate,
            sessions=self._sessions,
            host=holder.host,
            run_id=actor.run_id,
            log=log,
        )

    @property
    def deaths(self) -> int:
        return self._worker.deaths

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """What runs beside us ends with the block."""
        try:
            yield
        finally:
            await self._worker.discard()
            await self._sessions.close()
            await self._gate.close()

    async def run(self, letters: Sequence[KeptDeadLetter]) -> None:
        """Try all letters, load by load."""
        for _, of_load in itertools.groupby(letters, key=lambda letter: letter.load_id):
            members = list(of_load)
            if reason := self._why_not(members[0]):
                self._tell(
                    DeadLetterOutcome(
                        letter.dead_letter_id, letter.partition_key, letter.row_no, DeadLetterResult.SKIPPED, reason
                    )
                    for letter in members
                )
                continue
            for batch in self._batches(members):
                self._tell(await self._settle(batch))

    def _why_not(self, letter: KeptDeadLetter) -> str:
        """Why no letter of this one's load can be replayed; empty when they can."""
        where = f"load {letter.load_id} of {letter.partition_key}"
        match LoadState(letter.load_state):
            case LoadState.PUBLISHED:
                pass
            case LoadState.REPLACED:
                return f"{where} was replaced by a later one, which has dead letters of its own"
            case state:
                return f"{where} is {state}, not in the table: fix the source or the table spec, and load it again"
        if letter.target != str(self._spec.target):
            return f"{where} is in {letter.target}, but the table spec names {self._spec.target} now"
        try:
            self._partition_of(letter.partition_key)
        except UnknownPartition as unknown:
            return str(unknown)
        return ""

    def _batches(self, letters: Sequence[KeptDeadLetter]) -> Iterator[_Batch]:
        """Batches in source order; a letter that has killed its workers goes alone."""
        batch: list[int] = []
        size_bytes = 0
        for letter in letters:
            kills = letter.stage == Stage.CRASH
            full = len(batch) == _BATCH_LETTERS_MAX or size_bytes + letter.payload_bytes > _BATCH_BYTES_MAX
            if batch and (full or kills):
                yield self._batch(letters[0], batch)
                batch, size_bytes = [], 0
            if kills:
                yield self._batch(letter, [letter.dead_letter_id], is_known_to_kill=True)
                continue
            batch.append(letter.dead_letter_id)
            size_bytes += letter.payload_bytes
        if batch:
            yield self._batch(letters[0], batch)

    def _batch(self, letter: KeptDeadLetter, ids: Sequence[int], *, is_known_to_kill: bool = False) -> _Batch:
        partition = self._partition_of(letter.partition_key)
        # Attempts are counted from 1, each when it is made.
        job = ReplayJob(letter.load_id, partition, self._columns, self.replay, tuple(ids), self._actor, attempt=0)
        return _Batch(job, is_known_to_kill)

    def _tell(self, outcomes: Iterator[DeadLetterOutcome] | Sequence[DeadLetterOutcome]) -> None:
        for outcome in outcomes:
            self.outcomes.append(outcome)
            self._on_outcome(outcome)

    async def _settle(self, batch: _Batch) -> list[DeadLetterOutcome]:
        """Have every letter of the batch decided on, whatever it costs within bounds, and read what the ledger says."""
        ids = list(batch.job.dead_letter_ids)
        for _ in range(_TRIES_MAX + len(ids)):
            left = await self._undecided(ids)  # all, or those that were changed while they were prepared
            if not left:
                break
            batch = await self._try(batch.of(left))
        outcomes = await self._read(ids)
        if undecided := sum(outcome is None for outcome in outcomes):
            raise ReplayFailed(
                f"table {self._spec.name}, partition {batch.job.partition.key}: {undecided} dead letters were changed by "
                "another process each time that they were tried; replay again when that has ended"
            )
        return [outcome for outcome in outcomes if outcome is not None]

    async def _try(self, batch: _Batch) -> _Batch:
        """Try the batch with one worker after another, as often as a chunk is; then look for the letters that kill them.

        A letter that is alone is known after as many deaths as a row of a chunk. Returns the batch with its attempts counted.
        """
        is_single = len(batch.job.dead_letter_ids) == 1
        for spent in itertools.count(1):
            batch = batch.again()
            try:
                await self._worker.attempt(batch.job)
            except WorkerDied as death:
                await self._worker.bury(death, batch.job, charged=not batch.is_known_to_kill)
                if spent < (DEATHS_OF_ONE_ROW if is_single else self._writer.chunk_attempts_max):
                    continue
                if death.kind not in A_ROW_MAY_DO_IT:
                    raise self._failed(batch.job, death) from death
                if not is_single:
                    return await self._search(batch, death)
                if await self._undecided(batch.job.dead_letter_ids):
                    await self._refuse(batch.job, death)
            return batch
        raise AssertionError("the last attempt returns or raises")

    async def _search(self, batch: _Batch, death: WorkerDied) -> _Batch:
        """Refuse the letters that kill their worker, alone and every time; their neighbours are decided on by the way."""
        ids = batch.job.dead_letter_ids
        self._log(logging.WARNING, f"{batch.job.name}: looking for the dead letter that kills its workers")

        async def survives(first: int, stop: int) -> bool:
            nonlocal batch, death
            batch = batch.again()
            job = replace(batch.job, dead_letter_ids=ids[first:stop])
            try:
                await self._worker.attempt(job)
            except WorkerDied as died:
                death = died
                await self._worker.bury(death, job, charged=False)
                if death.kind not in A_ROW_MAY_DO_IT:
                    raise self._failed(job, death) from death
                return False
            return True

        found = await find_crashing_rows(survives, 0, len(ids), rows_max=max(1, self._writer.crash_rows_max))
        if found is None:
            raise self._failed(batch.job, death)
        for index in found:
            await self._refuse(replace(batch.job, dead_letter_ids=ids[index : index + 1]), death)
        return batch

    def _failed(self, job: ReplayJob, death: WorkerDied) -> ReplayFailed:
        return ReplayFailed(
            f"table {self._spec.name}, {job.name}: worker after worker ended, the last one {death.summary}. Look at "
            f"`rowledger incidents --table {self._spec.name}`, fix the cause, replay again"
        )

    async def _undecided(self, ids: Sequence[int]) -> list[int]:
        """Letters that are still to be tried."""
        return [number for number, outcome in zip(ids, await self._read(ids), strict=True) if outcome is None]

    async def _read(self, ids: Sequence[int]) -> list[DeadLetterOutcome | None]:
        return await self._sessions.transaction(
            "read what became of dead letters", lambda connection: read_outcomes(connection, ids, self.replay)
        )

    async def _refuse(self, job: ReplayJob, death: WorkerDied) -> None:
        """Keep the letter of a job of one that has killed its worker where it was, and say so."""
        reason = f"every worker that took this row alone died, the last one {death.summary}"

        async def record(connection: asyncpg.Connection) -> None:
            letters = await read_replay_dead_letters(connection, job.dead_letter_ids, self.replay)
            if await lock_published_load(connection, job.load_id) is None:
                return
            unchanged = await lock_dead_letters(connection, letters)
            decisions = [
                Decision(letter.dead_letter_id, stage=Stage.CRASH, reason=reason)
                for letter in letters
                if letter.dead_letter_id in unchanged
            ]
            await record_decisions(connection, decisions, self.replay, self._actor)

        await self._sessions.transaction("record a letter that kills", record, durable=True)
