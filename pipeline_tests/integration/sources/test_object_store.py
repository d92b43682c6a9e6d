"""Files in an object store are found, fetched and loaded like those on a disk; the store is a local one of Amazon's kind."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import fs

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.object_store import SECRET, TABLE, parquet, put
from pipeline_tests.support.tables_of_other_sources import STORED
from rowledger.errors import SourceError
from rowledger.sources.arrow_ipc import ArrowFiles
from rowledger.sources.csv import CsvFiles
from rowledger.sources.file_source import FileSource
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext

_CSV = b"sensor,value\n1,0.5\n2,\n"
DAY = Partition(key="2024-03-01")


def arrow() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return sink.getvalue().to_pybytes()


def frame_of(source: FileSource, spool: Path) -> pl.DataFrame:
    spool.mkdir(exist_ok=True)
    frames = [source.read(chunk) for chunk in source.chunks(DAY, SourceContext(spool, spool, 100))]
    return pl.concat(frames)


def test_files_of_every_format_are_read_from_an_object_store(store: fs.S3FileSystem, tmp_path: Path) -> None:
    put(store, "t/2024-03-01/b.parquet", parquet())
    put(store, "t/2024-03-01/a.parquet", parquet())
    put(store, "t/2024-03-02/c.parquet", b"of another day")
    put(store, "t/2024-03-01/x.arrow", arrow())
    put(store, "t/2024-03-01/x.csv", _CSV)
    rows = [(1, 0.5), (2, None)]

    assert frame_of(ParquetFiles(path="s3://shop/t/{partition_key}/*.parquet"), tmp_path).rows() == rows * 2
    assert frame_of(ArrowFiles(path="s3://shop/t/{partition_key}/x.arrow"), tmp_path).rows() == rows
    assert frame_of(CsvFiles(path="s3://shop/**/{partition_key}/*.csv"), tmp_path).rows() == [("1", "0.5"), ("2", None)]


def test_hive_keys_are_taken_from_an_object_s_address(store: fs.S3FileSystem, tmp_path: Path) -> None:
    put(store, "t/day=2024-03-01/part=a%2Fb/x.parquet", parquet())
    source = ParquetFiles(path="s3://shop/t/day={partition_key}/*/*.parquet", hive=("day", "part"))

    assert frame_of(source, tmp_path).rows() == [(1, 0.5, "2024-03-01", "a/b"), (2, None, "2024-03-01", "a/b")]


def test_a_table_is_loaded_from_an_object_store_and_nothing_tells_its_secret(
    database: str, store: fs.S3FileSystem, tmp_path: Path
) -> None:
    put(store, "stored/all.parquet", parquet())
    observer = Recorder()

    report = load_one(database, STORED, tmp_path, "all", observer=observer)

    assert report.error is None
    assert [tuple(row) for row in fetch(database, "select sensor, value from stored order by 1")] == [
        (1, 0.5),
        (2, None),
    ]
    ledger = fetch_value(database, "select string_agg(to_jsonb(c)::text, ' ') from rowledger.chunk c")
    assert "s3://shop/stored/all.parquet" in ledger
    assert SECRET not in ledger + observer.text
    assert_nothing_left_over(database)


@pytest.mark.parametrize(
    "path", ["s3://shop/t/{partition_key}.parquet", "s3://no-such-bucket/{partition_key}/*.parquet"]
)
@pytest.mark.usefixtures("store")
def test_an_object_that_is_not_there_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(SourceError, match=r"no file s3://.*/2024-03-01.*parquet; write it first") as raised:
        frame_of(ParquetFiles(path=path), tmp_path)
    assert SECRET not in str(raised.value)
