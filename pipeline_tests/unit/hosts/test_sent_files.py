"""Files that travel with a chunk: each chunk finds its own bytes on the host, however many come at once."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS
from rowledger.chunk.jobs import ChunkJob
from rowledger.errors import NotEnoughSpace, SourceError
from rowledger.hosts.messages import SentFile
from rowledger.hosts.sent_files import MissingFile, ReceivedFiles, pack
from rowledger.sources.file_identity import file_digest
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


def _job(path: Path, number: int = 0, *, origin: str = "", digest_of_path: str = "") -> ChunkJob:
    digest = f"{file_digest(path)} {digest_of_path}".strip()
    size = path.stat().st_size
    descriptor = ChunkDescriptor(
        path=str(path), file_bytes=size, file_digest=digest, row_offset=0, rows=1, origin=origin
    )
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


def test_a_spooled_file_that_has_changed_since_it_was_written_is_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "0.arrow"
    file.write_bytes(b"rows")
    job = _job(file)
    file.write_bytes(b"swor")
    with pytest.raises(SourceError, match=r"0\.arrow: its content changed since it was planned"):
        pack(job, tmp_path)


def test_an_object_is_fetched_by_the_digest_of_its_bytes_though_its_folders_have_values(tmp_path: Path) -> None:
    file = tmp_path / "fetched-0"
    file.write_bytes(b"rows")
    packed = pack(_job(file, origin="s3://bucket/year=2024/a.parquet", digest_of_path="year=2024"), tmp_path)
    assert [sent.digest for sent in packed.files] == [file_digest(file)]
    assert packed.content == b""


def test_nothing_of_a_chunk_that_cannot_be_unpacked_stays_behind(tmp_path: Path) -> None:
    file = tmp_path / "0.arrow"
    file.write_bytes(b"rows")
    packed = pack(_job(file), tmp_path)
    copies = tmp_path / "copies"
    copies.mkdir()
    missing = SentFile(name="other", digest="0", size=1, follows=False, shared=True)
    with pytest.raises(MissingFile):
        ReceivedFiles(lambda: copies).unpack(packed.job, (*packed.files, missing), packed.content)
    with pytest.raises(MissingFile, match="arrived damaged"):
        ReceivedFiles(lambda: copies).unpack(packed.job, (*packed.files, *packed.files), packed.content)
    assert not list(copies.iterdir())


def test_a_host_without_room_for_what_it_is_sent_says_so(tmp_path: Path) -> None:
    file = tmp_path / "0.arrow"
    file.write_bytes(b"rows")
    packed = pack(_job(file), tmp_path)
    with pytest.raises(NotEnoughSpace, match=r"cannot keep what was sent \(No such file or directory\)"):
        ReceivedFiles(lambda: tmp_path / "nowhere").unpack(packed.job, packed.files, packed.content)


@pytest.mark.parametrize("origin", ["s3://bucket/a.parquet", "https://example.org/a.parquet"])
def test_a_file_that_several_chunks_read_is_sent_once_and_kept(tmp_path: Path, origin: str) -> None:
    file, copies = tmp_path / "fetched-0-a.parquet", tmp_path / "copies"
    file.write_bytes(b"rows")
    copies.mkdir()
    first, second = (_job(file, number, origin=origin) for number in (0, 1))
    received = ReceivedFiles(lambda: copies)
    whole = pack(first, tmp_path, sent_whole=True)
    assert whole.content == b"rows"
    job, passing = received.unpack(whole.job, whole.files, whole.content)
    without = pack(second, tmp_path)
    assert without.content == b""
    another, also_passing = received.unpack(without.job, without.files, without.content)
    assert another.chunk.descriptor.path == job.chunk.descriptor.path
    assert Path(job.chunk.descriptor.path).read_bytes() == b"rows"
    assert passing == also_passing == []


def test_a_file_of_a_web_address_is_asked_for_where_the_host_does_not_have_it(tmp_path: Path) -> None:
    file = tmp_path / "fetched-0-a.parquet"
    file.write_bytes(b"rows")
    packed = pack(_job(file, origin="https://example.org/a.parquet"), tmp_path)
    with pytest.raises(MissingFile, match="it was not sent yet"):
        ReceivedFiles(lambda: tmp_path).unpack(packed.job, packed.files, packed.content)
