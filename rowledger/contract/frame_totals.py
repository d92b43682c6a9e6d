"""The client's half of the fingerprint: totals over the columns of a frame, as `fingerprint` defines them."""

import hashlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from rowledger.contract.exact_conversion import octet_sizes
from rowledger.contract.fingerprint import (
    COUNTED,
    ELEMENT_END,
    ELEMENT_NULL,
    EXACT,
    HASHED_AS_TEXT,
    LONG_ELEMENT_BYTES,
    LONG_VALUE_BYTES,
    SPECIALS,
    Fingerprint,
    Total,
    add_totals,
    normalised,
)
from rowledger.contract.pg_hash import hash_arrays, hash_byte_strings, hash_doubles, hash_int64s
from rowledger.spec import DECIMAL_DIGITS_MAX, Column, ColumnType, TypeName

__all__ = ["fingerprint_frame"]

_PG_EPOCH_DAYS = 10_957  # 2000-01-01, from which PostgreSQL counts, in days since 1970-01-01
_PG_EPOCH_US = _PG_EPOCH_DAYS * 86_400_000_000

_SAMPLE_ROWS = 1_024
_SHORT_DIGITS_MAX = DECIMAL_DIGITS_MAX // 2  # on either side of the point
_COMPARED_MAX = 8  # number of distinct strings up to which comparing with each is cheaper than counting all values


def fingerprint_frame(
    frame: pl.DataFrame, columns: Sequence[Column], on_progress: Callable[[int], None] = lambda _: None
) -> Fingerprint:
    """The fingerprint of a frame in the columns' frame types; calls `on_progress(1)` after each column."""
    entries: dict[str, tuple[int, Total]] = {}
    for column in columns:
        values = frame[column.name]
        if nulls := values.null_count():
            values = values.drop_nulls()
        entries[column.name] = (frame.height - nulls, _total(values, column.type) if len(values) else 0)
        on_progress(1)
    return Fingerprint(entries)


def _total(values: pl.Series, column_type: ColumnType) -> Total:  # noqa: PLR0911, one line per way to add up
    if column_type.array:
        return _total_of_arrays(values, column_type.element)
    match column_type.name:
        case TypeName.BOOLEAN:
            return int(values.sum())
        case TypeName.SMALLINT | TypeName.INTEGER | TypeName.BIGINT:
            return _sum_int64s(values.cast(pl.Int64).to_numpy())
        case TypeName.NUMERIC:
            return _sum_decimals(values) if isinstance(values.dtype, pl.Decimal) else _sum_numeric_texts(values)
        case TypeName.DATE:
            return int(values.to_physical().cast(pl.Int64).sum()) - _PG_EPOCH_DAYS * len(values)
        case TypeName.BYTEA:
            return _sum_string_hashes(_with_digests(values, LONG_VALUE_BYTES).bin.encode("hex"))
        case TypeName.JSONB | TypeName.OTHER:
            return 0
        case _ if isinstance(values.dtype, pl.String | pl.Binary):
            return _sum_string_hashes(_with_digests(_hashed_strings(values, column_type), LONG_VALUE_BYTES))
        case _:
            return _sum_hashes(_hash_numbers(values, column_type))


def _hash_numbers(values: pl.Series, column_type: ColumnType) -> npt.NDArray[np.int32]:
    """The hash of each value of a type that the server stores as a number."""
    match column_type.name:
        case TypeName.REAL | TypeName.DOUBLE:
            return hash_doubles(values.cast(pl.Float64).to_numpy())
        case TypeName.DATE:
            return hash_int64s(values.to_physical().cast(pl.Int64).to_numpy() - _PG_EPOCH_DAYS)
        case TypeName.TIME:
            return hash_int64s((values.to_physical() // 1000).to_numpy())
        case TypeName.TIMESTAMP | TypeName.TIMESTAMPTZ:
            return hash_int64s(values.to_physical().to_numpy() - _PG_EPOCH_US)
        case _:  # boolean, integers, interval
            return hash_int64s(values.to_physical().cast(pl.Int64).to_numpy())


def _hashed_strings(values: pl.Series, column_type: ColumnType) -> pl.Series:
    """The text or bytes that the server hashes for each value."""
    match column_type.name:
        case TypeName.CHAR:
            return values.str.strip_chars_end(" ")
        case TypeName.INET | TypeName.CIDR:  # family, bits and address, without the two bytes before the address
            encoded = values.bin.encode("hex")
            return (encoded.str.slice(0, 4) + encoded.str.slice(8)).str.decode("hex")
        case _:
            return values


def _with_digests(values: pl.Series, long_bytes: int) -> pl.Series:
    """The values, each longer one replaced by its SHA-256: hexadecimal for a text, 32 bytes for bytes."""
    octets = values.cast(pl.Binary)
    positions = np.flatnonzero(octet_sizes(octets) > long_bytes)
    if not len(positions):
        return values
    found = [hashlib.sha256(_buffer_of(octets, position)) for position in positions.tolist()]
    is_text = values.dtype == pl.String
    digests = pl.Series([one.hexdigest() if is_text else one.digest() for one in found], dtype=values.dtype)
    take = np.arange(len(values))
    take[positions] = len(values) + np.arange(len(digests))
    digested: pl.Series = pl.concat([values.alias(""), digests]).gather(take)  # unlike scatter, copies no value
    return digested


def _buffer_of(octets: pl.Series, position: int) -> Any:  # noqa: ANN401, a pyarrow.Buffer
    """A value's bytes, without a copy."""
    (value,) = octets[position : position + 1].to_arrow(compat_level=pl.CompatLevel.newest())
    return value.as_buffer()


def _total_of_arrays(values: pl.Series, element_type: ColumnType) -> Total:
    if element_type.name in COUNTED:
        return 0
    if element_type.name in HASHED_AS_TEXT:
        joined = values.list.eval(pl.element().fill_null(ELEMENT_NULL)).list.join(ELEMENT_END)
        return _sum_string_hashes(_with_digests(joined, LONG_ELEMENT_BYTES))
    lengths = values.list.len().to_numpy().astype(np.int64)
    elements = values.filter(values.list.len() > 0).explode()
    present = elements.drop_nulls()
    if element_type.name is TypeName.NUMERIC:
        return _total(present, element_type) if len(present) else 0
    hashes = np.zeros(len(elements), dtype=np.int32)  # a null among the elements hashes to 0
    if len(present):
        hashes[elements.is_not_null().to_numpy()] = (
            _hash_strings(_with_digests(_hashed_strings(present, element_type), LONG_ELEMENT_BYTES))
            if isinstance(present.dtype, pl.String | pl.Binary)
            else _hash_numbers(present, element_type)
        )
    return _sum_hashes(hash_arrays(hashes, lengths))


def _sum_numeric_texts(values: pl.Series) -> Total:
    """The exact sum of decimal texts; NaN and each infinity count as a fixed number, as on the server."""
    total: Total = 0
    for special, number in SPECIALS.items():
        found = values == special
        if found.any():
            total += number * int(found.sum())
            values = values.filter(~found)
    points = values.str.find(".", literal=True).fill_null(values.str.len_bytes())
    decimals = values.str.len_bytes() - points  # with the point
    digits_before, digits_behind = points.max(), decimals.max()
    if not (isinstance(digits_before, int) and isinstance(digits_behind, int)):
        return total
    if digits_before + digits_behind > DECIMAL_DIGITS_MAX:
        # One value of many digits must not prevent the others from being summed as a column.
        is_short = (points <= _SHORT_DIGITS_MAX) & (decimals <= _SHORT_DIGITS_MAX)
        total = add_totals(total, _sum_numeric_texts(values.filter(is_short)))
        for value in sorted(
            values.filter(~is_short), key=len
        ):  # the longest last, because an addition costs time in proportion to the length of the sum
            total = add_totals(total, Decimal(value))
        return normalised(total)
    return add_totals(total, _sum_decimals(values.cast(pl.Decimal(DECIMAL_DIGITS_MAX, max(digits_behind - 1, 0)))))


def _sum_hashes(hashes: npt.NDArray[np.int32]) -> int:
    return int(hashes.sum(dtype=np.int64))


def _sum_int64s(values: npt.NDArray[np.int64]) -> int:
    """The exact sum: the halves cannot overflow in fewer than 2^32 rows, while a plain sum can overflow in two."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def _sum_decimals(values: pl.Series) -> Total:
    """The exact sum, also beyond the 38 digits of polars' own sum."""
    array = cast("pa.Decimal128Array", values.to_arrow())
    scale = cast("pl.Decimal", values.dtype).scale
    halves = np.frombuffer(memoryview(cast("pa.Buffer", array.buffers()[1])), dtype="<i8")[
        2 * array.offset : 2 * (array.offset + len(array))
    ]
    low, high = halves[0::2].view("<u8"), halves[1::2]
    unsigned = (int((low >> np.uint64(32)).sum()) << 32) + int((low & np.uint64(0xFFFFFFFF)).sum())
    return normalised(Decimal((_sum_int64s(high) << 64) + unsigned).scaleb(-scale, EXACT))


def _sum_string_hashes(values: pl.Series) -> int:
    """The sum of hashes. If there are few distinct strings, each is hashed once: counting is several times cheaper."""
    sample = values.gather_every(max(len(values) // _SAMPLE_ROWS, 1)).unique()
    if len(values) < _SAMPLE_ROWS or len(sample) > _SAMPLE_ROWS // 8:
        return _sum_hashes(_hash_strings(values))
    distinct, counts = sample, list[int]()
    if len(sample) <= _COMPARED_MAX and isinstance(values.dtype, pl.String):
        counts = [int((values == value).sum()) for value in sample]
    if sum(counts) < len(values):
        counted = values.alias("value").value_counts(name="rows")
        distinct, counts = counted["value"], counted["rows"].to_list()
    return sum(int(one) * rows for one, rows in zip(_hash_strings(distinct), counts, strict=True))


def _hash_strings(values: pl.Series) -> npt.NDArray[np.int32]:
    array = values.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, content = array.buffers()
    starts = np.frombuffer(memoryview(cast("pa.Buffer", offsets)), dtype=np.int64)[
        array.offset : array.offset + len(array) + 1
    ]
    octets = np.frombuffer(memoryview(content), dtype=np.uint8) if content is not None else np.empty(0, dtype=np.uint8)
    return hash_byte_strings(octets[starts[0] : starts[-1]], starts - starts[0])
