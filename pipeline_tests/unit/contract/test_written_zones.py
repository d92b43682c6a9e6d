"""A zone that is written in short has the value of the same zone in full; what is ambiguous or beyond Python is refused."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from pydantic import AwareDatetime, create_model

from pipeline_tests.support.contract_checks import as_json, assert_refused, both_ways
from rowledger.contract.check import Contract

IN_FULL = {
    "2024-01-01 00:00:00+00": "2024-01-01 00:00:00+00:00",
    "2024-01-01 00:00:00.123456-03": "2024-01-01 00:00:00.123456-03:00",
    "2024-01-01 00:00:00+0530": "2024-01-01 00:00:00+05:30",
    "2024-01-01T00:00+05": "2024-01-01T00:00+05:00",
    "2024-01-01 00:00:00 +0000": "2024-01-01 00:00:00+00:00",
    "2024-01-01 00:00:00 -03:30": "2024-01-01 00:00:00-03:30",
    "2024-01-01 00:00:00 UTC": "2024-01-01 00:00:00Z",
    "2024-01-01 00:00:00 Z": "2024-01-01 00:00:00Z",
}
BEYOND = [
    "infinity",
    "-infinity",
    "0044-03-15 00:00:00+00 BC",
    "10000-01-01 00:00:00+00",
    "0044-03-15 BC",
    "294276-12-31",
]


def _values(annotation: Any, values: Any) -> list[list[Any]]:
    found = []
    for checked in both_ways(annotation, values):
        assert not checked.rejected
        found.append(checked.good["v"].to_list())
    return found


def test_a_zone_in_short_has_the_value_of_the_one_in_full() -> None:
    for taken in _values(AwareDatetime, list(IN_FULL)):
        assert taken == [datetime.fromisoformat(full).astimezone(UTC) for full in IN_FULL.values()]


@pytest.mark.parametrize(("short", "full"), IN_FULL.items())
def test_the_value_is_the_same_at_any_depth_and_from_any_source(short: str, full: str) -> None:
    assert _values(list[AwareDatetime], [[short]]) == _values(list[AwareDatetime], [[full]])
    assert _values(AwareDatetime, as_json(f'"{short}"')) == _values(AwareDatetime, as_json(f'"{full}"'))
    assert _values(AwareDatetime | None, [short]) == _values(AwareDatetime | None, [full])


def test_a_column_of_short_zones_is_read_as_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(*_: object) -> None:
        pytest.fail("pydantic was asked")

    monkeypatch.setattr("rowledger.contract.settle_suspects.judge", judged)
    texts = [f"2024-01-01 00:00:0{n}.5+0{n}" for n in range(8)]
    checked = Contract.of(create_model("Row", v=(AwareDatetime, ...))).check(pl.DataFrame({"v": texts}))
    assert checked.good["v"].to_list() == [datetime.fromisoformat(f"{text}:00").astimezone(UTC) for text in texts]


@pytest.mark.parametrize(
    "text",
    ["2024-01-01 00:00:00+5", "2024-01-01 00:00:00 CET", "2024-01-01 00:00:00+00:00:30", "2024-01-01+00", "2024-01-01 00+00",
     "2024-01-01 00:00:00  +00", "2024-01-01 00:00:00"],
)  # fmt: skip
def test_what_is_no_zone_or_of_several_meanings_is_refused_as_before(text: str) -> None:
    for checked in both_ways(AwareDatetime, [text]):
        assert len(checked.rejected) == 1


@pytest.mark.parametrize("text", list(IN_FULL))
def test_a_local_time_or_a_date_still_takes_no_zone(text: str) -> None:
    for annotation in (datetime, date):
        for checked in both_ways(annotation, [text]):
            assert len(checked.rejected) == 1


@pytest.mark.parametrize("text", BEYOND)
@pytest.mark.parametrize(
    ("annotation", "kind"), [(AwareDatetime, "timestamp with zone"), (datetime, "naive timestamp"), (date, "date")]
)
def test_what_postgresql_holds_and_python_does_not_is_refused_by_that_reason(
    annotation: Any, kind: str, text: str
) -> None:
    assert_refused(annotation, [text], f"infinity, or a year before 1 or after 9999, which no {kind} has here")


def test_texts_are_left_alone() -> None:
    for annotation in (str, dict[str, Any]):
        value: Any = "2024-01-01 00:00:00+00" if annotation is str else {"a": "2024-01-01 00:00:00+00"}
        for taken in _values(annotation, [value]):
            assert "2024-01-01 00:00:00+00" in str(taken)
            assert "+00:00" not in str(taken)
