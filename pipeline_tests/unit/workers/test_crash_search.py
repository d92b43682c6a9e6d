"""The search for rows that kill: it names all of them, no other, and gives up where no row is at fault."""

import asyncio
from collections.abc import Callable

from hypothesis import given, strategies as st

from rowledger.workers.crash_search import find_crashing_rows


def _search(
    kills: Callable[[range], bool], first: int, stop: int, *, rows_max: int
) -> tuple[list[int] | None, list[range]]:
    deaths: list[range] = []

    async def survives(first: int, stop: int) -> bool:
        if kills(range(first, stop)):
            deaths.append(range(first, stop))
            return False
        return True

    return asyncio.run(find_crashing_rows(survives, first, stop, rows_max=rows_max)), deaths


@given(st.integers(0, 5000), st.integers(1, 3000), st.data())
def test_exactly_the_guilty_rows_are_named(first: int, rows: int, data: st.DataObject) -> None:
    numbers = st.integers(first, first + rows - 1)
    guilty = data.draw(st.sets(numbers, min_size=1, max_size=4))
    found, deaths = _search(lambda tried: any(row in tried for row in guilty), first, first + rows, rows_max=4)
    assert found == sorted(guilty)
    assert len(deaths) <= len(guilty) * (rows.bit_length() + 3)


@given(st.sets(st.integers(0, 99), min_size=4, max_size=20))
def test_the_search_ends_when_there_are_too_many(guilty: set[int]) -> None:
    found, _ = _search(lambda tried: any(row in tried for row in guilty), 0, 100, rows_max=2)
    assert found == sorted(guilty)[:3]


def test_a_chunk_that_kills_without_any_row_has_none_to_name() -> None:
    found, deaths = _search(lambda _: True, 0, 100, rows_max=3)
    assert found is None
    assert deaths == [range(0)]


def test_rows_that_kill_only_together_are_not_named() -> None:
    found, _ = _search(lambda tried: len(tried) > 30, 0, 100, rows_max=3)
    assert found == []


def test_rows_of_which_any_two_kill_cost_no_more_workers_than_single_ones_would() -> None:
    found, deaths = _search(lambda tried: len(tried) > 1, 0, 100_000, rows_max=3)
    assert found == []
    assert len(deaths) <= 4 * (17 + 3)


def test_a_row_whose_worker_died_once_of_something_else_is_not_named() -> None:
    strikes = iter([False, False, True])  # the third probe dies, whatever it tries; no other does

    found, _ = _search(lambda _: next(strikes, False), 0, 4, rows_max=3)
    assert found == []
