"""What a source is to the rest: something that cuts a partition into chunks, and reads a chunk again as often as asked."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl
from pydantic import BaseModel, ConfigDict

from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.partition import Partition

__all__ = [
    "ABSENT_PREFIX",
    "BYTES_16",
    "BYTES_KEY",
    "DECIMAL_TEXT",
    "DYNAMIC",
    "FAULT",
    "LINE",
    "RESERVED_PREFIX",
    "UUID",
    "Source",
    "SourceContext",
    "holds_decimal_texts",
]

# Columns of a source frame that are about its rows and are no part of them; no contract column may be named so.
RESERVED_PREFIX = "rowledger "
FAULT = f"{RESERVED_PREFIX}fault"
"""Text: why this is not a row at all (a line with a field too many, broken JSON); null for a row that was read well."""
LINE = f"{RESERVED_PREFIX}line"
"""Binary: the bytes that are no row, as the source has them; null for a row that was read well."""
ABSENT_PREFIX = f"{RESERVED_PREFIX}absent "
"""Followed by a column's name, Boolean: whether this row does not have the column at all, which is not the same as null."""

DYNAMIC = pl.Struct({f"{RESERVED_PREFIX}json": pl.String()})
"""The type of a column whose values are of several types: the JSON text of each. It is checked value by value."""
BYTES_KEY = f"{RESERVED_PREFIX}base64"
"""The only key of an object that is bytes in such a text: {"base64": …}, as people see them, may be an object of the source."""

UUID = pl.Struct({f"{RESERVED_PREFIX}uuid": pl.Binary()})
"""The type of a column of UUIDs, also inside of lists and structs: their 16 bytes."""
BYTES_16 = pl.Struct({f"{RESERVED_PREFIX}16 bytes": pl.Binary()})
"""The same of 16 fixed bytes that the source does not call a UUID. A field of text takes them for one."""
DECIMAL_TEXT = pl.Struct({f"{RESERVED_PREFIX}decimal": pl.String()})
"""The type of a column of decimals of several scales, also inside of lists and structs: the digits of each (1, 1.500).

A column of `pl.Decimal` has one scale, which would make 1.000 of 1.
"""


def holds_decimal_texts(dtype: Any) -> bool:  # noqa: ANN401, polars' stubs know too little of what a nested type holds
    """Whether there is DECIMAL_TEXT in it, at any depth."""
    match dtype:
        case pl.List() | pl.Array():
            return holds_decimal_texts(dtype.inner)
        case pl.Struct():
            return dtype == DECIMAL_TEXT or any(holds_decimal_texts(field.dtype) for field in dtype.fields)
    return False


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source may need beside the partition to cut it into chunks.

    `spool_dir` is a folder for this partition of this run alone (mode 0700), which is gone when the run ends. `columns` are
    the contract's, in order, for a source that has no names of its own. `exact_numbers` asks to keep numbers that are written
    as text in all their digits, because some column of the contract holds more than a double does. `documents` are the source's
    columns that become JSON documents as they are: a number in one of them has to be told from a text. None where a transform
    decides what becomes of a column.
    """

    landing_dir: Path
    spool_dir: Path
    chunk_rows_max: int
    columns: tuple[str, ...] = ()
    exact_numbers: bool = True
    documents: frozenset[str] | None = frozenset()
    disk_free_min_bytes: int = 0


class Source(BaseModel, ABC):
    """A declared source; those of the library are in `rowledger.sources`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spools: ClassVar[bool] = False
    """Whether chunks are written to `spool_dir` as they come, and are loaded while further ones still come.

    Otherwise all of them are planned, and their manifest is recorded, before the first is loaded.
    """

    @property
    def placeholders(self) -> frozenset[str]:
        """What its templates name of a partition; `Partition.placeholders` has to have each of them."""
        return frozenset()

    def without_secrets(self) -> Self:
        """The same source without what opens it, for the ledger to keep: it names where rows come from, and is never read."""
        return self

    @abstractmethod
    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        """The partition's chunks in source order, each with its exact number of rows; raises SourceError.

        Where `spools` is set, a chunk is durably on disk when it is given. The same rows give the same digests again.
        """

    @abstractmethod
    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        """All rows of a chunk in source order, with the source's own column names and types; raises SourceError.

        Raises too when the source is no longer what was planned, or holds another number of rows than the chunk. Beside the
        source's columns there may be reserved ones (`FAULT`, `LINE`, `ABSENT_PREFIX`).
        """

    @abstractmethod
    def frame_schema(self, descriptor: ChunkDescriptor) -> pl.Schema:
        """Names and types of the columns that `read` gives, without reading the rows; raises SourceError."""
