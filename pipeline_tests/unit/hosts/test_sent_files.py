"""Files that travel with a chunk: each chunk finds its own bytes on the host, however many come at once."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS
from rowledger.chunk.jobs import ChunkJob
from rowledger.hosts.sent_files import ReceivedFiles, pack
from rowledger.spec.load_handle import LoadHandle
from rowledger.spec.manifest import ChunkDescriptor, ChunkPlan

_CHUNKS = 400


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def _job(path: Path, number: int) -> ChunkJob:
    descriptor = ChunkDescriptor(path=str(path), file_bytes=1, file_mtime_ns=1, file_digest="d", row_offset=0, rows=1)
    plan = ChunkPlan(number, number, descriptor)
    return ChunkJob(LoadHandle(7, 1), partition_of(EVENTS, DAY), plan, (), attempt=1, dead_letters_max=0)


@pytest.mark.usefixtures("hasty_threads")
def test_chunks_that_arrive_at_once_have_copies_of_their_own(tmp_path: Path) -> None:
    spool, copies = tmp_path / "spool", tmp_path / "copies"
    spool.mkdir()
    copies.mkdir()
    packed = []
    for number in range(_CHUNKS):
        file = spool / f"{number}.arrow"
        file.write_bytes(b"%d" % number)
        packed.append(pack(_job(file, number), spool))
    received = ReceivedFiles(lambda: copies)
    with ThreadPoolExecutor(8) as threads:
        unpacked = list(threads.map(lambda one: received.unpack(one.job, one.files, one.content), packed))
    for number, (job, passing) in enumerate(unpacked):
        assert Path(job.chunk.descriptor.path).read_bytes() == b"%d" % number
        assert passing == [Path(job.chunk.descriptor.path)]
