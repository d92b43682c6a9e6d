"""Tables of JSON, Parquet and Arrow files."""

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support.inferring import inferred, types_of
from rowledger.errors import SourceError
from rowledger.infer import infer_table
from rowledger.sources.json_files import JsonFiles
from rowledger.sources.ndjson import NdjsonFiles


def test_json_values_keep_their_types(tmp_path: Path) -> None:
    rows = [
        {"id": n, "at": f"2024-01-01T00:00:{n % 60:02}Z", "v": n / 8 if n % 2 else n, "tags": ["a"], "o": {"x": [n]},
         "ok": n % 2 == 0, "zip": f"0{n}", "mix": n if n % 2 else str(n), **({"late": 1} if n > 5 else {})}
        for n in range(300)
    ]  # fmt: skip
    table = inferred(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "things.ndjson")
    assert types_of(table) == {
        "id": "integer", "at": "timestamptz", "v": "double", "tags": "text[]", "o": "json", "ok": "boolean",
        "zip": "text", "mix": "json", "late": "integer null",
    }  # fmt: skip
    assert [column.name for column in table.columns if column.is_optional] == ["late"]
    assert isinstance(table.source, NdjsonFiles)
    assert table.refused.rows == 0


def test_odd_json_values_and_broken_lines_become_dead_letters(tmp_path: Path) -> None:
    content = "".join(f'{{"v": {json.dumps("N/A" if n == 5 else n * 1.5)}}}\n' for n in range(300)) + "{broken\n"
    table = inferred(tmp_path, content, "things.jsonl")
    assert types_of(table) == {"v": "double"}
    assert table.refused.rows == 2


@pytest.mark.parametrize(
    ("content", "rows_at"),
    [
        ('[{"a": 1}, {"a": 2}]', ()),
        ('[\n  {"a": 1},\n  {"a": 2}\n]', ()),
        ('{"a": 1,\n"b": 2}\n{"a": 3,\n"b": 4}', ()),
        ('{"meta": {}, "data": {"items": [{"a": 1}, {"a": 2}]}}', ("data", "items")),
        ('{\n  "packages": [\n    {"a": 1}\n, {"a": 2}]\n}', ("packages",)),
    ],
)
def test_json_over_several_lines_is_read(tmp_path: Path, content: str, rows_at: tuple[str, ...]) -> None:
    table = inferred(tmp_path, content, "things.json")
    assert isinstance(table.source, JsonFiles)
    assert table.source.rows_at == rows_at
    assert table.rows == 2


def test_a_json_list_of_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a row is an object"):
        inferred(tmp_path, "[1, 2, 3]", "things.json")


def test_parquet_declares_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "small": pl.Series([1, 2], dtype=pl.Int8),
            "wide": pl.Series([1, 2**64 - 1], dtype=pl.UInt64),
            "part": [1.5, None],
            "day": [date(2024, 1, 1)] * 2,
            "moment": [datetime(2024, 1, 1, tzinfo=UTC)] * 2,
            "price": pl.Series([Decimal("1.50")] * 2, dtype=pl.Decimal(20, 4)),
            "items": [["a", None], []],
            "inner": [{"a": 1}] * 2,
            "raw": [b"x", b"\0"],
        }
    )
    frame.write_parquet(file := tmp_path / "things.parquet")
    table = infer_table(file)
    assert types_of(table) == {
        "small": "smallint", "wide": "numeric(28,0)", "part": "double null", "day": "date", "moment": "timestamptz",
        "price": "numeric(20,4)", "items": "text[]", "inner": "json", "raw": "bytea",
    }  # fmt: skip
    assert table.refused.rows == 0
    frame.clear().write_parquet(file)
    assert types_of(infer_table(file))["small"] == "smallint null"


@pytest.mark.parametrize("name", ["things.arrow", "things.arrows"])
def test_arrow_declares_its_types(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"id": range(10), "x": ["a"] * 10})
    (frame.write_ipc if name == "things.arrow" else frame.write_ipc_stream)(tmp_path / name)
    table = infer_table(tmp_path / name)
    assert types_of(table) == {"id": "bigint", "x": "text"}
    assert table.key == ("id",)


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    table = inferred(tmp_path, gzip.compress(b"id,v\n1,2.5\n2,3.5\n"), "things.csv.gz")
    assert (table.name, types_of(table)) == ("things", {"id": "integer", "v": "double"})
