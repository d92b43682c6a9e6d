"""Infer a table from a file: find its source, its columns' types and a key, and try the row model on all rows."""

from dataclasses import replace
from pathlib import Path

from rowledger.errors import SpecError
from rowledger.infer.dates_in_paths import dated_path
from rowledger.infer.fitting import fit
from rowledger.infer.formats import file_path, source_of
from rowledger.infer.inferred_table import InferredTable
from rowledger.infer.names import table_name
from rowledger.spec import Cadence

__all__ = ["infer_table"]


def infer_table(path: Path, *, name: str | None = None) -> InferredTable:
    """The table that fits a file: at least 99 % of its rows pass the row model, unless the notes say otherwise.

    All rows are read: to find the types, again where null markers or an encoding were found, and to try the model. The rows of
    a text file are spooled to the folder for temporary files meanwhile. Raises SourceError for a file that no source reads, and
    SpecError for a name that no table can have.
    """
    if name is not None and not (name.isidentifier() and name.isascii()):
        raise SpecError(f"{name!r} cannot be a table's name: it needs letters, digits and underscores")
    dated = dated_path(file_path(path))
    table = fit(source_of(path), dated)
    is_dated = dated is not None and (table.partitions is not None or dated.cadence is not Cadence.YEAR)
    notes = table.notes
    if dated is not None and is_dated and table.partitions is None:
        notes += (
            f"The path has a date, {dated.key}, but no column of dates has it in all rows: the table has no partitions.",
        )
    own_name = table_name(path, is_dated=is_dated) if name is None else name
    return replace(table, name=own_name, file_name=path.name, notes=notes)
