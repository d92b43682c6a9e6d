"""Contestants that no benchmark should believe: each loads nearly what it should."""

import asyncio

import asyncpg

from benchmarks.contestants import bare
from benchmarks.contestants.task import SCHEMA, Task


def lose_a_row(task: Task) -> None:
    bare.load(task)
    _execute(task, "delete from {table} where ctid = (select min(ctid) from {table})")


def double_for_lost(task: Task) -> None:
    lose_a_row(task)
    _execute(task, "insert into {table} select * from {table} limit 1")


def change_a_value(task: Task) -> None:
    bare.load(task)
    _execute(task, "update {table} set l_tax = l_tax + 0.01 where ctid = (select min(ctid) from {table})")


def swap_values(task: Task) -> None:
    """Two rows that differ in one column exchange its values: no sum over a column sees that."""
    bare.load(task)
    _execute(
        task,
        "update {table} set l_partkey = case l_partkey when 1 then 2 else 1 end where l_partkey in (1, 2)",
    )


def fail(task: Task) -> None:
    raise SystemExit(f"cannot reach {task.url}")


def load_nothing(_task: Task) -> None: ...


def _execute(task: Task, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(task.url)
        await connection.execute(statement.format(table=f"{SCHEMA}.{task.table}"))
        await connection.close()

    asyncio.run(execute())
