"""Infer a table from a file: find its source, its columns' types and a key, and try the row model on all rows."""

from dataclasses import dataclass
from pathlib import Path

from rowledger.errors import SpecError
from rowledger.infer.columns import InferredColumn
from rowledger.infer.fitting import fit
from rowledger.infer.formats import source_of
from rowledger.infer.module_text import SpecParts, module_text
from rowledger.infer.names import table_name
from rowledger.infer.trial import Refused
from rowledger.spec import Source

__all__ = ["InferredTable", "infer_table"]

_TIMES = ("date", "timestamp", "timestamptz")


@dataclass(frozen=True, slots=True)
class InferredTable:
    """A table that a file was taken for. `notes` says what to check by hand; none of them quotes a value of a row."""

    name: str
    file_name: str
    source: Source
    columns: tuple[InferredColumn, ...]
    key: tuple[str, ...]
    rows: int
    refused: Refused
    attempts: int = 1
    notes: tuple[str, ...] = ()

    @property
    def partition_candidates(self) -> tuple[str, ...]:
        """The columns of dates and timestamps, by which partitions can be told apart."""
        return tuple(column.name for column in self.columns if column.type in _TIMES)

    def module_text(self, *, spec: bool = True) -> str:
        """A Python module with the row model and, unless `spec` is False, the TableSpec."""
        return module_text(
            self.columns, name=self.name, file_name=self.file_name, rows=self.rows,
            spec=SpecParts(self.source, self.key, self.rows, self.refused.rows) if spec else None,
        )  # fmt: skip


def infer_table(path: Path, *, name: str | None = None) -> InferredTable:
    """The table that fits a file: at least 99 % of its rows pass the row model, unless the notes say otherwise.

    All rows are read: to find the types, again where null markers or an encoding were found, and to try the model. The rows of
    a text file are spooled to the folder for temporary files meanwhile. Raises SourceError for a file that no source reads, and
    SpecError for a name that no table can have.
    """
    table = table_name(path) if name is None else name
    if not (table.isidentifier() and table.isascii()):
        raise SpecError(f"{table!r} cannot be a table's name: it needs letters, digits and underscores")
    found = fit(source_of(path), table)
    return InferredTable(
        name=table,
        file_name=path.name,
        source=found.source,
        columns=found.columns,
        key=found.key,
        rows=found.rows,
        refused=found.refused,
        attempts=found.attempts,
        notes=found.notes,
    )
