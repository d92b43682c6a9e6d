"""What a dead letter keeps of a row comes back as the same row, and as what a person made of it."""

import json
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from polars.testing import assert_frame_equal

from rowledger.contract.dynamic import dynamic_texts, parse_dynamic
from rowledger.contract.read_payloads import frame_of_payloads
from rowledger.contract.write_payloads import row_payloads
from rowledger.errors import SourceError
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.source import ABSENT_PREFIX, FAULT, LINE

INT64 = st.integers(-(2**63), 2**63 - 1)
TICKS = st.one_of(INT64, st.integers(-(10**6), 10**6), st.integers(0, 2 * 10**18))
DAYS = st.integers(-(2**31), 2**31 - 1)
TIMES = st.integers(0, 86_400 * 10**9 - 1)

SCALARS: list[tuple[Any, Any]] = [
    (pl.Boolean(), st.booleans()),
    (pl.Int8(), st.integers(-128, 127)),
    (pl.Int64(), INT64),
    (pl.UInt64(), st.integers(0, 2**64 - 1)),
    (pl.Int128(), st.integers(-(2**127), 2**127 - 1)),
    (pl.Float64(), st.floats()),
    (pl.Float32(), st.floats(width=32)),
    (pl.Decimal(20, 3), st.integers(-(10**20) + 1, 10**20 - 1).map(lambda n: Decimal(n).scaleb(-3))),
    (pl.String(), st.text(max_size=5)),
    (pl.Binary(), st.binary(max_size=5)),
    (pl.Date(), DAYS),
    (pl.Time(), TIMES),
    *[(pl.Datetime(unit), TICKS) for unit in ("ms", "us", "ns")],
    *[(pl.Datetime(unit, "America/New_York"), st.integers(-(10**15), 10**15)) for unit in ("ms", "us", "ns")],
    *[(pl.Duration(unit), st.integers(-(2**63) + 1, 2**63 - 1)) for unit in ("ms", "us", "ns")],
]  # fmt: skip


def series(dtype: pl.DataType, values: list[Any]) -> pl.Series:
    if dtype.is_temporal():
        return pl.Series("v", values, dtype=pl.Int32() if dtype == pl.Date() else pl.Int64()).cast(dtype)
    return pl.Series("v", values, dtype=dtype)


@pytest.mark.parametrize(
    ("dtype", "values"), SCALARS, ids=lambda case: str(case) if isinstance(case, pl.DataType) else ""
)
@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_rows_of_every_type_come_back_as_they_were_at_any_depth(dtype: pl.DataType, values: Any, data: Any) -> None:
    flat = series(dtype, data.draw(st.lists(st.one_of(st.none(), values), min_size=1, max_size=6)))
    frame = flat.to_frame().with_columns(
        listed=pl.concat_list("v", "v"),
        inside=pl.struct(a=pl.col("v"), b=pl.concat_list("v")),
        rows=pl.concat_list(pl.struct(a=pl.col("v"))),
    )

    back = frame_of_payloads(list(row_payloads(frame)), frame.schema)

    assert_frame_equal(back, frame)


def test_nothing_and_empty_lists_come_back_apart() -> None:
    frame = pl.DataFrame(
        {"l": [[1], [], None], "s": [{"a": 1}, {"a": None}, None], "n": [None, None, None]},
        schema_overrides={"n": pl.Date},
    )

    assert_frame_equal(frame_of_payloads(list(row_payloads(frame)), frame.schema), frame)


def test_reserved_columns_are_not_in_a_payload_and_an_absent_field_is_no_key() -> None:
    frame = pl.DataFrame(
        {"a": [1, None, None], ABSENT_PREFIX + "a": [False, False, True], FAULT: [None] * 3, LINE: [None] * 3}
    )

    payloads = list(row_payloads(frame))
    back = frame_of_payloads(payloads, {"a": pl.Int64()})

    assert [json.loads(payload) for payload in payloads] == [{"a": 1}, {"a": None}, {}]
    assert_frame_equal(back, frame.select("a", ABSENT_PREFIX + "a"))


def test_an_instant_keeps_the_seconds_of_old_offsets() -> None:
    # Before 1883 New York was 4 hours, 56 minutes and 2 seconds behind, which no ISO offset says.
    frame = pl.DataFrame({"v": pl.Series([-5 * 10**15], dtype=pl.Datetime("us", "America/New_York"))})

    payloads = list(row_payloads(frame))

    assert json.loads(payloads[0])["v"] == "1811-07-23 15:06:40.000000+00:00"
    assert_frame_equal(frame_of_payloads(payloads, frame.schema), frame)


def test_a_dynamic_value_keeps_every_digit_and_its_type() -> None:
    texts = ['"1"', "1", "1.10", "null", '{"b": [1e400, 0.10000000000000000000001]}', None]
    frame = pl.DataFrame({"v": pl.Series([{DYNAMIC.fields[0].name: text} for text in texts], dtype=DYNAMIC)})

    payloads = list(row_payloads(frame))
    back = frame_of_payloads(payloads, frame.schema)

    assert payloads[2] == '{"v": 1.10}'
    assert dynamic_texts(back["v"]).to_list() == ['"1"', "1", "1.10", None, texts[4], None]
    assert parse_dynamic("1.10", exact=True) == Decimal("1.10")
    assert parse_dynamic('[{"rowledger base64": "eA=="}]', exact=False) == [b"x"]
    assert parse_dynamic('{"base64": "eA=="}', exact=False) == {"base64": "eA=="}


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, None], pl.Int64()),
        ([2**64], pl.Int128()),
        ([0.5], pl.Float64()),
        (["x"], pl.String()),
        ([True], pl.Boolean()),
        ([{"base64": "eA=="}], pl.Binary()),
        ([None], pl.Null()),
        ([1, "x"], DYNAMIC),
        ([1, True], DYNAMIC),
        ([1, 0.5], DYNAMIC),
        ([[1]], DYNAMIC),
        ([10**60], DYNAMIC),
    ],
)
def test_without_a_known_type_the_values_speak_for_themselves(values: list[Any], dtype: pl.DataType) -> None:
    assert frame_of_payloads([json.dumps({"v": value}) for value in values]).schema == {"v": dtype}


@pytest.mark.parametrize(
    ("dtype", "edited"),
    [
        (pl.Int64(), "12"), (pl.Int64(), True), (pl.Int64(), 1.5), (pl.Int8(), 200), (pl.Boolean(), 1), (pl.String(), 5),
        (pl.Date(), "1 March"), (pl.Date(), "2024-02-30"), (pl.Date(), 5), (pl.Datetime("us"), "2024-03-01T10:00"),
        (pl.Datetime("us"), "2024-03-01 10:00:00.0000001"), (pl.Time(), "25:00:00"), (pl.Duration("us"), "1 day"),
        (pl.Decimal(5, 2), "1.234"), (pl.Decimal(5, 2), 1.5), (pl.Float64(), "late"), (pl.Float64(), True),
        (pl.Binary(), "text"), (pl.Binary(), {"base64": "?"}), (pl.List(pl.Int64()), 1), (pl.List(pl.Int64()), ["1"]),
        (pl.Struct({"a": pl.Int64()}), {"a": 1, "b": 2}), (pl.Struct({"a": pl.Int64()}), {}), (pl.String(), "\ud800"),
    ],
)  # fmt: skip
def test_an_edited_value_of_another_type_is_kept_as_it_was_written(dtype: pl.DataType, edited: Any) -> None:
    back = frame_of_payloads([json.dumps({"v": edited}), '{"v": null}'], {"v": dtype})

    assert back.schema == {"v": DYNAMIC}
    (text, none) = dynamic_texts(back["v"]).to_list()
    assert none is None
    assert json.loads(text) == edited


def test_a_column_that_no_payload_has_is_there_and_absent() -> None:
    back = frame_of_payloads(["{}", "{}"], {"v": pl.Date()})

    assert back.schema == {"v": pl.Date(), ABSENT_PREFIX + "v": pl.Boolean()}
    assert back[ABSENT_PREFIX + "v"].to_list() == [True, True]


@pytest.mark.parametrize("payload", ["[1]", "{", '"x"', "null"])
def test_a_payload_that_is_no_row_is_an_error(payload: str) -> None:
    with pytest.raises(SourceError, match="no JSON"):
        frame_of_payloads([payload])
