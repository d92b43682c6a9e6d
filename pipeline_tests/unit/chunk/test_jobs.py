"""What the search for rows that kill makes of a job: parts of it, and the same work without some of its rows."""

from uuid import UUID

from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS
from rowledger.chunk.jobs import ChunkJob, Job, ReplayJob
from rowledger.ledger.actor import Actor
from rowledger.settings import WriterSettings
from rowledger.spec.load_handle import LoadHandle
from rowledger.spec.manifest import ChunkDescriptor, ChunkPlan

_PARTITION = partition_of(EVENTS, DAY)
_DESCRIPTOR = ChunkDescriptor(path="a", file_bytes=1, file_mtime_ns=1, file_digest="d", row_offset=0, rows=10)
_CHUNK = ChunkJob(LoadHandle(7, 1), _PARTITION, ChunkPlan(2, 100, _DESCRIPTOR), (), attempt=1, dead_letters_max=5)
_REPLAY = ReplayJob("events", 7, _PARTITION, (), UUID(int=1), (31, 35, 39), Actor("a test"))


def test_both_kinds_tell_a_pool_where_they_belong() -> None:
    jobs: list[Job] = [_CHUNK, _REPLAY]
    assert [(job.load_id, job.partition_key, job.chunk_no, job.rows) for job in jobs] == [
        (7, DAY, 2, 10),
        (7, DAY, None, 3),
    ]
    assert [job.numbered(4).attempt for job in jobs] == [4, 4]


def test_positions_are_rows_of_the_partition_or_dead_letters() -> None:
    assert list(_CHUNK.probing(3, 5).row_nos) == [103, 104]
    assert _CHUNK.row_name(3) == "row 103"
    assert _REPLAY.probing(1, 3).dead_letter_ids == (35, 39)
    assert _REPLAY.row_name(1) == "dead letter 35"


def test_rows_set_aside_stay_so_when_others_follow() -> None:
    chunk = _CHUNK.without([0], "first").without([9], "second")
    assert chunk.set_aside == {100: "first", 109: "second"}
    assert list(chunk.row_nos) == list(range(101, 109))
    assert _REPLAY.without([2], "it kills").set_aside == {39: "it kills"}


def test_a_load_may_lose_as_many_rows_as_its_settings_say_and_a_replay_any_number() -> None:
    limits = WriterSettings(crash_rows_max=2)
    assert [_CHUNK.may_set_aside(rows, limits) for rows in (1, 2, 3)] == [True, True, False]
    assert not _CHUNK.may_set_aside(1, WriterSettings(crash_rows_max=0))
    assert _REPLAY.may_set_aside(1000, WriterSettings(crash_rows_max=0))
