"""The console on which commands print tables."""

from rich.console import Console

__all__ = ["console"]

_PLAIN_WIDTH = 160  # columns of a table that is written to a file or a pipe


def console() -> Console:
    """The terminal, or a wide page for a file or a pipe."""
    found = Console()
    return found if found.is_terminal else Console(width=_PLAIN_WIDTH)
