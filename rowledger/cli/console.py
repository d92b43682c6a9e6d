"""The console on which commands print tables, and the colours of states: only on terminals, and not with NO_COLOR."""

from rich.console import Console
from rich.text import Text

from rowledger.ledger import AttemptState, DeadLetterState, LoadState

__all__ = ["console", "number_text", "state_text"]

_PLAIN_WIDTH = 160  # columns of a table that is written to a file or a pipe
_GOOD, _BAD, _UNDER_WAY, _CLOSED = "green", "bold red", "yellow", "dim"
_STYLES = {
    AttemptState.PUBLISHED: _GOOD,
    AttemptState.LOADING: _UNDER_WAY,
    AttemptState.INTERRUPTED: _BAD,
    AttemptState.FAILED: _BAD,
    AttemptState.REJECTED: _BAD,
    AttemptState.ABANDONED: _BAD,
    AttemptState.FORGOTTEN: _UNDER_WAY,
    DeadLetterState.OPEN: _BAD,
    DeadLetterState.CORRECTED: _UNDER_WAY,
    DeadLetterState.REPLAYED: _GOOD,
    DeadLetterState.DISCARDED: _CLOSED,
    LoadState.REPLACED: _CLOSED,
    LoadState.REPEATED: _CLOSED,
}


def console() -> Console:
    """The terminal, or a wide page for a file or a pipe."""
    found = Console()
    return found if found.is_terminal else Console(width=_PLAIN_WIDTH)


def state_text(state: str) -> Text:
    """A state in its colour. A Text, so that brackets and colons are not taken for markup."""
    return Text(state, style=_STYLES.get(state, ""))  # type: ignore[call-overload] # the keys are texts too


def number_text(number: int, *, is_bad: bool = False) -> Text:
    """A number with thousands separators, in colour where it should be zero."""
    return Text(f"{number:,}", style=_BAD if is_bad and number else "")
