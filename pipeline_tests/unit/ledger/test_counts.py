"""Counts of rows add up, and tell whether every row is accounted for."""

from rowledger.ledger.counts import RowCounts


def test_counts_are_added_figure_by_figure() -> None:
    assert sum([RowCounts(10, 6, 3, 2, 1), RowCounts(100, 60, 30, 20, 10)], RowCounts()) == RowCounts(
        110, 66, 33, 22, 11
    )


def test_counts_balance_when_every_row_enqueued_or_added_is_written_dead_lettered_or_filtered() -> None:
    assert RowCounts().balances()
    assert RowCounts(enqueued_rows=10, added_rows=1, written_rows=6, dead_lettered_rows=3, filtered_rows=2).balances()


def test_a_row_too_few_or_too_many_is_missing() -> None:
    one_lost = RowCounts(enqueued_rows=10, written_rows=9)
    one_doubled = RowCounts(enqueued_rows=10, written_rows=11)
    assert (one_lost.missing_rows, one_doubled.missing_rows) == (1, -1)
    assert not one_lost.balances()
    assert not one_doubled.balances()
