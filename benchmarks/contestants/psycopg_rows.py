"""psycopg 3, as its manual shows COPY: rows of Python values, `copy.write_row`."""

import psycopg

from benchmarks.contestants.frames import read_frames
from benchmarks.contestants.task import SCHEMA, Task


def load(task: Task) -> None:
    """Write one share in one COPY."""
    with (
        psycopg.connect(task.url) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"copy {SCHEMA}.{task.table} from stdin") as copy,
    ):
        for frame in read_frames(task):
            for row in frame.iter_rows():
                copy.write_row(row)
