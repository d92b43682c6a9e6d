"""The rows of a data set: their folder, what a table that holds them must look like, and they in binary COPY."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow.parquet as pq
from pgpq import ArrowToPostgresBinaryEncoder

from benchmarks.contestants.frames import read_frames
from benchmarks.contestants.task import SOURCE_SCHEMA, Task
from benchmarks.datasets import Dataset
from benchmarks.race.server import NULL_FIGURE, SCALE_OF_FLOATS, Contents, Server
from rowledger.contract.check import Contract
from rowledger.spec.column import Column

__all__ = ["Source", "differences", "prepare"]

COPY_FILES = 2  # what the server reads at once, as many as the others have processes
_REFERENCE = "reference"
_BATCH_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Source:
    """Rows in their folder, and what the database says of a table that holds exactly these rows."""

    dataset: Dataset
    folder: Path
    columns: Sequence[Column]
    rows: int
    contents: Contents
    sums: Mapping[str, Decimal]
    copy_files: tuple[Path, ...]

    def task(self, name: str, table: str) -> Task:
        """A load of these rows in that format."""
        return _task(self.dataset, self.folder, self.columns, name, table)


def prepare(server: Server, dataset: Dataset, folder: Path, *, copy_folder: Path | None, is_queried: bool) -> Source:
    """Load the rows once, unmeasured, and hold the table against the file: what it then holds is what every table must.

    If `is_queried`, the table stays for queries. If there is a copy folder, the rows are written into it in binary COPY in
    passing, for the ceiling. Raises SystemExit if the file's sums and the table's differ.
    """
    columns = Contract.of(dataset.model).columns
    table = dataset.table if is_queried else _REFERENCE
    task = _task(dataset, folder, columns, "parquet", table)
    rows = pq.read_metadata(task.parquet).num_rows
    paths = tuple(copy_folder / f"{dataset.table}-{n}.copy" for n in range(COPY_FILES)) if copy_folder else ()
    server.create_table(SOURCE_SCHEMA, table, columns)
    for share in range(COPY_FILES):
        pieces = _pieces(replace(task, processes=COPY_FILES, share=share), paths[share] if paths else None)
        server.copy_in(SOURCE_SCHEMA, table, pieces)
    contents = server.contents(SOURCE_SCHEMA, table, columns)
    sums = server.sums(SOURCE_SCHEMA, table, columns)
    if contents.rows != rows or sums != _file_sums(task.parquet):
        raise SystemExit(f"{task.parquet}: the reference table holds something else than the file: {contents}, {sums}")
    if is_queried:
        server.settle_table(SOURCE_SCHEMA, table)
    else:
        server.drop_table(SOURCE_SCHEMA, table)
    return Source(dataset, folder, columns, rows, contents, sums, paths)


def _task(dataset: Dataset, folder: Path, columns: Sequence[Column], name: str, table: str) -> Task:
    return Task(
        dataset=dataset.table,
        format=name,
        row=dataset.row,
        folder=folder,
        table=table,
        columns={column.name: column.type.sql for column in columns},
        key=dataset.key,
    )


async def _pieces(task: Task, path: Path | None) -> AsyncIterator[bytes]:
    """One share in binary COPY; in passing it is written to the file, if there is one."""
    if path is None:
        for piece in _encoded(task):
            yield piece
        return
    with _readable_by_all(path) as written:
        for piece in _encoded(task):
            written.write(piece)
            yield piece


def _encoded(task: Task) -> Iterator[bytes]:
    encoder = None
    for frame in read_frames(task):
        rows = frame.to_arrow(compat_level=pl.CompatLevel.newest())
        if encoder is None:
            encoder = ArrowToPostgresBinaryEncoder(rows.schema)
            yield encoder.write_header()
        for batch in rows.to_batches(max_chunksize=_BATCH_ROWS):
            yield encoder.write_batch(batch)
    if encoder is not None:
        yield encoder.finish()


def _readable_by_all(path: Path) -> BinaryIO:
    """A new file that the server can read although it runs as another user."""
    file = path.open("wb")
    path.chmod(0o644)
    return file


def _file_sums(file: Path) -> dict[str, Decimal]:
    """The same figures as `Server.sums`, from the file itself."""
    scan = pl.scan_parquet(file)
    figures = [
        _figure(pl.col(name), kind).fill_null(NULL_FIGURE).sum().alias(name)
        for name, kind in scan.collect_schema().items()
    ]
    (row,) = scan.select(figures).collect().to_dicts()
    return {name: Decimal(figure or 0) for name, figure in row.items()}


def _figure(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if kind == pl.String:
        return column.str.len_bytes().cast(pl.Int64)
    if kind == pl.Date:
        return column.cast(pl.Int32).cast(pl.Int64)
    if kind == pl.Datetime:
        return column.dt.epoch("us").cast(pl.Decimal(38, 0))
    if kind.is_float():
        return (column * SCALE_OF_FLOATS).cast(pl.Int64)  # cuts the fraction off, as trunc does
    return column.cast(pl.Int64) if kind.is_integer() or kind == pl.Boolean else column


def differences(expected: Source, found: Contents, sums: Mapping[str, Decimal]) -> Sequence[str]:
    """In words, what is wrong with a table; empty if it holds the file's rows and nothing else."""
    if found == expected.contents:
        return []
    words = []
    if found.rows != expected.rows:
        words.append(f"{found.rows:,} rows instead of {expected.rows:,}")
    odd = [name for name, figure in sums.items() if figure != expected.sums[name]]
    words.append(f"other values in {', '.join(odd)}" if odd else "values changed places")
    return words
