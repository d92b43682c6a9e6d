"""What is left when everything is left out: read, encode, send; no ledger, no contract, no guards.

Written against the libraries themselves, so that it stays the same whatever the pipeline does.
"""

from collections.abc import AsyncIterator

import asyncpg
import polars as pl
import uvloop
from pgpq import ArrowToPostgresBinaryEncoder

from benchmarks.contestants.frames import read_frames
from benchmarks.contestants.task import SCHEMA, Task

BATCH_ROWS = 16_384  # larger ones leave the processor's cache


def load(task: Task) -> None:
    """Write one share in one COPY."""
    uvloop.run(_load(task))


def add_key_and_count(task: Task) -> None:
    """What a person does who wants a key and wants to know that all is there."""
    uvloop.run(_add_key_and_count(task))


async def _load(task: Task) -> None:
    connection = await asyncpg.connect(task.url)
    await connection.execute("set synchronous_commit = off")
    await connection.copy_to_table(task.table, schema_name=SCHEMA, source=_pieces(task), format="binary")
    await connection.close()


async def _pieces(task: Task) -> AsyncIterator[bytes]:
    encoder = None
    for frame in read_frames(task):
        rows = frame.to_arrow(compat_level=pl.CompatLevel.newest())
        if encoder is None:
            encoder = ArrowToPostgresBinaryEncoder(rows.schema)
            yield encoder.write_header()
        for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
            yield encoder.write_batch(batch)
    if encoder is not None:
        yield encoder.finish()


async def _add_key_and_count(task: Task) -> None:
    connection = await asyncpg.connect(task.url)
    await connection.execute(f"alter table {SCHEMA}.{task.table} add primary key ({', '.join(task.key)})")
    await connection.fetchval(f"select count(*) from {SCHEMA}.{task.table}")  # noqa: S608 - our own names
    await connection.close()
