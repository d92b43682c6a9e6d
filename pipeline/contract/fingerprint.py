"""Fingerprints of columns that client and server both compute, and that add up over chunks.

A column's fingerprint is the count of its non-null values and a total over them: the exact sum for numbers and dates, the
sum of PostgreSQL's own 32-bit hash for everything else (measured: a hash costs the server hardly more than a length). A
value that changed, went missing or came twice moves the total; what cannot be seen is a change that keeps a sum, such as two
integers swapped between rows, and a hash that collides, one in four billion.

Weak spot: jsonb, and types that are written as text which only the server reads (ranges, money, composite types …), are
counted only: the server keeps such a value in its own form, which the client would have to guess.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipeline.contract.pg_hash import hash_arrays, hash_byte_strings, hash_doubles, hash_int64s
from pipeline.model.column import Column, ColumnType, TypeName

__all__ = ["Fingerprint", "fingerprint_frame", "fingerprint_from_row", "fingerprint_sql"]

Total = int | Decimal

_EXACT = Context(prec=1000)  # Python's default of 28 digits would round long totals
_PG_EPOCH_DAYS = 10_957  # 2000-01-01, from which PostgreSQL counts, in days since 1970-01-01
_PG_EPOCH_US = _PG_EPOCH_DAYS * 86_400_000_000

_DECIMAL_DIGITS_MAX = 38  # what a 128-bit decimal holds
_SAMPLE_ROWS = 1_024
_COMPARED_MAX = 8  # distinct strings: to compare with each is cheaper than to count them all


@dataclass(frozen=True)
class Fingerprint(Mapping[str, tuple[int, Total]]):
    """By column: how many values are not null, and their total."""

    columns: Mapping[str, tuple[int, Total]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))

    @classmethod
    def empty(cls, columns: Sequence[Column]) -> "Fingerprint":
        """That of no rows: where a sum over chunks begins."""
        return cls({column.name: (0, 0) for column in columns})

    def __getitem__(self, column: str) -> tuple[int, Total]:
        return self.columns[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __hash__(self) -> int:
        return hash(frozenset(self.columns.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fingerprint) and dict(self.columns) == dict(other.columns)

    def __add__(self, other: "Fingerprint") -> "Fingerprint":
        return self._combine(other, _add)

    def __sub__(self, other: "Fingerprint") -> "Fingerprint":
        return self._combine(other, lambda a, b: _add(a, -b if isinstance(b, int) else b.copy_negate()))

    def _combine(self, other: "Fingerprint", combine: Callable[[Total, Total], Total]) -> "Fingerprint":
        if set(self) != set(other):
            raise ValueError(f"fingerprints of different columns: {sorted(set(self) ^ set(other))}")
        return Fingerprint(
            {
                name: (cast("int", combine(count, other[name][0])), combine(total, other[name][1]))
                for name, (count, total) in self.items()
            }
        )

    def differences(self, other: "Fingerprint") -> list[str]:
        """One text a column that differs; empty when the two agree.

        Totals are not shown: that of a single row is its value, and these texts are logged.
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
        return cls({name: (int(count), _number(total)) for name, (count, total) in json.loads(text).items()})


def _add(a: Total, b: Total) -> Total:
    return a + b if isinstance(a, int) and isinstance(b, int) else _EXACT.add(Decimal(a), Decimal(b))


def _plain(total: Total) -> str:
    return str(total) if isinstance(total, int) else format(total, "f")


def _number(text: str) -> Total:
    return Decimal(text) if not text.lstrip("-").isdigit() else int(text)


def fingerprint_sql(columns: Sequence[Column], quote: Callable[[str], str]) -> list[str]:
    """A total for each column, after a count of values for each that may be null; in the order of the columns.

    The others' counts are the row count, which the same query has anyway: an aggregate spared is a fifth of a column's cost.
    """
    expressions: list[str] = []
    for column in columns:
        name = quote(column.name)
        if column.nullable:
            expressions.append(f"count({name})")
        expressions.append(f"coalesce({_total_sql(column.type, name)}, 0)")
    return expressions


def _total_sql(column_type: ColumnType, name: str) -> str:
    """`name` stands quoted wherever a template has braces; it may hold braces itself."""
    if column_type.name is TypeName.NUMERIC:
        total = "sum({})" if isinstance(column_type.element.frame_type, pl.Decimal) else _SUM_WITH_SPECIALS_SQL
        if column_type.array:
            total = f"sum((select {total.replace('{}', 'element')} from unnest({{}}) as element))"  # noqa: S608 - no value
    elif column_type.name in _COUNTED:
        total = "0"
    elif not column_type.array:
        total = _TOTALS_SQL[column_type.name]
    elif column_type.name in _HASHED_AS_TEXT:
        total = f"sum(hashtext(array_to_string({{}}, '{_ELEMENT_END}', '{_ELEMENT_NULL}') collate \"C\"))"
    else:
        total = f"sum(hash_array({{}}{_COLLATED if column_type.name in _TEXTS else ''}))"
    return total.replace("{}", name)


_COLLATED = ' collate "C"'
_TEXTS = {TypeName.TEXT, TypeName.VARCHAR, TypeName.CHAR}
_HASHED_AS_TEXT = {TypeName.CITEXT, TypeName.ENUM, TypeName.JSON}  # their own hash is another's, or there is none
_COUNTED = {TypeName.JSONB, TypeName.OTHER}
_ELEMENT_END, _ELEMENT_NULL = "\x1f", "\x1e"  # control characters, which keep elements apart

# A sum of the server's 4-byte integers is one of 8 bytes: room for four billion hashes, and cheaper than to widen each.
_TEXT_SQL = f"sum(hashtext({{}}::text{_COLLATED}))"
_TOTALS_SQL: dict[TypeName, str] = {
    TypeName.BOOLEAN: "count(*) filter (where {})",
    TypeName.SMALLINT: "sum({})",
    TypeName.INTEGER: "sum({})",
    TypeName.BIGINT: "sum({})",
    TypeName.REAL: "sum(hashfloat4({}))",
    TypeName.DOUBLE: "sum(hashfloat8({}))",
    TypeName.TEXT: 'sum(hashtext({} collate "C"))',
    TypeName.VARCHAR: 'sum(hashtext({} collate "C"))',
    TypeName.CHAR: _TEXT_SQL,  # without the padding
    TypeName.CITEXT: _TEXT_SQL,
    TypeName.ENUM: _TEXT_SQL,
    TypeName.JSON: _TEXT_SQL,
    # No hash function of bytea can be called by name before PostgreSQL 18.
    TypeName.BYTEA: "sum(hashtext(encode({}, 'hex') collate \"C\"))",
    TypeName.UUID: "sum(uuid_hash({}))",
    TypeName.DATE: "sum({} - date '2000-01-01')",
    # extract(epoch …) is exact too, and ten times dearer.
    TypeName.TIME: "sum(time_hash({}))",
    TypeName.TIMESTAMP: "sum(timestamp_hash({}))",
    # timestamptz_hash came with PostgreSQL 18 only; an instant as UTC clock time has the same bits.
    TypeName.TIMESTAMPTZ: "sum(timestamp_hash({} at time zone 'UTC'))",
    TypeName.INTERVAL: "sum(interval_hash({}))",
    TypeName.INET: "sum(hashinet({}))",
    TypeName.CIDR: "sum(hashinet({}))",
}

# What is no finite number stands for a number in the sum: one NaN would make everything NaN.
_SPECIALS: dict[str, int] = {"NaN": 1_000_003, "Infinity": 1_000_033, "-Infinity": 1_000_037}
_SUM_WITH_SPECIALS_SQL = (
    "sum(case when {} > '-Infinity' and {} < 'Infinity' then {} "
    + " ".join(f"when {{}} = '{special}' then {number}" for special, number in _SPECIALS.items())
    + " end)"
)


def fingerprint_from_row(columns: Sequence[Column], rows: int, figures: Sequence[object]) -> Fingerprint:
    """The result of `fingerprint_sql` over so many rows as a fingerprint."""
    entries: dict[str, tuple[int, Total]] = {}
    remaining = iter(figures)
    for column in columns:
        count = int(cast("int", next(remaining))) if column.nullable else rows
        entries[column.name] = (count, _normalised(cast("Total", next(remaining))))
    return Fingerprint(entries)


def _normalised(total: Total) -> Total:
    """Whole totals as int, whatever the server's type for them is."""
    if isinstance(total, Decimal) and total.is_finite() and total == total.to_integral_value(context=_EXACT):
        return int(total)
    return total


def fingerprint_frame(frame: pl.DataFrame, columns: Sequence[Column]) -> Fingerprint:
    """The same figures from a frame in the columns' frame types."""
    entries: dict[str, tuple[int, Total]] = {}
    for column in columns:
        values = frame[column.name]
        if nulls := values.null_count():
            values = values.drop_nulls()
        entries[column.name] = (frame.height - nulls, _total(values, column.type) if len(values) else 0)
    return Fingerprint(entries)


def _total(values: pl.Series, column_type: ColumnType) -> Total:  # noqa: PLR0911, one line a way to add up
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
            return _sum_string_hashes(values.bin.encode("hex"))
        case TypeName.JSONB | TypeName.OTHER:
            return 0
        case _ if isinstance(values.dtype, pl.String | pl.Binary):
            return _sum_string_hashes(_hashed_strings(values, column_type))
        case _:
            return _sum_hashes(_hash_numbers(values, column_type))


def _hash_numbers(values: pl.Series, column_type: ColumnType) -> npt.NDArray[np.int32]:
    """The hash of each value of a type that is a number to the server."""
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
    """What the server hashes of each value, text or bytes."""
    match column_type.name:
        case TypeName.CHAR:
            return values.str.strip_chars_end(" ")
        case TypeName.INET | TypeName.CIDR:  # family, bits and address, without the two bytes between them
            encoded = values.bin.encode("hex")
            return (encoded.str.slice(0, 4) + encoded.str.slice(8)).str.decode("hex")
        case _:
            return values


def _total_of_arrays(values: pl.Series, element_type: ColumnType) -> Total:
    if element_type.name in _COUNTED:
        return 0
    if element_type.name in _HASHED_AS_TEXT:
        joined = values.list.eval(pl.element().fill_null(_ELEMENT_NULL)).list.join(_ELEMENT_END)
        return _sum_string_hashes(joined)
    lengths = values.list.len().to_numpy().astype(np.int64)
    elements = values.filter(values.list.len() > 0).explode()
    present = elements.drop_nulls()
    if element_type.name is TypeName.NUMERIC:
        return _total(present, element_type) if len(present) else 0
    hashes = np.zeros(len(elements), dtype=np.int32)  # a null among the elements hashes to 0
    if len(present):
        hashes[elements.is_not_null().to_numpy()] = (
            _hash_strings(_hashed_strings(present, element_type))
            if isinstance(present.dtype, pl.String | pl.Binary)
            else _hash_numbers(present, element_type)
        )
    return _sum_hashes(hash_arrays(hashes, lengths))


def _sum_numeric_texts(values: pl.Series) -> Total:
    """The exact sum of decimal texts; those that are no finite number stand for a number each, as on the server."""
    total: Total = 0
    for special, number in _SPECIALS.items():
        found = values == special
        if found.any():
            total += number * int(found.sum())
            values = values.filter(~found)
    points = values.str.find(".", literal=True).fill_null(values.str.len_bytes())
    digits_before, decimals = points.max(), (values.str.len_bytes() - points).max()
    if isinstance(digits_before, int) and isinstance(decimals, int) and digits_before + decimals <= _DECIMAL_DIGITS_MAX:
        return _add(total, _sum_decimals(values.cast(pl.Decimal(_DECIMAL_DIGITS_MAX, max(decimals - 1, 0)))))
    for value in values:
        total = _add(total, Decimal(value))
    return _normalised(total)


def _sum_hashes(hashes: npt.NDArray[np.int32]) -> int:
    return int(hashes.sum(dtype=np.int64))


def _sum_int64s(values: npt.NDArray[np.int64]) -> int:
    """Exact for any values: the halves cannot overflow in fewer than 2^32 rows, which the plain sum can in two."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def _sum_decimals(values: pl.Series) -> Total:
    """Exact beyond the 38 digits that polars' own sum would hold."""
    array = cast("pa.Decimal128Array", values.to_arrow())
    scale = cast("pl.Decimal", values.dtype).scale
    halves = np.frombuffer(memoryview(cast("pa.Buffer", array.buffers()[1])), dtype="<i8")[
        2 * array.offset : 2 * (array.offset + len(array))
    ]
    low, high = halves[0::2].view("<u8"), halves[1::2]
    unsigned = (int((low >> np.uint64(32)).sum()) << 32) + int((low & np.uint64(0xFFFFFFFF)).sum())
    return _normalised(Decimal((_sum_int64s(high) << 64) + unsigned).scaleb(-scale, _EXACT))


def _sum_string_hashes(values: pl.Series) -> int:
    """Few distinct strings are hashed once each; counting them is several times cheaper than hashing them all."""
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
