"""The verdict on a load."""

from dataclasses import dataclass

from rowledger.errors import RowledgerError
from rowledger.ledger import Check, ChunkTotals

__all__ = ["LoadVerdict"]


@dataclass(frozen=True, slots=True)
class LoadVerdict:
    """The verdict on a load. `error` is None when its rows are in the table; `note` says what else happened."""

    totals: ChunkTotals
    checks: tuple[Check, ...]
    error: RowledgerError | None
    note: str = ""
