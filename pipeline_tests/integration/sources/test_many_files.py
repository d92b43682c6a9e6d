"""Partitions of many small files: several files share a chunk, and a row still says which file it is from."""

from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one, set_failpoints
from pipeline_tests.support.tables_of_many_files import MANY_CSV, MANY_PARQUET
from rowledger.sources.text_ranges import RangedTextFiles
from rowledger.spec.table import TableSpec
from rowledger.workers.workforce import Workforce

_FILES, _ROWS = 70, 3
_SPECS = pytest.mark.parametrize("spec", [MANY_PARQUET, MANY_CSV], ids=lambda spec: spec.source.kind)


def _write(landing: Path, spec: TableSpec, changed: dict[tuple[int, int], int] | None = None) -> None:
    """The files, in which `changed` gives some rows another number, by file and row."""
    for file in range(_FILES):
        numbers = [(changed or {}).get((file, row), file * _ROWS + row) for row in range(_ROWS)]
        frame = pl.DataFrame({"number": numbers, "label": [f"of {file}"] * _ROWS})
        path = landing / f"{file:03}.{spec.source.kind}"  # type: ignore[attr-defined]
        frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)


@_SPECS
def test_a_refused_row_of_a_shared_chunk_names_its_own_file_and_row(
    database: str, tmp_path: Path, spec: TableSpec
) -> None:
    _write(tmp_path, spec, {(41, 1): -1, (50, 2): 22})  # 22 is the second row of file 7
    report = load_one(database, spec, tmp_path, "all")
    assert report.error is None
    assert report.chunks == 3
    assert (report.enqueued_rows, report.written_rows) == (210, 208)
    letters = fetch(
        database, "select source, source_row, row_no, stage, reason from rowledger.dead_letter order by row_no"
    )
    assert [(Path(one["source"]).stem, one["source_row"], one["row_no"], one["stage"]) for one in letters] == [
        ("041", 1, 124, "contract"),
        ("050", 2, 152, "key"),
    ]
    assert "row 1 of" in letters[1]["reason"]
    assert "007" in letters[1]["reason"]


def test_a_damaged_line_of_one_file_leaves_the_rows_of_the_others_as_they_are(database: str, tmp_path: Path) -> None:
    _write(tmp_path, MANY_CSV)
    (tmp_path / "012.csv").write_text("number,label\n36,a\n37,b,too many\n38,c\n")
    report = load_one(database, MANY_CSV, tmp_path, "all")
    assert report.error is None
    assert report.chunks == 3
    (letter,) = fetch(database, "select source, source_row, row_no, stage from rowledger.dead_letter")
    assert (Path(letter["source"]).stem, letter["source_row"], letter["row_no"]) == ("012", 1, 37)
    assert letter["stage"] == "source"
    assert fetch_value(database, "select count(*) from many_csv") == 209
    assert fetch_value(database, "select label from many_csv where number = 38") == "c"


@_SPECS
def test_files_that_share_chunks_are_resumed_and_their_change_is_noticed(
    database: str, tmp_path: Path, spec: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, spec)
    set_failpoints(monkeypatch, "before_reconcile=raise")
    first = load_one(database, spec, tmp_path, "all")
    assert first.error is not None
    set_failpoints(monkeypatch, "")
    second = load_one(database, spec, tmp_path, "all")
    assert (second.load_id, second.resumed, second.chunks) == (first.load_id, True, 3)
    _write(tmp_path, spec, {(69, 2): 1_000})
    third = load_one(database, spec, tmp_path, "all")
    assert third.error is None
    assert third.load_id != second.load_id
    assert fetch_value(database, f"select max(number) from {spec.name}") == 1_000


def test_a_small_text_file_is_read_without_a_producer(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    right = Workforce.start_producer

    async def start_producer(self: Workforce, hello: object) -> object:
        started.append(hello)
        return await right(self, hello)  # type: ignore[arg-type]

    monkeypatch.setattr(Workforce, "start_producer", start_producer)
    (tmp_path / "1.csv").write_text("number,label\n1,a\n")
    assert load_one(database, MANY_CSV, tmp_path, "all").error is None
    assert not started
    monkeypatch.setattr(RangedTextFiles, "read_at_once_bytes_max", 1)
    assert load_one(database, MANY_CSV, tmp_path, "all").error is None
    assert started
