"""The ceiling: the server itself reads ready files of binary COPY, two at once. No client can be faster than that."""

import asyncio
from pathlib import Path

import asyncpg

from benchmarks.contestants.task import SCHEMA, Task


def load(task: Task) -> None:
    """One COPY a file, all at once."""
    asyncio.run(_load(task))


async def _load(task: Task) -> None:
    async with asyncio.TaskGroup() as copies:
        for file in task.copy_files:
            copies.create_task(_copy(task, file))


async def _copy(task: Task, file: Path) -> None:
    connection = await asyncpg.connect(task.url)
    await connection.execute("set synchronous_commit = off")
    path = str(file).replace("'", "''")
    await connection.execute(f"copy {SCHEMA}.{task.table} from '{path}' (format binary)")
    await connection.close()
