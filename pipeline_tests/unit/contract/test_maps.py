"""Maps and dicts whose keys are no texts."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

from rowledger.contract.check import Contract
from rowledger.sources.arrow_frames import frame_of
from rowledger.sources.python import PythonRows
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext

ALL = Partition(key="k")


class Numbered(BaseModel):
    words: dict[int, str]


def of_function(folder: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    source = PythonRows(function=lambda _: rows)
    (chunk,) = source.chunks(ALL, SourceContext(folder, folder, 100))
    return source.read(chunk)


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
