"""In whose name dead letters are changed."""

from dataclasses import dataclass

__all__ = ["Actor"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes dead letters, and why: a person at a terminal or a run of Dagster."""

    name: str
    note: str = ""
    run_id: str | None = None
