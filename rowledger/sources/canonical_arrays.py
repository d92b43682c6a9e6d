"""Arrow arrays in a canonical form, whose bytes depend only on their values.

Arrow does not define the values under nulls, where a slice begins in its buffers, the data between the items of lists, and the
bits after the last one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Array", "booleans", "canonical", "lengths", "marks", "validity"]

Array = Any
"""A `pyarrow.Array` of any kind. Its stubs lack `flatten` and the type that `buffers` returns."""
_Buffer = Any

_Bools = npt.NDArray[np.bool_]
_Offsets = npt.NDArray[np.signedinteger[Any]]

_OF_BYTES: tuple[Any, ...] = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
_NARROW_MAX = 2**31 - 1


def canonical(array: Array) -> Array:
    """The same values in buffers that begin at 0 and have nothing under nulls.

    The array may have nulls, Booleans, fixed widths, texts, binaries, large lists and structs, but no views and no
    dictionaries. Texts and binaries get 32-bit offsets where these suffice.
    """
    rows, kind = len(array), array.type
    if kind in _OF_BYTES:
        return _of_bytes(array)
    if pa.types.is_null(kind) or not rows:
        return pa.nulls(rows, kind)
    valid = validity(array)
    bitmap = None if valid is None else _bits(valid)
    if pa.types.is_struct(kind):
        children = [canonical(child) for child in array.flatten()]  # flatten applies the struct's nulls to its fields
        fields = [pa.field(kind.field(n).name, child.type) for n, child in enumerate(children)]
        return pa.Array.from_buffers(pa.struct(fields), rows, [bitmap], children=children)
    if pa.types.is_large_list(kind):
        values = canonical(array.flatten())  # flatten leaves out the items under nulls
        offsets = _offsets(_given_offsets(array), valid)
        return pa.Array.from_buffers(
            pa.large_list(values.type), rows, [bitmap, pa.py_buffer(offsets.data)], children=[values]
        )
    if pa.types.is_boolean(kind):
        values = booleans(array)
        return pa.Array.from_buffers(kind, rows, [bitmap, _bits(values if valid is None else values & valid)])
    return pa.Array.from_buffers(kind, rows, [bitmap, _fixed(array, valid)])


def validity(array: Array) -> _Bools | None:
    """Which values are not null; None if none is. Read from the buffer: NumPy's own way would import pandas."""
    return _unpacked(array.buffers()[0], array) if array.null_count else None


def booleans(array: Array) -> _Bools:
    """The values of a Boolean array, whatever lies under nulls."""
    return _unpacked(array.buffers()[1], array)


def marks(array: Array, *, false_is_null: bool = False) -> Array:
    """A Boolean array that is true where this one is, and otherwise false, or null."""
    valid = validity(array)
    values = booleans(array) if valid is None else booleans(array) & valid
    bits = _bits(values)
    return pa.Array.from_buffers(pa.bool_(), len(array), [bits if false_is_null else None, bits])


def lengths(array: Array) -> _Offsets:
    """The lengths of texts, binaries or lists, whatever they are under nulls."""
    return np.diff(_given_offsets(array))


def _unpacked(bits: _Buffer, array: Array) -> _Bools:
    end = array.offset + len(array)
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=end, bitorder="little")[array.offset :].view(np.bool_)


def _bits(values: _Bools) -> _Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little").data)


def _given_offsets(array: Array) -> _Offsets:
    narrow = pa.types.is_string(array.type) or pa.types.is_binary(array.type)
    dtype = np.dtype(np.int32 if narrow else np.int64)
    return np.frombuffer(array.buffers()[1], dtype=dtype, count=len(array) + 1, offset=dtype.itemsize * array.offset)


def _offsets(given: _Offsets, valid: _Bools | None) -> _Offsets:
    """The offsets from 0 on, with length 0 for nulls."""
    if valid is None:
        return given - given[0] if given[0] else given
    lengths = np.diff(given)
    lengths[~valid] = 0
    offsets = np.zeros(len(given), dtype=given.dtype)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _of_bytes(array: Array) -> Array:
    text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    narrow, wide = _OF_BYTES[:2] if text else _OF_BYTES[2:]
    if not len(array):
        return pa.nulls(0, narrow)
    valid, given = validity(array), _given_offsets(array)
    offsets = _offsets(given, valid)
    kind = narrow if offsets[-1] <= _NARROW_MAX else wide
    bitmap = None if valid is None else _bits(valid)
    offsets = offsets.astype(np.int32 if kind == narrow else np.int64, copy=False)
    if given[-1] - given[0] != offsets[-1]:
        array = array.drop_null()  # copies the other values without gaps
        given = _given_offsets(array)
    data = array.buffers()[2]
    data = pa.py_buffer(b"") if data is None else data.slice(int(given[0]), int(given[-1] - given[0]))
    return pa.Array.from_buffers(kind, len(offsets) - 1, [bitmap, pa.py_buffer(offsets.data), data])


def _fixed(array: Array, valid: _Bools | None) -> _Buffer:
    width = array.type.bit_width // 8
    data = array.buffers()[1].slice(array.offset * width, len(array) * width)
    if valid is None:
        return data
    values = np.frombuffer(data, dtype=np.uint8).reshape(len(array), width).copy()
    values[~valid] = 0
    return pa.py_buffer(values.data)
