"""Who changes dead letters."""

from dataclasses import dataclass

__all__ = ["Actor"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes dead letters, and why: a person at a terminal, or a Dagster run."""

    name: str
    note: str = ""
    run_id: str | None = None
