"""The rows of a Parquet file once more: fewer of them, or in another format, in the same order."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow.parquet as pq

from benchmarks.contestants.task import Task

__all__ = ["ensure_file", "ensure_first_rows"]

_GZIP_LEVEL = 6  # as the program gzip has it


def ensure_first_rows(parquet: Path, rows: int) -> Path:
    """The folder with a file of the first rows alone, made unless it is there."""
    folder = parquet.parent / f"first-{rows}"
    folder.mkdir(exist_ok=True)
    file = folder / parquet.name
    if not file.exists():
        _whole(file, lambda path: pl.scan_parquet(parquet).head(rows).collect().write_parquet(path))
    return folder


def ensure_file(task: Task) -> None:
    """Make the file of the task's format, unless it is there."""
    if task.file.exists():
        return
    match task.format:
        case "csv":
            _whole(task.file, lambda path: _write(path, _csv(task.parquet), Path.open))
        case "gzip":
            _whole(task.file, lambda path: _write(path, _csv(task.parquet), _open_gzip))
        case "ndjson":
            _whole(task.file, lambda path: _write(path, _ndjson(task.parquet), Path.open))


def _whole(file: Path, write: Callable[[Path], None]) -> None:
    """A file that is not there unless it is whole: a run that is interrupted leaves none."""
    unfinished = file.with_name(f"unfinished-{file.name}")
    write(unfinished)
    unfinished.replace(file)


def _write(path: Path, pieces: Iterator[str], opened: Callable[[Path, str], BinaryIO]) -> None:
    with opened(path, "wb") as written:
        for piece in pieces:
            written.write(piece.encode())


def _open_gzip(path: Path, mode: str) -> BinaryIO:
    return gzip.open(path, mode, compresslevel=_GZIP_LEVEL)


def _groups(parquet: Path) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(parquet) as file:
        for group in range(file.num_row_groups):
            yield pl.from_arrow(file.read_row_group(group))


def _csv(parquet: Path) -> Iterator[str]:
    """With a header; a null is an empty field; instants in UTC, with their zone as +00:00."""
    for number, frame in enumerate(_groups(parquet)):
        yield frame.with_columns(_instants(frame)).write_csv(include_header=number == 0)


def _ndjson(parquet: Path) -> Iterator[str]:
    """Decimals as numbers: of up to 15 digits a double writes the same ones."""
    for frame in _groups(parquet):
        numbers = pl.selectors.decimal().cast(pl.Float64)
        yield frame.with_columns(numbers, *_instants(frame)).write_ndjson()


def _instants(frame: pl.DataFrame) -> list[pl.Expr]:
    return [
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.f+00:00")
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.Datetime) and kind.time_zone == "UTC"
    ]
