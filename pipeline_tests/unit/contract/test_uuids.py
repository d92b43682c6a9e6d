"""A UUID is its text, its 16 bytes or itself, as the field wants it, wherever a source has it; never 16 characters."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, model_validator

from rowledger.chunk.preparation import prepare_rows
from rowledger.contract.check import Contract
from rowledger.contract.read_payloads import frame_of_payloads
from rowledger.contract.row_types import read_row_types, write_row_types
from rowledger.contract.write_payloads import row_payloads
from rowledger.sources.arrow_ipc import ArrowFiles
from rowledger.sources.parquet import ParquetFiles
from rowledger.sources.python import PythonRows
from rowledger.spec.column import TypeName
from rowledger.spec.marked_types import BYTES_16, UUID
from rowledger.spec.partition import Partition
from rowledger.spec.source import Source, SourceContext
from rowledger.spec.table import TableSpec
from rowledger.spec.transform import FrameTransform

CONTENT = b"abcdefghijklmnop"
TEXT = "61626364-6566-6768-696a-6b6c6d6e6f70"
ALL = Partition(key="k")
_KINDS = {"uuid": pa.uuid(), "16 bytes": pa.binary(16)}


class Inner(BaseModel):
    text: str | None
    own: uuid.UUID | None


class Row(BaseModel):
    text: str | None
    own: uuid.UUID | None
    content: bytes | None
    anything: Any
    texts: list[str | None]
    owns: list[uuid.UUID | None]
    contents: list[bytes | None]
    document: dict[str, Any]
    inner: Inner


class RowByRow(Row):
    @model_validator(mode="after")
    def as_it_is(self) -> "RowByRow":
        return self


def table(kind: pa.DataType) -> pa.Table:
    values = pa.array([CONTENT, None], kind)
    lists = pa.ListArray.from_arrays([0, 1, 2], values)
    return pa.table(
        {
            **dict.fromkeys(("text", "own", "content", "anything"), values),
            **dict.fromkeys(("texts", "owns", "contents"), lists),
            "document": pa.StructArray.from_arrays([values], ["x"]),
            "inner": pa.StructArray.from_arrays([values, values], ["text", "own"]),
        }
    )


GOOD = {
    "text": TEXT,
    "own": CONTENT,
    "content": CONTENT,
    "anything": f'"{TEXT}"',
    "texts": [TEXT],
    "owns": [CONTENT],
    "contents": [CONTENT],
    "document": f'{{"x":"{TEXT}"}}',
    "inner": f'{{"text":"{TEXT}","own":"{TEXT}"}}',
}
EMPTY = {
    **dict.fromkeys(("text", "own", "content", "anything")),
    **{name: [None] for name in ("texts", "owns", "contents")},
    "document": '{"x":null}',
    "inner": '{"text":null,"own":null}',
}


def read(source: Source, folder: Path) -> pl.DataFrame:
    (chunk,) = source.chunks(ALL, SourceContext(folder, folder, 100))
    frame = source.read(chunk)
    assert frame.schema == source.frame_schema(chunk)
    return frame


def of_parquet(folder: Path, given: pa.Table, *, store_schema: bool = True) -> pl.DataFrame:
    pq.write_table(given, folder / "k.parquet", store_schema=store_schema)
    return read(ParquetFiles(path="{landing}/k.parquet"), folder)


def of_plain_parquet(folder: Path, given: pa.Table) -> pl.DataFrame:
    return of_parquet(folder, given, store_schema=False)


def of_arrow(folder: Path, given: pa.Table) -> pl.DataFrame:
    with pa.ipc.new_file(folder / "k.arrow", given.schema) as writer:
        writer.write_table(given)
    return read(ArrowFiles(path="{landing}/k.arrow"), folder)


def of_function(folder: Path, given: pa.Table) -> pl.DataFrame:
    return read(PythonRows(function=lambda _: given), folder)


_WAYS: list[Callable[[Path, pa.Table], pl.DataFrame]] = [of_parquet, of_plain_parquet, of_arrow, of_function]


def of_rows(folder: Path, given: pa.Table) -> pl.DataFrame:
    """A function that gives Python's own UUIDs."""
    return read(PythonRows(function=lambda _: given.to_pylist()), folder)


def of_pandas(folder: Path, given: pa.Table) -> pl.DataFrame:
    return read(PythonRows(function=lambda _: pd.DataFrame(given.to_pylist(), dtype=object)), folder)


@pytest.mark.parametrize("model", [Row, RowByRow])
@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("way", _WAYS)
def test_each_field_gets_the_form_that_it_wants(
    tmp_path: Path, way: Callable[[Path, pa.Table], pl.DataFrame], kind: str, model: type[BaseModel]
) -> None:
    checked = Contract.of(model).check(way(tmp_path, table(_KINDS[kind])))

    assert checked.rejected == []
    assert checked.good.to_dicts() == [GOOD, EMPTY]


@pytest.mark.parametrize("model", [Row, RowByRow])
@pytest.mark.parametrize("way", [of_rows, of_pandas])
def test_uuids_of_python_are_uuids(
    tmp_path: Path, way: Callable[[Path, pa.Table], pl.DataFrame], model: type[BaseModel]
) -> None:
    checked = Contract.of(model).check(way(tmp_path, table(pa.uuid())))

    assert checked.rejected == []
    assert checked.good.to_dicts() == [GOOD, EMPTY]


def test_the_digest_of_uuids_is_that_of_their_texts(tmp_path: Path) -> None:
    def digest(folder: str, *values: object) -> str:
        (tmp_path / folder).mkdir()
        source = PythonRows(function=lambda _: [{"id": value, "ids": [value]} for value in values])
        return next(source.chunks(ALL, SourceContext(tmp_path, tmp_path / folder, 100))).rows_digest

    assert digest("uuids", uuid.UUID(TEXT), None) == digest("texts", TEXT, None)


@pytest.mark.parametrize("kind", _KINDS)
def test_payloads_read_back_as_they_were(tmp_path: Path, kind: str) -> None:
    frame = of_arrow(tmp_path, table(_KINDS[kind]))
    payloads = list(row_payloads(frame))

    again = frame_of_payloads(payloads, read_row_types(write_row_types(frame.schema)))

    assert again.schema == frame.schema
    assert again.equals(frame)
    assert ('"text": "' + TEXT in payloads[0]) == (kind == "uuid")


def test_a_new_column_becomes_a_uuid_only_if_the_source_says_so() -> None:
    columns = Contract.of(Inner).columns_for({"a": UUID, "b": BYTES_16})

    assert [column.type.name for column in columns] == [TypeName.UUID, TypeName.BYTEA]


def seen(frame: pl.DataFrame) -> pl.DataFrame:
    assert dict(frame.drop("rowledger row").schema) == {"text": pl.String(), "own": pl.Binary()}
    return frame


def test_a_transform_sees_text_for_uuids_and_bytes_for_other_bytes(tmp_path: Path) -> None:
    given = pa.table({"text": pa.array([CONTENT], pa.uuid()), "own": pa.array([CONTENT], pa.binary(16))})
    spec = TableSpec(
        name="t",
        row=Inner,
        source=ArrowFiles(path="{landing}/k.arrow"),
        transform=FrameTransform(function=seen),
    )

    prepared = prepare_rows(
        spec, Contract.of(Inner).columns, of_arrow(tmp_path, given), range(1), ALL, dead_letters_max=9
    )

    assert prepared.rejected == []
    assert prepared.good.rows() == [(TEXT, CONTENT)]
