"""All rows of a file, read by its source as often as needed."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
import pyarrow as pa

from rowledger.spec import WHOLE, Source, SourceContext

__all__ = ["FileRows"]

_CHUNK_ROWS = 100_000


class FileRows:
    """The rows of a source that has one partition. The spool of a text file is a folder that is removed at the end."""

    def __init__(self, source: Source, schema: pa.Schema | None = None) -> None:
        """Read the file once if it is text; raises SourceError. `schema` is that of a file that may have no rows."""
        self.source = source
        self._schema = schema
        self._folder = tempfile.TemporaryDirectory(prefix="rowledger-infer-")
        scope = SourceContext(landing_dir=Path.cwd(), spool_dir=Path(self._folder.name), chunk_rows_max=_CHUNK_ROWS)
        try:
            self._descriptors = list(source.chunks(WHOLE, scope))
        except BaseException:
            self._folder.cleanup()
            raise
        self.count = sum(descriptor.rows for descriptor in self._descriptors)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the spool."""
        self._folder.cleanup()

    def frames(self) -> Iterator[pl.DataFrame]:
        """All rows, those that are no rows included, in frames of up to 100,000."""
        for descriptor in self._descriptors:
            yield self.source.read(descriptor)
        if not self._descriptors and self._schema is not None:
            yield pl.DataFrame(pl.from_arrow(self._schema.empty_table()))
