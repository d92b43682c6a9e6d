"""When `make incident` fails, and when it does not."""

from collections.abc import Sequence

import pytest

from benchmarks.incident.__main__ import judge
from benchmarks.incident.audit import Audit
from benchmarks.incident.contest import Turn
from benchmarks.incident.cuts import Cut, CutKind
from benchmarks.incident.proxy import MadeCut

_PLAN = [Cut(1_000, CutKind.RESET)]
_MADE = [MadeCut(CutKind.RESET, 1_010, 0.5)]
_EXACT = Audit(10, 10, (0, 0), 0, 0)
_LOSSY = Audit(10, 8, (2, 0), 0, 0)


def _turn(name: str, audit: Audit, exit_code: int | None = 0, cuts: Sequence[MadeCut] = tuple(_MADE)) -> Turn:
    return Turn(name, exit_code, 1.0, "", "", cuts, audit)


def test_what_the_baseline_loses_is_no_failure_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    judge(_turn("baseline", _LOSSY), _turn("Rowledger", _EXACT), _PLAN)

    assert "baseline: 2 rows lost, exit code 0" in capsys.readouterr().out


def test_a_seed_that_costs_the_baseline_nothing_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    judge(_turn("baseline", _EXACT), _turn("Rowledger", _EXACT), _PLAN)

    assert "this seed has cost it nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "audit",
    [_LOSSY, Audit(10, 11, (0, 0), 1, 0), Audit(10, 10, (1, 0), 1, 0), Audit(10, 10, (0, 0), 0, 1)],
    ids=["lost", "doubled", "doubled for lost", "altered"],
)
def test_a_row_that_rowledger_loses_doubles_or_alters_fails_the_command(audit: Audit) -> None:
    with pytest.raises(SystemExit, match="error: Rowledger"):
        judge(_turn("baseline", _LOSSY), _turn("Rowledger", audit), _PLAN)


@pytest.mark.parametrize("exit_code", [1, None])
def test_rowledger_has_to_end_well(exit_code: int | None) -> None:
    with pytest.raises(SystemExit, match="error: Rowledger"):
        judge(_turn("baseline", _LOSSY), _turn("Rowledger", _EXACT, exit_code), _PLAN)


@pytest.mark.parametrize("unharmed", ["baseline", "Rowledger"])
def test_faults_that_did_not_happen_fail_the_command(unharmed: str) -> None:
    turns = [_turn(name, _EXACT, cuts=[] if name == unharmed else _MADE) for name in ("baseline", "Rowledger")]

    with pytest.raises(SystemExit, match=f"{unharmed} met 0 of 1 cuts"):
        judge(*turns, _PLAN)
