"""The only module that owns a replay's transaction: it writes dead letters' rows, and updates the letters and the load.

It corresponds to `transaction` for a chunk. Rows are prepared before the transaction begins. Within it, COPY into a staging
table of the target's shape finds the rows that the target's types and checks refuse; the INSERT from there returns the rows
as stored.
"""

from collections.abc import Callable
from dataclasses import replace

from rowledger.chunk.jobs import ReplayJob
from rowledger.chunk.replay_preparation import prepare_dead_letters
from rowledger.chunk.replay_writing import ReplayWriting
from rowledger.contract import Contract, Refusal, Stage
from rowledger.errors import DiscrepancyFound
from rowledger.failpoints import Place, failpoint
from rowledger.ledger import (
    Replayed,
    is_entry_as_written,
    lock_dead_letters,
    lock_published_load,
    read_replay_dead_letters,
    read_row_types_of_chunks,
)
from rowledger.postgres import Session, begin, ensure_target, transaction_limits
from rowledger.settings import WriterSettings
from rowledger.spec import TableSpec

__all__ = ["replay_dead_letters"]


async def replay_dead_letters(
    session: Session,
    spec: TableSpec,
    job: ReplayJob,
    settings: WriterSettings,
    *,
    on_progress: Callable[[int], None],
) -> Replayed:
    """Try the job's letters on which the replay has not decided yet, and record the decisions in the ledger.

    Letters in `job.set_aside` are refused untried.

    A lost COMMIT reply does no harm: the load's row is locked first, so an earlier attempt in doubt has ended, and the letters
    that it settled are left out. The caller sets the deadline, and closes the connection after any error.
    """
    connection = session.connection
    letters = await read_replay_dead_letters(connection, job.dead_letter_ids, job.replay)
    types = await read_row_types_of_chunks(connection, job.load_id, sorted({letter.chunk_no for letter in letters}))
    failpoint(Place.BEFORE_REPLAY, **job.facts)
    tried = [letter for letter in letters if letter.dead_letter_id not in job.set_aside]
    failpoint(Place.WHILE_ENCODING, **job.facts, row=[letter.row_no for letter in tried])
    prepared = prepare_dead_letters(spec, job, tried, types)
    for dead_letter_id, reason in job.set_aside.items():
        prepared.refused[dead_letter_id] = Refusal(stage=Stage.CRASH, reason=reason)
    on_progress(len(letters))
    await begin(connection, transaction_limits(settings, idle_timeout_s=settings.stall_timeout_s, durable=True))
    # A deferred constraint would fail at COMMIT, where its error could not be attributed to a row.
    await connection.execute("set constraints all immediate")
    load = await lock_published_load(connection, job.load_id)
    if load is None:
        await connection.execute("rollback")
        return Replayed()
    if not await is_entry_as_written(connection, job.load_id):
        raise DiscrepancyFound(
            f"load {job.load_id}: its entry in the ledger was changed by hand since Rowledger wrote it, so no dead "
            "letter of it is replayed; look at `rowledger verify`, and load the partition again"
        )
    # A lost attempt of this replay may have settled letters, or another process changed them, since they were prepared.
    unchanged = await lock_dead_letters(connection, letters)
    letters = [letter for letter in letters if letter.dead_letter_id in unchanged]
    if letters:
        target = await ensure_target(connection, spec, Contract.of(spec.row).columns, [job.partition])
        target = replace(target, columns=job.columns)
        await ReplayWriting(connection, spec, target, load, job, settings, prepared, on_progress).run(letters)
    failpoint(Place.BEFORE_REPLAY_COMMIT, **job.facts)
    await connection.execute("commit")
    failpoint(Place.AFTER_REPLAY_COMMIT, **job.facts)
    return Replayed()
