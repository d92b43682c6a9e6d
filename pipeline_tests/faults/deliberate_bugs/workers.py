"""Mistakes about worker processes: their end, their signs of life, their sessions."""

import itertools

from pipeline_tests.faults.deliberate_bugs.bug import bug, in_place_of, in_query
from rowledger.chunk import ChunkJob, Job, PlanJob
from rowledger.ledger import ChunkOutcome, Committed, RowCounts
from rowledger.workers.child_process import ChildDied
from rowledger.workers.handle import WorkerHandle
from rowledger.workers.messages import Heartbeat, LogLine, Outcome, Ready, decode_from_worker
from rowledger.workers.slot import Slot

_CRASH_TESTS = "pipeline_tests/faults/test_crashing_rows.py"
_SERVER_TESTS = "pipeline_tests/faults/test_server_resources.py"


@bug(
    test=f"{_CRASH_TESTS}::test_two_such_rows_of_a_chunk_and_a_refused_one_are_all_kept",
    noticed="1 chunk is pending in the ledger though reported as committed",
)
def exit_code_0_is_success() -> None:
    """A worker that ended with exit code 0 must have written its chunk."""
    right = WorkerHandle.attempt

    @in_place_of(WorkerHandle.attempt)
    async def attempt(self: WorkerHandle, job: Job | PlanJob) -> ChunkOutcome:
        try:
            return await right(self, job)
        except ChildDied as death:
            if death.exit_code == 0 and isinstance(job, ChunkJob):
                return Committed(counts=RowCounts(written_rows=job.chunk.rows))
            raise


@bug(
    test=f"{_SERVER_TESTS}::test_a_worker_that_beats_but_does_not_get_on_is_replaced[it cannot]",
    noticed="it is missed: not within 30",
)
def heartbeat_taken_for_progress() -> None:
    """A worker that beats is well, whether or not it gets on."""
    beats = itertools.count(1)

    @in_place_of(decode_from_worker)
    def decode(line: bytes) -> Ready | Heartbeat | LogLine | Outcome:
        message = decode_from_worker(line)
        if isinstance(message, Heartbeat):
            return message.model_copy(update={"progress": message.progress + next(beats)})
        return message


@bug(
    test="pipeline_tests/integration/postgres/test_sessions.py::test_a_backend_that_got_a_dead_one_s_pid_is_left_alone",
    noticed="assert True is None",
)
def backend_ended_by_pid_alone() -> None:
    """A dead worker's session is told from others by its backend's pid."""
    in_query("terminate_backend", r"backend_start = \$2", r"$2::timestamptz is not null")


@bug(
    test="pipeline_tests/integration/postgres/test_sessions.py"
    "::test_a_backend_that_a_pooler_gave_to_another_client_is_left_alone",
    noticed="assert True is None",
)
def backend_ended_whoever_has_it() -> None:
    """A dead worker's session is not told from that of the client to which a pooler has given its backend since."""
    in_query("terminate_backend", r"application_name like any \(\$3::text\[\]\)", "$3::text[] is not null")


@bug(
    test="pipeline_tests/integration/dead_letters/test_dead_letters.py"
    "::test_the_first_row_stays_even_if_its_chunk_is_written_last",
    noticed="1 chunk is pending in the ledger though reported as committed",
)
def exit_code_ignored() -> None:
    """A worker's death is logged and recorded, and its chunk counts as done."""
    right = Slot._attempt

    @in_place_of(Slot._attempt)
    async def attempt(self: Slot, job: Job | PlanJob) -> tuple[ChunkOutcome, int]:
        try:
            return await right(self, job)
        except ChildDied as death:
            if not isinstance(job, ChunkJob):
                raise
            dead = self._take_worker()
            await self._workforce.record_death(dead, death, job)
            return Committed(counts=RowCounts(written_rows=job.chunk.rows)), dead.pid
