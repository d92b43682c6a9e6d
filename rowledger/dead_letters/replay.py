"""Replay dead letters: each row passes the current transform and contract, into the table that its load was published to.

A worker of a pool replays a batch in one transaction, because a row may kill the process that reads it. As with
chunks, the worker's messages are hints. What became of each dead letter is read from the ledger, which an interrupted
batch leaves unchanged.
"""

import contextlib
import itertools
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import asyncpg

from rowledger.chunk import ReplayJob
from rowledger.contract import Contract, Stage
from rowledger.dead_letters.changes import find_known_dead_letters
from rowledger.errors import (
    ChunkFailed,
    ChunkTimedOut,
    DatabaseUnavailable,
    ReplayFailed,
    TargetMismatch,
    UnknownPartition,
    WorkerTerminated,
)
from rowledger.failpoints import active_failpoints
from rowledger.ledger import (
    Actor,
    DeadLetterOutcome,
    DeadLetterResult,
    DeadLetterSelection,
    DeadLetterState,
    Failed,
    FailureKind,
    Holder,
    KeptDeadLetter,
    LoadState,
    PartitionsOfLoads,
    ReplayReport,
    SupervisorSessions,
    ledger_session,
    read_columns_written,
    read_outcomes,
    read_partitions,
    record_bounds,
    require_to_load,
)
from rowledger.load import run_interruptible
from rowledger.postgres import OutageGate, ensure_target, summarize, with_columns
from rowledger.settings import WriterSettings
from rowledger.spec import Column, Drift, Partition, TableSpec, former_columns
from rowledger.workers import Activity, Hello, IncidentRecorder, Pool, require_no_worker

__all__ = ["REPLAYABLE", "run_replay"]

REPLAYABLE = (DeadLetterState.OPEN, DeadLetterState.CORRECTED)

_BATCH_LETTERS_MAX = 1_000
_BATCH_BYTES_MAX = 32 * 2**20
_TRIES_MAX = 10  # of a batch whose dead letters other processes change again and again

Log = Callable[[int, str], None]


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
    """Replay the selected dead letters that are open or corrected; `on_outcome` is called for each, in source order.

    `partition_of` supplies partitions whose bounds the ledger lacks. Raises RowledgerError for what concerns all dead
    letters. What has committed by then stays, and another replay continues after it.
    """

    async def replay() -> ReplayReport:
        started = time.monotonic()
        letters, partitions, columns = await _look(spec, selection, url, writer, partition_of)
        replaying = _Replay(spec, partitions, columns, url, writer, actor, log, on_outcome)
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
            worker_deaths=replaying.worker_deaths,
            seconds=time.monotonic() - started,
        )

    require_no_worker("a replay")
    if rules := active_failpoints():
        log(logging.WARNING, f"failpoints are on: {rules}")
    return run_interruptible(replay())


async def _look(
    spec: TableSpec,
    selection: DeadLetterSelection,
    url: str,
    writer: WriterSettings,
    partition_of: Callable[[str], Partition] | None,
) -> tuple[list[KeptDeadLetter], Mapping[int, Partition | UnknownPartition], tuple[Column, ...]]:
    """The dead letters to try, the partitions of their loads, and the columns of the target.

    It does not wait for a server that never answered.
    """
    if selection.ids is None and selection.states is None:
        selection = selection.model_copy(update={"states": REPLAYABLE})
    contract = Contract.of(spec.row)
    doing = f"table {spec.name}: looking at its dead letters"
    session = ledger_session(url, purpose="replay", doing=doing, limits=writer, loads=spec)
    async with session as looking:
        connection = looking.connection
        letters, _ = await find_known_dead_letters(connection, spec.name, selection)
        if not letters:
            return [], {}, ()
        asked = PartitionsOfLoads(spec, partition_of)
        partitions = await read_partitions(connection, asked, [letter.load_id for letter in letters])
        known = [partition for partition in partitions.values() if isinstance(partition, Partition)]
        if not known:
            return letters, partitions, ()
        await require_to_load(connection, spec, list(contract.columns), known)
        await record_bounds(connection, asked.found)
        target = await ensure_target(connection, spec, contract.columns, known)
        if spec.drift is Drift.EVOLVE:  # columns that loads have added since can be written too
            names = await read_columns_written(connection, str(spec.target))
            former = former_columns(spec.row)
            target = await with_columns(connection, target, [former.get(name, name) for name in names])
    try:
        contract.require_writable(target.column_types)
    except TargetMismatch as mismatch:
        raise TargetMismatch(f"target table {spec.target}: {mismatch}") from None
    return letters, partitions, target.columns


class _Replay:
    """One replay: its pool of one worker, its sessions, its results."""

    def __init__(
        self,
        spec: TableSpec,
        partitions: Mapping[int, Partition | UnknownPartition],
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
        self._partitions = partitions
        self._columns = columns
        self._actor = actor
        self._log = log
        self._on_outcome = on_outcome
        holder = Holder.this_process()
        self._gate = gate = OutageGate(url, writer, log=log, ended=self._outage_ended)
        self._sessions = SupervisorSessions(url, writer, size=2, holder=holder, gate=gate, log=log)
        self._incidents = IncidentRecorder(self._sessions, holder, actor.run_id, log=log)
        # One batch after the other, in source order: when letters share a key, the first is kept.
        one_worker = writer.model_copy(update={"workers": 1})
        self._pool = Pool(
            Hello.of(spec, url=url, settings=one_worker, holder=holder.token.hex, host=holder.host),
            gate=gate,
            notice=self._incidents.record,
            log=log,
            activity=Activity.REPLAY,
        )

    @property
    def worker_deaths(self) -> int:
        return self._pool.worker_deaths

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run pool and sessions while the block runs, and end all of them after it."""
        try:
            async with self._pool:
                yield
        finally:
            await self._incidents.close()
            await self._sessions.close()
            await self._gate.close()

    def _outage_ended(self, told: str) -> None:
        self._incidents.outage_ended(told)

    async def run(self, letters: Sequence[KeptDeadLetter]) -> None:
        """Try all dead letters, load by load."""
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
        """Why no dead letter of this one's load can be replayed; empty when they can."""
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
        partition = self._partitions[letter.load_id]
        return str(partition) if isinstance(partition, UnknownPartition) else ""

    def _batches(self, letters: Sequence[KeptDeadLetter]) -> Iterator[ReplayJob]:
        """Jobs in source order. A dead letter that has killed its workers gets a job alone."""
        batch: list[int] = []
        size_bytes = 0
        for letter in letters:
            kills = letter.stage == Stage.CRASH
            full = len(batch) == _BATCH_LETTERS_MAX or size_bytes + letter.payload_bytes > _BATCH_BYTES_MAX
            if batch and (full or kills):
                yield self._job(letters[0], batch)
                batch, size_bytes = [], 0
            if kills:
                yield self._job(letter, [letter.dead_letter_id], is_suspect=True)
                continue
            batch.append(letter.dead_letter_id)
            size_bytes += letter.payload_bytes
        if batch:
            yield self._job(letters[0], batch)

    def _job(self, letter: KeptDeadLetter, ids: Sequence[int], *, is_suspect: bool = False) -> ReplayJob:
        partition = self._partitions[letter.load_id]
        assert isinstance(partition, Partition)  # noqa: S101 - letters of loads without one are skipped
        return ReplayJob(
            self._spec.name,
            letter.load_id,
            partition,
            self._columns,
            self.replay,
            tuple(ids),
            self._actor,
            is_suspect=is_suspect,
        )

    def _tell(self, outcomes: Iterator[DeadLetterOutcome] | Sequence[DeadLetterOutcome]) -> None:
        for outcome in outcomes:
            self.outcomes.append(outcome)
            self._on_outcome(outcome)

    async def _settle(self, job: ReplayJob) -> list[DeadLetterOutcome]:
        """Have every dead letter of the job decided on, within bounds, and read the decisions from the ledger."""
        ids = job.dead_letter_ids
        for tries in itertools.count():
            outcomes = await self._sessions.transaction(
                "read what became of dead letters", lambda connection: read_outcomes(connection, ids, self.replay)
            )
            # All of them, or those that another process changed while they were prepared.
            left = [number for number, outcome in zip(ids, outcomes, strict=True) if outcome is None]
            if not left:
                return [outcome for outcome in outcomes if outcome is not None]
            if tries == _TRIES_MAX:
                raise ReplayFailed(
                    f"table {self._spec.name}, partition {job.partition.key}: {len(left)} dead letters were changed by "
                    "another process each time that they were tried; replay again when that has ended"
                )
            await self._commit(replace(job, dead_letter_ids=tuple(left)))
        raise AssertionError("numbers do not end")

    async def _commit(self, job: ReplayJob) -> None:
        """Have a worker try the job; raises the error that its failure stands for."""
        try:
            outcome = await self._pool.commit(job)
        except WorkerTerminated as ended:
            if isinstance(ended, ChunkTimedOut) and ended.exit_code is None:
                # The worker lives: it has cancelled the statement itself, and its summary names the row.
                raise DatabaseUnavailable(f"{job.name}: {ended.summary}; {job.resumption}") from ended
            raise ReplayFailed(
                f"{job.name}: worker after worker ended, the last one {ended.summary}. Look at "
                f"`rowledger incidents --table {self._spec.name}`, fix the cause, replay again"
            ) from ended
        except ChunkFailed as failure:
            raise ReplayFailed(f"table {self._spec.name}: {failure}") from failure
        if not isinstance(outcome, Failed):
            return
        told = f"{job.name}: {outcome.summary}"
        if outcome.failure is FailureKind.TRANSIENT:
            raise DatabaseUnavailable(f"{told} (after {outcome.retries} retries); {job.resumption}")
        if outcome.traceback and outcome.failure is FailureKind.FATAL:
            self._log(logging.ERROR, f"{job.name}:\n{outcome.traceback}")
        raise ReplayFailed(told)
