"""Chunks of text are byte ranges that depend on the file alone, and are read only with the bytes that were scanned."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from rowledger.errors import SourceError
from rowledger.sources import csv_records, text_chunks, text_reading
from rowledger.sources.csv import CsvFiles
from rowledger.sources.text_records import positions_of
from rowledger.spec.manifest import ChunkDescriptor, Manifest
from rowledger.spec.partition import Partition
from rowledger.spec.source import FAULT, SourceContext

ALL = Partition(key="all")
RECORDS = st.lists(
    st.sampled_from(
        [
            "1,2",
            "",
            "",
            '"3","4\n5"',
            '"6"x,7',
            '8,"9',
            "10",
            "11,é",
            "12,\r13",
            "14," + "x" * 70,
            '15,"1""6"',
            '"""",17',
        ]
    ),
    max_size=14,
)


def chunks(folder: Path, chunk_rows_max: int = 100, name: str = "*.csv", **options: Any) -> list[ChunkDescriptor]:
    source = CsvFiles(path=str(folder / name), **options)
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    return list(source.chunks(ALL, SourceContext(folder, spool, chunk_rows_max)))


def content_digest(*arguments: Any, **options: Any) -> str:
    return Manifest.of(chunks(*arguments, **options)).content_digest


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=RECORDS,
    line_end=st.sampled_from(["\n", "\r\n"]),
    block_bytes=st.integers(1, 40),
    chunk_bytes=st.sampled_from([1, 30, 100, 10_000]),
    chunk_rows=st.integers(1, 8),
)
def test_where_a_block_ends_moves_no_chunk(
    tmp_path: Path, records: list[str], line_end: str, block_bytes: int, chunk_bytes: int, chunk_rows: int
) -> None:
    (tmp_path / "x.csv").write_bytes(line_end.join(["a,b", *records]).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_chunks, "_CHUNK_TEXT_BYTES_MAX", chunk_bytes)
        whole = chunks(tmp_path, chunk_rows)
        patch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)
        assert chunks(tmp_path, chunk_rows) == whole
        patch.setattr(csv_records, "LONG_TEXT_BYTES", 0)
        assert chunks(tmp_path, chunk_rows) == whole
    assert all(0 < chunk.rows <= chunk_rows for chunk in whole)


@given(content=st.lists(st.sampled_from([b"\n", b"\n\n", b"x", b"x" * 7, b"x" * 40]), max_size=20).map(b"".join))
@example(content=b"\n" + b"x" * 8 + b"\n" + b"x" * 6)
def test_a_byte_is_found_wherever_it_is(content: bytes) -> None:
    found = positions_of(ord("\n"), np.frombuffer(content, np.uint8))
    assert found.tolist() == [place for place, byte in enumerate(content) if byte == ord("\n")]


def test_a_chunk_ends_before_the_record_that_exceeds_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_chunks, "_CHUNK_TEXT_BYTES_MAX", 12)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n5,6\n7,8\n" + "9," + "x" * 50 + "\n10,11\n")
    assert [chunk.rows for chunk in chunks(tmp_path)] == [3, 1, 2]


def test_a_record_larger_than_a_chunk_takes_a_smaller_one_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_chunks, "_CHUNK_TEXT_BYTES_MAX", 12)
    large = "1," + "x" * 50 + "\n"
    (tmp_path / "x.csv").write_text("a,b\n" + large + large + "2,3\n4,5\n6,7\n8,9\n" + large)
    assert [chunk.rows for chunk in chunks(tmp_path)] == [1, 2, 3, 1]


def test_ranges_are_read_in_place_and_only_other_text_is_spooled(tmp_path: Path) -> None:
    text = "a,b\né,1\nz,2\n"
    (tmp_path / "plain.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "packed.csv").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "latin.csv").write_bytes(text.encode("latin-1"))

    (plain,) = chunks(tmp_path, name="plain.csv")
    assert plain.path == str(tmp_path / "plain.csv")
    assert list((tmp_path / "spool").iterdir()) == []
    (packed,), (latin,) = chunks(tmp_path, name="packed.csv"), chunks(tmp_path, name="latin.csv", encoding="latin-1")

    for chunk in (packed, latin):
        assert Path(chunk.path).parent == tmp_path / "spool"
        assert Path(chunk.path).stat().st_mode & 0o777 == 0o600
        assert chunk.file_digest == plain.file_digest


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_text("a,b\n1,2\n3,9\n"),
        lambda file: file.write_text("a,b\n1,2\n"),
        lambda file: file.write_text("a,b\n0,0\n1,2\n3,4\n"),
    ],
    ids=["other bytes", "shorter", "moved"],
)
def test_a_range_that_has_other_bytes_than_were_scanned_is_not_read(tmp_path: Path, change: Any) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n3,4\n")
    _, second = chunks(tmp_path, 1)
    change(file)
    with pytest.raises(SourceError, match=r"x\.csv: its content changed since it was planned; rerun to plan"):
        CsvFiles(path=str(file)).read(second)


def test_a_file_that_is_gone_is_named_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n")
    (chunk,) = chunks(tmp_path)
    file.unlink()
    with pytest.raises(SourceError, match=r"x\.csv: No such file or directory; write it again"):
        CsvFiles(path=str(file)).read(chunk)


def test_a_byte_order_mark_with_which_a_range_begins_belongs_to_its_first_value(tmp_path: Path) -> None:
    texts = ["\ufeff", "\ufeff\ufeffx", "y\ufeff", '"\ufeff"']
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{text},1\n" for text in texts), encoding="utf-8")
    source = CsvFiles(path=str(tmp_path / "x.csv"))
    read = [source.read(chunk)["a"].item() for chunk in chunks(tmp_path, 1)]
    assert read == ["\ufeff", "\ufeff\ufeffx", "y\ufeff", "\ufeff"]


def test_bytes_before_a_range_may_change_when_the_range_stays(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n3,4\n")
    _, second = chunks(tmp_path, 1)
    file.write_text("a,b\n9,9\n3,4\n")
    assert CsvFiles(path=str(file)).read(second).rows() == [("3", "4")]


def test_a_damaged_record_is_what_the_whole_file_makes_of_it(tmp_path: Path) -> None:
    """Alone, the first chunk's quote ends with the text; in the file, a quote follows that opens another field."""
    (tmp_path / "x.csv").write_text('a,b\n1,"2\n3,4\n5,"6"\n')
    source = CsvFiles(path=str(tmp_path / "x.csv"))
    first, *others = chunks(tmp_path, 1)
    assert first.text is not None
    assert first.text.records
    assert all(chunk.text is not None and not chunk.text.records for chunk in others)
    assert source.read(first)[FAULT].to_list() == ["has an opening quote without a closing one"]

    Path(first.text.records).write_bytes(b"other")
    with pytest.raises(SourceError, match="its content changed since it was planned"):
        source.read(first)


def test_the_digest_of_rows_depends_on_their_text_and_how_it_is_read_alone(tmp_path: Path) -> None:
    rows = [f"{n},x" for n in range(9)]
    (tmp_path / "x.csv").write_text("\n".join(["a,b", *rows, ""]))
    whole = content_digest(tmp_path)
    assert content_digest(tmp_path, 2) == whole
    assert content_digest(tmp_path, record_bytes_max=2000) == whole
    assert content_digest(tmp_path, nulls=("x",)) != whole
    assert content_digest(tmp_path, columns=("b", "a")) != whole

    (tmp_path / "x.csv").write_text("\n".join(["a,b", "", *rows[:4], "", "", *rows[4:]]))
    assert content_digest(tmp_path) == whole
    assert content_digest(tmp_path, 2) == whole

    (tmp_path / "x.csv").write_text("\n".join(["a,b", *rows[:4]]))
    (tmp_path / "y.csv").write_text("\n".join(["a,b", *rows[4:]]))
    assert content_digest(tmp_path) == whole

    (tmp_path / "y.csv").write_text("\n".join(["a,b", *rows[5:], rows[4]]))
    assert content_digest(tmp_path) != whole
