"""What is left of the workers when ledger, publish and guards are taken away: read a chunk, encode it, COPY it.

`is_prepared` leaves the contract and the client's half of the fingerprint in. Chunks, reader and encoder are Rowledger's own:
the difference to a full load is what was taken away.
"""

import asyncio
import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import asyncpg

from rowledger.chunk.preparation import prepare_rows
from rowledger.contract.check import Contract
from rowledger.contract.frame_totals import fingerprint_frame
from rowledger.postgres.copy import copy_rows, encode_rows
from rowledger.settings import WriterSettings
from rowledger.spec.manifest import ChunkPlan, Manifest
from rowledger.spec.partition import WHOLE
from rowledger.spec.source import SourceContext
from rowledger.spec.table import TableSpec
from rowledger.workers.guards import default_workers


def copy_chunks(url: str, spec: TableSpec, landing: Path, writer: WriterSettings, *, is_prepared: bool) -> int:
    """Copy the one partition of an unpartitioned spec into its fresh target; returns its rows."""
    scope = SourceContext(landing_dir=landing, spool_dir=landing, chunk_rows_max=writer.chunk_rows_max)
    manifest = Manifest.of(list(spec.source.chunks(WHOLE, scope)))
    asyncio.run(_create_target(url, spec))
    os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1")  # as Rowledger's own workers have it
    context = multiprocessing.get_context("spawn")
    count = writer.workers or default_workers()
    processes = [
        context.Process(target=_work, args=(url, spec.as_json(), manifest.chunks[n::count], writer, is_prepared))
        for n in range(count)
    ]
    with _nothing_to_import_again():
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a bare process failed")
    return manifest.enqueued_rows


@contextlib.contextmanager
def _nothing_to_import_again() -> Iterator[None]:
    """A spawned process imports the main module of its parent, which Rowledger's own workers do not either."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


async def _create_target(url: str, spec: TableSpec) -> None:
    columns = ", ".join(f"{column.name} {column.type.sql} not null" for column in Contract.of(spec.row).columns)
    connection = await asyncpg.connect(url)
    await connection.execute(f"create schema if not exists {spec.target.schema_name}")
    await connection.execute(f"create table {spec.target} ({columns})")
    await connection.close()


def _work(url: str, spec_json: str, chunks: Sequence[ChunkPlan], writer: WriterSettings, is_prepared: bool) -> None:  # noqa: FBT001 - passed to another process by place
    spec = TableSpec.from_json(spec_json)
    asyncio.run(_copy(url, spec, chunks, writer, is_prepared=is_prepared))


async def _copy(
    url: str, spec: TableSpec, chunks: Sequence[ChunkPlan], writer: WriterSettings, *, is_prepared: bool
) -> None:
    columns = Contract.of(spec.row).columns
    partition = WHOLE
    connection = await asyncpg.connect(url)
    await connection.execute("set synchronous_commit = off")
    for chunk in chunks:
        frame = spec.source.read(chunk.descriptor)
        if is_prepared:
            row_nos = range(chunk.first_row, chunk.first_row + chunk.rows)
            frame = prepare_rows(spec, columns, frame, row_nos, partition, dead_letters_max=0).good
            fingerprint_frame(frame, columns)
        await copy_rows(
            connection,
            encode_rows(frame, columns, writer.batch_rows),
            schema_name=spec.target.schema_name,
            table_name=spec.target.table,
            columns=columns,
            on_sent=lambda _sent: None,
        )
    await connection.close()
