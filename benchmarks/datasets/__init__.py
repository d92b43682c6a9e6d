"""The data sets of `make bench`: what they are called, and which module makes them."""

import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from benchmarks.contestants.task import FORMATS

__all__ = ["DATASETS", "Dataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows of one shape. `row` is `module:name` of its row model, `maker` of the function that writes it as Parquet.

    `formats` are those that are raced unless others are asked for. `table` is the name of its files and tables.
    """

    name: str
    title: str
    table: str
    row: str
    maker: str
    key: tuple[str, ...]
    formats: tuple[str, ...]

    @property
    def model(self) -> type[BaseModel]:
        """The row model."""
        found: type[BaseModel] = _named(self.row)
        return found

    def ensure(self, landing: Path, scale: float) -> Path:
        """The folder with its Parquet file at this scale, made unless it is there; nothing of another scale stays beside it."""
        folder = landing / self.table
        marker = folder / f"scale-{scale:g}"
        if not marker.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _named(self.maker)(folder / f"{self.table}.parquet", scale)
            marker.touch()
        return folder


def _named(reference: str):  # noqa: ANN202 - whatever has that name
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


DATASETS = (
    Dataset(
        name="lineitem",
        title="TPC-H lineitem, 16 columns",
        table="lineitem",
        row="benchmarks.datasets.lineitem:Lineitem",
        maker="benchmarks.datasets.lineitem:write",
        key=("l_orderkey", "l_linenumber"),
        formats=tuple(FORMATS),
    ),
    Dataset(
        name="trips",
        title="taxi trips, 6 columns",
        table="trips",
        row="benchmarks.datasets.trips:Trip",
        maker="benchmarks.datasets.trip_rows:write",
        key=("trip_id",),
        formats=("parquet", "csv"),
    ),
    Dataset(
        name="trips-wide",
        title="taxi trips, 61 columns",
        table="trips_wide",
        row="benchmarks.datasets.trips:WideTrip",
        maker="benchmarks.datasets.trip_rows:write_wide",
        key=("trip_id",),
        formats=(),
    ),
)
