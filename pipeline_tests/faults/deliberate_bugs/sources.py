"""Mistakes about sources: files that change, sources that fail, and what a rerun may go on with."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_tests.faults.deliberate_bugs.bug import bug, in_place_of, in_query
from rowledger.errors import SourceError
from rowledger.ledger import LoadingLoad, is_plan_of, loads
from rowledger.load import begin
from rowledger.load.begin import Beginning
from rowledger.sources.copy_out import CopyOut
from rowledger.sources.file_identity import FileStatus, _opened, require_as_planned
from rowledger.sources.query_errors import QueryRefused
from rowledger.sources.text_ranges import text_range
from rowledger.sources.typed_columns import _is_plain
from rowledger.spec import ChunkDescriptor, LoadHandle, Manifest, TextRange
from rowledger.workers import Produced, producers
from rowledger.workers.child_process import ChildDied
from rowledger.workers.producer import ProducerHandle

_LOAD_TESTS = "pipeline_tests/integration/load/test_load.py"
_RECONCILE_TESTS = "pipeline_tests/integration/publish/test_reconcile.py"
_PRODUCER_TESTS = "pipeline_tests/faults/test_producers.py"
_STREAMING_TESTS = "pipeline_tests/integration/sources/test_streaming.py"


@bug(
    test=f"{_LOAD_TESTS}::test_an_unfinished_load_of_another_plan_is_abandoned[source]",
    noticed="the manifest in the ledger is not the one planned from the source",
)
def resumed_under_another_plan() -> None:
    """A load that was begun is gone on with."""
    right = Beginning._can_resume

    @in_place_of(Beginning._can_resume)
    async def can_resume(self: Beginning, connection: asyncpg.Connection, found: LoadingLoad) -> bool:
        if self._manifest is not None:
            found = replace(found, manifest_digest=self._manifest.digest)
        return await right(self, connection, found)

    @in_place_of(is_plan_of, within=begin)
    async def is_plan(connection: asyncpg.Connection, handle: LoadHandle, manifest: Manifest) -> bool:
        return True


@bug(
    test=f"{_RECONCILE_TESTS}::test_a_load_that_began_without_fingerprints_is_not_resumed_with_them",
    noticed="has no fingerprint to compare with",
)
def resumed_under_another_contract() -> None:
    """A load of the same rows is gone on with."""
    right = Beginning._can_resume

    @in_place_of(Beginning._can_resume)
    async def can_resume(self: Beginning, connection: asyncpg.Connection, found: LoadingLoad) -> bool:
        return await right(self, connection, replace(found, contract_digest=self._contract_digest))


@bug(
    test="pipeline_tests/unit/sources/test_parquet_source.py::test_other_content_of_the_same_size_is_noticed",
    noticed="DID NOT RAISE",
)
def source_not_looked_at_again() -> None:
    """The file was looked at when it was planned."""

    @in_place_of(require_as_planned)
    def require(path: Path, now: FileStatus, descriptor: ChunkDescriptor) -> None:
        return


@bug(
    test="pipeline_tests/unit/sources/test_file_identity.py::test_a_chunk_is_read_from_the_file_that_was_looked_at[parquet]",
    noticed="AssertionError",
)
def file_read_by_its_name() -> None:
    """Who looks at a file before and after it is read sees every change of it."""
    right = _opened

    @in_place_of(_opened)
    @contextlib.contextmanager
    def by_name(file: Path) -> Iterator[tuple[Path, FileStatus]]:
        with right(file) as (_, status):
            yield file, status


@bug(
    test=f"{_STREAMING_TESTS}::test_a_rerun_whose_source_gives_other_chunks_loads_those[other rows]",
    noticed="AssertionError",
)
def spooled_chunks_known_by_their_size() -> None:
    """A chunk with the same number and the same rows is the one that has committed."""
    in_query("state_of_chunk", r"digest = \$5", "$5::text is not null")

    @in_place_of(is_plan_of, within=loads)
    async def is_plan(connection: asyncpg.Connection, handle: LoadHandle, manifest: Manifest) -> bool:
        return True


@bug(
    test=f"{_STREAMING_TESTS}"
    "::test_a_source_that_fails_publishes_nothing_and_a_rerun_goes_on_behind_what_had_committed",
    noticed="isinstance(None, SourceError)",
)
def failure_of_a_source_taken_for_its_end() -> None:
    """A source that raises has no more rows."""

    right = ProducerHandle._chunks

    @in_place_of(ProducerHandle._chunks)
    async def chunks(self: ProducerHandle) -> AsyncIterator[Produced]:
        with contextlib.suppress(SourceError):
            async for chunk in right(self):
                yield chunk


@bug(
    test=f"{_PRODUCER_TESTS}"
    "::test_a_function_that_ends_its_process_is_an_incident_and_a_rerun_goes_on_behind_what_had_committed[exits]",
    noticed="isinstance(None, ProducerTerminated)",
)
def death_of_a_producer_taken_for_the_end_of_its_source() -> None:
    """A producer that is gone has no more rows."""
    right = ProducerHandle._chunks

    @in_place_of(ProducerHandle._chunks)
    async def chunks(self: ProducerHandle) -> AsyncIterator[Produced]:
        with contextlib.suppress(ChildDied):
            async for chunk in right(self):
                yield chunk


@bug(
    test=f"{_PRODUCER_TESTS}::test_a_source_that_gives_other_rows_when_it_is_read_again_fails_its_partition",
    noticed="isinstance(None, SourceError)",
)
def source_read_again_is_believed() -> None:
    """What a source gives when it is read again is what it has given before."""

    @in_place_of(producers._require_same)
    def require(before: ChunkDescriptor, again: ChunkDescriptor) -> None:
        pass


@bug(
    test=f"{_PRODUCER_TESTS}::test_a_fault_in_the_middle_of_a_query_fails_its_partition_and_a_rerun_goes_on_behind_"
    "what_had_committed[as text-is terminated]",
    noticed="isinstance(None, <class 'rowledger.errors.SourceError'>)",
)
def query_over_with_its_session() -> None:
    """Behind the last row there are no others."""
    right = CopyOut.fetch

    @in_place_of(CopyOut.fetch)
    def fetch(self: CopyOut) -> bytes | None:
        try:
            return right(self)
        except QueryRefused:
            return None


@bug(
    test="pipeline_tests/unit/sources/test_text_ranges.py::"
    "test_a_range_that_has_other_bytes_than_were_scanned_is_not_read[other bytes]",
    noticed="DID NOT RAISE",
)
def range_read_unseen() -> None:
    """The scan has just read these bytes."""

    @in_place_of(text_range)
    def read(descriptor: ChunkDescriptor) -> bytes:
        text = descriptor.text or TextRange(offset=0, length=0)
        return Path(descriptor.path).read_bytes()[text.offset :][: text.length]


@bug(
    test="pipeline_tests/unit/sources/test_typed_columns.py::test_a_typed_column_is_what_the_contract_makes_of_the_texts",
    noticed="assert",
)
def pyarrow_trusted() -> None:
    """A value that pyarrow reads is the value."""

    @in_place_of(_is_plain)
    def is_plain(dtype: pl.DataType, sizes: npt.NDArray[np.int32], content: npt.NDArray[np.uint8]) -> bool:
        return True
