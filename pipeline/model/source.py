"""What a source is to the rest: something that plans a partition, and reads a planned chunk again as often as asked."""

from abc import ABC, abstractmethod
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from pipeline.model.manifest import ChunkDescriptor, Manifest
from pipeline.model.partition import Partition

__all__ = ["Source"]


class Source(BaseModel, ABC):
    """A declared source. Subclasses live in `pipeline/source/`, one module a format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def plan(self, partition: Partition, *, landing_dir: Path, chunk_rows_max: int) -> Manifest:
        """Count and cut the partition's rows, reading no more than needed; raises SourceError."""

    @abstractmethod
    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        """All rows of a chunk in source order, with the source's own column names and types; raises SourceError.

        Raises too when the source is no longer what was planned, or holds another number of rows than the chunk.
        """
