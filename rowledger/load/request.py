"""What one run is asked to load, from where, and how."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rowledger.errors import SourceError, SpecError
from rowledger.ledger import Observer
from rowledger.settings import WriterSettings
from rowledger.spec import Partition, TableSpec

__all__ = ["RunRequest"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The partitions of one table to load, each named once.

    `landing_dir` replaces `{landing}` in the spec's paths. `run_id` is Dagster's, or None without Dagster.
    `rows` makes the rows of a partition, for a source that takes them from the load. It is called once for each partition.
    """

    spec: TableSpec
    partitions: tuple[Partition, ...]
    url: str = field(repr=False)  # may contain a password
    landing_dir: Path
    writer: WriterSettings
    run_id: str | None
    observer: Observer
    rows: Callable[[Partition], object] | None = None

    def require_rows(self) -> None:
        """Raise SourceError if the source takes rows from the load and there are none, SpecError if it has its own."""
        name, source = self.spec.name, self.spec.source
        if source.takes_rows and self.rows is None:
            raise SourceError(
                f"table {name}: its spec does not say where its rows are, because the program that loads it gives them; give "
                "them to rowledger.load as `rows`, or materialize the asset that returns them"
            )
        if self.rows is not None and not source.takes_rows:
            raise SpecError(
                f"table {name}: rows were given, but its source is {type(source).__name__}; make the source GivenRows()"
            )
