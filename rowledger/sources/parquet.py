"""Parquet files as a source: planned from their footers, read chunk by chunk.

A descriptor has the digest of the file's bytes, so a file that was replaced between plan and read is noticed even where its
size is the same.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import polars as pl
from pydantic import Field

from rowledger.errors import SourceError
from rowledger.sources.chunking import FilePart, chunk_descriptors, require_plausible_rows
from rowledger.sources.file_identity import file_digest, require_as_planned, unchanged
from rowledger.sources.file_source import FileSource
from rowledger.sources.parquet_rows import read_rows, schema_of
from rowledger.sources.parquet_scan import RowRange
from rowledger.sources.source_file import SourceFile
from rowledger.spec import RESERVED_PREFIX, ChunkDescriptor, Partition, SourceContext

__all__ = ["ParquetFiles"]

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class ParquetFiles(FileSource):
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

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        """Cut the partition's files at their row groups; a group that is larger than a chunk is cut into slices."""
        for found in self.files(partition, scope):
            with unchanged(found.path, found.origin, while_it_was="planned") as status:
                row_groups, readers = self._row_groups(found, status.file_bytes)
                digest = " ".join([file_digest(found.path), *_hive_parts(found.origin, self.hive)])
            yield from chunk_descriptors(found, status, digest, row_groups, scope.chunk_rows_max, readers)

    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        file = Path(descriptor.path)
        content = descriptor.model_copy(update={"file_digest": descriptor.file_digest.split(" ", 1)[0]})
        require_as_planned(file, content)
        frame = read_rows(RowRange(file, descriptor.row_offset, descriptor.rows, descriptor.column_readers))
        require_as_planned(file, content)  # again: the file may have been replaced in between
        if frame.height != descriptor.rows:
            raise SourceError(
                f"{file}: {frame.height} rows from row {descriptor.row_offset} on, planned were {descriptor.rows}; "
                "write the file anew and rerun"
            )
        return frame.with_columns(
            pl.lit(text, pl.String).alias(name) for name, text in self._hive_values(descriptor).items()
        )

    def frame_schema(self, descriptor: ChunkDescriptor) -> pl.Schema:
        schema = schema_of(Path(descriptor.path), descriptor.column_readers)
        return pl.Schema({**schema, **dict.fromkeys(self._hive_values(descriptor), pl.String())})

    def _hive_values(self, descriptor: ChunkDescriptor) -> dict[str, str | None]:
        values = (part.partition("=") for part in _hive_parts(descriptor.origin, self.hive))
        return {unquote(name): None if value == _HIVE_NULL else unquote(value) for name, _, value in values}

    def _row_groups(self, file: SourceFile, file_bytes: int) -> tuple[list[FilePart], dict[str, str]]:
        """Rows and bytes of each row group, and the columns' readers; raises SourceError for a file that must not be loaded."""
        from rowledger.sources.parquet_columns import read_footer  # noqa: PLC0415, workers never plan

        footer = read_footer(file)
        names, found = footer.names, footer.row_groups
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise SourceError(f"{file.origin}: has several columns of the names {double}; write it with one of each")
        if reserved := [name for name in names if name.startswith(RESERVED_PREFIX)]:
            raise SourceError(f"{file.origin}: the columns {reserved} have names that are reserved; rename them")
        self._require_within_limits(file.origin, footer.columns, found)
        require_plausible_rows(file.origin, file_bytes, found)
        if (counted := sum(group.rows for group in found)) != footer.rows:
            raise SourceError(
                f"{file.origin}: declares {footer.rows} rows and row groups with {counted}: damaged; write it again"
            )
        if both := sorted(set(self.hive) & set(names)):
            raise SourceError(
                f"{file.origin}: the columns {both} are in the file and in the names of its folders; take them out of `hive`"
            )
        return found, footer.readers

    def _require_within_limits(self, file: str, columns: int, groups: Sequence[FilePart]) -> None:
        if columns > self.columns_max:
            raise SourceError(f"{file}: has {columns} columns, the limit is {self.columns_max} (columns_max)")
        for number, group in enumerate(groups):
            if group.data_bytes > self.row_group_bytes_max:
                raise SourceError(
                    f"{file}: row group {number} declares {group.data_bytes:,} bytes uncompressed, the limit is "
                    f"{self.row_group_bytes_max:,} (row_group_bytes_max); write it with smaller row groups"
                )


def _hive_parts(origin: str, names: Sequence[str]) -> list[str]:
    """The folder for each name, as it is written: `year=2024`. Where there are several, the innermost is taken."""
    parts = {unquote(part.partition("=")[0]): part for part in origin.split("/")[:-1] if "=" in part}
    if missing := [name for name in names if name not in parts]:
        raise SourceError(f"{origin}: no folder of its path is called {missing[0]}=…, as `hive` of the source says")
    return [parts[name] for name in names]
