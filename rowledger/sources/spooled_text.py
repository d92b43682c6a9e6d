"""Text files whose records are parsed once, from beginning to end, and spooled meanwhile."""

from abc import abstractmethod
from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from rowledger.sources.file_identity import unchanged
from rowledger.sources.source_file import SourceFile
from rowledger.sources.spooled_source import SpooledSource
from rowledger.sources.text_files import TextFiles
from rowledger.spec import ChunkDescriptor, Partition, SourceContext

__all__ = ["SpooledTextFiles"]


class SpooledTextFiles(TextFiles, SpooledSource):
    """A source of such files."""

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        spool = self.new_spool(scope)
        for file in self.files(partition, scope):
            with unchanged(file, while_it_was="read") as (opened, _):
                yield from spool.write(self._frames(opened, scope), origin=file.origin)
            if file.fetched:
                file.path.unlink()  # its rows are in the spool now

    @abstractmethod
    def _frames(self, file: SourceFile, scope: SourceContext) -> Iterator[pl.DataFrame | pa.Table]:
        """All records of a file, in one frame for each part of it; raises SourceError."""
