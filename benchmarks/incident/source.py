"""The source: TPC-H lineitem of exactly so many rows, as one Parquet file that is made once."""

import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from benchmarks.datasets.lineitem import LINEITEM
from rowledger.contract.check import Contract
from rowledger.postgres.copy import encode_rows

ROW_GROUP_ROWS = 131_072
_ROWS_OF_SCALE_1 = 6_000_000  # 1.5 million orders of 1 to 7 lines, 4 on average
_MARGIN = 1.01
_MARGIN_ROWS = 5_000


def ensure_lineitem(landing: Path, rows: int) -> Path:
    """The file in the landing folder, made unless it is there; row groups of 131,072 rows, keys in ascending order."""
    file = landing / "lineitem" / "lineitem.parquet"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=landing) as folder:
            whole = _generate(Path(folder), (rows * _MARGIN + _MARGIN_ROWS) / _ROWS_OF_SCALE_1)
            first_rows = Path(folder) / "first_rows.parquet"
            _keep(whole, first_rows, rows)
            first_rows.replace(file)
    return file


def copy_bytes(file: Path) -> int:
    """About how many bytes the file is in binary COPY, from its first row group."""
    with pq.ParquetFile(file) as parquet:
        rows, first = parquet.metadata.num_rows, parquet.metadata.row_group(0).num_rows
    frame = pl.scan_parquet(file).slice(0, first).collect()
    encoded = encode_rows(frame, Contract.of(LINEITEM.row).columns, batch_rows=first)
    return sum(map(len, encoded.pieces)) * rows // first


def _generate(folder: Path, scale: float) -> Path:
    tool = Path(sys.executable).with_name("tpchgen-cli")
    if not tool.exists():
        raise SystemExit("tpchgen-cli is missing; install it with the extra: pip install '.[bench]'")
    options = ["-s", f"{scale:.5f}", "--tables=lineitem", f"--output-dir={folder}", "--quiet"]
    subprocess.run([tool, "parquet", *options], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own arguments
    return folder / "lineitem.parquet"


def _keep(whole: Path, kept: Path, rows: int) -> None:
    """Copy the first rows, a row group in memory at a time."""
    missing = rows
    with pq.ParquetFile(whole) as source, pq.ParquetWriter(kept, source.schema_arrow) as target:
        for batch in source.iter_batches(batch_size=ROW_GROUP_ROWS):
            target.write_batch(batch.slice(0, missing), row_group_size=ROW_GROUP_ROWS)
            missing -= min(missing, batch.num_rows)
            if missing == 0:
                return
    raise SystemExit(f"{whole} has {rows - missing} rows, {rows} are wanted: the scale factor is too small")
