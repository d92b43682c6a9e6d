"""Infer a table from a file: find its source, its columns' types and a key, and try the row model on all rows."""

from dataclasses import dataclass
from pathlib import Path

from rowledger.errors import SpecError
from rowledger.infer.columns import InferredColumn
from rowledger.infer.dates_in_paths import dated_path
from rowledger.infer.file_partitions import FilePartitions
from rowledger.infer.fitting import fit
from rowledger.infer.formats import file_path, source_of
from rowledger.infer.module_text import SpecParts, module_text
from rowledger.infer.names import table_name
from rowledger.infer.trial import Refused
from rowledger.spec import Cadence, Source

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
    partitions: FilePartitions | None = None
    """What the files of the table have in their paths, and a column in its rows: a date."""

    @property
    def partition_candidates(self) -> tuple[str, ...]:
        """The columns of dates and timestamps, by which partitions can be told apart."""
        return tuple(column.name for column in self.columns if column.type in _TIMES)

    def module_text(self, *, spec: bool = True) -> str:
        """A Python module with the row model and, unless `spec` is False, the TableSpec."""
        return module_text(
            self.columns, name=self.name, file_name=self.file_name, rows=self.rows,
            spec=SpecParts(self.source, self.partitions, self.key, self.rows, self.refused.rows) if spec else None,
        )  # fmt: skip


def infer_table(path: Path, *, name: str | None = None) -> InferredTable:
    """The table that fits a file: at least 99 % of its rows pass the row model, unless the notes say otherwise.

    All rows are read: to find the types, again where null markers or an encoding were found, and to try the model. The rows of
    a text file are spooled to the folder for temporary files meanwhile. Raises SourceError for a file that no source reads, and
    SpecError for a name that no table can have.
    """
    if name is not None and not (name.isidentifier() and name.isascii()):
        raise SpecError(f"{name!r} cannot be a table's name: it needs letters, digits and underscores")
    dated = dated_path(file_path(path))
    found = fit(source_of(path), dated)
    partitions = None if dated is None or found.partition_by is None else FilePartitions(dated, found.partition_by)
    is_dated = dated is not None and (partitions is not None or dated.cadence is not Cadence.YEAR)
    unsure = (
        f"The path has a date, {dated.key}, but no column of dates has it in all rows: the table has no partitions."
        if is_dated and dated is not None and partitions is None
        else None
    )
    return InferredTable(
        name=table_name(path, is_dated=is_dated) if name is None else name,
        file_name=path.name,
        source=found.source
        if partitions is None
        else found.source.model_copy(update={"path": partitions.path.template}),
        partitions=partitions,
        columns=found.columns,
        # The primary key of a partitioned table has the column of its partitions.
        key=tuple(dict.fromkeys((*found.key, *([partitions.column] if partitions and found.key else ())))),
        rows=found.rows,
        refused=found.refused,
        attempts=found.attempts,
        notes=found.notes if unsure is None else (*found.notes, unsure),
    )
