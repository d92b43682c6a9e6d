"""Numbers of things in words."""

import pytest

from rowledger.counted import counted


@pytest.mark.parametrize(("number", "told"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows")])
def test_a_noun_is_in_the_singular_for_one_thing_alone(number: int, told: str) -> None:
    assert counted(number, "row") == told
