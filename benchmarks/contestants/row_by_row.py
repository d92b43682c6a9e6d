"""The incident's way: a model object a row, its values as a tuple, batches through `copy_records_to_table`."""

import asyncio
import importlib

import asyncpg
from pydantic import BaseModel

from benchmarks.contestants.frames import read_frames
from benchmarks.contestants.task import SCHEMA, Task

BATCH_ROWS = 1_000


def load(task: Task) -> None:
    """Write one share, a COPY a batch."""
    asyncio.run(_load(task))


async def _load(task: Task) -> None:
    module, _, name = task.row.partition(":")
    model: type[BaseModel] = getattr(importlib.import_module(module), name)
    connection = await asyncpg.connect(task.url)
    for frame in read_frames(task):
        for batch in frame.iter_slices(BATCH_ROWS):
            records = [tuple(model(**row).model_dump().values()) for row in batch.iter_rows(named=True)]
            await connection.copy_records_to_table(
                task.table, schema_name=SCHEMA, records=records, columns=list(task.columns)
            )
    await connection.close()
