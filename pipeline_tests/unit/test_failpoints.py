"""Rules of deliberate faults."""

import pytest

from pipeline_tests.support.loading import set_failpoints
from rowledger.failpoints import FailpointError, Place, active_failpoints, failpoint


def test_nothing_happens_where_nothing_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    set_failpoints(monkeypatch, "")
    for place in Place:
        failpoint(place, partition="p", chunk=0, attempt=1)
    assert active_failpoints() == ""


def test_a_rule_acts_at_its_place_only(monkeypatch: pytest.MonkeyPatch) -> None:
    set_failpoints(monkeypatch, "after_claim=raise")
    failpoint(Place.BEFORE_COMMIT)
    with pytest.raises(FailpointError):
        failpoint(Place.AFTER_CLAIM)
    assert active_failpoints() == "after_claim=raise"


def test_every_condition_of_a_rule_must_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    set_failpoints(monkeypatch, " mid_copy = raise @ partition=2024-03-01, chunk=2 , attempt=1 ;; ")
    failpoint(Place.MID_COPY, partition="2024-03-01", chunk=2, attempt=2)
    failpoint(Place.MID_COPY, partition="2024-03-01", chunk=1, attempt=1)
    failpoint(Place.MID_COPY)
    with pytest.raises(FailpointError):
        failpoint(Place.MID_COPY, partition="2024-03-01", chunk=2, attempt=1)


def test_a_rule_for_a_row_acts_when_the_row_is_among_those_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    set_failpoints(monkeypatch, "while_encoding=raise@row=17")
    for others in (range(17), range(18, 30), range(17, 17), [16, 18]):
        failpoint(Place.WHILE_ENCODING, row=others)
    for rows in (range(17, 18), range(30), [3, 17]):
        with pytest.raises(FailpointError):
            failpoint(Place.WHILE_ENCODING, row=rows)


def test_the_second_of_two_rules_acts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    set_failpoints(monkeypatch, "in_planning=raise@partition=other;in_planning=raise@partition=this")
    with pytest.raises(FailpointError):
        failpoint(Place.IN_PLANNING, partition="this")


def test_a_hostile_exception_cannot_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    set_failpoints(monkeypatch, "after_claim=raise_hostile")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its class is private, its text cannot be had
        failpoint(Place.AFTER_CLAIM)
    with pytest.raises(RuntimeError):
        str(caught.value)


@pytest.mark.parametrize("text", ["nowhere=raise", "after_claim=explode", "after_claim", "=raise"])
def test_a_rule_that_cannot_be_followed_is_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    set_failpoints(monkeypatch, text)
    with pytest.raises(FailpointError, match=r"places are while_encoding.*actions are sigkill"):
        active_failpoints()
