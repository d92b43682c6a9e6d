"""What passes between pyarrow, polars and Python is counted on both sides; a value that would be lost costs its row alone."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rowledger.contract.exact_conversion import arrow_table, frame_type, polars_series, python_series
from rowledger.errors import SourceError, ValuesAltered
from rowledger.sources.arrow_frames import frame_of
from rowledger.sources.arrow_ipc import ArrowFiles
from rowledger.sources.plain_values import json_text
from rowledger.sources.python import PythonRows
from rowledger.spec.partition import Partition
from rowledger.spec.source import FAULT, LINE, SourceContext

_Array = Any


def stored(values: list[int | None], kind: pa.DataType) -> _Array:
    """An array of those ticks, which pyarrow would not make of Python values."""
    return pa.array(values, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


def text(*values: bytes | None, kind: pa.DataType | None = None) -> _Array:
    """An array of texts that are not looked at."""
    kind = kind or pa.string()
    made = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}[kind]
    return pa.array(values, made).view(kind)


DAY_US = 86_400_000_000
_TIME, _TEXT, _YEARS, _LONG = "time of day", "not valid UTF-8", "outside the years", "longer than"
# A good value, one that no frame holds, a null; the reason, and how a person sees the value.
_UNHELD: dict[str, tuple[_Array, str, object]] = {
    "24:00 in us": (stored([1, DAY_US, None], pa.time64("us")), _TIME, "24:00:00"),
    "a time below zero in ns": (stored([1, -1_500, None], pa.time64("ns")), _TIME, "-00:00:00.000001500"),
    "24:00 in s": (stored([1, 86_400, None], pa.time32("s")), _TIME, "24:00:00"),
    "25:00 in ms": (stored([1, 90_000_001, None], pa.time32("ms")), _TIME, "25:00:00.001"),
    "text": (text(b"a", b"\xff\xfe", None), _TEXT, {"base64": "//4="}),
    "half a surrogate": (text(b"a", b"\xed\xa0\x80", None), _TEXT, {"base64": "7aCA"}),
    "large text": (text(b"a", b"\xff\xfe", None, kind=pa.large_string()), _TEXT, {"base64": "//4="}),
    "text view": (text(b"a", b"\xff" * 20, None, kind=pa.string_view()), _TEXT, {"base64": "/" * 26 + "8="}),
    "seconds": (stored([1, 2**62, None], pa.timestamp("s")), _YEARS, f"{2**62} s since 1970-01-01"),
    "instants in seconds": (stored([1, -(2**62), None], pa.timestamp("s", "UTC")), _YEARS, f"{-(2**62)} s since 1970-01-01"),
    "a duration in seconds": (stored([1, -(2**62), None], pa.duration("s")), _LONG, f"-PT{2**62}S"),
    "digits": (
        pa.array([b"\1" + bytes(15), (10**5).to_bytes(16, "little"), None], pa.binary(16)).view(pa.decimal128(5, 2)),
        "more digits than its type, decimal128", Decimal("1000.00"),
    ),
}  # fmt: skip
_INSIDE: dict[str, Callable[[_Array], _Array]] = {
    "flat": lambda values: values,
    "list": lambda values: pa.ListArray.from_arrays([0, 1, 2, 3], values),
    "large list": lambda values: pa.LargeListArray.from_arrays([0, 1, 2, 3], values),
    "fixed list": lambda values: pa.FixedSizeListArray.from_arrays(values, 1),
    "struct": lambda values: pa.StructArray.from_arrays([values, pa.array([1, 2, 3])], ["v", "n"]),
    "list of structs": lambda values: pa.ListArray.from_arrays(
        [0, 1, 2, 3], pa.StructArray.from_arrays([values], ["v"])
    ),
    "map": lambda values: pa.MapArray.from_arrays([0, 1, 2, 3], pa.array(["a", "b", "c"]), values),
    "dictionary": lambda values: pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int8()), values),
    "list of dictionaries": lambda values: pa.ListArray.from_arrays(
        [0, 1, 2, 3], pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int8()), values)
    ),
    "runs": pc.run_end_encode,
}


def via_frame(_folder: Path, table: pa.Table) -> pl.DataFrame:
    return frame_of(table, origin="here")


def via_arrow(kind: str) -> Callable[[Path, pa.Table], pl.DataFrame]:
    def read(folder: Path, table: pa.Table) -> pl.DataFrame:
        source = ArrowFiles(path="{landing}/{partition_key}.arrow")
        new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
        with (folder / "k.arrow").open("wb") as stream, new(stream, table.schema) as writer:
            writer.write_table(table)
        (chunk,) = source.chunks(Partition(key="k"), SourceContext(folder, folder, 100))
        return source.read(chunk)

    return read


def given_rows(_partition: Partition) -> Iterator[object]:
    yield given_rows.table  # type: ignore[attr-defined]


def via_function(folder: Path, table: pa.Table) -> pl.DataFrame:
    given_rows.table = table  # type: ignore[attr-defined]
    source = PythonRows(function=given_rows)
    (chunk,) = source.chunks(Partition(key="k"), SourceContext(folder, folder, 100))
    return source.read(chunk)


_WAYS = {
    "frame_of": via_frame,
    "Arrow file": via_arrow("file"),
    "Arrow stream": via_arrow("stream"),
    "function": via_function,
}


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("inside", _INSIDE)
@pytest.mark.parametrize("name", _UNHELD)
def test_a_value_that_no_frame_holds_costs_its_row_alone(tmp_path: Path, name: str, inside: str, way: str) -> None:
    values, reason, _ = _UNHELD[name]
    if inside == "runs" and name == "text view":
        pytest.skip("pyarrow has no runs of views")
    table = pa.table({"n": [1, 2, 3], "odd": _INSIDE[inside](values)})

    frame = _WAYS[way](tmp_path, table)

    first, second, third = frame[FAULT].to_list()
    assert (first, third) == (None, None)
    assert second.startswith("column 'odd' ")
    assert reason in second
    assert frame["n"].to_list() == [1, 2, 3]
    assert frame["odd"].is_null().to_list()[:2] == [False, True]
    assert frame[LINE].is_null().to_list() == [True, False, True]


@pytest.mark.parametrize("name", _UNHELD)
def test_a_row_at_fault_is_shown_whole(name: str) -> None:
    values, _, shown = _UNHELD[name]
    table = pa.table(
        {
            "id": [1, 2, 3],
            "day": pa.array([0, 19_783, 0], pa.int32()).view(pa.date32()),
            "odd": values,
            "at": pa.array([0, 1_500, 0], pa.timestamp("ns", "UTC")),
            "far": pa.array([0, 2**31 - 1, 0], pa.int32()).view(pa.date32()),
        }
    )

    line = frame_of(table, origin="here")[LINE][1].decode()

    assert line.startswith('{"id": 2, "day": "2024-03-01", "odd": ')
    assert line.endswith(', "at": "1970-01-01T00:00:00.000001500+00:00", "far": "2147483647 d since 1970-01-01"}')
    assert f'"odd": {json_text(shown)}, ' in line


def test_the_first_reason_of_a_row_counts_and_rows_without_one_have_none() -> None:
    table = pa.table({"a": stored([0, DAY_US], pa.time64("us")), "b": text(b"\xff", b"\xff")})

    assert frame_of(table, origin="here")[FAULT].to_list() == [
        "column 'b' has a text that is not valid UTF-8",
        "column 'a' is a time of day outside of 00:00 to 23:59:59.999999999",
    ]


def test_a_slice_and_several_chunks_find_their_own_rows() -> None:
    times = pa.chunked_array([stored([0, DAY_US, 0], pa.time64("us")), stored([DAY_US, 0], pa.time64("us"))])
    lists = pa.chunked_array(
        [
            pa.ListArray.from_arrays([0, 0, 2, 3], times.chunk(0)).slice(1),
            pa.array([[], None], pa.list_(pa.time64("us"))),
        ]
    )

    assert [bool(fault) for fault in frame_of(pa.table({"t": times.slice(1, 3)}), origin="here")[FAULT]] == [
        True,
        False,
        True,
    ]
    assert [bool(fault) for fault in frame_of(pa.table({"l": lists}), origin="here")[FAULT]] == [
        True,
        False,
        False,
        False,
    ]


def test_clean_data_has_no_column_of_faults() -> None:
    table = pa.table({"t": stored([0, DAY_US - 1], pa.time64("us")), "s": ["ä", None]})

    assert frame_of(table, origin="here").columns == ["t", "s"]


def test_a_pandas_frame_keeps_the_rows_beside_a_text_that_is_no_utf8(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "s": pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([text(b"a", b"\xff")]))),
            "o": pd.Series([1, "x"], dtype=object),
        }
    )

    made = via_function(tmp_path, frame)  # type: ignore[arg-type]

    assert [bool(fault) for fault in made[FAULT]] == [False, True]
    assert made["s"].to_list() == ["a", None]
    assert made[LINE][1] == b'{"s": {"base64": "/w=="}, "o": {"rowledger json": "\\"x\\""}}'


_UNIONS: dict[str, _Array] = {
    "sparse": pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
    "dense": pa.UnionArray.from_dense(pa.array([0, 0], pa.int8()), pa.array([0, 1], pa.int32()), [pa.array([1, 2])]),
}


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("inside", ["flat", "list", "struct"])
@pytest.mark.parametrize("name", _UNIONS)
def test_a_type_that_no_frame_has_is_an_error_that_names_the_column(
    tmp_path: Path, name: str, inside: str, way: str
) -> None:
    values = _UNIONS[name]
    table = {
        "flat": lambda: values,
        "list": lambda: pa.ListArray.from_arrays([0, 1, 2], values),
        "struct": lambda: pa.StructArray.from_arrays([values], ["v"]),
    }[inside]()

    with pytest.raises(SourceError, match=r"column 'odd' is .*union"):
        _WAYS[way](tmp_path, pa.table({"odd": table}))


def test_a_null_in_place_of_a_value_is_noticed_at_any_depth() -> None:
    times = stored([1, DAY_US], pa.time64("us"))
    for column in (
        times,
        pa.ListArray.from_arrays([0, 2], times),
        pa.StructArray.from_arrays([times], ["t"]),
        pa.ListArray.from_arrays([0, 2], pa.StructArray.from_arrays([times], ["t"])),
    ):
        with pytest.raises(ValuesAltered, match=r"column 'c': 0 nulls as .*, 1 as .*; values would be lost"):
            polars_series("c", pa.chunked_array([column]))


def test_nulls_below_nulls_and_outside_of_slices_count_nowhere() -> None:
    lists = pa.ListArray.from_arrays([0, 2, 3, 3], pa.array([1, None, None]), mask=pa.array([False, True, False]))
    structs = pa.StructArray.from_arrays([pa.array([None, 1, None])], ["a"], mask=pa.array([True, False, False]))

    assert polars_series("l", pa.chunked_array([lists])).to_list() == [[1, None], None, []]
    assert polars_series("l", pa.chunked_array([lists.slice(1)])).to_list() == [None, []]
    assert polars_series("s", pa.chunked_array([structs])).to_list() == [None, {"a": 1}, {"a": None}]


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.string(), pa.large_binary()),
        *(pa.binary(3), pa.date32(), pa.date64(), pa.time32("ms"), pa.time64("ns"), pa.timestamp("us", "Europe/Berlin")),
        *(pa.timestamp("ms"), pa.duration("ns"), pa.decimal128(38, 10), pa.decimal32(5, 2), pa.string_view()),
        *(pa.list_(pa.int8()), pa.large_list(pa.struct([("a", pa.date32())])), pa.list_(pa.int16(), 2)),
    ],
    ids=str,
)  # fmt: skip
def test_the_types_of_both_sides_are_each_others(kind: pa.DataType) -> None:
    series = polars_series("c", pa.chunked_array([pa.nulls(2, kind)]))

    assert series.dtype == frame_type(kind)
    assert arrow_table(series.to_frame(), compat_level=pl.CompatLevel.newest()).num_rows == 2


def test_python_values_that_became_nulls_are_noticed() -> None:
    assert python_series("c", [1, None], pl.Int64(), nulls=1).to_list() == [1, None]
    with pytest.raises(ValuesAltered, match="column 'c': 0 nulls became 1"):
        python_series("c", [1, None], pl.Int64(), nulls=0)
