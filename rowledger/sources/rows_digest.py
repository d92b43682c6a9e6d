"""A digest of rows that depends on their order, but not on how they are cut into batches."""

from collections import defaultdict
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from rowledger.sources.canonical_arrays import Array, booleans, canonical, lengths, marks, validity
from rowledger.sources.wide_decimals import wide_words
from rowledger.spec import ABSENT_PREFIX, BYTES_KEY, DECIMAL_TEXT, DYNAMIC, UUID

__all__ = ["RowsDigest"]

_Path = tuple[str, ...]

_COMPARED_AS = {DECIMAL_TEXT.fields[0].name: "decimal", UUID.fields[0].name: "text"}
_UUID_GROUPS = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))


class RowsDigest:
    """Hashes column by column: the positions of the values, and the values in sequence.

    A null is hashed only as a gap between positions, so a column without values may have no type or be missing. A decimal is
    hashed by its value, whatever its batch's scale is. A value is hashed differently in a batch in which its column has another
    type.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._counts: defaultdict[_Path, int] = defaultdict(int)
        self._streams: defaultdict[_Path, Any] = defaultdict(xxhash.xxh3_128)

    def copy(self) -> "RowsDigest":
        """A digest of the same rows, to which others may be added."""
        twin = RowsDigest()
        twin._rows = self._rows
        twin._counts.update(self._counts)
        twin._streams.update((path, stream.copy()) for path, stream in self._streams.items())
        return twin

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows, in canonical arrays."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            # A batch in which no row lacks the column may leave out the mark, so only true marks are hashed.
            given = marks(column, false_is_null=True) if name.startswith(ABSENT_PREFIX) else column
            self._add((name,), given, self._rows)
        self._rows += batch.num_rows

    def hexdigest(self) -> str:
        """The digest of all rows so far."""
        digest = xxhash.xxh3_128(str(self._rows).encode())
        for path in sorted(self._streams):
            digest.update(repr(path).encode())
            digest.update(self._streams[path].digest())
        return digest.hexdigest()

    def _add(self, path: _Path, array: Array, first: int) -> None:
        """Hash the values; `first` is the number of the first one among the values of its path."""
        if array.null_count == len(array):
            return
        kind = array.type
        places = np.arange(first, first + len(array))
        if (valid := validity(array)) is not None:
            places = places[valid]
            array = array.drop_null()
        path = (*path, _kind(kind))
        if path[-1] != "struct" and pa.types.is_struct(kind):
            [array] = array.flatten()
            array = array if path[-1] == "decimal" else _uuid_texts(array)
            kind = array.type
        self._feed((*path, "places"), places)
        count = self._counts[path]
        self._counts[path] += len(array)
        if pa.types.is_struct(kind):
            for number, child in enumerate(array.flatten()):
                name = kind.field(number).name
                if name == DYNAMIC.fields[0].name:
                    child = pc.replace_substring(child, f'{{"{BYTES_KEY}": ', '{"base64": ')  # noqa: PLW2901
                self._add((*path, name), child, count)
        elif pa.types.is_large_list(kind):
            self._feed((*path, "lengths"), lengths(array))
            items = array.flatten()
            items_path = (*path, "items")
            self._add(items_path, items, self._counts[items_path])
            self._counts[items_path] += len(items)
        elif path[-1] in {"text", "bytes"}:
            self._feed((*path, "lengths"), lengths(array).astype(np.int64))
            self._feed(path, canonical(array).buffers()[2])
        elif pa.types.is_boolean(kind):
            self._feed(path, booleans(array))
        else:
            self._feed(path, wide_words(array) if path[-1] == "decimal" else canonical(array).buffers()[1])

    def _feed(self, path: _Path, content: Any) -> None:  # noqa: ANN401, whatever has a buffer
        self._streams[path].update(memoryview(content).cast("B"))


def _kind(kind: pa.DataType) -> str:
    """The kind under which values of the type are hashed."""
    if pa.types.is_struct(kind) and kind.num_fields == 1 and kind.field(0).name in _COMPARED_AS:
        return _COMPARED_AS[kind.field(0).name]
    if pa.types.is_struct(kind):
        return "struct"
    if pa.types.is_large_list(kind):
        return "list"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "bytes"
    return "decimal" if pa.types.is_decimal(kind) else str(kind)


def _uuid_texts(contents: Array) -> Array:
    """UUIDs as texts, as other sources have them."""
    digits = pl.Series(contents).bin.encode("hex")
    groups = [digits.str.slice(start, length) for start, length in _UUID_GROUPS]
    return pl.select(pl.concat_str(groups, separator="-")).to_series().to_arrow(compat_level=pl.CompatLevel.oldest())
