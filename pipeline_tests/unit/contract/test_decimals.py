"""A decimal keeps the zeros at its end, whichever decimals come in one batch with it: 1 beside 1.500 stays 1."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, ConfigDict, Field, Json, model_validator

from rowledger.chunk.preparation import PreparedRows, prepare_rows
from rowledger.contract.check import Contract
from rowledger.contract.read_payloads import frame_of_payloads
from rowledger.contract.row_types import read_row_types, write_row_types
from rowledger.contract.write_payloads import row_payloads
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.sources.python import PythonRows
from rowledger.sources.spooled_source import SpooledSource
from rowledger.spec.column import ColumnType, TypeName
from rowledger.spec.marked_types import DECIMAL_TEXT, DYNAMIC
from rowledger.spec.partition import Partition
from rowledger.spec.source import Source, SourceContext
from rowledger.spec.table import TableSpec
from rowledger.spec.transform import ROW, FrameTransform, RowTransform

ALL = Partition(key="k")
TEXTS = ["1", "1.500", None, "1E+2", "-0", "-0.00", "-20.10", "12345678901234567890.123"]
SHOWN = ["1", "1.500", None, "100", "0", "0.00", "-20.10", "12345678901234567890.123"]
GIVEN = [text and Decimal(text) for text in TEXTS]


class Amount(BaseModel):
    amount: Decimal | None


class StrictAmount(BaseModel):
    model_config = ConfigDict(strict=True)

    amount: Decimal | None


class AmountOrInteger(BaseModel):
    amount: int | Decimal | None


class AmountRowByRow(Amount):
    @model_validator(mode="after")
    def as_it_is(self) -> "AmountRowByRow":
        return self


class Inner(BaseModel):
    price: Decimal | None
    parts: list[Decimal]


class Nested(BaseModel):
    amounts: list[Decimal | None]
    document: dict[str, Any]
    anything: Any
    inner: Inner


class NestedRowByRow(Nested):
    @model_validator(mode="after")
    def as_it_is(self) -> "NestedRowByRow":
        return self


def read(source: Source, folder: Path, **scope: Any) -> pl.DataFrame:
    (chunk,) = source.chunks(ALL, SourceContext(folder, folder, 100, **scope))
    frame = source.read(chunk)
    assert frame.schema == source.frame_schema(chunk)
    return frame


def of_function(folder: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return read(PythonRows(function=lambda _: rows), folder)


def of_pandas(folder: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return read(PythonRows(function=lambda _: pd.DataFrame(rows, dtype=object)), folder)


def of_ndjson(folder: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    lines = (json.dumps(row, default=lambda value: f"<{value}>") for row in rows)
    (folder / "k.ndjson").write_text("\n".join(lines).replace('"<', "").replace('>"', ""))
    return read(NdjsonFiles(path="{landing}/k.ndjson"), folder)


_WAYS: list[Callable[[Path, list[dict[str, Any]]], pl.DataFrame]] = [of_function, of_pandas, of_ndjson]
ROWS = [{"amount": value} for value in GIVEN]


@pytest.mark.parametrize("model", [Amount, StrictAmount, AmountRowByRow])
@pytest.mark.parametrize("way", _WAYS)
def test_a_decimal_keeps_its_zeros_beside_others(
    tmp_path: Path, way: Callable[[Path, list[dict[str, Any]]], pl.DataFrame], model: type[BaseModel]
) -> None:
    checked = Contract.of(model).check(way(tmp_path, ROWS))

    assert checked.rejected == []
    assert checked.good["amount"].to_list() == SHOWN


def test_a_decimal_keeps_its_zeros_in_a_union(tmp_path: Path) -> None:
    checked = Contract.of(AmountOrInteger).check(of_function(tmp_path, ROWS))

    assert checked.rejected == []
    assert checked.good["amount"].to_list() == SHOWN


NESTED = [
    {
        "amounts": [Decimal(1), None, Decimal("1.500")],
        "document": {"a": Decimal("2.0"), "b": {"c": [Decimal("3.25")]}},
        "anything": Decimal("7.0"),
        "inner": {"price": Decimal(4), "parts": [Decimal("5.00"), Decimal(6)]},
    },
    {
        "amounts": [],
        "document": {"a": Decimal(2), "b": {"c": []}},
        "anything": Decimal(7),
        "inner": {"price": None, "parts": []},
    },
]


@pytest.mark.parametrize("model", [Nested, NestedRowByRow])
@pytest.mark.parametrize("way", _WAYS)
def test_decimals_keep_their_zeros_in_lists_and_documents(
    tmp_path: Path, way: Callable[[Path, list[dict[str, Any]]], pl.DataFrame], model: type[BaseModel]
) -> None:
    checked = Contract.of(model).check(way(tmp_path, NESTED))

    assert checked.rejected == []
    first, second = checked.good.to_dicts()
    assert first["amounts"] == ["1", None, "1.500"]
    assert "".join(first["document"].split()) == '{"a":2.0,"b":{"c":[3.25]}}'
    assert first["anything"] == "7.0"
    assert "".join(first["inner"].split()) == '{"price":"4","parts":["5.00","6"]}'
    assert (second["amounts"], second["anything"]) == ([], "7")
    assert "".join(second["document"].split()) == '{"a":2,"b":{"c":[]}}'
    assert "".join(second["inner"].split()) == '{"price":null,"parts":[]}'


class Documents(BaseModel):
    document: dict[str, Any]
    items: list[Any]
    anything: Any
    text: Json[Any]
    object: Json[dict[str, Any]]


class DocumentsRowByRow(Documents):
    @model_validator(mode="after")
    def as_it_is(self) -> "DocumentsRowByRow":
        return self


@pytest.mark.parametrize("model", [Documents, DocumentsRowByRow])
@pytest.mark.parametrize(
    "rows",
    [
        ['{"x": 1.10}', '{"x": 2}'],
        ['{"x": 1.10}', '{"y": [2.0, 1, "t", {"z": 0.10}]}'],
        ['{"x": 1.5}', '{"x": 2.500}'],
    ],
)
def test_numbers_of_ndjson_documents_keep_their_zeros(tmp_path: Path, rows: list[str], model: type[BaseModel]) -> None:
    with (tmp_path / "k.ndjson").open("w") as file:
        for text in rows:
            escaped = json.dumps(text)
            number = text.removesuffix("}").rpartition(": ")[2] if text.startswith('{"x"') else '"word"'
            file.write(
                f'{{"document": {text}, "items": [{text}], "anything": {number}, "text": {escaped}, "object": {escaped}}}\n'
            )
    frame = read(
        NdjsonFiles(path="{landing}/k.ndjson"),
        tmp_path,
        exact_numbers=False,
        documents=Contract.of(model).documents,
    )

    checked = Contract.of(model).check(frame, types_inferred=True)

    assert checked.rejected == []
    for row, text in zip(checked.good.to_dicts(), rows, strict=True):
        plain = text.replace(" ", "")
        assert {name: made.replace(" ", "") for name, made in row.items() if name != "anything"} == {
            "document": plain,
            "items": f"[{plain}]",
            "text": plain,
            "object": plain,
        }
        assert row["anything"] in text or row["anything"] == '"word"'


@pytest.mark.parametrize("text", ['{"a": 1.10, "a": 2}', '{"a": NaN}', '"1.10"'])
def test_a_document_that_is_refused_beside_others_is_refused_alone_too(text: str) -> None:
    class Objects(BaseModel):
        v: dict[str, Any]

    [field] = DYNAMIC.fields
    frame = pl.DataFrame({"v": pl.Series([{field.name: text}, {field.name: '{"a": 1.10}'}], dtype=DYNAMIC)})

    checked = Contract.of(Objects).check(frame)

    assert checked.good["v"].to_list() == ['{"a": 1.10}']


@pytest.mark.parametrize("setting", ["str_to_upper", "str_strip_whitespace"])
def test_settings_for_texts_count_for_the_keys_of_an_object(setting: str) -> None:
    class Objects(BaseModel):
        model_config = ConfigDict(**{setting: True})  # type: ignore[typeddict-item]

        v: dict[str, Any]

    [field] = DYNAMIC.fields
    frame = pl.DataFrame({"v": pl.Series([{field.name: '{" a": 1.10}'}], dtype=DYNAMIC)})

    made = Contract.of(Objects).check(frame).good["v"][0]

    assert json.loads(made) == Objects(v={" a": 1.1}).v


@pytest.mark.parametrize("rows", [ROWS, [{"amount": Decimal("-0")}]])
def test_a_negative_zero_is_zero_whichever_decimals_are_beside_it(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    payloads = list(row_payloads(of_function(tmp_path, rows)))

    assert '{"amount": "0"}' in payloads
    assert not any("-0." in payload or '"-0"' in payload for payload in payloads)


def test_a_batch_of_one_scale_stays_a_column_of_numbers(tmp_path: Path) -> None:
    frame = of_function(tmp_path, [{"amount": Decimal("1.50")}, {"amount": Decimal("-20.00")}])

    assert frame.schema == {"amount": pl.Decimal(38, 2)}


def test_numbers_of_several_scales_obey_the_fields_rules(tmp_path: Path) -> None:
    class Priced(BaseModel):
        amount: Decimal = Field(max_digits=5, decimal_places=2, gt=0)

    class Counted(BaseModel):
        amount: int

    class Measured(BaseModel):
        amount: float

    rows = [{"amount": Decimal(text)} for text in ("1", "1.50", "1.500", "1.505", "0.0", "12345")]
    frame = of_function(tmp_path, rows)

    priced = Contract.of(Priced).check(frame)
    assert [letter.row_no for letter in priced.rejected] == [3, 4, 5]
    assert priced.good["amount"].to_list() == [Decimal("1.00"), Decimal("1.50"), Decimal("1.50")]
    counted = Contract.of(Counted).check(frame)
    assert [letter.row_no for letter in counted.rejected] == [1, 2, 3]
    assert counted.good["amount"].to_list() == [1, 0, 12345]
    assert Contract.of(Measured).check(frame).good["amount"].to_list() == [1.0, 1.5, 1.5, 1.505, 0.0, 12345.0]


def test_digits_that_no_one_scale_leaves_room_for_are_kept(tmp_path: Path) -> None:
    def rows(_: Partition) -> list[dict[str, Any]]:
        many = [{"amount": Decimal("1.5")}, {"amount": Decimal("9" * 36)}] * 4096
        return [*many, {"amount": Decimal(1)}, {"amount": Decimal("0." + "1" * 30)}]  # a batch is 8,192 rows

    source = PythonRows(function=rows)
    (chunk,) = source.chunks(ALL, SourceContext(tmp_path, tmp_path, 10_000))

    checked = Contract.of(Amount).check(source.read(chunk))

    assert checked.rejected == []
    assert checked.good["amount"].unique(maintain_order=True).to_list() == ["1.5", "9" * 36, "1", "0." + "1" * 30]


def test_the_digest_of_rows_is_the_same_however_they_are_cut(tmp_path: Path) -> None:
    rows = [{"amount": Decimal(i % 7) / 4, "list": [Decimal(i), Decimal("0.5")]} for i in range(9_000)]

    def digest(folder: str, source: SpooledSource) -> str:
        (tmp_path / folder).mkdir()
        return list(source.chunks(ALL, SourceContext(tmp_path, tmp_path / folder, 5_000)))[-1].rows_digest

    def frames(_: Partition) -> list[pl.DataFrame]:
        amounts, lists = [row["amount"] for row in rows], [row["list"] for row in rows]
        kind = pl.Decimal(38, 4)
        return [pl.DataFrame({"amount": amounts, "list": lists}, schema={"amount": kind, "list": pl.List(kind)})]

    assert digest("rows", PythonRows(function=lambda _: rows)) == digest("frames", PythonRows(function=frames))


def test_a_column_of_mixed_scales_does_not_cut_chunks(tmp_path: Path) -> None:
    def rows(_: Partition) -> list[dict[str, Any]]:
        return [
            {"amount": Decimal(1), "list": [Decimal(1)]},
            *({"amount": Decimal("1.5"), "list": [Decimal("1.5")]} for _ in range(20_000)),
        ]

    assert len(list(PythonRows(function=rows).chunks(ALL, SourceContext(tmp_path, tmp_path, 50_000)))) == 1


# ---- dead letters -------------------------------------------------------------------------------------------------------


def test_payloads_of_such_rows_read_back_as_they_were(tmp_path: Path) -> None:
    frame = of_function(tmp_path, [{"amount": value, **NESTED[n % 2]} for n, value in enumerate(GIVEN)])
    payloads = list(row_payloads(frame))

    again = frame_of_payloads(payloads, read_row_types(write_row_types(frame.schema)))

    assert json.loads(payloads[1])["amount"] == "1.500"
    assert json.loads(payloads[0])["inner"] == {"price": "4", "parts": ["5.00", "6"]}
    assert again.schema == frame.schema
    assert again.equals(frame)


def test_an_edited_payload_is_taken_with_its_own_zeros(tmp_path: Path) -> None:
    frame = of_function(tmp_path, ROWS)
    payloads = [next(iter(row_payloads(frame))), '{"amount": 2.50}', '{"amount": "3.0"}', '{"amount": "x"}']

    checked = Contract.of(Amount).check(frame_of_payloads(payloads, frame.schema))

    assert checked.good["amount"].to_list() == ["1", "2.50", "3.0"]
    assert [letter.row_no for letter in checked.rejected] == [3]


# ---- transforms and new columns -----------------------------------------------------------------------------------------


def prepared(
    tmp_path: Path, transform: FrameTransform | RowTransform, row: type[BaseModel], *rows: Any
) -> PreparedRows:
    source = PythonRows(function=lambda _: list(rows))
    spec = TableSpec(name="t", row=row, source=source, transform=transform)
    return prepare_rows(
        spec, Contract.of(row).columns, read(source, tmp_path), range(len(rows)), ALL, dead_letters_max=9
    )


def raised(frame: pl.DataFrame) -> pl.DataFrame:
    assert frame.schema["amount"] == pl.Decimal(38, 3)
    keeps = pl.col("amount") < 2
    return frame.with_columns(pl.when(keeps).then("amount").otherwise(pl.col("amount") + Decimal("0.25")))


def reordered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("amount") > 0).reverse().select(ROW, "amount")


def failing(frame: pl.DataFrame) -> pl.DataFrame:
    if (frame["amount"] == 3).any():
        raise ValueError
    return frame


def nested_as_it_is(frame: pl.DataFrame) -> pl.DataFrame:
    assert frame.schema["amounts"] == pl.List(pl.Decimal(38, 3))
    return frame.with_columns(amounts=pl.col("amounts").list.reverse().list.reverse())


AMOUNTS = [{"amount": Decimal(text)} for text in ("1", "1.500", "3", "0.0")]


def test_a_frame_transform_calculates_with_numbers_and_what_it_leaves_alone_keeps_its_zeros(tmp_path: Path) -> None:
    found = prepared(tmp_path, FrameTransform(function=raised), Amount, *AMOUNTS)

    assert found.good["amount"].to_list() == ["1", "1.500", "3.250", "0.0"]


def test_rows_that_a_frame_transform_filters_and_reorders_keep_their_own_zeros(tmp_path: Path) -> None:
    found = prepared(tmp_path, FrameTransform(function=reordered), Amount, *AMOUNTS)

    assert found.good["amount"].to_list() == ["1", "1.500", "3"]


def test_rows_beside_one_that_a_frame_transform_raises_for_keep_their_zeros(tmp_path: Path) -> None:
    found = prepared(tmp_path, FrameTransform(function=failing), Amount, *AMOUNTS)

    assert found.good["amount"].to_list() == ["1", "1.500", "0.0"]
    assert [json.loads(letter.payload) for letter in found.rejected] == [{"amount": "3"}]


def test_lists_and_documents_keep_their_zeros_through_a_frame_transform(tmp_path: Path) -> None:
    found = prepared(tmp_path, FrameTransform(function=nested_as_it_is), Nested, *NESTED)

    assert found.rejected == []
    assert found.good["amounts"].to_list() == [["1", None, "1.500"], []]
    assert "".join(found.good["inner"][0].split()) == '{"price":"4","parts":["5.00","6"]}'


def test_a_row_transform_gets_and_gives_decimals_with_their_zeros(tmp_path: Path) -> None:
    def larger(row: Amount) -> Amount:
        assert str(row.amount) in {"1", "1.500", "3", "0.0"}
        return Amount(amount=None if row.amount is None else row.amount * 10)

    found = prepared(tmp_path, RowTransform(function=larger), Amount, *AMOUNTS)

    assert found.good["amount"].to_list() == ["10", "15.000", "30", "0.0"]


def test_a_new_column_of_mixed_scales_is_a_numeric_of_any_scale() -> None:
    (column,) = Contract.of(Amount).columns_for({"amount": pl.Null(), "new": DECIMAL_TEXT})

    assert (column.name, column.type) == ("new", ColumnType(TypeName.NUMERIC))
