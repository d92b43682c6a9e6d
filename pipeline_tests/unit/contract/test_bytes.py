"""Bytes where a field takes anything are {"base64": "…"}, whichever source and batch; an object like them is none."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, model_validator

from rowledger.chunk.preparation import prepare_rows
from rowledger.contract.check import Contract
from rowledger.contract.checked import Checked
from rowledger.contract.read_payloads import frame_of_payloads
from rowledger.contract.sql_types import SqlType
from rowledger.contract.write_payloads import row_payloads
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.sources.parquet import ParquetFiles
from rowledger.sources.python import PythonRows
from rowledger.spec.column import ColumnType, TypeName
from rowledger.spec.partition import Partition
from rowledger.spec.source import Source, SourceContext
from rowledger.spec.table import TableSpec
from rowledger.spec.transform import RowTransform

ALL = Partition(key="k")
OBJECT = {"base64": "YWJj"}  # what b"abc" looks like


class Inner(BaseModel):
    x: Any


@dataclasses.dataclass
class Parts:
    x: Any


class Documents(BaseModel):
    anything: Any
    document: dict[str, Any]
    items: list[Any]
    inner: Inner
    parts: Parts


class DocumentsRowByRow(Documents):
    @model_validator(mode="after")
    def as_it_is(self) -> "DocumentsRowByRow":
        return self


def read(source: Source, folder: Path) -> pl.DataFrame:
    (chunk,) = source.chunks(ALL, SourceContext(folder, folder, 100))
    return source.read(chunk)


def of_function(folder: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return read(PythonRows(function=lambda _: rows), folder)


def of_pandas(folder: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return read(PythonRows(function=lambda _: pd.DataFrame(rows, dtype=object)), folder)


def of_parquet(folder: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    pq.write_table(pa.Table.from_pylist(rows), folder / "k.parquet")
    return read(ParquetFiles(path="{landing}/k.parquet"), folder)


def row_of(value: object) -> dict[str, Any]:
    parts = {"x": value}
    return {"anything": value, "document": {"k": value}, "items": [value], "inner": parts, "parts": parts}


def documents(checked: Checked) -> list[list[str]]:
    assert checked.rejected == []
    return [["".join(text.split()) for text in row] for row in checked.good.rows()]


def expected(text: str) -> list[str]:
    return [text, f'{{"k":{text}}}', f"[{text}]", f'{{"x":{text}}}', f'{{"x":{text}}}']


@pytest.mark.parametrize("model", [Documents, DocumentsRowByRow])
@pytest.mark.parametrize("way", [of_function, of_pandas, of_parquet])
def test_bytes_have_one_form_whether_they_are_characters_or_not(
    tmp_path: Path, way: Callable[[Path, list[dict[str, Any]]], pl.DataFrame], model: type[BaseModel]
) -> None:
    frame = way(tmp_path, [row_of(b"abc"), row_of(b"\xff")])

    for given in (frame, frame_of_payloads(list(row_payloads(frame)), frame.schema)):
        assert documents(Contract.of(model).check(given)) == [
            expected('{"base64":"YWJj"}'),
            expected('{"base64":"/w=="}'),
        ]


@pytest.mark.parametrize("model", [Documents, DocumentsRowByRow])
def test_bytes_have_the_same_form_beside_values_of_other_types(tmp_path: Path, model: type[BaseModel]) -> None:
    frame = of_function(tmp_path, [row_of(b"abc"), row_of(1), row_of("x"), row_of([b"\xff", None])])

    for given in (frame, frame_of_payloads(list(row_payloads(frame)), frame.schema)):
        assert documents(Contract.of(model).check(given)) == [
            expected('{"base64":"YWJj"}'),
            expected("1"),
            expected('"x"'),
            expected('[{"base64":"/w=="},null]'),
        ]


class Text(BaseModel):
    v: str


class Content(BaseModel):
    v: bytes


class Anything(BaseModel):
    v: Any


class AnyContent(BaseModel):
    v: Annotated[Any, SqlType(ColumnType(TypeName.BYTEA))]


def test_an_object_of_the_source_is_bytes_only_for_a_field_that_takes_bytes(tmp_path: Path) -> None:
    (tmp_path / "k.ndjson").write_text('{"v": {"base64": "YWJj"}}\n{"v": "x"}\n{"v": 1}\n')
    frame = read(NdjsonFiles(path="{landing}/k.ndjson"), tmp_path)

    text, content, anything = (Contract.of(model).check(frame) for model in (Text, Content, Anything))

    assert text.good["v"].to_list() == ["x"]
    assert [letter.row_no for letter in text.rejected] == [0, 2]
    assert content.good["v"].to_list() == [b"abc", b"x"]
    assert [letter.row_no for letter in content.rejected] == [2]
    assert documents(anything) == [['{"base64":"YWJj"}'], ['"x"'], ["1"]]


def test_bytes_of_a_function_are_a_text_for_a_field_of_text_whatever_is_beside_them(tmp_path: Path) -> None:
    frame = of_function(tmp_path, [{"v": b"abc"}, {"v": "x"}, {"v": OBJECT}])

    checked = Contract.of(Text).check(frame)

    assert checked.good["v"].to_list() == ["abc", "x"]
    assert [letter.payload for letter in checked.rejected] == ['{"v": {"base64": "YWJj"}}']


def test_a_column_of_bytes_takes_bytes_from_a_field_that_takes_anything(tmp_path: Path) -> None:
    frame = of_function(tmp_path, [{"v": b"abc"}, {"v": 1}, {"v": b"\xff"}])

    checked = Contract.of(AnyContent).check(frame)

    assert checked.good["v"].to_list() == [b"abc", b"\xff"]
    assert [letter.row_no for letter in checked.rejected] == [1]


def test_a_row_transform_gets_bytes_and_not_what_payloads_make_of_them(tmp_path: Path) -> None:
    seen: list[object] = []

    def look(row: Anything) -> Anything:
        seen.append(row.v)
        return row

    source = PythonRows(function=lambda _: [{"v": b"abc"}, {"v": 1}, {"v": OBJECT}])
    spec = TableSpec(name="t", row=Anything, source=source, transform=RowTransform(function=look))

    found = prepare_rows(spec, Contract.of(Anything).columns, read(source, tmp_path), range(3), ALL, dead_letters_max=9)

    assert seen == [b"abc", 1, OBJECT]
    assert ["".join(text.split()) for text in found.good["v"]] == ['{"base64":"YWJj"}', "1", '{"base64":"YWJj"}']
