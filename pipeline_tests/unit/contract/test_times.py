"""Dates, instants and durations: exact whichever way they come, or refused."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import (
    AwareDatetime,
    BaseModel,
    NaiveDatetime,
    TypeAdapter,
    create_model,
    model_validator,
)

from pipeline_tests.support.contract_checks import as_json, assert_refused, both_ways
from rowledger.contract import settle_suspects
from rowledger.contract.check import Contract

INSTANT = "an instant is not taken for a date, which would lose its zone"


OUT_OF_YEARS = "is outside the years 1 to 9999 in UTC"


class Day(BaseModel):
    day: date


@pytest.mark.parametrize(
    "text",
    ["2024-03-01T00:00:00+05:00", "2024-03-01T00:00:00Z", "2024-03-01 00:00-0500", "2024-03-01t00:00:00\u22120500"],
)
def test_an_instant_is_no_date(text: str) -> None:
    assert_refused(date, [text], INSTANT)
    assert_refused(list[date], [[text]], INSTANT)
    assert_refused(Day, [{"day": text}], INSTANT)
    assert_refused(dict[str, date], as_json(f'{{"a": "{text}"}}'), INSTANT)


def test_a_midnight_without_a_zone_is_a_date() -> None:
    for checked in both_ways(date, ["2024-03-01T00:00:00", "2024-03-01 00:00", "2024-03-01"]):
        assert checked.good["v"].to_list() == [date(2024, 3, 1)] * 3


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_an_instant_that_only_its_zone_keeps_within_the_calendar_is_refused_by_itself(text: str) -> None:
    for checked in both_ways(AwareDatetime, [text, "2024-03-01T00:00:00Z"]):
        assert [(letter.row_no, letter.reason) for letter in checked.rejected] == [(0, f"v: {OUT_OF_YEARS}")]
    assert_refused(list[AwareDatetime], [[text]], OUT_OF_YEARS)


def check(annotation: Any, values: list[Any]) -> tuple[dict[int, Any], dict[int, str]]:
    """By row: what was taken, and why the others were not."""
    series = pl.Series("v", values, dtype=pl.String if isinstance(values[0], str) else pl.Duration("us"))
    checked = Contract.of(create_model("Row", v=(annotation, ...))).check(pl.DataFrame([series]))
    rows = range(len(values)) if checked.good_rows is None else checked.good_rows
    return dict(zip(rows, checked.good["v"], strict=True)), {
        letter.row_no: letter.reason for letter in checked.rejected
    }


@settings(deadline=None)
@given(durations=st.lists(st.timedeltas(timedelta(days=-(10**8)), timedelta(days=10**8)), min_size=1, max_size=8))
def test_a_duration_is_taken_as_it_is(durations: list[timedelta]) -> None:
    assert check(timedelta, durations)[0] == dict(enumerate(durations))


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("01:02:03", timedelta(hours=1, minutes=2, seconds=3)),
        ("-00:00:00.5", timedelta(seconds=-0.5)),
        ("99:59:59.999999", timedelta(hours=99, minutes=59, seconds=59, microseconds=999_999)),
        ("P1DT2H", timedelta(days=1, hours=2)),
        ("3 days, 04:05:06", timedelta(days=3, hours=4, minutes=5, seconds=6)),
        ("01:60:00", None),
        ("00:00:00.0000001", None),
        ("PT0.0000001S", None),
        ("P1Y", None),
        ("P2M", None),
        ("90", None),
        ("1.5", None),
        ("P999999999D", None),
        ("soon", None),
    ],
)
def test_a_duration_as_text_is_exact_or_refused(text: str, taken: timedelta | None) -> None:
    found, refused = check(timedelta, [text])

    assert found == ({} if taken is None else {0: taken})
    assert bool(refused) is (taken is None)
    if taken is not None:
        assert TypeAdapter(timedelta).validate_python(text) == taken


@pytest.mark.parametrize("unit", ["ns", "ms"])
def test_a_duration_in_another_unit_is_exact_or_refused(unit: Any) -> None:
    finest = pl.Series("v", [1, 1_000, -(2**62), 2**62], dtype=pl.Int64).cast(pl.Duration(unit))
    checked = Contract.of(create_model("Row", v=(timedelta, ...))).check(pl.DataFrame([finest]))

    good_rows = range(4) if checked.good_rows is None else checked.good_rows
    ticks = {"ns": 1, "ms": 1_000_000}[unit]
    for row, ticks_of_row in enumerate([1, 1_000, -(2**62), 2**62]):
        us, rest = divmod(ticks_of_row * ticks, 1_000)
        assert (row in good_rows) is (rest == 0 and abs(us) < 2**63)
    assert all(str(2**62) not in letter.reason for letter in checked.rejected)


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


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (NaiveDatetime, "2024-02-29T01:02:03.123456000", datetime(2024, 2, 29, 1, 2, 3, 123456)),  # noqa: DTZ001 - it has none
        (AwareDatetime, "2024-02-29 01:02:03.123456000Z", datetime(2024, 2, 29, 1, 2, 3, 123456, UTC)),
        (time, "01:02:03.500000000", time(1, 2, 3, 500000)),
    ],
)
def test_nanoseconds_that_are_zeros_are_read_in_columns(
    annotation: Any, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle_suspects, "judge", None)  # which takes a hundred times as long
    checked = Contract.of(create_model("Row", v=(annotation, ...))).check(pl.DataFrame({"v": [text]}))
    assert checked.good["v"].to_list() == [value]
