"""The interface of a source: it cuts a partition into chunks, and reads each chunk as often as asked."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.number_format import NumberFormat
from rowledger.spec.partition import Partition

if TYPE_CHECKING:  # who declares a source reads no rows
    import polars as pl

__all__ = [
    "ABSENT_PREFIX",
    "BYTES_KEY",
    "FAULT",
    "LINE",
    "RESERVED_PREFIX",
    "Source",
    "SourceContext",
]

# Columns of a source frame that describe its rows without being part of them; no contract column may have such a name.
RESERVED_PREFIX = "rowledger "
FAULT = f"{RESERVED_PREFIX}fault"
"""Text: why this is not a row (a line with too many fields, broken JSON); null for a row that was read."""
LINE = f"{RESERVED_PREFIX}line"
"""Binary: the source's bytes that are not a row; null for a row that was read."""
ABSENT_PREFIX = f"{RESERVED_PREFIX}absent "
"""Prefix of a column's name, Boolean: whether the row lacks that column, which differs from a null."""

BYTES_KEY = f"{RESERVED_PREFIX}base64"
"""The only key of an object that is bytes in such a text. Payloads use {"base64": …}, which may be a source's object."""


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source needs, besides the partition, to cut it into chunks.

    `spool_dir` is a folder for this partition of this run alone (mode 0700), which is removed when the run ends. `columns`
    are the contract's, in order, for a source without column names. `exact_numbers` asks the source to keep all digits of
    numbers that are written as text, because a column of the contract holds more than a double does. `documents` are the
    source's columns that become JSON documents unchanged, in which numbers must remain distinct from texts; None if a
    transform decides what becomes of a column. In the columns of `numbers_apart` an integer must remain distinct from a number
    with a fraction. `rows` makes the partition's rows, for a source that takes them from the load.
    """

    landing_dir: Path
    spool_dir: Path
    chunk_rows_max: int
    columns: tuple[str, ...] = ()
    exact_numbers: bool = True
    documents: frozenset[str] | None = frozenset()
    numbers_apart: frozenset[str] = frozenset()
    disk_free_min_bytes: int = 0
    rows: Callable[[], object] | None = None


class Source(BaseModel, ABC):
    """A declared source; the library's are in `rowledger.sources`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_streamed: ClassVar[bool] = False
    """Whether chunks are known only as the source is read, so that the first are loaded while others arrive.

    Otherwise all chunks are planned, and their manifest is recorded, before the first is loaded.
    """
    may_repeat: ClassVar[bool] = False
    """Whether the source gives the same chunks when it is read again within a run, as files do."""
    columns_vary: ClassVar[bool] = False
    """Whether chunks of one file may have different columns, which are known only when a chunk is read."""
    files_may_join: ClassVar[bool] = False
    """Whether the rows of several files with the same columns may be read as one frame: its columns are those of each file."""
    takes_rows: ClassVar[bool] = False
    """Whether the rows come with each load, as `SourceContext.rows`."""

    @property
    def number_format(self) -> NumberFormat | None:
        """How the source's texts write numbers; None for 1234.5, as the contract reads them."""
        return None

    @property
    def date_notations(self) -> tuple[str, ...]:
        """The formats of the source's texts of dates and timestamps, besides ISO's."""
        return ()

    @property
    def placeholders(self) -> frozenset[str]:
        """The names that the source's templates use; `Partition.placeholders` must have each of them."""
        return frozenset()

    def without_secrets(self) -> Self:
        """The same source without its credentials, for the ledger. It says where rows come from, and is never read."""
        return self

    def local_bytes(self, partition: Partition, landing_dir: Path) -> int | None:  # noqa: ARG002, for those that have files
        """The bytes of the partition's files, where they are on this machine; None where that is not known at once.

        It decides how many workers come up before the partition is planned, and nothing else.
        """
        return None

    def is_read_at_once(self, partition: Partition, landing_dir: Path) -> bool:  # noqa: ARG002, for those that have files
        """Whether a streamed source is read in less time than a process of its own takes to start.

        Then a worker plans it, like any other source. It may be asked in a thread, and may hang or raise.
        """
        return False

    @abstractmethod
    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        """The partition's chunks in source order, each with its exact number of rows; raises SourceError.

        What a streamed source writes to `spool_dir` for a chunk is complete when the chunk is yielded. The same rows give the
        same digests.
        """

    @abstractmethod
    def read(self, descriptor: ChunkDescriptor) -> "pl.DataFrame":
        """All rows of a chunk in source order, with the source's own column names and types; raises SourceError.

        It also raises when the source is no longer what was planned, or holds another number of rows than the chunk. The frame
        may have reserved columns (`FAULT`, `LINE`, `ABSENT_PREFIX`) in addition to the source's.
        """

    def read_typed(self, descriptor: ChunkDescriptor, types: "Mapping[str, pl.DataType]") -> "pl.DataFrame | None":  # noqa: ARG002
        """The same rows with columns of text in these types, as far as the source can; None if it cannot at all.

        A column gets its type only if each of its texts stands for the same value to whoever reads it. Raises SourceError.
        """
        return None

    def column_names(self, descriptor: ChunkDescriptor) -> tuple[str, ...]:
        """The names in `frame_schema`, for a check of the names alone; raises SourceError."""
        return tuple(self.frame_schema(descriptor))

    @abstractmethod
    def frame_schema(self, descriptor: ChunkDescriptor) -> "pl.Schema":
        """Names and types of the columns that `read` returns, without reading the rows; reserved ones may be left out.

        Raises SourceError.
        """
