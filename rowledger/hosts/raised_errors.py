"""Errors that a host's pool raises, as messages and as errors again."""

from rowledger import errors
from rowledger.errors import (
    ChunkFailed,
    DatabaseUnavailable,
    PoolBroken,
    RowledgerError,
    WorkerTerminated,
    WriterClosed,
)
from rowledger.hosts.messages import Raised
from rowledger.postgres import summarize

__all__ = ["as_error", "as_raised"]

_FACTS_OF_CHUNK = ("partition_key", "chunk_no", "worker_traceback")
_FACTS_OF_WORKER = (*_FACTS_OF_CHUNK, "pid", "exit_code", "cause", "summary", "host")


def as_raised(error: Exception, *, of_host: bool = False) -> Raised:
    """The message about an error. That of another program has no text that could quote a row."""
    if not isinstance(error, RowledgerError):
        return Raised(error="ChunkFailed", summary=f"an error of Rowledger's own on the host ({summarize(error)})")
    names: tuple[str, ...] = ()
    if isinstance(error, ChunkFailed):
        names = _FACTS_OF_WORKER if isinstance(error, WorkerTerminated) else _FACTS_OF_CHUNK
    facts = {name: getattr(error, name) for name in names}
    return Raised(error=type(error).__name__, summary=str(error), facts=facts, of_host=of_host)


def as_error(raised: Raised, host: str) -> RowledgerError:
    """The error again, of the same class; it names the host, since another one may see other files, or have a full disk."""
    kind = getattr(errors, raised.error, None)
    if not (isinstance(kind, type) and issubclass(kind, RowledgerError)):
        kind = ChunkFailed
    is_named = issubclass(
        kind, WorkerTerminated | PoolBroken | DatabaseUnavailable | WriterClosed
    )  # here or by who catches it
    summary = raised.summary if is_named else f"on host {host}: {raised.summary}"
    error: RowledgerError = kind(summary, **raised.facts)
    return error
