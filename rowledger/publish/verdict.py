"""How a load was judged."""

from dataclasses import dataclass

from rowledger.errors import RowledgerError
from rowledger.ledger import Check, ChunkTotals

__all__ = ["LoadVerdict"]


@dataclass(frozen=True, slots=True)
class LoadVerdict:
    """How a load was judged. `error` is None when its rows are in the table; `note` has what else happened."""

    totals: ChunkTotals
    checks: tuple[Check, ...]
    error: RowledgerError | None
    note: str = ""
