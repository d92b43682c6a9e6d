"""The design that lost 198 rows: `python -m benchmarks.incident.baseline FILE TABLE LOGS`, the URL in DATABASE_URL.

A parent reads the file and feeds a queue; twelve processes, each with a connection of its own, copy what they take from it.
This is no caricature: it is short, it is bounded in memory, and it loads every row as long as nothing fails. Its weak spots:

- A batch that a writer has taken exists nowhere else: the queue has forgotten it, and nobody knows which rows it held.
- No retry: a connection error runs up through `_copy`, `_drain` and `_write`, and ends the process with exit code 1.
- `join()` returns for a process that has failed just as for one that is done, and nobody reads `exitcode`.
- The others empty the queue for the dead one, so that the run ends on time and looks like any other.
- Each writer has a log file of its own, so that twelve of them do not write into each other's lines. The traceback goes there;
  the run's own log never sees it.
- The one figure that would tell, `lag`, is printed and compared with nothing.
"""

import argparse
import asyncio
import logging
import multiprocessing
import os
import sys
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import asyncpg
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

WRITERS = 12
BATCH_ROWS = 1_000
BATCHES_WAITING_MAX = 48

_log = logging.getLogger(__name__)


def main() -> None:
    """Load the file: exit code 0 when all writers have ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("table")
    parser.add_argument("logs", type=Path)
    parser.add_argument("--writers", type=int, default=WRITERS)
    parser.add_argument("--batch-rows", type=int, default=BATCH_ROWS)
    options = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    batches = context.Queue(maxsize=BATCHES_WAITING_MAX)
    written = context.Value("q", 0)
    writers = [
        context.Process(target=write, args=(options.logs / f"writer-{n}.log", options.table, batches, written))
        for n in range(options.writers)
    ]
    for writer in writers:
        writer.start()

    enqueued = 0
    with pq.ParquetFile(options.file) as file:
        for batch in file.iter_batches(batch_size=options.batch_rows):
            batches.put(batch)
            enqueued += batch.num_rows
    for _ in writers:
        batches.put(None)
    for writer in writers:
        writer.join()
    print(f"lag: {enqueued - written.value}")


def write(log: Path, table: str, batches: "Queue[pa.RecordBatch | None]", written: "Synchronized[int]") -> None:
    """A writer process."""
    sys.stderr = log.open("w", buffering=1)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    asyncio.run(_write(table, batches, written))


async def _write(table: str, batches: "Queue[pa.RecordBatch | None]", written: "Synchronized[int]") -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    try:
        await _drain(connection, table, batches, written)
    finally:
        await connection.close()


async def _drain(
    connection: asyncpg.Connection, table: str, batches: "Queue[pa.RecordBatch | None]", written: "Synchronized[int]"
) -> None:
    while (batch := await asyncio.to_thread(batches.get)) is not None:
        await _copy(connection, table, batch)
        with written.get_lock():
            written.value += batch.num_rows
    _log.info("nothing left to write")


async def _copy(connection: asyncpg.Connection, table: str, batch: pa.RecordBatch) -> None:
    # Below the 512 KiB that asyncpg sends in one go: it waits for room to send more without looking whether the server is gone.
    records = pl.DataFrame(batch).iter_rows()
    await connection.copy_records_to_table(table, records=records, columns=batch.schema.names)


if __name__ == "__main__":
    main()
