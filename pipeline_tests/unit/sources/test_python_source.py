"""Rows that a Python function gives are spooled as they come, in chunks that can be read again, whatever it gives them in."""

import asyncio
import itertools
import json
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from polars.testing import assert_frame_equal
from pydantic import BaseModel, Field

from rowledger.errors import SourceError
from rowledger.sources import dataframes, python_reader
from rowledger.sources.python import PythonRows
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.partition import Partition
from rowledger.spec.source import ABSENT_PREFIX, FAULT, LINE, SourceContext

DAY = Partition(key="2024-03-01")


def chunks(
    folder: Path, function: Callable[[Partition], object], *, chunk_rows_max: int = 100, columns: tuple[str, ...] = ()
) -> Iterator[ChunkDescriptor]:
    return PythonRows(function=function).chunks(DAY, SourceContext(folder, folder, chunk_rows_max, columns))


def read(descriptors: list[ChunkDescriptor]) -> list[pl.DataFrame]:
    """The chunks, after a look whether their columns were foretold."""
    source = PythonRows(function=print)
    frames = [source.read(descriptor) for descriptor in descriptors]
    assert [frame.schema for frame in frames] == [source.frame_schema(descriptor) for descriptor in descriptors]
    return frames


def rows_of(folder: Path, function: Callable[[Partition], object]) -> list[dict[str, object]]:
    return [row for frame in read(list(chunks(folder, function))) for row in frame.to_dicts()]


class Sale(BaseModel):
    number: int
    price: Decimal = Field(alias="unit price")


SALES = [{"number": 1, "unit price": Decimal("1.50")}, {"number": 2, "unit price": Decimal("-0.25")}]
_ARROW = pa.Table.from_pylist(SALES)


def _in_pages(_partition: Partition) -> Iterator[object]:
    yield SALES[:1]
    yield []
    yield SALES[1:]


async def _as_it_arrives(_partition: Partition) -> AsyncIterator[object]:
    for sale in SALES:
        await asyncio.sleep(0)
        yield sale


async def _all_at_once(_partition: Partition) -> object:
    await asyncio.sleep(0)
    return SALES


FUNCTIONS: dict[str, Callable[[Partition], object]] = {
    "a generator of dicts": lambda _: (sale for sale in SALES),
    "a list of dicts": lambda _: SALES,
    "an iterator of models": lambda _: iter([Sale.model_validate(sale) for sale in SALES]),
    "a generator of lists": _in_pages,
    "an asynchronous generator": _as_it_arrives,
    "a coroutine": _all_at_once,
    "a polars frame": lambda _: pl.DataFrame(SALES),
    "polars frames": lambda _: (pl.DataFrame([sale]) for sale in SALES),
    "a lazy frame": lambda _: pl.DataFrame(SALES).lazy(),
    "a pandas frame": lambda _: pd.DataFrame(SALES),
    "pandas frames": lambda _: [pd.DataFrame([sale]) for sale in SALES],
    "an Arrow table": lambda _: _ARROW,
    "Arrow batches": lambda _: iter(_ARROW.to_batches(max_chunksize=1)),
    "an Arrow reader": lambda _: _ARROW.to_reader(),
    "all kinds mixed": lambda _: iter([SALES[0], pl.DataFrame(SALES[1:])]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_come_as_they_are_whatever_they_are_given_in(tmp_path: Path, name: str) -> None:
    assert rows_of(tmp_path, FUNCTIONS[name]) == SALES


def test_the_function_gets_the_partition(tmp_path: Path) -> None:
    assert rows_of(tmp_path, lambda partition: [{"key": partition.key}]) == [{"key": "2024-03-01"}]


def test_a_row_that_the_function_uses_again_is_what_it_was_when_it_was_given(tmp_path: Path) -> None:
    def rows(_partition: Partition) -> Iterator[object]:
        row: dict[str, object] = {}
        for n in range(30):
            row["n"] = n
            yield row

    assert rows_of(tmp_path, rows) == [{"n": n} for n in range(30)]


def test_a_list_in_a_row_that_the_function_uses_again_is_what_it_was_when_it_was_given(tmp_path: Path) -> None:
    def rows(_partition: Partition) -> Iterator[object]:
        tags: list[int] = []
        for n in range(30):
            tags[:] = [n]
            yield {"tags": tags}

    assert rows_of(tmp_path, rows) == [{"tags": [n]} for n in range(30)]


class _Open(BaseModel, extra="allow"):
    number: int


class _Computed(BaseModel):
    number: int

    def __getattribute__(self, name: str) -> Any:
        return 7 if name == "number" else super().__getattribute__(name)


class _Named(NamedTuple):
    number: int
    word: str


class _Renamed(_Named):
    def _asdict(self) -> dict[str, Any]:
        return {"other": self.number}


@dataclass
class _Record:
    number: int
    word: str = "x"

    @property
    def length(self) -> int:
        return 9


@pytest.mark.parametrize(
    ("items", "rows"),
    [
        ([_Open(number=1), _Open.model_validate({"number": 2, "more": 3})], [{"number": 1}, {"number": 2, "more": 3}]),
        ([_Computed(number=1), _Computed(number=2)], [{"number": 7}, {"number": 7}]),
        ([_Named(1, "x"), _Named(2, "y")], [{"number": 1, "word": "x"}, {"number": 2, "word": "y"}]),
        ([_Renamed(1, "x"), _Renamed(2, "y")], [{"other": 1}, {"other": 2}]),
        ([_Record(1), _Record(2)], [{"number": 1, "word": "x"}, {"number": 2, "word": "x"}]),
        ([_Record(1), {"word": "y", "number": 2}], [{"number": 1, "word": "x"}, {"number": 2, "word": "y"}]),
        ([SimpleNamespace(number=1)], []),
    ],
)
def test_a_row_of_any_class_has_the_columns_that_its_class_gives_it(
    tmp_path: Path, items: list[object], rows: list[dict[str, object]]
) -> None:
    found = rows_of(tmp_path, lambda _: iter(items))

    assert [
        {name: value for name, value in row.items() if not name.startswith("rowledger ") and value is not None}
        for row in found
    ] == (rows or [{}])
    assert [FAULT in row for row in found] == [not rows] * len(items)


_MAKERS: dict[str, Callable[[np.ndarray], object]] = {
    "polars": lambda values: pl.DataFrame({"n": values}),
    "polars, lazily": lambda values: pl.DataFrame({"n": values}).lazy(),
    "pandas": lambda values: pd.DataFrame({"n": values}, copy=False),
    "Arrow": lambda values: pa.table({"n": values}),
    "an Arrow batch": lambda values: pa.record_batch({"n": values}),
}


@pytest.mark.parametrize("name", _MAKERS)
def test_a_frame_over_memory_that_the_function_uses_again_is_what_it_was_when_it_was_given(
    tmp_path: Path, name: str
) -> None:
    def frames(_partition: Partition) -> Iterator[object]:
        values = np.zeros(4)
        for first in range(0, 20, 4):
            values[:] = range(first, first + 4)
            yield _MAKERS[name](values)

    assert rows_of(tmp_path, frames) == [{"n": float(n)} for n in range(20)]


def test_rows_are_spooled_without_pandas_which_takes_memory_and_time_to_import(tmp_path: Path) -> None:
    code = """
import datetime, decimal, pathlib, sys
from rowledger.sources.python import PythonRows
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext

row = {"n": 1, "x": None, "flag": True, "price": decimal.Decimal("1.50"), "day": datetime.date(2024, 3, 1)}
row |= {"word": "w", "tags": ["t"]}
folder = pathlib.Path(sys.argv[1])
source = PythonRows(function=lambda _: [row, {**row, "n": None, "day": None, "flag": None, "price": None}, {"n": 2}])
chunks = list(source.chunks(Partition(key="all"), SourceContext(folder, folder, 100)))
assert [chunk.rows for chunk in chunks] == [3]
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_no_rows_are_no_chunks(tmp_path: Path) -> None:
    assert list(chunks(tmp_path, lambda _: iter(()))) == []
    assert list(chunks(tmp_path, lambda _: pl.DataFrame({"a": []}))) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(0, 25), max_size=8), chunk_rows_max=st.integers(1, 30), frames=st.booleans())
def test_chunks_hold_every_row_once_in_order_within_the_limit(
    tmp_path: Path, sizes: list[int], chunk_rows_max: int, *, frames: bool
) -> None:
    def numbers(_partition: Partition) -> Iterator[object]:
        first = 0
        for size in sizes:
            page = [{"n": n} for n in range(first, first + size)]
            yield pl.DataFrame(page, schema={"n": pl.Int64()}) if frames else page
            first += size

    found = list(chunks(tmp_path, numbers, chunk_rows_max=chunk_rows_max))

    assert [chunk.origin_row for chunk in found] == [sum(c.rows for c in found[:n]) for n in range(len(found))]
    assert all(0 < chunk.rows <= chunk_rows_max for chunk in found)
    assert all(chunk.rows == chunk_rows_max for chunk in found[:-1])
    assert [n for frame in read(found) for n in frame["n"].to_list()] == list(range(sum(sizes)))


def test_the_same_rows_have_the_same_digests(tmp_path: Path) -> None:
    def rows(_partition: Partition) -> Iterator[object]:
        yield from ({"n": n, "tags": {str(n % 3), "x"}, "note": None if n % 2 else "x"} for n in range(250))

    first, again = ([chunk.file_digest for chunk in chunks(tmp_path, rows)] for _ in range(2))

    assert first == again
    assert len(set(first)) == 3


def test_a_chunk_is_given_before_the_next_row_is_asked_for(tmp_path: Path) -> None:
    given: list[int] = []

    def rows(_partition: Partition) -> Iterator[object]:
        for n in range(10):
            given.append(n)
            yield pl.DataFrame({"n": [n]})

    coming = chunks(tmp_path, rows, chunk_rows_max=2)
    next(coming)

    assert len(given) <= 3


def test_rows_that_come_slowly_are_given_without_waiting_for_a_full_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("rowledger.sources.python_reader.monotonic", lambda: clock[0])

    def rows(_partition: Partition) -> Iterator[object]:
        for n in range(100):
            clock[0] += 25
            yield {"n": n}

    found = list(chunks(tmp_path, rows))

    assert [(chunk.origin_row, chunk.rows) for chunk in found[:2]] == [(0, 3), (3, 3)]
    assert [n for frame in read(found) for n in frame["n"].to_list()] == list(range(100))


def test_rows_that_come_slowly_have_the_digest_of_those_that_come_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, step_s = [0.0], [0.0]
    monkeypatch.setattr("rowledger.sources.python_reader.monotonic", lambda: clock[0])

    def rows(_partition: Partition) -> Iterator[object]:
        for n in range(90):
            clock[0] += step_s[0]
            yield {"n": n, "price": Decimal(n) / 4, "note": None if n < 40 else "x", "tags": [] if n < 20 else [str(n)]}

    fast = list(chunks(tmp_path, rows))
    step_s[0] = 25.0
    slow = list(chunks(tmp_path, rows))

    assert len(fast) < len(slow)
    assert fast[-1].rows_digest == slow[-1].rows_digest


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(width=32)
    | st.decimals(-1000, 1000, places=2)
    | st.decimals(-1000, 1000, places=1)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.dates()
)
_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner), max_leaves=5
)
_COLUMN = st.sampled_from(
    [_SCALARS, _ANYTHING, st.integers(0, 9), st.decimals(0, 99, places=2), st.decimals(0, 99, places=1)]
)


@st.composite
def _rows_of_any_kinds(draw: st.DrawFn) -> list[dict[str, object]]:
    """Rows some of whose columns have values of one type, and others of several; some rows lack some columns."""
    columns = {name: draw(_COLUMN) for name in "abc"}
    row = st.fixed_dictionaries({}, optional=columns) | st.fixed_dictionaries(columns)
    return draw(st.lists(row, min_size=1, max_size=30))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=_rows_of_any_kinds(), pauses=st.lists(st.booleans(), max_size=30), batch_rows=st.integers(1, 40))
def test_rows_have_one_digest_however_slowly_they_come_whatever_they_hold(
    tmp_path: Path, rows: list[dict[str, object]], pauses: list[bool], batch_rows: int
) -> None:
    clock = [0.0]

    def slowly(_partition: Partition) -> Iterator[object]:
        for row, waits in itertools.zip_longest(rows, pauses[: len(rows)], fillvalue=False):
            clock[0] += 61.0 if waits else 0.0
            yield row

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(python_reader, "monotonic", lambda: clock[0])
        patched.setattr(python_reader, "_BATCH_ROWS", batch_rows)
        slow = list(chunks(tmp_path, slowly))
        fast = list(chunks(tmp_path, lambda _: rows))

    assert slow[-1].rows_digest == fast[-1].rows_digest
    assert sum(chunk.rows for chunk in slow) == len(rows)


def test_rows_have_another_digest_where_a_value_of_a_mixed_column_differs(tmp_path: Path) -> None:
    def digest(*values: object) -> str:
        return list(chunks(tmp_path, lambda _: [{"a": value} for value in values]))[-1].rows_digest

    columns: list[list[object]] = [[1, "x"], [1, "y"], [1.5, "x"], [True, "x"], [None, "x"], ["x", 1], [1, "x", None]]
    assert len({digest(*column) for column in columns}) == len(columns)


def test_a_batch_of_wide_rows_is_not_collected_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rowledger.sources.python_reader._BATCH_BYTES", 64_000)
    given: list[int] = []

    def rows(_partition: Partition) -> Iterator[object]:
        for n in range(256):
            given.append(n)
            yield {"n": n, "text": f"{n:>1000}"}

    coming = chunks(tmp_path, rows, chunk_rows_max=64)
    next(coming)

    assert len(given) <= 3 * 64
    assert sum(chunk.rows for chunk in coming) == 256 - 64


# ---- what is missing, and what is not a row ----------------------------------------------------------------------------------


def test_a_column_that_a_row_lacks_is_absent_however_the_rows_are_cut(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 3}]

    found = read(list(chunks(tmp_path, lambda _: rows, chunk_rows_max=2, columns=("a", "b"))))

    assert found[1].to_dicts() == [{"a": 3, "b": None, ABSENT_PREFIX + "b": True}]


def test_what_is_no_row_is_one_with_a_reason_that_quotes_nothing(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, lambda _: [{"a": 1}, "a secret", {"a": object()}])

    assert [row["a"] for row in rows] == [1, None, None]
    assert [row[FAULT] for row in rows] == [
        None,
        "is not a row: an item of type str",
        "column 'a' holds a value of type object, which no column can hold",
    ]
    assert [row[LINE] for row in rows] == [None, b'"a secret"', b'{"a": "<object>"}']


def _nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("levels", [1, 32, 33, 70, 100, 200])
def test_a_column_of_values_of_many_levels_is_spooled_and_read_back(tmp_path: Path, levels: int) -> None:
    rows = rows_of(tmp_path, lambda _: [{"a": _nested(levels)}, {"a": _nested(levels)}])

    name = DYNAMIC.fields[0].name
    assert rows == [{"a": _nested(levels) if levels <= 32 else {name: json.dumps(_nested(levels))}}] * 2


@pytest.mark.parametrize("levels", range(280, 500, 10))
def test_a_value_of_too_many_levels_costs_its_row_alone(tmp_path: Path, levels: int) -> None:
    rows = rows_of(tmp_path, lambda _: [{"a": [1]}, {"a": _nested(levels)}, {"a": [2]}])

    assert [row.get(FAULT) for row in rows[::2]] == [None, None]
    assert rows[1].get(FAULT) in (None, "column 'a' is nested too deeply")
    assert len(rows) == 3


@pytest.mark.parametrize("given", [None, "text", b"bytes", {"a": 1}, 7, Sale.model_validate(SALES[0]), print])
def test_one_thing_in_place_of_many_rows_is_an_error_that_says_what_is_wanted(tmp_path: Path, given: object) -> None:
    with pytest.raises(SourceError, match=rf"<lambda> gave one {type(given).__qualname__}; it has to yield rows"):
        list(chunks(tmp_path, lambda _: given))


def test_rows_of_ever_new_columns_meet_a_limit(tmp_path: Path) -> None:
    source = PythonRows(function=lambda _: ({f"user {n}": 1} for n in range(50)), columns_max=40)

    with pytest.raises(SourceError, match=r"<lambda>: the rows have more than 40 columns, the limit \(columns_max\)"):
        list(source.chunks(DAY, SourceContext(tmp_path, tmp_path, 100)))


# ---- pandas and polars ----------------------------------------------------------------------------------------------------


def test_of_a_pandas_frame_missing_values_are_null_and_a_named_index_is_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, float("nan")],
            "text": ["a", None],
            "mixed": [1, "x"],
            "kind": pd.Categorical(["k", None]),
            "at": pd.to_datetime(["2024-03-01T12:00:00+01:00", None]).as_unit("us"),
            "whole": pd.array([1, None], dtype="Int64"),
        },
        index=pd.Index([7, 8], name="id"),
    )

    assert rows_of(tmp_path, lambda _: frame) == [
        {
            "id": 7,
            "number": 1.5,
            "text": "a",
            "mixed": {"rowledger json": "1"},
            "kind": "k",
            "at": datetime(2024, 3, 1, 11, tzinfo=UTC),
            "whole": 1,
        },
        {
            "id": 8,
            "number": None,
            "text": None,
            "mixed": {"rowledger json": '"x"'},
            "kind": None,
            "at": None,
            "whole": None,
        },
    ]


def test_pandas_columns_that_pyarrow_does_not_take_are_taken_value_by_value(tmp_path: Path) -> None:
    frame = pd.DataFrame({"s": pd.arrays.SparseArray([0, 0, 1]), "o": pd.Series([1, 2.5, None], dtype=object)})

    assert [tuple(row.values()) for row in rows_of(tmp_path, lambda _: frame)] == [
        (0, {"rowledger json": "1"}),
        (0, {"rowledger json": "2.5"}),
        (1, None),
    ]


@pytest.mark.parametrize("column", [pl.Series([1]), pd.Series([1]), pa.array([1]), pa.chunked_array([[1]])], ids=type)
def test_a_single_column_is_no_row_and_no_frame(tmp_path: Path, column: object) -> None:
    (row,) = rows_of(tmp_path, lambda _: iter([column]))

    assert str(row[FAULT]).startswith("is not a row: an item of type")


def test_a_lazy_frame_that_fails_is_named_without_its_text(tmp_path: Path) -> None:
    lazy = pl.LazyFrame({"a": ["a secret"]}).select(pl.col("a").cast(pl.Int64))

    with pytest.raises(SourceError, match="InvalidOperationError while reading an item of type polars") as raised:
        list(chunks(tmp_path, lambda _: lazy))
    assert "a secret" not in str(raised.value)
    assert raised.value.__context__ is None


def test_an_index_without_a_name_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})[lambda rows: rows["a"] > 1]

    assert rows_of(tmp_path, lambda _: frame) == [{"a": 2}, {"a": 3}]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({1: [1]}), r"whose names are twice there or no text: \[1\]"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), r"whose names are twice there or no text: \['a', 'a'\]"),
        (pd.DataFrame({"p": pd.period_range("2024", periods=1)}), "column 'p' of a frame holds a value of type .*Period"),
        (pl.DataFrame({"o": [object()]}), "column 'o' of a frame holds a value of type object"),
        (pl.DataFrame({"rowledger line": [1]}), r"the columns \['rowledger line'\] have names that are reserved"),
        (pa.table({"u": pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])}),
         "column 'u' is dense_union"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), r"has several columns of the names \['a'\]"),
    ],
)  # fmt: skip
def test_a_frame_that_cannot_be_spooled_is_an_error_with_the_column(
    tmp_path: Path, frame: object, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        list(chunks(tmp_path, lambda _: frame))


def test_polars_columns_that_the_spool_does_not_have_are_taken_value_by_value(tmp_path: Path) -> None:
    frame = pl.DataFrame({"big": [2**70, None], "own": pl.Series([Decimal("1.5"), "x"], dtype=pl.Object())}).cast(
        {"big": pl.Int128()}
    )

    assert rows_of(tmp_path, lambda _: frame) == [
        {"big": {"rowledger json": str(2**70)}, "own": {"rowledger json": "1.5"}},
        {"big": None, "own": {"rowledger json": '"x"'}},
    ]


def test_a_map_of_polars_is_json(tmp_path: Path) -> None:
    pairs = pa.array([[("a", 1), ("a", 2)], [("b", 3)]], pa.map_(pa.string(), pa.int64()))

    rows = rows_of(tmp_path, lambda _: pl.DataFrame(pa.table({"m": pairs})))

    assert rows == [{"m": {"rowledger json": text}} for text in ('[["a", 1], ["a", 2]]', '{"b": 3}')]


# ---- functions that fail, and functions that never end --------------------------------------------------------------------


def _failing_at(row: int, error: BaseException) -> Callable[[Partition], Iterator[object]]:
    def rows(_partition: Partition) -> Iterator[object]:
        for n in range(1_000):
            if n == row:
                raise error
            yield {"n": n}

    return rows


@pytest.mark.parametrize(
    "error", [ValueError("a secret"), SystemExit("a secret"), asyncio.CancelledError("a secret"), KeyError("a secret")]
)
def test_what_the_function_raises_is_named_with_the_row_and_without_its_text(
    tmp_path: Path, error: BaseException
) -> None:
    coming = chunks(tmp_path, _failing_at(142, error), chunk_rows_max=10)

    with pytest.raises(SourceError, match=rf"rows raised .*\.{type(error).__name__} behind 142 rows") as raised:
        list(coming)
    assert "_failing_at.<locals>.rows" in str(raised.value)
    assert "raise error" in raised.value.source_traceback
    shown = "".join(traceback.format_exception(raised.value)) + raised.value.source_traceback
    assert "a secret" not in shown
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_a_function_that_fails_before_its_first_row_is_named(tmp_path: Path) -> None:
    def function(_partition: Partition) -> object:
        raise StopIteration("a secret")

    with pytest.raises(SourceError, match=r"function raised builtins\.RuntimeError behind 0 rows"):
        list(chunks(tmp_path, function))


def test_an_error_of_our_own_that_the_function_raises_speaks_for_itself(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^the service has no such day$"):
        list(chunks(tmp_path, _failing_at(3, SourceError("the service has no such day"))))


def test_a_stream_that_breaks_is_named(tmp_path: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from _ARROW.to_batches()
        raise ValueError("a secret")

    with pytest.raises(
        SourceError, match=r"<lambda>: ArrowInvalid while reading an item of type pyarrow\.lib\.RecordBatchReader"
    ):
        list(chunks(tmp_path, lambda _: pa.RecordBatchReader.from_batches(_ARROW.schema, batches())))


def _for_ever(_partition: Partition, *, closed: list[str]) -> Iterator[object]:
    try:
        while True:
            yield {"n": 1}
    finally:
        closed.append("rows")


async def _for_ever_async(_partition: Partition, *, closed: list[str]) -> AsyncIterator[object]:
    try:
        while True:
            await asyncio.sleep(0)
            yield {"n": 1}
    finally:
        await asyncio.sleep(0)
        closed.append("rows")


@pytest.mark.parametrize("function", [_for_ever, _for_ever_async])
def test_a_function_that_never_ends_runs_its_own_end_when_nobody_wants_any_more(
    tmp_path: Path, function: Callable[..., object]
) -> None:
    closed: list[str] = []
    coming = chunks(tmp_path, lambda partition: function(partition, closed=closed), chunk_rows_max=10)
    next(coming)
    assert not closed

    coming.close()  # type: ignore[attr-defined] # it is a generator

    assert closed == ["rows"]


def test_a_function_whose_end_fails_does_not_hide_why_it_was_ended(tmp_path: Path) -> None:
    def rows(_partition: Partition) -> Iterator[object]:
        try:
            yield pl.DataFrame({"n": range(100)})
            yield pl.DataFrame({"n": range(100)})
        finally:
            raise ValueError("a secret")

    coming = chunks(tmp_path, rows, chunk_rows_max=10)
    next(coming)

    coming.close()  # type: ignore[attr-defined] # it is a generator


# ---- values that no column holds ------------------------------------------------------------------------------------------

_SNAN = Decimal("sNaN")


@pytest.mark.parametrize("value", [_SNAN, [Decimal(1), _SNAN], {"a": _SNAN}, [{"a": [_SNAN]}]], ids=repr)
def test_a_signaling_nan_costs_its_row_at_any_depth(tmp_path: Path, value: object) -> None:
    rows = rows_of(tmp_path, lambda _: iter([{"n": 1, "d": Decimal("1.5")}, {"n": 2, "d": value}, {"n": 3, "d": None}]))

    assert [row[FAULT] for row in rows] == [
        None,
        "column 'd' holds a signaling NaN (sNaN), which is not a number",
        None,
    ]
    assert [(row["n"], row["d"]) for row in rows] == [(1, Decimal("1.5")), (None, None), (3, None)]
    assert b"sNaN" in rows[1][LINE]


@pytest.mark.parametrize("value", [_SNAN, "\ud800"], ids=["sNaN", "half a surrogate"])
def test_a_value_in_a_frame_of_objects_that_no_column_holds_costs_its_row(tmp_path: Path, value: object) -> None:
    frames = [
        pd.DataFrame({"n": [1, 2], "o": pd.Series([Decimal(1), value], dtype=object)}),
        pl.DataFrame({"n": [1, 2], "o": pl.Series([Decimal(1), value], dtype=pl.Object)}),
    ]

    for number, frame in enumerate(frames):
        (tmp_path / str(number)).mkdir()
        rows = rows_of(tmp_path / str(number), lambda _, frame=frame: frame)

        assert [bool(row[FAULT]) for row in rows] == [False, True]
        assert (rows[0]["n"], rows[0]["o"]) == (1, Decimal(1))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_other_decimals_that_are_not_finite_are_what_they_were(tmp_path: Path, value: str) -> None:
    rows = rows_of(tmp_path, lambda _: iter([{"d": Decimal("1.5")}, {"d": Decimal(value)}]))

    assert rows == [{"d": {"rowledger json": "1.5"}}, {"d": {"rowledger json": value}}]


_LARGE = pl.DataFrame(
    {"number": range(1_000), "word": ["ä" * (n % 7) for n in range(1_000)], "fits": [None, 0.5] * 500}
)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(_LARGE, id="polars"),
        pytest.param(_LARGE.lazy(), id="lazy"),
        pytest.param(_LARGE.to_arrow(), id="arrow"),
        pytest.param(_LARGE.to_pandas(), id="pandas"),
        pytest.param(_LARGE.to_pandas().set_index("number"), id="pandas with an index"),
    ],
)
def test_a_large_frame_is_converted_slice_by_slice(monkeypatch: pytest.MonkeyPatch, item: object) -> None:
    monkeypatch.setattr(dataframes, "_SLICE_ROWS", 300)

    frames = list(dataframes.frames_of(item, origin="here"))

    assert [frame.height for frame in frames] == [300, 300, 300, 100]
    assert_frame_equal(pl.concat(frames), _LARGE)


def test_a_slice_has_few_rows_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataframes, "_SLICE_BYTES", 10_000)

    frames = list(dataframes.frames_of(pl.DataFrame({"word": ["x" * 1_000] * 100}), origin="here"))

    assert sum(frame.height for frame in frames) == 100
    assert max(frame.height for frame in frames) <= 10
