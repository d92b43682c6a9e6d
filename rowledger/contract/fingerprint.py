"""Fingerprints of columns that client and server both compute, and that add up over chunks.

A column's fingerprint is the count of its non-null values and a total over them: the exact sum for numbers and dates, the
sum of PostgreSQL's own 32-bit hash for everything else (measured: a hash costs the server hardly more than a length). A
value that is changed, missing or duplicated changes the total. A change that keeps the sum, such as two integers swapped
between rows, goes unnoticed, and so does a hash collision, one in four billion.

Weak spot: values of jsonb, and of types whose text only the server reads (ranges, composite types …), are only counted,
because the client cannot know the form in which the server stores them.

The hash processes a value's bytes one after the other, which costs the client 0.2 s per megabyte if it cannot process
thousands of values at once. A long value is therefore replaced by its SHA-256, which both sides compute at the speed of
memory. The server's half is `fingerprint_sql`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from rowledger.contract.pg_hash import hash_arrays, hash_byte_strings, hash_doubles, hash_int64s
from rowledger.spec import DECIMAL_DIGITS_MAX, Column, ColumnType, TypeName

__all__ = [
    "COUNTED",
    "HASHED_AS_TEXT",
    "LONG_ELEMENT_BYTES",
    "LONG_VALUE_BYTES",
    "SPECIALS",
    "Fingerprint",
    "Total",
    "fingerprint_frame",
    "normalised",
]

Total = int | Decimal

COUNTED = {TypeName.JSONB, TypeName.OTHER}
HASHED_AS_TEXT = {
    TypeName.CITEXT,
    TypeName.ENUM,
    TypeName.JSON,
}  # for arrays of these, the elements' own hash is another function, or there is none
ELEMENT_END, ELEMENT_NULL = "\x1f", "\x1e"  # control characters that separate elements
SPECIALS: dict[str, int] = {"NaN": 1_000_003, "Infinity": 1_000_033, "-Infinity": 1_000_037}

# The hash takes up to 20 ms for a value of this length, 0.3 s for an element. A longer value is replaced by its SHA-256.
LONG_VALUE_BYTES = 2**16
LONG_ELEMENT_BYTES = 2**20

# Python's default of 28 digits would round long totals; a numeric has up to 147,455 digits, a sum of many slightly more.
_EXACT = Context(prec=200_000)
_PG_EPOCH_DAYS = 10_957  # 2000-01-01, from which PostgreSQL counts, in days since 1970-01-01
_PG_EPOCH_US = _PG_EPOCH_DAYS * 86_400_000_000

_SAMPLE_ROWS = 1_024
_SHORT_DIGITS_MAX = DECIMAL_DIGITS_MAX // 2  # on either side of the point
_COMPARED_MAX = 8  # number of distinct strings up to which comparing with each is cheaper than counting all values


@dataclass(frozen=True, eq=False)
class Fingerprint(Mapping[str, tuple[int, Total]]):
    """Per column, the number of non-null values and their total.

    In a sum or difference, a column that one side lacks is null in all rows of that side, as it is in the rows that were
    written before the column was added to the table.
    """

    columns: Mapping[str, tuple[int, Total]]

    @classmethod
    def empty(cls, columns: Sequence[Column]) -> "Fingerprint":
        """The fingerprint of no rows: the start of a sum over chunks."""
        return cls({column.name: (0, 0) for column in columns})

    def __getitem__(self, column: str) -> tuple[int, Total]:
        return self.columns[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __add__(self, other: "Fingerprint") -> "Fingerprint":
        pairs = {name: (self.get(name, (0, 0)), other.get(name, (0, 0))) for name in dict.fromkeys([*self, *other])}
        return Fingerprint({name: (a[0] + b[0], _add(a[1], b[1])) for name, (a, b) in pairs.items()})

    def __sub__(self, other: "Fingerprint") -> "Fingerprint":
        return self + Fingerprint({name: (-count, _negative(total)) for name, (count, total) in other.items()})

    def renamed(self, names: Mapping[str, str]) -> "Fingerprint":
        """The fingerprint with columns under their new names, `names` by the former ones; two of one name are added up."""
        columns = Fingerprint({name: entry for name, entry in self.items() if name not in names})
        for former in names.keys() & self.keys():
            columns += Fingerprint({names[former]: self[former]})
        return columns

    def differences(self, other: "Fingerprint") -> list[str]:
        """One text per column that differs; empty if the two agree.

        The texts are logged, so they do not show totals: the total of a single row is its value.
        """
        texts: list[str] = []
        for name in dict.fromkeys([*self, *other]):
            mine, its = self.columns.get(name), other.columns.get(name)
            if mine is None or its is None:
                texts.append(f"{name}: only one side has the column")
            elif mine[0] != its[0]:
                texts.append(f"{name}: {mine[0]} values against {its[0]}")
            elif mine != its:
                texts.append(f"{name}: {mine[0]} values on both sides, but not the same ones")
        return texts

    def to_json(self) -> str:
        """A JSON object of column → [count, total], both as decimal text."""
        return json.dumps(
            {name: [str(count), _plain(total)] for name, (count, total) in self.items()}, ensure_ascii=False
        )

    @classmethod
    def from_json(cls, text: str) -> "Fingerprint":
        return cls(
            {name: (int(count), normalised(Decimal(total))) for name, (count, total) in json.loads(text).items()}
        )


def _add(a: Total, b: Total) -> Total:
    return a + b if isinstance(a, int) and isinstance(b, int) else _EXACT.add(Decimal(a), Decimal(b))


def _negative(total: Total) -> Total:
    return -total if isinstance(total, int) else total.copy_negate()  # the minus sign would round


def _plain(total: Total) -> str:
    return format(Decimal(total), "f")  # Python converts no int of more than 4,300 digits to or from text


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
    sizes = octets.bin.size()
    if (sizes.max() or 0) <= long_bytes:  # type: ignore[operator]
        return values
    positions = (sizes > long_bytes).arg_true()
    digests = (hashlib.sha256(octets[position]) for position in positions)
    is_text = values.dtype == pl.String
    return values.scatter(positions, [digest.hexdigest() if is_text else digest.digest() for digest in digests])


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
        total = _add(total, _sum_numeric_texts(values.filter(is_short)))
        for value in sorted(
            values.filter(~is_short), key=len
        ):  # the longest last, because an addition costs time in proportion to the length of the sum
            total = _add(total, Decimal(value))
        return normalised(total)
    return _add(total, _sum_decimals(values.cast(pl.Decimal(DECIMAL_DIGITS_MAX, max(digits_behind - 1, 0)))))


def normalised(total: Total) -> Total:
    """Whole totals as int, whatever type the server returns them in."""
    if isinstance(total, Decimal) and total.is_finite() and total == total.to_integral_value(context=_EXACT):
        return int(total)
    return total


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
    return normalised(Decimal((_sum_int64s(high) << 64) + unsigned).scaleb(-scale, _EXACT))


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
