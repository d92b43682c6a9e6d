"""Fingerprints of columns that client and server both compute, and that add up over chunks.

A column's fingerprint is the count of its non-null values and a total over them: the exact sum for numbers and dates, the
sum of PostgreSQL's own 32-bit hash for everything else (measured: a hash costs the server hardly more than a length). A
value that is changed, missing or duplicated changes the total. A change that keeps the sum, such as two integers swapped
between rows, goes unnoticed, and so does a hash collision, one in four billion.

Weak spot: values of jsonb, and of types whose text only the server reads (ranges, composite types …), are only counted,
because the client cannot know the form in which the server stores them.

The hash processes a value's bytes one after the other, which costs the client 0.2 s per megabyte if it cannot process
thousands of values at once. A long value is therefore replaced by its SHA-256, which both sides compute at the speed of
memory. The client's half is `frame_totals`, the server's `fingerprint_sql`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from rowledger.spec import Column, TypeName

__all__ = [
    "COUNTED",
    "ELEMENT_END",
    "ELEMENT_NULL",
    "EXACT",
    "HASHED_AS_TEXT",
    "LONG_ELEMENT_BYTES",
    "LONG_VALUE_BYTES",
    "SPECIALS",
    "Fingerprint",
    "Total",
    "add_totals",
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
EXACT = Context(prec=200_000)


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
        return Fingerprint({name: (a[0] + b[0], add_totals(a[1], b[1])) for name, (a, b) in pairs.items()})

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


def add_totals(a: Total, b: Total) -> Total:
    """The exact sum of two totals."""
    return a + b if isinstance(a, int) and isinstance(b, int) else EXACT.add(Decimal(a), Decimal(b))


def _negative(total: Total) -> Total:
    return -total if isinstance(total, int) else total.copy_negate()  # the minus sign would round


def _plain(total: Total) -> str:
    return format(Decimal(total), "f")  # Python converts no int of more than 4,300 digits to or from text


def normalised(total: Total) -> Total:
    """Whole totals as int, whatever type the server returns them in."""
    if isinstance(total, Decimal) and total.is_finite() and total == total.to_integral_value(context=EXACT):
        return int(total)
    return total
