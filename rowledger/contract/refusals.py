"""Rows that a contract refuses, the reasons, and their dead letters."""

from collections.abc import Iterable

import polars as pl

from rowledger.contract.dead_letter import DeadLetter, Stage, payloads_of

__all__ = ["Refusals"]

_KINDS_OF_REASONS_MAX = 1_000  # shown of rows beyond the budget


class Refusals:
    """The refused rows of a frame, with the reasons for each column that breaks a rule.

    A reason without a column is about the row as a whole.
    """

    def __init__(self) -> None:
        self._reasons: dict[int, dict[str | None, str]] = {}

    def add(self, row: int, column: str | None, reason: str) -> None:
        """Refuse a row; all distinct reasons for a column are kept."""
        reasons = self._reasons.setdefault(row, {})
        if column not in reasons:
            reasons[column] = reason
        elif reason not in reasons[column].split("; "):
            reasons[column] += f"; {reason}"

    def add_mask(self, mask: pl.Series, column: str, reason: str) -> None:
        for row in mask.arg_true():
            self.add(row, column, reason)

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def has(self, row: int, column: str) -> bool:
        return column in self._reasons.get(row, ())

    def rows(self) -> list[int]:
        return sorted(self._reasons)

    def dead_letters(
        self, frame: pl.DataFrame, columns: Iterable[str], letters_max: int | None = None
    ) -> list[DeadLetter]:
        """One dead letter per refused row, numbered by its position, its reasons in the order of the columns.

        Of more than `letters_max` rows, only the first that many have one, and the first of each further kind of reasons.
        """
        order = {name: position for position, name in enumerate(columns)}
        rows = self._examples(letters_max)
        letters: list[DeadLetter] = []
        for row, payload in zip(rows, payloads_of(frame[rows]), strict=True):
            reasons = sorted(self._reasons[row].items(), key=lambda found: order.get(found[0] or "", len(order)))
            letters.append(
                DeadLetter(
                    row_no=row,
                    stage=Stage.CONTRACT,
                    reason="; ".join(reason if column is None else f"{column}: {reason}" for column, reason in reasons),
                    payload=payload,
                    column=reasons[0][0],
                )
            )
        return letters

    def _examples(self, rows_max: int | None) -> list[int]:
        rows = self.rows()
        if rows_max is None or len(rows) <= rows_max:
            return rows
        chosen = rows[:rows_max]
        seen = {self._reasons_of(row) for row in chosen}
        for row in rows[rows_max:]:
            if len(seen) >= _KINDS_OF_REASONS_MAX:
                break
            if (reasons := self._reasons_of(row)) not in seen:
                seen.add(reasons)
                chosen.append(row)
        return chosen

    def _reasons_of(self, row: int) -> tuple[tuple[str | None, str], ...]:
        return tuple(self._reasons[row].items())
