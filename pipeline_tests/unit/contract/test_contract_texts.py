"""Texts and objects as sources write them, for fields of durations and of dicts whose keys are no texts."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel, model_validator

from rowledger.contract.check import Contract
from rowledger.sources.arrow_frames import frame_of
from rowledger.sources.python import PythonRows
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext

ALL = Partition(key="k")


class Durations(BaseModel):
    d: timedelta | None
    many: list[timedelta]


class DurationsRowByRow(Durations):
    @model_validator(mode="after")
    def as_it_is(self) -> "DurationsRowByRow":
        return self


class Words(BaseModel):
    d: str
    many: list[str]


class Numbered(BaseModel):
    words: dict[int, str]


def of_function(folder: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    source = PythonRows(function=lambda _: rows)
    (chunk,) = source.chunks(ALL, SourceContext(folder, folder, 100))
    return source.read(chunk)


@pytest.mark.parametrize("model", [Durations, DurationsRowByRow])
def test_a_duration_whose_parts_have_signs_of_their_own_is_exact(model: type[BaseModel]) -> None:
    texts = {
        "P-1DT1H": timedelta(hours=-23),
        "PT-0.5S": timedelta(microseconds=-500_000),
        "P1DT-1H-2M-3.25S": timedelta(days=1, hours=-1, minutes=-2, seconds=-3.25),
        "P2W-1D": timedelta(days=13),
        "P-1D": timedelta(days=-1),
        "-P1DT1H": timedelta(hours=-25),
    }
    frame = pl.DataFrame({"d": [*texts, None], "many": [[text, text] for text in texts] + [[]]})

    checked = Contract.of(model).check(frame)

    assert checked.rejected == []
    assert checked.good["d"].to_list() == [*texts.values(), None]
    assert checked.good["many"].to_list() == [[value, value] for value in texts.values()] + [[]]


@pytest.mark.parametrize("model", [Durations, DurationsRowByRow])
@pytest.mark.parametrize("text", ["P1M-1D", "P-1Y", "P-9999999999D", "PT-0.0000001S", "P-1", "P1D-"])
def test_a_duration_of_no_fixed_length_or_too_many_digits_is_refused(model: type[BaseModel], text: str) -> None:
    checked = Contract.of(model).check(
        pl.DataFrame({"d": [text], "many": [[]]}, schema_overrides={"many": pl.List(pl.String)})
    )

    assert [letter.column for letter in checked.rejected] == ["d"]


def test_a_text_that_looks_like_a_duration_stays_as_it_is() -> None:
    checked = Contract.of(Words).check(pl.DataFrame({"d": ["P-1DT1H"], "many": [["P-1DT1H"]]}))

    assert checked.good.rows() == [("P-1DT1H", ["P-1DT1H"])]


def test_a_map_of_integers_is_a_dict_of_integers(tmp_path: Path) -> None:
    maps = pa.array([[(1, "x"), (-2, "y")], []], pa.map_(pa.int32(), pa.string()))
    frames = [
        frame_of(pa.table({"words": maps}), origin="a table"),
        of_function(tmp_path, [{"words": {1: "x", -2: "y"}}, {"words": {}}]),
    ]

    for frame in frames:
        checked = Contract.of(Numbered).check(frame)
        assert checked.rejected == []
        assert checked.good["words"].to_list() == ['{"1":"x","-2":"y"}', "{}"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"1": True}, "a boolean is not taken for a int"),
        ({"1": 2, "01": 3}, "has keys that are the same once they are converted"),
        ({"x": 1}, "Input should be a valid integer"),
    ],
)
def test_nothing_is_converted_silently_in_a_dict_of_integers(
    tmp_path: Path, document: dict[str, Any], reason: str
) -> None:
    class Counts(BaseModel):
        counts: dict[int, int]

    checked = Contract.of(Counts).check(of_function(tmp_path, [{"counts": document}]))

    (letter,) = checked.rejected
    assert reason in letter.reason


def test_a_map_with_a_key_twice_is_refused() -> None:
    maps = pa.array([[(1, "x"), (1, "y")]], pa.map_(pa.int32(), pa.string()))

    checked = Contract.of(Numbered).check(frame_of(pa.table({"words": maps}), origin="a table"))

    assert len(checked.rejected) == 1


@pytest.mark.parametrize("keys", [{1: "x", "1": "y"}, {True: "x"}, {1.5: "x"}, {b"a": "x"}])
def test_a_dict_whose_keys_no_object_can_have_is_no_value(tmp_path: Path, keys: dict[object, str]) -> None:
    (row,) = of_function(tmp_path, [{"words": keys}]).to_dicts()

    assert row["rowledger fault"] == "column 'words' holds a value of type dict, which no column can hold"
