"""Numbers with a noun in singular or plural."""

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`; the noun is given in the singular."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
