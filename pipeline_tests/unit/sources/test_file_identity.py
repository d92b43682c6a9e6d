"""The file that was looked at is the one that is read, whatever its name leads to in between."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rowledger.errors import SourceError
from rowledger.sources import text_reading
from rowledger.sources.arrow_ipc import ArrowFiles
from rowledger.sources.csv import CsvFiles
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.partition import Partition
from rowledger.spec.source import Source, SourceContext

_DAY = Partition(key="2024-03-01")
_PLANNED, _OTHER = pl.DataFrame({"n": [1, 2, 3]}), pl.DataFrame({"n": [7, 8, 9]})
_SOURCES: dict[str, tuple[type[Any], Callable[[pl.DataFrame, Path], None]]] = {
    "parquet": (ParquetFiles, pl.DataFrame.write_parquet),
    "arrow": (ArrowFiles, pl.DataFrame.write_ipc),
    "csv": (CsvFiles, pl.DataFrame.write_csv),
    "ndjson": (NdjsonFiles, pl.DataFrame.write_ndjson),
}


@pytest.fixture(params=_SOURCES)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A kind of source, with two files that differ in their values alone; the name that it reads leads to the first."""
    for name, frame in (("planned", _PLANNED), ("other", _OTHER)):
        _SOURCES[request.param][1](frame, tmp_path / name)
    (tmp_path / "rows").symlink_to(tmp_path / "planned")
    return str(request.param)


def _source(kind: str, folder: Path) -> Source:
    source: Source = _SOURCES[kind][0](path=f"{folder}/rows")
    return source


def _chunks(source: Source, folder: Path) -> list[ChunkDescriptor]:
    return list(source.chunks(_DAY, SourceContext(folder, folder, 100)))


def _lead_astray(monkeypatch: pytest.MonkeyPatch, owner: object, method: str, folder: Path) -> list[int]:
    """While the function runs, the name leads to the other file; the list that is returned counts how often."""
    right = getattr(owner, method)
    done: list[int] = []

    def point(name: str) -> None:
        (folder / "link").symlink_to(folder / name)
        os.replace(folder / "link", folder / "rows")  # noqa: PTH105 - the link, not what it leads to

    def astray(*arguments: Any, **options: Any) -> Any:
        point("other")
        try:
            done.append(1)
            return right(*arguments, **options)
        finally:
            point("planned")

    monkeypatch.setattr(owner, method, astray)
    return done


@pytest.mark.parametrize("kind", ["parquet", "arrow"], indirect=True)
def test_a_chunk_is_read_from_the_file_that_was_looked_at(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _source(kind, tmp_path)
    (chunk,) = _chunks(source, tmp_path)
    done = _lead_astray(monkeypatch, type(source), "_read_rows", tmp_path)
    assert source.read(chunk).equals(_PLANNED)
    assert done == [1]


@pytest.mark.parametrize("kind", ["parquet", "arrow"], indirect=True)
def test_a_file_is_planned_from_the_one_that_was_looked_at(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pl.concat([_OTHER, _OTHER]).pipe(_SOURCES[kind][1], tmp_path / "other")
    source = _source(kind, tmp_path)
    done = _lead_astray(monkeypatch, type(source), "_parts", tmp_path)
    (chunk,) = _chunks(source, tmp_path)
    assert done == [1]
    assert chunk.rows == 3
    assert source.read(chunk).equals(_PLANNED)


@pytest.mark.parametrize("kind", ["csv", "ndjson"], indirect=True)
def test_text_is_opened_in_the_file_that_was_looked_at(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _source(kind, tmp_path)
    done = _lead_astray(monkeypatch, text_reading, "text_of", tmp_path)
    (chunk,) = _chunks(source, tmp_path)
    assert done == [1]
    assert source.read(chunk)["n"].cast(pl.Int64).to_list() == [1, 2, 3]


def test_a_file_whose_name_leads_elsewhere_afterwards_is_not_as_planned(kind: str, tmp_path: Path) -> None:
    source = _source(kind, tmp_path)
    (chunk,) = _chunks(source, tmp_path)
    (tmp_path / "rows").unlink()
    (tmp_path / "rows").symlink_to(tmp_path / "other")
    with pytest.raises(SourceError, match="its content changed since it was planned"):
        source.read(chunk)


def test_what_is_no_file_is_refused_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    (tmp_path / "rows").unlink()
    os.mkfifo(tmp_path / "rows")
    with pytest.raises(SourceError, match="rows: not a regular file; put a file there"):
        _chunks(_source(kind, tmp_path), tmp_path)
