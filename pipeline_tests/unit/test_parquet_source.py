"""Parquet files are planned from their footers, read back row for row, and never read when they are not what was planned."""

import os
import random
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.errors import SourceError
from pipeline.model.manifest import Manifest
from pipeline.model.partition import Partition
from pipeline.model.source import Scope
from pipeline.source.nycflights import land_flights
from pipeline.source.parquet import ParquetFiles

ONE = ParquetFiles(path="{landing}/t/{partition_key}.parquet")
DAY = Partition(key="2013-01-01")


def write(
    folder: Path, rows: int = 10, *, group_rows: int = 4, name: str = "2013-01-01.parquet", first: int = 0
) -> Path:
    file = folder / "t" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"n": pa.array(range(first, first + rows), pa.int64()), "s": [f"row {n}" for n in range(rows)]})
    pq.write_table(table, file, row_group_size=group_rows)
    return file


def plan(folder: Path, chunk_rows_max: int = 100, source: ParquetFiles = ONE) -> Manifest:
    return Manifest.of(list(source.chunks(DAY, Scope(folder, folder, chunk_rows_max))))


def read_all(manifest: Manifest) -> list[int]:
    return [n for chunk in manifest.chunks for n in ONE.read(chunk.descriptor)["n"].to_list()]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(0, 60), group_rows=st.integers(1, 30), chunk_rows_max=st.integers(1, 40))
def test_chunks_hold_every_row_once_in_order_within_the_limit(
    tmp_path: Path, rows: int, group_rows: int, chunk_rows_max: int
) -> None:
    write(tmp_path, rows, group_rows=group_rows)

    manifest = plan(tmp_path, chunk_rows_max)

    assert manifest.enqueued_rows == rows
    assert all(0 < chunk.rows <= chunk_rows_max for chunk in manifest.chunks)
    assert read_all(manifest) == list(range(rows))


def test_row_groups_that_fit_are_not_cut(tmp_path: Path) -> None:
    write(tmp_path, 12, group_rows=4)

    assert [chunk.rows for chunk in plan(tmp_path, 10).chunks] == [8, 4]


def test_a_file_without_rows_is_a_plan_without_chunks(tmp_path: Path) -> None:
    write(tmp_path, 0)

    assert plan(tmp_path).chunks == ()


def test_many_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in random.Random(1).sample(range(30), 30):
        write(tmp_path, 3, name=f"2013-01-01-{number:02}.parquet", first=3 * number)
    write(tmp_path, 3, name="2013-01-02-00.parquet", first=100)

    manifest = plan(tmp_path, source=ParquetFiles(path="{landing}/t/{partition_key}-*.parquet"))

    assert read_all(manifest) == list(range(90))


def test_wildcards_in_folder_or_key_are_plain_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]*"
    write(folder, 2, name="x[ab]?.parquet")
    write(folder, 5, name="xaZ.parquet")

    manifest = Manifest.of(list(ONE.chunks(Partition(key="x[ab]?"), Scope(folder, folder, 9))))

    assert manifest.enqueued_rows == 2


@pytest.mark.parametrize("key", ["../secret", "a/b", "..", ".", "", "a\x00b", "a\\b", "/etc/passwd", "a/"])
def test_a_key_does_not_leave_its_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(SourceError, match="would leave its folder"):
        list(ONE.chunks(Partition(key=key), Scope(tmp_path, tmp_path, 1)))


def test_an_unknown_placeholder_is_refused_when_the_spec_is_made() -> None:
    with pytest.raises(ValueError, match="placeholders are"):
        ParquetFiles(path="{landing}/{day}.parquet")


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file .*/t/2013-01-01\.parquet; write it first"):
        plan(tmp_path)


def test_a_file_that_vanished_after_planning_is_named(tmp_path: Path) -> None:
    file = write(tmp_path)
    manifest = plan(tmp_path)
    file.unlink()

    with pytest.raises(SourceError, match=r"2013-01-01\.parquet: No such file"):
        read_all(manifest)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"not parquet at all, but long enough to have a footer", b"PAR1" * 10]
)
def test_a_file_that_is_not_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path).write_bytes(content)

    with pytest.raises(SourceError, match=r"2013-01-01\.parquet: not a readable Parquet file"):
        plan(tmp_path)


def test_other_content_of_the_same_size_is_noticed(tmp_path: Path) -> None:
    file = write(tmp_path, first=100)
    manifest = plan(tmp_path)
    before = file.stat()
    write(tmp_path, first=200)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert file.stat().st_size == before.st_size

    with pytest.raises(SourceError, match="content changed since it was planned"):
        read_all(manifest)


def test_another_size_is_noticed(tmp_path: Path) -> None:
    write(tmp_path)
    manifest = plan(tmp_path)
    write(tmp_path, 1_000)

    with pytest.raises(SourceError, match=r"bytes now, .* when it was planned"):
        read_all(manifest)


def test_a_touched_file_is_still_the_same(tmp_path: Path) -> None:
    file = write(tmp_path)
    manifest = plan(tmp_path)
    os.utime(file, ns=(1, 1))

    assert read_all(manifest) == list(range(10))
    assert plan(tmp_path).digest == manifest.digest


def test_the_same_rows_with_the_same_bytes_have_the_same_digest_and_others_do_not(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    write(tmp_path / "c", first=1)

    assert plan(tmp_path / "a").digest == plan(tmp_path / "b").digest != plan(tmp_path / "c").digest


def test_a_chunk_with_fewer_rows_than_planned_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (chunk,) = plan(tmp_path).chunks

    with pytest.raises(SourceError, match="10 rows from row 0 on, planned were 11"):
        ONE.read(chunk.descriptor.model_copy(update={"rows": 11}))


def test_damage_anywhere_is_a_source_error_or_harmless_but_never_a_crash(tmp_path: Path) -> None:
    file = write(tmp_path, 200, group_rows=50)
    sound = file.read_bytes()
    dice = random.Random(1)  # the same damage every time
    damages = [sound[: dice.randrange(len(sound))] for _ in range(60)]
    for _ in range(200):
        position = dice.randrange(len(sound))
        damages.append(sound[:position] + bytes([dice.randrange(256)]) + sound[position + 1 :])
    refused = []
    for damage in damages:
        file.write_bytes(damage)
        try:
            for chunk in plan(tmp_path).chunks:
                ONE.read(chunk.descriptor)
        except SourceError as error:
            refused.append(str(error))
    assert len(refused) > len(damages) // 4
    assert all(str(file) in message and "row 1" not in message for message in refused)


def test_a_landed_day_is_read_back_with_its_zone_and_nulls(tmp_path: Path) -> None:
    source = ParquetFiles(path="{landing}/flights/{partition_key}.parquet")

    landed = land_flights([date(2013, 1, 1), date(2013, 12, 31)], tmp_path / "flights")
    again = land_flights([date(2013, 1, 1)], tmp_path / "again")
    (descriptor,) = source.chunks(DAY, Scope(tmp_path, tmp_path, 10_000))
    frame = source.read(descriptor)

    assert landed == {"2013-01-01": 842, "2013-12-31": 776}
    assert again == {"2013-01-01": 842}
    assert (tmp_path / "again" / "2013-01-01.parquet").read_bytes() == Path(descriptor.path).read_bytes()
    assert frame.height == 842
    assert frame.schema["time_hour"] == pl.Datetime("us", "UTC")
    assert frame["dep_time"].null_count() == 4
    assert sorted(path.name for path in (tmp_path / "flights").iterdir()) == [
        "2013-01-01.parquet",
        "2013-12-31.parquet",
    ]
    assert_frame_equal(frame, pl.read_parquet(tmp_path / "again" / "2013-01-01.parquet"))
