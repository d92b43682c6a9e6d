"""The faults of `make incident`: the same seed gives both contestants the same cuts."""

from hypothesis import given, strategies as st

from benchmarks.incident.cuts import plan_cuts

_BYTES = 200_000_000


@given(seed=st.integers(), count=st.integers(min_value=1, max_value=11))
def test_a_seed_always_gives_the_same_cuts_in_order_and_the_last_one_near_the_end(seed: int, count: int) -> None:
    plan = plan_cuts(seed, count, _BYTES)

    assert plan == plan_cuts(seed, count, _BYTES)
    assert len(plan) == count
    assert [cut.at_bytes for cut in plan] == sorted(cut.at_bytes for cut in plan)
    assert 0.9 * _BYTES < plan[-1].at_bytes < _BYTES


def test_another_seed_gives_other_cuts() -> None:
    assert plan_cuts(1, 3, _BYTES) != plan_cuts(2, 3, _BYTES)


def test_no_cuts_are_planned_where_none_are_wanted() -> None:
    assert plan_cuts(1, 0, _BYTES) == []
