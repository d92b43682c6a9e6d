"""Decimals are widened as pyarrow would widen them, so that digests in the ledger stay valid."""

from decimal import Decimal, localcontext

import pyarrow as pa
from hypothesis import given, strategies as st

from rowledger.sources.wide_decimals import EVERY_DECIMAL, wide_words

_UNSCALED = (
    st.integers(-(10**38) + 1, 10**38 - 1)
    | st.integers(-(2**32) - 2, 2**32 + 2)
    | st.integers(0, 62).map(lambda bits: -(2**bits))
    | st.just(0)
)


def _decimals(unscaled: list[int], scale: int) -> pa.Array:
    with localcontext(prec=100):
        return pa.array([Decimal(value).scaleb(-scale) for value in unscaled], pa.decimal128(38, scale))


@given(unscaled=st.lists(_UNSCALED | st.integers(-(2**31), 2**31), min_size=1, max_size=20), scale=st.integers(0, 38))
def test_decimals_are_the_bytes_that_a_cast_makes_of_them(unscaled: list[int], scale: int) -> None:
    array = _decimals(unscaled, scale)

    assert bytes(memoryview(wide_words(array)).cast("B")) == bytes(array.cast(EVERY_DECIMAL).buffers()[1])


@given(unscaled=st.lists(st.integers(-(2**32) + 1, 2**32 - 1), min_size=2, max_size=20), scale=st.integers(0, 38))
def test_small_decimals_of_a_slice_are_its_own(unscaled: list[int], scale: int) -> None:
    array = _decimals(unscaled, scale)

    whole, rest = memoryview(wide_words(array)).cast("B"), memoryview(wide_words(array.slice(1))).cast("B")

    assert bytes(whole[32:]) == bytes(rest)
    assert bytes(whole) == bytes(array.cast(EVERY_DECIMAL).buffers()[1])
