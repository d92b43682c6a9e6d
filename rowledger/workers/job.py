"""The interface between a pool and its work. `chunk.jobs` has the two kinds: chunks of loads, and replays."""

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

from rowledger.settings import WriterSettings

__all__ = ["Job"]


class Job(Protocol):
    """One attempt at a piece of work of one load. The ledger ensures that it takes effect once, however often it is tried.

    Its rows are counted by position, from 0 to `rows`; those of a replay are dead letters.
    """

    @property
    def name(self) -> str:
        """For logs and errors."""

    @property
    def facts(self) -> Mapping[str, object]:
        """The facts that failpoints can match."""

    @property
    def load_id(self) -> int: ...

    @property
    def partition_key(self) -> str: ...

    @property
    def chunk_no(self) -> int | None: ...

    @property
    def attempt(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def resumption(self) -> str:
        """For errors: what continues after the work has failed, as a main clause."""

    @property
    def incident_prefix(self) -> str:
        """The beginning of an incident's summary."""

    @property
    def is_suspect(self) -> bool:
        """Whether the work is a single row that is known to have killed workers: no budget counts these deaths."""

    def numbered(self, attempt: int) -> Self:
        """The same work, as this attempt."""

    def probing(self, first: int, stop: int) -> Self:
        """A job that finds out whether the rows at the positions [first, stop) kill their worker."""

    def may_set_aside(self, rows: int, limits: WriterSettings) -> bool:
        """Whether this many rows may be set aside because they kill their workers."""

    def without(self, positions: Sequence[int], reason: str) -> Self:
        """The work with these rows set aside for this reason, so that no worker touches them."""

    def row_name(self, position: int) -> str:
        """A row, for logs and errors."""
