"""Convert the CSV text of a chunk to a frame of text: most with pyarrow, in columns; what is odd record by record.

pyarrow reads the text at once. Where it finds another number of rows than was counted, or records with too many or too few
fields, or where the text has escapes, damaged records or bytes that do not decode, the records are found again, and the odd
ones are read one by one.
"""

import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import csv

from rowledger.contract import polars_frame
from rowledger.counted import counted
from rowledger.errors import SourceError
from rowledger.sources.csv_escapes import BadEscape
from rowledger.sources.csv_fields import fields_of
from rowledger.sources.csv_records import split
from rowledger.sources.text_encoding import is_utf8, source_bytes, undecodable
from rowledger.sources.text_ranges import records_of
from rowledger.sources.text_records import Positions, Records
from rowledger.spec import ABSENT_PREFIX, FAULT, LINE, ChunkDescriptor

if TYPE_CHECKING:
    from rowledger.sources.csv import CsvFiles

__all__ = ["CsvReader"]


@dataclass
class _Rows:
    """The records of a text by their numbers: those read by pyarrow, those read one by one, and those at fault."""

    in_columns: pa.Table
    numbers: Positions
    by_hand: dict[int, list[bytes | None]] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)


class CsvReader:
    """Reads the text of one chunk."""

    def __init__(self, source: "CsvFiles", descriptor: ChunkDescriptor) -> None:
        assert descriptor.text is not None  # noqa: S101, the chunks of CSV files have one
        self._source = source
        self._descriptor = descriptor
        self._has_records = bool(descriptor.text.records)
        self._columns = descriptor.text.columns
        self._dialect = source.dialect_of(descriptor.text)
        self._nulls = frozenset(null.encode() for null in source.nulls)

    def frame(self, text: bytes) -> pl.DataFrame:
        """All rows of the text, faults included, in their order; raises SourceError."""
        return self._frame(self._table(text))

    def typed_frame(self, text: bytes, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """The same rows, with columns in these types where all texts have a plain form."""
        from rowledger.sources.typed_columns import typed_column  # noqa: PLC0415, what it imports is dear for few rows

        table = self._table(text)
        del text  # memory is not for both, once each value is in its column
        columns = dict(zip(table.column_names, table.columns, strict=True))
        for name, dtype in types.items():
            if name in columns and (column := typed_column(columns[name], dtype)) is not None:
                columns[name] = column
        return self._frame(pa.table(columns))

    def _frame(self, table: pa.Table) -> pl.DataFrame:
        """The table as a frame; raises SourceError if it has another number of rows than the chunk."""
        if table.num_rows != self._descriptor.rows:
            raise SourceError(
                f"{self._descriptor.origin}: {counted(table.num_rows, 'row')} were read from bytes that hold "
                f"{self._descriptor.rows}: an error of this program, please report it"
            )
        return polars_frame(table)

    def _table(self, text: bytes) -> pa.Table:
        if (table := self._read_at_once(text)) is not None:
            return table
        records = records_of(self._descriptor)
        if records is None:
            records = split(text, self._dialect, record_bytes_max=self._source.record_bytes_max)
        kept = np.arange(len(records.starts))
        if len(self._columns) > 1:
            kept = kept[records.ends > records.starts]
        return self._assembled(text, records, self._rows(text, records, kept))

    def _read_at_once(self, text: bytes) -> pa.Table | None:
        """The rows, if pyarrow reads the text as it is; None if the records have to be looked at."""
        if self._has_records or self._has_escapes(text) or not is_utf8(text):
            return None
        try:
            table = self._read_csv(text, ignore_empty_lines=len(self._columns) > 1)
        except pa.ArrowException:
            return None
        return table if table.num_rows == self._descriptor.rows else None

    def _has_escapes(self, text: bytes) -> bool:
        return self._dialect.escape is not None and self._dialect.escape in text

    def _rows(self, text: bytes, records: Records, kept: Positions) -> _Rows:
        faults = {int(np.searchsorted(records.starts, start)): reason for start, reason in records.damaged.items()}
        for number in undecodable(text, records.starts, records.ends):
            faults[number] = f"has bytes that are no {self._source.encoding}"
        by_hand: set[int] = set()
        if self._dialect.escape is not None and self._has_escapes(text):
            by_hand.update(_holding(text, self._dialect.escape, records, kept))
        if self._dialect.cr_ends_lines and len(self._columns) == 1:
            # A blank line that is joined with another part of the text might have its CR and that one's LF end one line.
            by_hand.update(np.flatnonzero(records.ends == records.starts).tolist())
        by_hand -= faults.keys()
        odd = by_hand | faults.keys()
        plain = kept[~np.isin(kept, list(odd))] if odd else kept
        rows = self._read(text, records, plain)
        rows.faults.update(faults)
        for number in sorted(by_hand):
            self._place(rows, number, text[records.starts[number] : records.ends[number]])
        return rows

    def _read(self, text: bytes, records: Records, plain: Positions) -> _Rows:
        """Read undamaged records with pyarrow; those with too many or too few fields, which it reports, are then placed."""
        if not len(plain):
            return _Rows(pa.table({name: pa.array([], pa.string()) for name in self._columns}), plain)
        runs = np.flatnonzero(np.diff(plain) != 1)
        begins = records.starts[plain[np.concatenate([[0], runs + 1])]].tolist()
        ends = records.ends[plain[np.concatenate([runs, [len(plain) - 1]])]].tolist()
        view = memoryview(text)
        data = b"\n".join([*(view[begin:end] for begin, end in zip(begins, ends, strict=True)), b""])
        table, ragged = self._parsed(data)
        if table.num_rows + len(ragged) != len(plain):
            raise SourceError(
                f"{self._descriptor.origin}: {len(plain)} records were read as {table.num_rows} rows and {len(ragged)} ragged "
                "ones: an error of this program, please report it"
            )
        rows = _Rows(table, np.delete(plain, ragged))
        for number in plain[ragged].tolist():
            self._place(rows, number, text[records.starts[number] : records.ends[number]])
        return rows

    def _parsed(self, text: bytes) -> tuple[pa.Table, list[int]]:
        """The rows in columns of text, and the numbers of the records with too many or too few fields; raises SourceError."""
        ragged: list[int] = []

        def skip(row: csv.InvalidRow) -> Literal["skip"]:
            ragged.append((row.number or 0) - 1)  # without threads every row has a number, from 1 on
            return "skip"

        try:
            table = self._read_csv(text, ignore_empty_lines=False, invalid_row_handler=skip)
        except pa.ArrowException as error:
            raise SourceError(f"{self._descriptor.origin}: cannot be read as CSV ({type(error).__name__})") from None
        return table, ragged

    def _read_csv(
        self,
        text: bytes,
        *,
        ignore_empty_lines: bool,
        invalid_row_handler: Callable[[csv.InvalidRow], Literal["skip"]] | None = None,
    ) -> pa.Table:
        if text.startswith(codecs.BOM_UTF8):
            text = codecs.BOM_UTF8 + text  # pyarrow takes the first one away, but here it is a part of the first field
        if not text.endswith((b"\n", b"\r")):
            text += b"\n"  # at the end of a text, pyarrow reads an empty field behind a quoted one as quoted too: not as null
        names = [str(number) for number in range(len(self._columns))]
        table = csv.read_csv(
            pa.BufferReader(text),  # type: ignore[arg-type]
            # In one block, so that pyarrow does not split the text at a line end inside quotes.
            read_options=csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
            parse_options=csv.ParseOptions(
                delimiter=self._source.delimiter,
                quote_char=self._source.quote or False,
                ignore_empty_lines=ignore_empty_lines,
                invalid_row_handler=invalid_row_handler,
            ),
            convert_options=csv.ConvertOptions(
                check_utf8=False,  # checked already
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(self._source.nulls),
                strings_can_be_null=True,
                quoted_strings_can_be_null=self._source.quoted_nulls,
            ),
        )
        return table.rename_columns(list(self._columns))

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
            rows.faults[number] = f"has bytes in octal or hexadecimal digits that are not {self._source.encoding}"
        elif len(fields) == len(self._columns) or (self._source.ragged == "fill" and len(fields) < len(self._columns)):
            rows.by_hand[number] = fields
        else:
            expected = "the header has" if self._source.header and not self._source.columns else "declared are"
            rows.faults[number] = f"has {len(fields)} field{'s' * (len(fields) != 1)}, {expected} {len(self._columns)}"

    def _is_end_mark(self, record: bytes) -> bool:
        escapes = self._dialect.escapes
        return escapes is not None and escapes.has_end_mark and record == bytes([escapes.escape]) + b"."

    def _assembled(self, text: bytes, records: Records, rows: _Rows) -> pa.Table:
        """The rows of the three kinds in one table; a reserved column that a kind lacks is null, or false, in its rows."""
        if not rows.by_hand and not rows.faults:
            return rows.in_columns
        by_hand: dict[str, pa.Array[Any]] = {
            name: pa.array([f[place] if place < len(f) else None for f in rows.by_hand.values()], pa.binary()).cast(
                pa.string()
            )
            for place, name in enumerate(self._columns)
        }
        shortest = min(map(len, rows.by_hand.values()), default=len(self._columns))
        filled = [ABSENT_PREFIX + name for name in self._columns[shortest:]]
        for place, name in enumerate(filled, start=shortest):
            absent = [place >= len(fields) for fields in rows.by_hand.values()]
            by_hand[name] = pa.array(absent, pa.bool_())
        parts = [rows.in_columns, pa.table(by_hand)]
        if rows.faults:
            spans = [slice(records.starts[number], records.ends[number]) for number in rows.faults]
            lines = [source_bytes(text[span], self._dialect.codec) for span in spans]
            reasons = pa.array(rows.faults.values(), pa.string())
            parts.append(pa.table({FAULT: reasons, LINE: pa.array(lines, pa.binary())}))
        table = pa.concat_tables(parts, promote_options="default")
        for name in filled:
            is_absent = table[name].fill_null(pa.scalar(value=False))
            table = table.set_column(table.column_names.index(name), name, is_absent)
        numbers = np.concatenate([rows.numbers, [*rows.by_hand], [*rows.faults]])
        return table.take(np.argsort(numbers, kind="stable"))


def _holding(text: bytes, byte: int, records: Records, kept: Positions) -> list[int]:
    """The numbers of the kept records that contain the byte."""
    places = np.flatnonzero(np.frombuffer(text, np.uint8)[: records.consumed] == byte)
    numbers = np.unique(np.searchsorted(records.starts, places, side="right") - 1)
    return [int(number) for number in np.intersect1d(numbers, kept)]
