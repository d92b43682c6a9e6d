"""Have chunks committed by the workers, count the outcomes, and cancel the other chunks when one of them fails."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

from rowledger.chunk import ChunkJob
from rowledger.contract import Contract
from rowledger.counted import counted
from rowledger.errors import (
    ChunkFailed,
    DatabaseUnavailable,
    DeadLetterBudgetSpent,
    Fenced,
    RowledgerError,
    SourceError,
)
from rowledger.ledger import AlreadyCommitted, Committed, Failed, FailureKind
from rowledger.load.run_context import RunContext
from rowledger.spec import ChunkPlan, Column, LoadHandle, Partition, RowTransform

__all__ = ["ChunkCommits", "Committing", "first_error"]


class ChunkCommits:
    """Commits the chunks of one partition through the pool, and counts their progress."""

    def __init__(self, run: RunContext, partition: Partition) -> None:
        self._run = run
        self._spec = run.request.spec
        self._partition = partition
        self._progress = run.progress[partition.key]
        self._name = run.name_of(partition)

    async def commit_all(
        self, handle: LoadHandle, chunks: Sequence[ChunkPlan], columns: Sequence[Column], allowed: int
    ) -> None:
        """Have these chunks committed; the first failure cancels the others."""
        async with Committing() as committing:
            for chunk in chunks:
                committing.start(self.commit(handle, chunk, columns, allowed))

    async def commit(self, handle: LoadHandle, chunk: ChunkPlan, columns: Sequence[Column], allowed: int) -> None:
        """Have one chunk committed into these columns; raises the error that its failure stands for.

        Raises DeadLetterBudgetSpent where the partition now has more than `allowed` dead letters.
        """
        key = self._partition.key
        job = ChunkJob(handle, self._partition, chunk, tuple(columns), attempt=1, dead_letters_max=allowed)
        outcome = await self._run.pool.commit(job)
        self._progress.retries += outcome.retries
        if isinstance(outcome, Failed):
            if outcome.failure is FailureKind.FATAL and outcome.traceback:
                self._run.request.observer.log(
                    logging.ERROR, f"partition {key}, chunk {chunk.chunk_no}:\n{outcome.traceback}"
                )
            raise _as_error(outcome, self._name, key, chunk.chunk_no)
        assert isinstance(outcome, Committed | AlreadyCommitted)  # noqa: S101 - nothing else was asked for
        self._progress.add(outcome)
        self._say_rate(chunk, outcome.check_s)
        refused = self._progress.committed.dead_lettered_rows
        if refused > allowed:
            raise DeadLetterBudgetSpent(
                f"{self._name}: {counted(refused, 'row')} refused, the partition may have {allowed}"
            )

    def _say_rate(self, chunk: ChunkPlan, check_s: float) -> None:
        """Log how fast rows are checked, where Python checks them one by one."""
        slowly = Contract.of(self._spec.row).row_by_row is not None or isinstance(self._spec.transform, RowTransform)
        if slowly and check_s > 0:
            rate = f"{chunk.rows / check_s:,.0f} rows/s through Python, a worker"
            self._run.request.observer.log(logging.INFO, f"{self._name}, chunk {chunk.chunk_no}: {rate}")


class Committing:
    """Chunks being committed. The first that fails cancels the others and the code in the block."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, committing: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self._group.create_task(committing))

    async def cancel(self) -> None:
        """Cancel what was started so far; the block continues."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        try:
            await self._group.__aexit__(kind, error, frames)
        except BaseExceptionGroup as group:
            raise first_error(group) from None


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a task group. The others are its consequences, or a rerun meets them again."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error


def _as_error(outcome: Failed, name: str, partition_key: str, chunk_no: int) -> RowledgerError:
    """A worker's failure as the error that tells the reader what to do."""
    text = f"{name}, chunk {chunk_no}: {outcome.summary}"
    match outcome.failure:
        case FailureKind.FENCED:
            return Fenced(text)
        case FailureKind.SOURCE:
            return SourceError(text)
        case FailureKind.BUDGET:
            return DeadLetterBudgetSpent(text, refused_rows=outcome.refused_rows)
        case FailureKind.TRANSIENT | FailureKind.CONNECTION_LOST | FailureKind.TIMED_OUT | FailureKind.STALLED:
            return DatabaseUnavailable(f"{text} (after {outcome.retries} retries); a rerun resumes at this chunk")
        case FailureKind.FATAL:
            return ChunkFailed(
                f"{text}; a rerun resumes at this chunk",
                partition_key=partition_key,
                chunk_no=chunk_no,
                worker_traceback=outcome.traceback,
            )
