"""Which small files share a chunk."""

import polars as pl
import pytest

from rowledger.sources.csv import CsvFiles
from rowledger.sources.joined_chunks import join_small
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.spec.manifest import ChunkDescriptor, Manifest
from rowledger.spec.source import Source

_CSV = CsvFiles(path="{landing}/*.csv")
_SCHEMA = pl.Schema({"a": pl.String()})


def _files(count: int, *, rows: int = 10, file_bytes: int = 100, data_bytes: int = 0) -> list[ChunkDescriptor]:
    return [
        ChunkDescriptor(
            path=f"{number}.csv",
            origin=f"{number}.csv",
            file_bytes=file_bytes,
            file_digest=f"digest {number}",
            row_offset=0,
            rows=rows,
            data_bytes=data_bytes,
        )
        for number in range(count)
    ]


def _join(
    files: list[ChunkDescriptor], *, source: Source = _CSV, rows_max: int = 131_072, odd: tuple[str, ...] = ()
) -> list[int]:
    """The numbers of files that share a chunk; files in `odd` have other columns."""

    def schema_of(descriptor: ChunkDescriptor) -> pl.Schema:
        return pl.Schema({"b": pl.String()}) if descriptor.path in odd else _SCHEMA

    joined = join_small(source, files, rows_max, schema_of)
    parts = [part for one in joined for part in one.parts or (one,)]
    assert parts == files
    assert [one.rows for one in joined] == [sum(part.rows for part in one.parts or (one,)) for one in joined]
    return [len(one.parts) or 1 for one in joined]


@pytest.mark.parametrize(
    ("files", "sizes"),
    [
        pytest.param(_files(63), [1] * 63, id="few files, so that all workers have some"),
        pytest.param(_files(64), [64], id="many files"),
        pytest.param(_files(600), [256, 256, 88], id="very many files"),
        pytest.param(_files(64, rows=40_000), [3] * 21 + [1], id="many rows"),
        pytest.param(_files(64, file_bytes=2**20), [4] * 16, id="many bytes"),
        pytest.param(_files(64, file_bytes=2**23), [1] * 64, id="large files"),
        pytest.param(_files(64, data_bytes=2**24), [4] * 16, id="many bytes once they are decompressed"),
    ],
)
def test_files_share_a_chunk_as_far_as_they_are_many_and_small(files: list[ChunkDescriptor], sizes: list[int]) -> None:
    assert _join(files) == sizes


def test_a_file_with_other_columns_has_a_chunk_of_its_own() -> None:
    assert _join(_files(100), odd=("50.csv",)) == [50, 1, 49]


def test_files_whose_columns_vary_from_row_to_row_do_not_share_chunks() -> None:
    assert _join(_files(100), source=NdjsonFiles(path="{landing}/*.ndjson")) == [1] * 100


def test_the_same_files_are_the_same_content_however_they_share_chunks() -> None:
    files = _files(100)
    joined = join_small(_CSV, files, 300, lambda _: _SCHEMA)
    assert len(joined) == 4
    assert Manifest.of(joined).content_digest == Manifest.of(files).content_digest
    changed = [*files[:-1], files[-1].model_copy(update={"file_digest": "another"})]
    again = join_small(_CSV, changed, 300, lambda _: _SCHEMA)
    assert [one.file_digest for one in again][:3] == [one.file_digest for one in joined][:3]
    assert again[3].file_digest != joined[3].file_digest
    assert Manifest.of(again).digest != Manifest.of(joined).digest


def test_a_row_of_a_shared_chunk_is_told_by_its_file_and_its_row_there() -> None:
    files = _files(100, rows=7)
    plan = Manifest.of(join_small(_CSV, files, 350, lambda _: _SCHEMA)).chunks[1]
    assert plan.first_row == 350
    assert plan.place_of(350) == ("50.csv", 0)
    assert plan.place_of(356) == ("50.csv", 6)
    assert plan.place_of(357) == ("51.csv", 0)
    assert plan.place_of(699) == ("99.csv", 6)
