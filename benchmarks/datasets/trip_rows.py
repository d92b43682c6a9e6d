"""Taxi-like trips: nulls, timestamps, floats and short texts that repeat; made here, the same at any time.

There is no NaN among the floats, since JSON has none, and no empty text, since CSV readers differ on it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks.datasets.trips import STOPS

__all__ = ["ROWS_OF_SCALE_1", "WIDE_ROWS_OF_SCALE_1", "write", "write_wide"]

ROWS_OF_SCALE_1 = 6_000_000
WIDE_ROWS_OF_SCALE_1 = 1_000_000
_GROUP_ROWS = 131_072
_PAYMENTS = ("card", "cash", "free", "dispute")
_ZONES = tuple(f"{borough} {n}" for borough in ("Bronx", "Brooklyn", "Manhattan", "Queens") for n in range(1, 61))
_BEGIN_US = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def write(file: Path, scale: float) -> None:
    """Write six columns; scale 1 is 6,000,000 rows."""
    _write(file, max(1, round(ROWS_OF_SCALE_1 * scale)), stops=0)


def write_wide(file: Path, scale: float) -> None:
    """Write 61 columns; scale 1 is 1,000,000 rows."""
    _write(file, max(1, round(WIDE_ROWS_OF_SCALE_1 * scale)), stops=STOPS)


def _write(file: Path, rows: int, *, stops: int) -> None:
    written = None
    try:
        for first in range(0, rows, _GROUP_ROWS):
            group = _trips(first, min(_GROUP_ROWS, rows - first), stops).to_arrow()
            written = written or pq.ParquetWriter(file, group.schema)
            written.write_table(group)
    finally:
        if written is not None:
            written.close()


def _trips(first: int, rows: int, stops: int) -> pl.DataFrame:
    """Rows from the `first` on, which depend on their group alone."""
    random = np.random.default_rng((198, first))
    picked_up_us = _BEGIN_US + (first + np.arange(rows)) * 5_000_000 + random.integers(0, 3_600, rows) * 1_000_000
    columns: dict[str, pl.Series] = {
        "trip_id": pl.Series(first + 1 + np.arange(rows)),
        "picked_up_at": _instants(picked_up_us),
        "distance_km": _with_nulls(random, pl.Series(np.round(random.gamma(2, 2.5, rows), 3)), 0.02),
        "passengers": _with_nulls(random, pl.Series(random.integers(0, 7, rows), dtype=pl.Int32), 0.1),
        "payment": _with_nulls(random, _choice(random, _PAYMENTS, rows), 0.05),
        "fare": pl.Series(np.round(random.normal(18, 9, rows), 2)),
    }
    if stops:
        columns["booked_on"] = _instants(picked_up_us - random.integers(0, 30, rows) * 86_400_000_000).dt.date()
    for n in range(1, stops + 1):
        columns |= {f"stop{n}_{name}": column for name, column in _stop(random, picked_up_us, n)}
    return pl.DataFrame(columns)


def _stop(random: np.random.Generator, picked_up_us: np.ndarray, n: int) -> Iterator[tuple[str, pl.Series]]:
    """The later a stop, the fewer trips have it; coordinates have all digits of a double."""
    rows, absent = len(picked_up_us), n / (STOPS + 2)
    yield "at", _with_nulls(random, _instants(picked_up_us + n * random.integers(1, 600_000_000, rows)), absent)
    yield "zone", _with_nulls(random, _choice(random, _ZONES, rows), absent)
    yield "latitude", _with_nulls(random, pl.Series(random.normal(40.7, 0.1, rows)), absent)
    yield "longitude", _with_nulls(random, pl.Series(random.normal(-73.9, 0.1, rows)), absent)
    yield "toll", _with_nulls(random, pl.Series(random.integers(0, 100_000, rows)).cast(pl.Decimal(8, 0)) / 100, absent)
    yield "is_hub", _with_nulls(random, pl.Series(random.integers(0, 10, rows) == 0), absent)


def _instants(microseconds: np.ndarray) -> pl.Series:
    return pl.Series(microseconds).cast(pl.Datetime("us", "UTC"))


def _choice(random: np.random.Generator, texts: tuple[str, ...], rows: int) -> pl.Series:
    """Texts, of which the first are the most frequent."""
    places = np.minimum(random.exponential(len(texts) / 4, rows).astype(np.int64), len(texts) - 1)
    return pl.Series(texts).gather(pl.Series(places))


def _with_nulls(random: np.random.Generator, column: pl.Series, share: float) -> pl.Series:
    return column.set(pl.Series(random.random(len(column)) < share), None)
