"""Tables of extreme shapes, with row models that workers import from here, and the files with their rows."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import BaseModel, Field, create_model

from rowledger.contract.sql_types import Integer, SmallInt, varchar
from rowledger.sources.csv import CsvFiles
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.condition import Equals
from rowledger.spec.partition import Partition
from rowledger.spec.table import TableSpec

SCHEMA = "rowledger_bench_scale"
_COLUMN_TYPES: tuple[Any, ...] = (Integer, date, Annotated[str, varchar(8)], SmallInt, bool)


class Reading(BaseModel):
    """A small row that tells its partition."""

    part: Annotated[Integer, Field(ge=0)]
    number: int
    value: float
    label: str


class Document(BaseModel):
    """A row of any length."""

    number: int
    body: str


def _wide(columns: int) -> type[BaseModel]:
    fields: dict[str, Any] = {f"c{n}": (_COLUMN_TYPES[n % len(_COLUMN_TYPES)], ...) for n in range(columns)}
    return create_model(f"Wide{columns}", __module__=__name__, **fields)


Wide100, Wide1000 = _wide(100), _wide(1_000)


def _spec(name: str, row: type[BaseModel], source: Any, **options: Any) -> TableSpec:  # noqa: ANN401 - a spec's parts
    return TableSpec(name=name, target=f"{SCHEMA}.{name}", row=row, source=source, **options)


WIDE_100 = _spec("wide_100", Wide100, ParquetFiles(path="{landing}/wide.parquet"))
WIDE_1000 = _spec("wide_1000", Wide1000, ParquetFiles(path="{landing}/wide.parquet"))
PARTITIONS = _spec("parts", Reading, ParquetFiles(path="{landing}/{partition_key}.parquet"), partition_by="part")
PARTITIONS_CSV = _spec("parts_csv", Reading, CsvFiles(path="{landing}/{partition_key}.csv"), partition_by="part")
FILES = _spec("files", Reading, ParquetFiles(path="{landing}/*.parquet"))
FILES_CSV = _spec("files_csv", Reading, CsvFiles(path="{landing}/*.csv"))
DOCUMENTS = _spec("documents", Document, ParquetFiles(path="{landing}/documents.parquet"))
DOCUMENTS_CSV = _spec("documents_csv", Document, CsvFiles(path="{landing}/documents.csv"))
DOCUMENTS_NDJSON = _spec("documents_ndjson", Document, NdjsonFiles(path="{landing}/documents.ndjson"))


def partition_of(number: int) -> Partition:
    """A partition of `PARTITIONS`."""
    return Partition(str(number), (Equals("part", str(number)),))


def write_wide(folder: Path, rows: int, columns: int) -> Path:
    """Rows of that many columns: integers, dates, short texts, Booleans."""
    random = np.random.default_rng((198, columns))
    makers = (
        lambda: pl.Series(random.integers(0, 2**30, rows), dtype=pl.Int32),
        lambda: pl.Series(random.integers(0, 20_000, rows), dtype=pl.Int32).cast(pl.Date),
        lambda: pl.Series(random.integers(0, 5_000, rows)).cast(pl.String),
        lambda: pl.Series(random.integers(0, 2**14, rows), dtype=pl.Int16),
        lambda: pl.Series(random.integers(0, 2, rows) == 1),
    )
    folder.mkdir(parents=True)
    frame = pl.DataFrame({f"c{n}": makers[n % len(makers)]() for n in range(columns)})
    frame.write_parquet(folder / "wide.parquet", row_group_size=max(1, 2**23 // columns))
    return folder


def write_readings(folder: Path, files: Iterable[int], rows: int, suffix: str) -> Path:
    """Files of a few rows, each of the partition that its name tells."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in files:
        numbers = pl.int_range(rows, eager=True)
        frame = pl.DataFrame({"number": numbers}).select(
            pl.lit(part, pl.Int32).alias("part"),
            "number",
            (pl.col("number") / 8).alias("value"),
            pl.format("reading {}", "number").alias("label"),
        )
        _write(frame, folder / f"{part}{suffix}")
    return folder


def write_documents(folder: Path, lengths: Iterable[int], suffix: str) -> Path:
    """A row for each length of its text; texts do not repeat."""
    random = np.random.default_rng(198)
    folder.mkdir(parents=True)
    bodies = [random.bytes(length // 2 + 1).hex()[:length] for length in lengths]
    frame = pl.DataFrame({"number": pl.int_range(len(bodies), eager=True), "body": bodies})
    _write(frame, folder / f"documents{suffix}")
    return folder


def _write(frame: pl.DataFrame, file: Path) -> None:
    match file.suffix:
        case ".csv":
            frame.write_csv(file)
        case ".ndjson":
            frame.write_ndjson(file)
        case _:
            frame.write_parquet(file)
