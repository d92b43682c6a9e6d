"""What a source has raised in another process, as an error of this one."""

from rowledger import errors
from rowledger.errors import RowledgerError, SourceError
from rowledger.ledger import SourceRaised

__all__ = ["source_error"]

_REBUILT = {"MissingExtra", "NotEnoughSpace", "SpecError", "ValuesAltered"}
"""The classes of errors that a source raises on purpose, besides SourceError itself."""


def source_error(raised: SourceRaised) -> RowledgerError:
    """The error of the class with this name, or a SourceError with the call stack in place of a foreign exception's text."""
    if raised.error in _REBUILT:
        error: RowledgerError = getattr(errors, raised.error)(raised.summary)
        return error
    return SourceError(raised.summary, source_traceback=raised.traceback)
