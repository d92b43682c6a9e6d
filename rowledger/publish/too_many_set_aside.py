"""The error of a load of which more rows cannot be published than its budget allows."""

from collections.abc import Sequence

import asyncpg

from rowledger.contract import DeadLetter
from rowledger.errors import DeadLetterBudgetSpent
from rowledger.ledger import record_dead_letters
from rowledger.machine import ProcessIdentity
from rowledger.spec import ChunkPlan, LoadHandle

__all__ = ["TooManySetAside"]


class TooManySetAside(DeadLetterBudgetSpent):
    """More rows cannot be published than the budget allows. `letters` has some of them, chunk by chunk, with their values."""

    def __init__(
        self,
        message: str,
        *,
        refused_rows: int,
        detail: str,
        letters: Sequence[tuple[ChunkPlan, list[DeadLetter]]],
    ) -> None:
        super().__init__(message, refused_rows=refused_rows, detail=detail)
        self.letters = letters

    async def record(self, connection: asyncpg.Connection, handle: LoadHandle) -> None:
        """Record these dead letters, because the transaction that found them was rolled back."""
        for chunk, letters in self.letters:
            await record_dead_letters(connection, handle, chunk, letters, attempt=0, worker=ProcessIdentity.this())
