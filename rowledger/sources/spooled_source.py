"""Sources that cannot be read twice in place: their rows are spooled, and workers read the spool."""

from typing import TYPE_CHECKING, ClassVar

from rowledger.spec import ChunkDescriptor, Source, SourceContext

if TYPE_CHECKING:  # who declares a source reads no rows
    import polars as pl

    from rowledger.sources.spool_writer import Spool

__all__ = ["SpooledSource"]


class SpooledSource(Source):
    """A source whose chunks are files of the spool, which the subclass writes in `chunks`."""

    is_streamed: ClassVar[bool] = True

    def new_spool(self, scope: SourceContext) -> "Spool":
        """The spool of one partition, for `chunks` to write into."""
        from rowledger.sources.spool_writer import Spool  # noqa: PLC0415, workers import this module and never write

        return Spool(scope)

    def read(self, descriptor: ChunkDescriptor) -> "pl.DataFrame":
        from rowledger.sources.spool_reader import read_spooled  # noqa: PLC0415, who declares a source reads no rows

        return read_spooled(descriptor)

    def frame_schema(self, descriptor: ChunkDescriptor) -> "pl.Schema":
        from rowledger.sources.spool_reader import spooled_schema  # noqa: PLC0415, who declares a source reads no rows

        return spooled_schema(descriptor)
