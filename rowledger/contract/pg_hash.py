"""PostgreSQL's own hash functions over whole columns, so that client and server can compute the same totals.

hashtext, uuid_hash, hashfloat4, hashfloat8 and timestamp_hash all use one function over bytes, a variant of Bob Jenkins'
lookup3: three 32-bit words of state, seeded with the length, absorb 12 bytes at a time and are mixed in between (PostgreSQL's
src/common/hashfn.c; the same since version 8.4). Hash operators and hash partitioning depend on it, so it does not change
within a major version, and none of 14 to 18 changed it. Here, each step runs over thousands of values at once; only the few
longest values are processed one by one.
"""

import struct

import numpy as np
import numpy.typing as npt

__all__ = ["hash_arrays", "hash_byte_strings", "hash_doubles", "hash_int64s"]

Words = npt.NDArray[np.uint32]

_BLOCK_BYTES = 12
_SEED = 0x9E3779B9 + 3923095
_WORD_MAX = 0xFFFFFFFF
_FEW = 16  # number of values up to which a step in Python costs less than one in numpy
_BATCH = 16_384  # values at once, so that state and scratch stay in the second-level cache

# By the number of bytes left (0 to 11), a mask of the next 12 bytes that belong to the value, as three little-endian words.
_TAIL_MASKS: Words = (
    np.where(np.arange(_BLOCK_BYTES) < np.arange(_BLOCK_BYTES)[:, None], 255, 0).astype(np.uint8).view("<u4").T.copy()
)


def hash_byte_strings(content: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """The hash of each byte string; string i is `content[offsets[i]:offsets[i + 1]]`."""
    # Each last block is read as 12 bytes, so the last value's block may reach beyond the content.
    padded = np.zeros(content.size + _BLOCK_BYTES, dtype=np.uint8)
    padded[: content.size] = content
    blocks: npt.NDArray[np.void] = np.ndarray((content.size + 1,), dtype="V12", buffer=padded, strides=(1,))
    hashes = np.empty(len(offsets) - 1, dtype=np.uint32)
    for start in range(0, len(hashes), _BATCH):
        bounds = offsets[start : start + _BATCH + 1]
        hashes[start : start + _BATCH] = _hash_batch(blocks, bounds[:-1], np.diff(bounds).astype(np.uint32))
    return hashes.view(np.int32)


def _hash_batch(blocks: npt.NDArray[np.void], begins: npt.NDArray[np.int64], lengths: Words) -> Words:
    whole = lengths // np.uint32(_BLOCK_BYTES)
    left = lengths - whole * np.uint32(_BLOCK_BYTES)
    fewest, most = int(whole.min()), int(whole.max())
    order = None
    if fewest != most:
        # The longest are last, so that the values with blocks left are one slice at every step.
        order = np.argsort(whole.astype(np.uint16) if most < 2**16 else whole, kind="stable")
        begins, lengths, whole, left = begins[order], lengths[order], whole[order], left[order]
    a = lengths + np.uint32(_SEED & 0xFFFFFFFF)
    b, c = a.copy(), a.copy()
    # The steps up to the few longest values, which must not cost a numpy step for each of their blocks.
    common = int(whole[-_FEW]) if len(whole) >= _FEW else 0
    for step in range(common):
        first = int(np.searchsorted(whole, step, side="right")) if step >= fewest else 0
        words = _words(blocks, begins[first:] + step * _BLOCK_BYTES)
        x, y, z = a[first:], b[first:], c[first:]
        x += words[0]
        y += words[1]
        z += words[2]
        _mix(x, y, z)
    for one in range(max(len(whole) - _FEW, 0), len(whole)):
        if (blocks_left := int(whole[one]) - common) > 0:
            begin = int(begins[one]) + common * _BLOCK_BYTES
            content = blocks[begin : begin + blocks_left * _BLOCK_BYTES : _BLOCK_BYTES].tobytes()
            a[one], b[one], c[one] = _mix_blocks(content, int(a[one]), int(b[one]), int(c[one]))
    words = _words(blocks, begins + whole * np.uint32(_BLOCK_BYTES))
    a += words[0] & _TAIL_MASKS[0].take(left)
    b += words[1] & _TAIL_MASKS[1].take(left)
    c += (words[2] & _TAIL_MASKS[2].take(left)) << np.uint32(8)  # the lowest byte of c is the length's
    _finish(a, b, c)
    if order is None:
        return c
    restored = np.empty_like(c)
    restored[order] = c
    return restored


def _words(blocks: npt.NDArray[np.void], positions: npt.NDArray[np.int64]) -> Words:
    """The 12 bytes at each position, as three rows of words."""
    return blocks[positions].view("<u4").reshape(-1, 3).T


def hash_doubles(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """hashfloat8: both zeros hash to 0, and all NaN are equal."""
    canonical = np.where(np.isnan(values), np.nan, values)
    bits = canonical.view(np.uint64)
    hashes = _hash_words((bits & np.uint64(0xFFFFFFFF)).astype(np.uint32), (bits >> np.uint64(32)).astype(np.uint32), 8)
    hashes[values == 0] = 0
    return hashes.view(np.int32)


def hash_int64s(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """hashint8, timestamp_hash and time_hash: the halves are folded into one word, so that small values hash as in hashint4."""
    low = (values & 0xFFFFFFFF).astype(np.uint32)
    high = (values >> 32).astype(np.uint32)
    folded = low ^ np.where(values >= 0, high, ~high)
    return _hash_words(folded, None, 4).view(np.int32)


def hash_arrays(hashes: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """hash_array: starting from 1, 31 times the previous value plus the element's hash, modulo 2^32.

    `hashes` are those of all elements of all arrays. Element i of n has the weight 31^(n-1-i), so one pass sums all arrays.
    """
    powers = np.full(int(lengths.max(initial=0)) + 1, 31, dtype=np.uint32)
    powers[0] = 1
    np.multiply.accumulate(powers, out=powers)
    ends = np.cumsum(lengths)
    exponents = np.repeat(ends, lengths) - 1 - np.arange(len(hashes))
    weighted = hashes.view(np.uint32) * powers[exponents]
    sums = np.concatenate([[0], np.cumsum(weighted, dtype=np.uint64)]).astype(np.uint64)
    within: Words = (sums[ends] - sums[ends - lengths]).astype(np.uint32)
    within += powers[lengths]
    return within.view(np.int32)


def _hash_words(first: Words, second: Words | None, length: int) -> Words:
    """The hashes of values of one or two words each."""
    hashes = np.empty(len(first), dtype=np.uint32)
    seed = np.uint32((_SEED + length) & 0xFFFFFFFF)
    for start in range(0, len(first), _BATCH):
        a = first[start : start + _BATCH] + seed
        b = np.full_like(a, seed) if second is None else second[start : start + _BATCH] + seed
        c = np.full_like(a, seed)
        _finish(a, b, c)
        hashes[start : start + _BATCH] = c
    return hashes


def _rotate(words: Words, bits: int, into: Words, spare: Words) -> None:
    np.left_shift(words, np.uint32(bits), out=into)
    np.right_shift(words, np.uint32(32 - bits), out=spare)
    np.bitwise_or(into, spare, out=into)


def _mix(a: Words, b: Words, c: Words) -> None:
    """Mix the state between two blocks, in place."""
    rotated, spare = np.empty_like(a), np.empty_like(a)
    for x, y, z, bits in ((a, b, c, 4), (b, c, a, 6), (c, a, b, 8), (a, b, c, 16), (b, c, a, 19), (c, a, b, 4)):
        _rotate(z, bits, rotated, spare)
        np.subtract(x, z, out=x)
        np.bitwise_xor(x, rotated, out=x)
        np.add(z, y, out=z)


def _mix_blocks(content: bytes, a: int, b: int, c: int) -> tuple[int, int, int]:
    """The state after these blocks of one value; like `_mix`, but in Python's integers."""
    limit = _WORD_MAX
    for x, y, z in struct.iter_unpack("<3I", content):
        c = c + z & limit
        a = (a + x - c & limit) ^ (c << 4 & limit | c >> 28)
        b = b + y & limit
        c = c + b & limit
        b = (b - a & limit) ^ (a << 6 & limit | a >> 26)
        a = a + c & limit
        c = (c - b & limit) ^ (b << 8 & limit | b >> 24)
        b = b + a & limit
        a = (a - c & limit) ^ (c << 16 & limit | c >> 16)
        c = c + b & limit
        b = (b - a & limit) ^ (a << 19 & limit | a >> 13)
        a = a + c & limit
        c = (c - b & limit) ^ (b << 4 & limit | b >> 28)
        b = b + a & limit
    return a, b, c


def _finish(a: Words, b: Words, c: Words) -> None:
    """Mix the state a last time, in place; c is the hash."""
    rotated, spare = np.empty_like(a), np.empty_like(a)
    for x, y, bits in ((c, b, 14), (a, c, 11), (b, a, 25), (c, b, 16), (a, c, 4), (b, a, 14), (c, b, 24)):
        _rotate(y, bits, rotated, spare)
        np.bitwise_xor(x, y, out=x)
        np.subtract(x, rotated, out=x)
