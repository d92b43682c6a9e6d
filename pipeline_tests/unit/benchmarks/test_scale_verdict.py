"""What `make bench-scale` says of a figure and its target."""

import io

import pytest
from rich.console import Console

from benchmarks.verdict import Answer, Target, at_least, at_most, failed, grown


@pytest.mark.parametrize(
    ("target", "met", "word"),
    [
        (at_most("start", 0.4, 0.4, "s"), True, "met"),
        (at_most("start", 0.41, 0.4, "s"), False, "MISSED"),
        (at_least("ratio", 0.95, 0.95), True, "met"),
        (at_least("ratio", 0.94, 0.95), False, "MISSED"),
        (at_most("start", None, 0.4, "s"), None, "not measured"),
        (failed("start", 0.4, "s"), False, "MISSED"),
    ],
)
def test_a_figure_is_held_to_its_target(target: Target, *, met: bool | None, word: str) -> None:
    assert target.met is met
    assert target.told().endswith(f": {word}")
    assert target.as_json()["met"] is met


def test_a_missed_target_is_called_missed_on_the_terminal_and_in_the_json() -> None:
    answer = Answer("size", ("rows",), [("6,000,000",)], {}, [at_least("rate at 60 M / at 6 M", 0.5, 0.95)])
    terminal = io.StringIO()

    answer.show(Console(file=terminal, width=128))

    assert "rate at 60 M / at 6 M: 0.5, target ≥ 0.95: MISSED" in terminal.getvalue()
    assert [target["met"] for target in answer.as_json()["targets"]] == [False]


def test_a_cost_that_is_lost_in_the_noise_has_no_growth() -> None:
    assert grown(3.0, 2.0) == 1.5
    assert grown(-1.0, -2.0) is None
    assert grown(1.0, 0.0) is None
    assert grown(None, 1.0) is None
