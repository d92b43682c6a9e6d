"""A column of text gets a type only where the contract makes the same of its texts."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from pydantic import BaseModel, Field, create_model, field_validator

from rowledger.contract.check import Contract
from rowledger.contract.sql_types import Integer
from rowledger.sources.csv import CsvFiles
from rowledger.sources.typed_columns import typed_column
from rowledger.spec.column import Column, ColumnType, TypeName
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext


class TypedCsv(CsvFiles):
    """CSV files whose columns get types in every chunk, however small."""

    typed_rows_min: ClassVar[int] = 0


def _decimal(digits: int, places: int) -> Any:
    return Annotated[Decimal, Field(max_digits=digits, decimal_places=places)]


FIELDS = [bool, int, Integer, float, date, datetime] + [
    _decimal(*size) for size in [(15, 2), (5, 0), (1, 0), (38, 2), (38, 37), (20, 18), (5, 5)]
]
MODELS = [create_model("Row", v=(field | None, None), w=(str | None, None)) for field in FIELDS]
NUMBERS = [
    "0",
    "1",
    "12",
    "999999999",
    "9" * 18,
    "9" * 19,
    "9" * 38,
    "0" * 20,
    ".",
    ".5",
    "-",
    "+",
    "e",
    "E3",
    "0x",
    "/",
]
DATES = ["2024", "-01", "-02", "2024-02-29", "2023-02-29", "0001-01-01", "9999-12-31", "0000-01-01", "20240101"]
TIMES = [" ", "T", "12:30:59", "23:59:60", "24:00:00", "12:30", "12", ".5", "Z", "+05:00", "2024-01-02 12:30:59"]
OTHERS = ["_", " ", "\t", "\u00a0", "\u0663", "nan", "inf", "Infinity", "true", "FALSE", "tRue", "yes", "t", '"', "x"]
TEXTS = st.lists(st.sampled_from(NUMBERS + DATES + TIMES + OTHERS), max_size=4).map("".join)


def _chunk(folder: Path, texts: list[str]) -> tuple[TypedCsv, ChunkDescriptor] | None:
    """A file of these texts in its first column; None where they are not one chunk."""
    (folder / "x.csv").write_text("v,w\n" + "".join(f"{text},x\n" for text in texts), encoding="utf-8")
    source = TypedCsv(path=str(folder / "x.csv"))
    found = list(source.chunks(Partition(key="k"), SourceContext(folder, folder, 100)))
    return (source, found[0]) if len(found) == 1 else None


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), row=st.sampled_from(MODELS))
@example(texts=["0x10"], row=MODELS[1])
@example(texts=["12345678901234"], row=MODELS[6])  # fits 15 digits, but not with two decimals
@example(texts=["0.1" + "9" * 38], row=MODELS[7])  # more decimals than 128 bits hold
@example(texts=["9" * 37], row=MODELS[9])
@example(texts=["0.1234567890123456789"], row=MODELS[3])
@example(texts=["2024-01-01T12+05:00"], row=MODELS[5])
def test_a_typed_column_is_what_the_contract_makes_of_the_texts(
    tmp_path: Path, texts: list[str], row: type[BaseModel]
) -> None:
    chunk = _chunk(tmp_path, texts)
    if chunk is None:
        return
    source, descriptor = chunk
    contract = Contract.of(row)
    typed = source.read_typed(descriptor, contract.types_of_texts({}, source))
    assert typed is not None
    if typed.schema["v"] == pl.String():
        return

    of_types = contract.check(typed, types_inferred=True)
    of_texts = contract.check(source.read(descriptor), types_inferred=True)

    assert len(of_types.rejected) == len(of_texts.rejected)
    assert of_types.good.schema == of_texts.good.schema
    assert of_types.good.equals(of_texts.good)


@pytest.mark.parametrize(
    ("row", "texts", "dtype"),
    [
        (MODELS[0], ["true", "", "0"], pl.Boolean()),
        (MODELS[1], ["-12", "", "007"], pl.Int64()),
        (MODELS[2], ["3"], pl.Int64()),
        (MODELS[3], ["0.25", "-3"], pl.Float64()),
        (MODELS[4], ["2024-02-29"], pl.Date()),
        (MODELS[5], ["2024-02-29 10:00:00", "2024-02-29T10:00:00"], pl.Datetime("us")),
        (MODELS[6], ["1.5", "-22"], pl.Decimal(15, 2)),
    ],
)
def test_plain_texts_get_the_type_of_the_field(
    tmp_path: Path, row: type[BaseModel], texts: list[str], dtype: pl.DataType
) -> None:
    chunk = _chunk(tmp_path, texts)
    assert chunk is not None
    source, descriptor = chunk
    typed = source.read_typed(descriptor, Contract.of(row).types_of_texts({}, source))
    assert typed is not None
    assert typed.schema == {"v": dtype, "w": pl.String()}


WITH_TWO_DECIMALS = st.tuples(
    st.sampled_from(["", "-", "--", "+", "0", "-0", "00", "/", "1.", "1-"]),
    st.sampled_from(["", "0", "7", "42", "9" * 12, "9" * 13, "9" * 14, "9" * 19]),
    st.sampled_from([".00", ".05", ".50", ".99", ".9", "", ".", ".-5", ".123"]),
).map("".join)


@given(texts=st.lists(WITH_TWO_DECIMALS | st.none(), min_size=1, max_size=3))
@example(texts=["-.50"])
@example(texts=[".-5"])
@example(texts=["9999999999999.99", "-9999999999999.99"])
@example(texts=["99999999999999.99"])
@example(texts=["12.34", "1.234"])
@example(texts=["1.2", "12.34"])
def test_decimals_are_the_digits_of_their_texts_or_stay_text(texts: list[str | None]) -> None:
    column = typed_column(pa.chunked_array([pa.array(["", *texts], pa.string())[1:]]), pl.Decimal(15, 2))
    if column is not None:
        assert column.to_pylist() == [None if text is None else Decimal(text) for text in texts]
        assert all(value is None or abs(value) < 10**13 for value in column.to_pylist())


def test_decimals_of_one_form_get_their_type() -> None:
    texts = ["0.00", "-0.01", "-.50", "007.25", "9999999999999.99", "-9999999999999.99"]
    column = typed_column(pa.chunked_array([pa.array(texts, pa.string())]), pl.Decimal(15, 2))
    assert column is not None
    assert column.to_pylist() == [Decimal(text) for text in texts]


class Strict(BaseModel):
    """A strict field takes no text for a number."""

    v: Annotated[int, Field(strict=True)]


class Seen(BaseModel):
    """A validator sees the text."""

    v: int

    @field_validator("v", mode="before")
    @classmethod
    def _without_sign(cls, value: Any) -> Any:
        return value.strip("€") if isinstance(value, str) else value


class Twice(BaseModel):
    """Two fields read one column."""

    v: int
    as_text: str = Field(alias="v")


@pytest.mark.parametrize(
    ("row", "options"),
    [
        (Strict, {}),
        (Seen, {}),
        (Twice, {}),
        (create_model("Row", v=(int | float, ...)), {}),
        (create_model("Row", v=(Decimal, ...)), {}),
        (create_model("Row", v=(str, ...)), {}),
        (create_model("Row", v=(list[int], ...)), {}),
        (MODELS[6], {"decimal": ","}),
        (MODELS[4], {"date_formats": ("%d.%m.%Y",)}),
    ],
)
def test_a_column_stays_text_where_more_than_its_value_decides(row: type[BaseModel], options: dict[str, Any]) -> None:
    source = CsvFiles(path="x.csv", **options)
    assert "v" not in Contract.of(row).types_of_texts({}, source)


def test_a_column_stays_text_where_the_table_has_another_type() -> None:
    numeric = Column("v", ColumnType(TypeName.NUMERIC), nullable=True).type
    assert "v" not in Contract.of(MODELS[6]).types_of_texts({"v": numeric}, CsvFiles(path="x.csv"))
