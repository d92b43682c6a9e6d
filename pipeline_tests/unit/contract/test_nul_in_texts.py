"""A NUL is found in any text of a column, wherever polars keeps the text."""

import polars as pl
from hypothesis import example, given, strategies as st

from rowledger.contract.fit_value import doubt_nul

TEXTS = st.lists(
    st.none() | st.lists(st.sampled_from(["", "\0", "a", "é", "x" * 11, "y" * 12, "z" * 13]), max_size=3).map("".join),
    max_size=6,
)


@given(texts=TEXTS, others=TEXTS, first=st.integers(0, 3))
@example(texts=["a\0", "b"], others=[], first=0)
@example(texts=["a", "\0" * 12, "z" * 13], others=[], first=0)
@example(texts=["z" * 13 + "\0", None, ""], others=[], first=1)
def test_the_texts_with_a_nul_are_found(texts: list[str | None], others: list[str | None], first: int) -> None:
    column = pl.concat([pl.Series("t", part, dtype=pl.String()) for part in (texts, others)])[first:]
    expected = [text is not None and "\0" in text for text in [*texts, *others][first:]]

    found = doubt_nul(column)

    assert (found is not None) == any(expected)
    assert found is None or found.to_list() == expected
