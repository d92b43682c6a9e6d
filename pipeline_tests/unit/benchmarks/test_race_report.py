"""What the figures of a race are made of."""

import io

import pytest
from rich.console import Console

from benchmarks.contestants import CONTESTANTS
from benchmarks.race.measure import Measured
from benchmarks.race.report import TARGETS, Entrant, Figure, Race, Turn, ratio

_BY_NAME = {one.name: one for one in CONTESTANTS}


def _entrant(name: str, *wall_s: float, cpu_s: float = 1.0, wrong: str | None = None) -> Entrant:
    turns = [
        Turn(number, Measured(0, seconds, cpu_s, 2**20, 2**21, ""), 1.0, wrong) for number, seconds in enumerate(wall_s)
    ]
    return Entrant(_BY_NAME[name], turns=turns)


def _race(*entrants: Entrant) -> Race:
    return Race(1, 1_000_000, 1, 3, {}, {}, {}, [], entrants)


def _printed(race: Race) -> str:
    printed = io.StringIO()
    race.print(Console(width=120, file=printed))
    return printed.getvalue()


def test_a_ratio_is_the_median_over_rounds_not_the_ratio_of_medians() -> None:
    own, other = _entrant("rowledger", 1, 10, 4), _entrant("bare", 2, 1, 6)

    assert ratio(own, other) == pytest.approx(1.5)


def test_of_cpu_the_ratio_is_own_to_other() -> None:
    own, other = _entrant("rowledger", 1, cpu_s=1), _entrant("adbc", 1, cpu_s=4)

    assert ratio(own, other, Figure.CLIENT_CPU) == pytest.approx(0.25)


def test_who_was_wrong_has_no_ratio_and_no_figures() -> None:
    cheat, bare = _entrant("rowledger", 0.1, wrong="3 rows instead of 4"), _entrant("bare", 1)

    assert ratio(cheat, bare) is None
    race = _race(cheat, bare)
    assert race.failed
    assert "Rowledger in full: WRONG: 3 rows instead of 4" in _printed(race)


def test_targets_say_whether_they_were_held_and_leave_out_what_was_not_run() -> None:
    told = _printed(_race(_entrant("bare", 1), _entrant("rowledger", 1, cpu_s=1), _entrant("adbc", 1.1, cpu_s=4)))

    lines = {line.split("  ")[0].strip(): line.split()[-1] for line in told.splitlines() if line.strip()}
    assert lines["Rowledger in full / bare"] == "held"
    assert lines["Rowledger in full / ADBC"] == "missed"
    assert lines["client CPU, Rowledger in full / ADBC"] == "held"
    assert "Rowledger in full / dlt" not in lines


def test_targets_speak_of_contestants_that_there_are() -> None:
    assert {name for target in TARGETS for name in (target.own, target.other)} <= set(_BY_NAME)
