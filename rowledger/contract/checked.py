"""A frame after its check against a contract."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowledger.contract.dead_letter import DeadLetter

if TYPE_CHECKING:  # the supervisor has no frames
    import polars as pl

__all__ = ["Checked"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A frame after its check.

    `good` has the contract's columns in its order, followed by the evolved ones, in the target's frame types. `good_rows`
    holds the position of each good row in the checked frame; None means that no row was refused. `rejected` has these positions
    as `row_no`; `rows_left_out` counts the refused rows without a dead letter. `discarded_values` counts the values of unknown
    columns that were left out.
    """

    good: "pl.DataFrame"
    good_rows: "pl.Series | None"
    rejected: list[DeadLetter]
    discarded_values: int = 0
    rows_left_out: int = 0
