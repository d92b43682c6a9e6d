"""The source: a file of TPC-H lineitem, what a table that holds it must look like, and its rows in binary COPY."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow.parquet as pq
from pgpq import ArrowToPostgresBinaryEncoder

from benchmarks.contestants.frames import read_frames
from benchmarks.contestants.task import Task
from benchmarks.race.server import Contents, Server

__all__ = ["Source", "ensure_file", "prepare"]

COPY_FILES = 2  # what the server reads at once, as many as the others have processes
_REFERENCE = "reference"
_BATCH_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Source:
    """The file in its landing folder, and what the database says of a table that holds exactly its rows."""

    landing: Path
    rows: int
    file_bytes: int
    contents: Contents
    sums: dict[str, Decimal]
    copy_files: tuple[Path, ...]


def ensure_file(landing: Path, scale: float) -> Path:
    """The file at this scale, made by tpchgen-cli unless it is there."""
    folder = landing / "lineitem"
    folder.mkdir(parents=True, exist_ok=True)
    marker, file = folder / f"scale-{scale:g}", folder / "lineitem.parquet"
    if not marker.exists():
        for old in folder.glob("scale-*"):
            old.unlink()
        tool = Path(sys.executable).with_name("tpchgen-cli")
        if not tool.exists():
            raise SystemExit("tpchgen-cli is missing; install it with the extra: pip install '.[bench]'")
        command: list[str | Path] = [
            tool,
            "parquet",
            "-s",
            f"{scale:g}",
            "--tables=lineitem",
            f"--output-dir={folder}",
            "--overwrite",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own arguments
        marker.touch()
    return file


def prepare(server: Server, landing: Path, copy_folder: Path | None) -> Source:
    """Load the file once, unmeasured, and hold the table against the file: what it then holds is what everyone's must.

    In passing the rows are written to the copy folder, if there is one, in binary COPY, for the ceiling. Raises SystemExit
    if the file's sums and the table's differ.
    """
    file = landing / "lineitem" / "lineitem.parquet"
    rows = pq.read_metadata(file).num_rows
    paths = tuple(copy_folder / f"{n}.copy" for n in range(COPY_FILES)) if copy_folder else ()
    server.empty_schema()
    server.create_table(_REFERENCE)
    for share in range(COPY_FILES):
        task = Task("", landing, _REFERENCE, landing, COPY_FILES, share)
        server.copy_in(_REFERENCE, _pieces(task, paths[share] if paths else None))
    contents, sums = server.contents(_REFERENCE), server.sums(_REFERENCE)
    if contents.rows != rows or sums != _file_sums(file):
        raise SystemExit(f"{file}: the reference table holds something else than the file: {contents}, {sums}")
    return Source(landing, rows, file.stat().st_size, contents, sums, paths)


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
    figures = [_figure(name, kind).sum().alias(name) for name, kind in scan.collect_schema().items()]
    (row,) = scan.select(figures).collect().to_dicts()
    return {name: Decimal(figure or 0) for name, figure in row.items()}


def _figure(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind == pl.String:
        return column.str.len_bytes().cast(pl.Int64)
    if kind == pl.Date:
        return column.cast(pl.Int32).cast(pl.Int64)
    return column.cast(pl.Int64) if kind.is_integer() else column


def differences(expected: Source, found: Contents, sums: dict[str, Decimal]) -> Sequence[str]:
    """In words, what is wrong with a table; empty if it holds the file's rows and nothing else."""
    if found == expected.contents:
        return []
    words = []
    if found.rows != expected.rows:
        words.append(f"{found.rows:,} rows instead of {expected.rows:,}")
    odd = [name for name, figure in sums.items() if figure != expected.sums[name]]
    words.append(f"other values in {', '.join(odd)}" if odd else "values changed places")
    return words
