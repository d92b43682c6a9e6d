"""Arrow arrays whose bytes depend on their values alone: what the format leaves open is settled here.

Open are the values below nulls, where a slice begins in its buffers, what stands between the items of lists, and the bits
behind the last one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Array", "canonical"]

Array = Any
"""A `pyarrow.Array` of any kind: its stubs know neither `flatten` nor what `buffers` gives."""
_Buffer = Any

_Bools = npt.NDArray[np.bool_]
_Offsets = npt.NDArray[np.int64]


def canonical(array: Array) -> Array:
    """The same values in buffers that begin at 0 and hold nothing below nulls.

    Takes what polars gives without views: nulls, Booleans, fixed widths, large strings, binaries and lists, structs.
    """
    rows = len(array)
    if pa.types.is_null(array.type) or not rows:
        return pa.nulls(rows, array.type)
    valid = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
    bitmap = None if valid is None else _bits(valid)
    kind = array.type
    if pa.types.is_struct(kind):
        children = [canonical(child) for child in array.flatten()]  # nulls of the struct reach into its fields
        return pa.Array.from_buffers(kind, rows, [bitmap], children=children)
    if pa.types.is_large_list(kind):
        offsets = _offsets(array, valid)
        values = canonical(array.flatten())  # without what stands below nulls
        return pa.Array.from_buffers(kind, rows, [bitmap, pa.py_buffer(offsets.data)], children=[values])
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        offsets = _offsets(array, valid)
        return pa.Array.from_buffers(kind, rows, [bitmap, pa.py_buffer(offsets.data), _bytes(array, valid, offsets)])
    if pa.types.is_boolean(kind):
        values = (array if valid is None else array.fill_null(False)).to_numpy(zero_copy_only=False)  # noqa: FBT003, Arrow's own signature
        return pa.Array.from_buffers(kind, rows, [bitmap, _bits(values)])
    return pa.Array.from_buffers(kind, rows, [bitmap, _fixed(array, valid)])


def _bits(values: _Bools) -> _Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little").data)


def _offsets(array: Array, valid: _Bools | None) -> _Offsets:
    """From 0 on, with nothing for a null."""
    given = _given_offsets(array)
    if valid is None:
        return given - given[0] if given[0] else given
    lengths = np.diff(given)
    lengths[~valid] = 0
    offsets = np.zeros(len(given), dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _given_offsets(array: Array) -> _Offsets:
    buffer = array.buffers()[1]
    return np.frombuffer(buffer, dtype=np.int64, count=len(array) + 1, offset=8 * array.offset)


def _bytes(array: Array, valid: _Bools | None, offsets: _Offsets) -> _Buffer:
    data = array.buffers()[2]
    given = _given_offsets(array)
    first, last = int(given[0]), int(given[-1])
    if last - first == int(offsets[-1]):
        return pa.py_buffer(b"") if data is None else data.slice(first, last - first)
    assert valid is not None, "only below a null there is something that does not count"  # noqa: S101
    kept = array.drop_null()  # copies what is left, one value behind the other
    return _bytes(kept, None, _offsets(kept, None))


def _fixed(array: Array, valid: _Bools | None) -> _Buffer:
    width = array.type.bit_width // 8
    data = array.buffers()[1].slice(array.offset * width, len(array) * width)
    if valid is None:
        return data
    values = np.frombuffer(data, dtype=np.uint8).reshape(len(array), width).copy()
    values[~valid] = 0
    return pa.py_buffer(values.data)
