"""A source's texts of numbers and dates in the notation that the contract reads."""

from collections.abc import Sequence

import polars as pl

from rowledger.contract.rules import FieldRules
from rowledger.contract.written_dates import with_iso_dates
from rowledger.contract.written_numbers import with_plain_numbers
from rowledger.spec import Source

__all__ = ["with_plain_texts"]


def with_plain_texts(frame: pl.DataFrame, rules: Sequence[FieldRules], source: Source) -> pl.DataFrame:
    """The frame with the texts rewritten that the source writes in a notation of its own; the same frame if there is none."""
    if (written := source.number_format) is not None:
        frame = with_plain_numbers(frame, rules, written)
    if source.date_notations:
        frame = with_iso_dates(frame, rules, source.date_notations)
    return frame
