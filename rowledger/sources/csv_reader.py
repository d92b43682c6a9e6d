"""Convert CSV records to tables of text: most with pyarrow, in columns; records with escapes, and ragged ones, one by one."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from rowledger.contract import bare_name
from rowledger.errors import SourceError
from rowledger.sources.csv_escapes import BadEscape
from rowledger.sources.csv_fields import Dialect, fields_of
from rowledger.sources.csv_records import Records
from rowledger.sources.text_files import is_utf8, source_bytes, undecodable
from rowledger.spec import ABSENT_PREFIX, FAULT, LINE, RESERVED_PREFIX

if TYPE_CHECKING:
    from rowledger.sources.csv import CsvFiles

__all__ = ["CsvReader"]

_OTHER_DELIMITERS = {";": "';'", "\t": "'\\t'", "|": "'|'", ",": "','"}
_Positions = npt.NDArray[np.int64]


@dataclass
class _Rows:
    """The records of a text by their numbers: those read by pyarrow, those read one by one, and those at fault."""

    in_columns: pa.Table
    numbers: _Positions
    by_hand: dict[int, list[bytes | None]] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)


class CsvReader:
    """Converts the records of one file to tables with its columns."""

    def __init__(self, spec: "CsvFiles", origin: str, dialect: Dialect, *, expected: tuple[str, ...] = ()) -> None:
        self.columns: tuple[str, ...] = ()
        self._spec = spec
        self._origin = origin
        self._dialect = dialect
        self._expected = {bare_name(name) for name in expected} - {""}
        self._nulls = frozenset(null.encode() for null in spec.nulls)

    def table(self, text: bytes, records: Records) -> pa.Table | None:
        """The rows of the records, faults included, in their order; None if there are none."""
        kept = np.arange(len(records.starts))
        filled = records.ends > records.starts
        if not self.columns:
            if not filled.any():
                return None
            header = int(np.argmax(filled))
            self._read_header(text, records, header)
            kept = kept[header + 1 :]
        if len(self.columns) > 1:
            kept = kept[filled[kept]]
        if not len(kept):
            return None
        rows = self._rows(text, records, kept)
        if not rows.by_hand and not rows.faults:
            return rows.in_columns
        return self._assembled(text, records, rows)

    # ---- names ----------------------------------------------------------------------------------------------------------

    def _read_header(self, text: bytes, records: Records, number: int) -> None:
        start, end = int(records.starts[number]), int(records.ends[number])
        record = text[start:end]
        if (reason := records.damaged.get(start)) is not None:
            self._require_delimiter(record, [])
            raise SourceError(f"{self._origin}: the header {reason}; fix it, or skip it and declare the columns")
        try:
            names = [(name or b"").decode() for name in fields_of(record, self._dialect, frozenset())]
        except (UnicodeDecodeError, BadEscape):
            raise SourceError(
                f"{self._origin}: the header does not decode as {self._spec.encoding}; declare the encoding"
            ) from None
        self._require_delimiter(record, names)
        if self._spec.columns and len(self._spec.columns) != len(names):
            raise SourceError(
                f"{self._origin}: the header has {len(names)} names, {len(self._spec.columns)} columns are declared"
            )
        self.name_columns(self._spec.columns or tuple(names))

    def _require_delimiter(self, record: bytes, names: list[str]) -> None:
        """Raise SourceError if the header has expected names only when it is split at another delimiter."""
        if any(bare_name(name) in self._expected for name in names):
            return
        header = record.decode(errors="replace")
        for delimiter, shown in _OTHER_DELIMITERS.items():
            if delimiter in header and any(bare_name(name) in self._expected for name in header.split(delimiter)):
                raise SourceError(
                    f"{self._origin}: the header has no expected column with the delimiter {self._spec.delimiter!r}; is the "
                    f"delimiter {shown}? Declare CsvFiles(delimiter={shown})"
                )

    def name_columns(self, names: tuple[str, ...]) -> None:
        """Set the columns' names; raises SourceError for names that no columns can have, and for too many columns."""
        if len(names) > self._spec.columns_max:
            raise SourceError(
                f"{self._origin}: {len(names):,} columns, {self._spec.columns_max:,} are allowed; fix the file's delimiters, "
                "or raise the source's columns_max"
            )
        numbers: dict[str, int] = {}
        for number, name in enumerate(names, start=1):
            if (first := numbers.setdefault(name, number)) < number:
                raise SourceError(
                    f"{self._origin}: columns {first} and {number} are both named {name!r}; declare the columns' names in the "
                    "source"
                )
            if name.startswith(RESERVED_PREFIX) or "\0" in name:
                raise SourceError(
                    f"{self._origin}: no column can be named {name!r}; declare the columns' names in the source"
                )
        self.columns = names

    # ---- rows -----------------------------------------------------------------------------------------------------------

    def _rows(self, text: bytes, records: Records, kept: _Positions) -> _Rows:
        faults = {int(np.searchsorted(records.starts, start)): reason for start, reason in records.damaged.items()}
        for number in undecodable(text, records.starts, records.ends):
            faults[number] = f"has bytes that are no {self._spec.encoding}"
        faults = {number: reason for number, reason in faults.items() if number >= kept[0]}
        odd = set(faults)
        by_hand: list[int] = []
        if self._dialect.escape is not None and self._dialect.escape in text:
            by_hand = [number for number in _holding(text, self._dialect.escape, records, kept) if number not in odd]
            odd.update(by_hand)
        plain = kept[~np.isin(kept, list(odd))] if odd else kept
        rows = self._read(text, records, plain)
        rows.faults.update(faults)
        for number in by_hand:
            self._place(rows, number, text[records.starts[number] : records.ends[number]])
        return rows

    def _read(self, text: bytes, records: Records, plain: _Positions) -> _Rows:
        """Read undamaged records with pyarrow; those with too many or too few fields, which it reports, are then placed."""
        if not len(plain):
            return _Rows(pa.table({name: pa.array([], pa.string()) for name in self.columns}), plain)
        runs = np.flatnonzero(np.diff(plain) != 1)
        begins = records.starts[plain[np.concatenate([[0], runs + 1])]].tolist()
        ends = records.ends[plain[np.concatenate([runs, [len(plain) - 1]])]].tolist()
        view = memoryview(text)
        data = b"\n".join([*(view[begin:end] for begin, end in zip(begins, ends, strict=True)), b""])
        ragged: list[int] = []

        def skip(row: csv.InvalidRow) -> Literal["skip"]:
            ragged.append((row.number or 0) - 1)  # without threads every row has a number, from 1 on
            return "skip"

        names = [str(number) for number in range(len(self.columns))]
        try:
            table = csv.read_csv(
                pa.BufferReader(data),  # type: ignore[arg-type]
                # In one block, so that pyarrow does not split the data at a line end inside quotes.
                read_options=csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
                parse_options=csv.ParseOptions(
                    delimiter=self._spec.delimiter,
                    quote_char=self._spec.quote or False,
                    ignore_empty_lines=False,
                    invalid_row_handler=skip,
                ),
                convert_options=csv.ConvertOptions(
                    check_utf8=False,  # checked already
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=list(self._spec.nulls),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=self._spec.quoted_nulls,
                ),
            )
        except pa.ArrowException as error:
            raise SourceError(f"{self._origin}: cannot be read as CSV ({type(error).__name__})") from None
        if table.num_rows + len(ragged) != len(plain):
            raise SourceError(
                f"{self._origin}: {len(plain)} records were read as {table.num_rows} rows and {len(ragged)} ragged ones: an "
                "error of this program, please report it"
            )
        rows = _Rows(table.rename_columns(list(self.columns)), np.delete(plain, ragged))
        for number in plain[ragged].tolist():
            self._place(rows, number, text[records.starts[number] : records.ends[number]])
        return rows

    def _place(self, rows: _Rows, number: int, record: bytes) -> None:
        """Read one record, and add it to `by_hand` or to the faults."""
        if self._is_end_mark(record):
            rows.faults[number] = "is PostgreSQL's mark of the end of the data, and rows follow it"
            return
        try:
            fields = fields_of(record, self._dialect, self._nulls)
        except BadEscape as bad:
            rows.faults[number] = str(bad)
            return
        if self._dialect.reading != "literal" and not all(field is None or is_utf8(field) for field in fields):
            rows.faults[number] = f"has bytes in octal or hexadecimal digits that are not {self._spec.encoding}"
        elif len(fields) == len(self.columns) or (self._spec.ragged == "fill" and len(fields) < len(self.columns)):
            rows.by_hand[number] = fields
        else:
            expected = "the header has" if self._spec.header and not self._spec.columns else "declared are"
            rows.faults[number] = f"has {len(fields)} field{'s' * (len(fields) != 1)}, {expected} {len(self.columns)}"

    def _is_end_mark(self, record: bytes) -> bool:
        escapes = self._dialect.escapes
        return escapes is not None and escapes.has_end_mark and record == bytes([escapes.escape]) + b"."

    def _assembled(self, text: bytes, records: Records, rows: _Rows) -> pa.Table:
        count = len(self.columns)
        by_hand: dict[str, pa.Array[Any]] = {
            name: pa.array([f[place] if place < len(f) else None for f in rows.by_hand.values()], pa.binary()).cast(
                pa.string()
            )
            for place, name in enumerate(self.columns)
        }
        shortest = min(map(len, rows.by_hand.values()), default=count)
        for place in range(shortest, count):
            absent = [place >= len(fields) for fields in rows.by_hand.values()]
            by_hand[ABSENT_PREFIX + self.columns[place]] = pa.array(absent, pa.bool_())
        parts = [rows.in_columns, pa.table(by_hand)]
        if rows.faults:
            spans = [slice(records.starts[number], records.ends[number]) for number in rows.faults]
            lines = [source_bytes(text[span], self._dialect.codec) for span in spans]
            reasons = pa.array(rows.faults.values(), pa.string())
            parts.append(pa.table({FAULT: reasons, LINE: pa.array(lines, pa.binary())}))
        table = pa.concat_tables(parts, promote_options="default")
        numbers = np.concatenate([rows.numbers, [*rows.by_hand], [*rows.faults]])
        return table.take(np.argsort(numbers, kind="stable"))


def _holding(text: bytes, byte: int, records: Records, kept: _Positions) -> list[int]:
    """The numbers of the kept records that contain the byte."""
    places = np.flatnonzero(np.frombuffer(text, np.uint8)[: records.consumed] == byte)
    numbers = np.unique(np.searchsorted(records.starts, places, side="right") - 1)
    return [int(number) for number in np.intersect1d(numbers, kept)]
