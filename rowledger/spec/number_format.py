"""How a source of texts writes its numbers."""

from dataclasses import dataclass

__all__ = ["NumberFormat"]


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """The sign before a number's fraction, and the sign between groups of three digits, if there is one.

    A blank as `thousands` stands for any blank that does not break, an apostrophe for a typographic one too.
    """

    decimal: str = "."
    thousands: str | None = None
