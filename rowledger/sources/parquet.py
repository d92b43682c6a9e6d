"""Parquet files as a source: planned from their footers, and read by polars alone where it reads every column exactly."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from pydantic import Field

from rowledger.errors import SourceError
from rowledger.sources.chunking import FilePart
from rowledger.sources.planned_files import PlannedFiles
from rowledger.sources.source_file import SourceFile
from rowledger.spec import ChunkDescriptor

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ParquetFiles"]

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class ParquetFiles(PlannedFiles):
    """The Parquet files of a partition, in the order of their names.

    `hive` names the keys of folders such as `year=2024` that become columns. They are text, which the contract converts to the
    field's type.
    """

    kind: Literal["parquet"] = "parquet"
    hive: tuple[str, ...] = Field(
        default=(), description="Columns taken from the names of the folders, e.g. year from year=2024."
    )
    columns_max: int = Field(
        default=2_000, ge=1, le=100_000, description="Columns a file may have, those inside nested ones counted."
    )
    row_group_bytes_max: int = Field(
        default=16 * 2**30, ge=2**20, description="Uncompressed bytes a row group may declare; more fails the load."
    )

    def _read_rows(self, descriptor: ChunkDescriptor, file: Path) -> "pl.DataFrame":
        from rowledger.sources.parquet_reader import read_range  # noqa: PLC0415, who declares or plans files reads no rows

        return read_range(descriptor, file, self._hive_values(descriptor))

    def frame_schema(self, descriptor: ChunkDescriptor) -> "pl.Schema":
        if descriptor.column_readers:
            return super().frame_schema(descriptor)
        from rowledger.sources.parquet_reader import read_schema  # noqa: PLC0415, who declares or plans files reads no rows

        return read_schema(descriptor, self._hive_values(descriptor))

    def _values_of_path(self, origin: str) -> list[str]:
        return _hive_parts(origin, self.hive)

    def _hive_values(self, descriptor: ChunkDescriptor) -> dict[str, str | None]:
        values = (part.partition("=") for part in _hive_parts(descriptor.origin, self.hive))
        return {unquote(name): None if value == _HIVE_NULL else unquote(value) for name, _, value in values}

    def _parts(self, file: SourceFile) -> tuple[list[FilePart], dict[str, str]]:
        from rowledger.sources.parquet_footer import planned_row_groups  # noqa: PLC0415, workers never plan

        return planned_row_groups(
            file, columns_max=self.columns_max, row_group_bytes_max=self.row_group_bytes_max, hive=self.hive
        )


def _hive_parts(origin: str, names: Sequence[str]) -> list[str]:
    """The folder for each name, as it is written: `year=2024`. Where there are several, the innermost is taken."""
    parts = {unquote(part.partition("=")[0]): part for part in origin.split("/")[:-1] if "=" in part}
    if missing := [name for name in names if name not in parts]:
        raise SourceError(f"{origin}: no folder of its path is called {missing[0]}=…, as `hive` of the source says")
    return [parts[name] for name in names]
