"""pandas as most scripts use it: frames of some thousand rows, `to_sql` with many rows in an INSERT."""

from collections.abc import Iterator

import pandas as pd
from sqlalchemy import create_engine, make_url

from benchmarks.contestants.task import SCHEMA, Task

_ROWS = 50_000
_INSERT_PARAMETERS_MAX = 16_000


def load(task: Task) -> None:
    """Append all rows in one transaction."""
    engine = create_engine(make_url(task.url).set(drivername="postgresql+psycopg2"))
    with engine.begin() as connection:
        for frame in _frames(task):
            frame.to_sql(
                task.table,
                connection,
                schema=SCHEMA,
                if_exists="append",
                index=False,
                method="multi",
                chunksize=_INSERT_PARAMETERS_MAX // len(task.columns),
            )


def _frames(task: Task) -> Iterator[pd.DataFrame]:
    if task.format == "csv":
        # By default the last digit of a float may be another one.
        yield from pd.read_csv(task.file, chunksize=_ROWS, float_precision="round_trip")
        return
    from benchmarks.contestants.frames import read_dicts  # noqa: PLC0415 - of the function's own cost

    for page in read_dicts(task):
        yield pd.DataFrame.from_records(page, columns=list(task.columns))
