"""Build frames from the texts of JSON objects: every object becomes a row, any other text a fault with its reason.

No value is read as another one: a missing key is not null, true is not 1, and numbers keep their digits.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rowledger.contract import polars_series
from rowledger.sources.frame_builder import Fault, FrameBuilder, Unfit, holds_decimal_texts
from rowledger.sources.json_cells import CellFinder
from rowledger.sources.json_columns import JsonColumn, json_value
from rowledger.sources.json_views import CellReader, CellValues
from rowledger.sources.marked_columns import marked
from rowledger.sources.plain_values import dynamic_text
from rowledger.sources.text_encoding import is_utf8, source_bytes, undecodable
from rowledger.spec import ABSENT_PREFIX, DYNAMIC, FAULT, LINE, RESERVED_PREFIX, SourceContext, TextRange

__all__ = ["JsonFrames", "Unfit", "json_facts"]

_EXACT_IN_A_DOUBLE = 2**53
_DOUBLE_DIGITS = 15  # decimal digits that survive a conversion to a double and back
_PLACE = re.compile(r" at line (\d+) column (\d+)$")
_LINE_END = ord("\n")
_KINDS = {
    list: "a list",
    str: "a text",
    bool: "a Boolean",
    type(None): "null",
    int: "a number",
    Decimal: "a number",
}


def json_facts(scope: SourceContext, codec: str) -> TextRange:
    """An empty range, with what the load wants of a JSON file whose text had this encoding."""
    documents = None if scope.documents is None else tuple(sorted(scope.documents))
    return TextRange(
        offset=0,
        length=0,
        columns=scope.columns,
        codec=codec,
        exact_numbers=scope.exact_numbers,
        documents=documents,
        numbers_apart=tuple(sorted(scope.numbers_apart)),
    )


class JsonFrames(FrameBuilder):
    """Builds frames from lines: all values are plain, and integers and fractions in a column are one kind of number."""

    def __init__(
        self,
        facts: TextRange,
        *,
        encoding: str,
        columns_max: int,
        wanted: str,
        types: Mapping[str, pl.DataType] | None = None,
    ) -> None:
        """`facts` say what is wanted of the text; `wanted` says in the reason of a fault what the source's rows are.

        Columns of `types` get these types if they are read in columns and all their values have a plain form.
        """
        super().__init__(facts.columns, columns_max=columns_max)
        self._is_exact, self._documents = facts.exact_numbers, facts.documents or ()
        self._numbers_apart = frozenset(facts.numbers_apart)
        self._codec, self._encoding, self._wanted = facts.codec, encoding, wanted
        self._dtypes = types or {}
        self._sound_names: set[str] = set()

    def frame_of_lines(self, text: bytes) -> pl.DataFrame:
        """The frame of lines, each of which has a line end: what `frame` makes of them, if each is parsed by itself.

        Blank lines are no rows. Raises Unfit.
        """
        lines = _Lines(text, self._dtypes)
        try:
            return self._frame_of(lines)
        except RecursionError:  # only then is each value checked
            return self.frame([self.parse(lines.line(row)) for row in range(lines.count)])

    def _frame_of(self, lines: "_Lines") -> pl.DataFrame:
        columns = lines.columns
        in_doubt = np.unique(np.concatenate([lines.in_doubt, *(column.read() for column in columns.values())]))
        parsed = {row: self.parse(lines.line(row)) for row in in_doubt.tolist()}
        faults = {row: values for row, values in parsed.items() if isinstance(values, Fault)}
        for column in columns.values() if parsed else ():
            column.leave_out(in_doubt)
        for row, values in parsed.items():
            for name, value in () if isinstance(values, Fault) else values.items():
                if name not in columns:
                    columns[name] = JsonColumn(lines.cells, lines.count)
                columns[name].put(row, value)
        is_row = np.ones(lines.count, dtype=np.bool_)
        is_row[[*faults]] = False
        presence = {
            name: is_present
            for name, column in columns.items()
            if (is_present := is_row if column.is_whole() else column.is_present()).any()
        }
        self._meet(self._new_names(lines, presence))
        made: dict[str, pl.Series] = {}
        for name in self._types:
            is_present = presence.get(name, np.zeros_like(is_row))
            made[name] = self._series(name, columns[name] if name in presence else JsonColumn(lines.cells, lines.count))
            if is_present is not is_row and (is_absent := is_row & ~is_present).any():
                made[ABSENT_PREFIX + name] = pl.Series(is_absent)
        if faults or not made:  # a frame without columns would have no rows
            found = [faults.get(row) for row in range(lines.count)]
            made[FAULT] = pl.Series([fault and fault.reason for fault in found], dtype=pl.String)
            made[LINE] = pl.Series([fault and fault.line for fault in found], dtype=pl.Binary)
        return pl.DataFrame(made, height=lines.count)

    def _new_names(self, lines: "_Lines", presence: Mapping[str, npt.NDArray[np.bool_]]) -> Iterator[str]:
        """The names that are not known yet, in the order in which they come up."""
        firsts: dict[int, list[str]] = {}
        for name, is_present in presence.items():
            if name not in self._types:
                firsts.setdefault(int(is_present.argmax()), []).append(name)
        for row in sorted(firsts):
            values = self.parse(lines.line(row)) if len(firsts[row]) > 1 else firsts[row]
            yield from () if isinstance(values, Fault) else values

    def _series(self, name: str, column: JsonColumn) -> pl.Series:
        if name in self._dtypes and (typed := column.typed(self._dtypes[name])) is not None:
            return typed
        series = column.series(
            exact=self._is_read_exactly(name),
            keeps_scales=holds_decimal_texts(self._types[name]),
            has_integers_apart=name in self._numbers_apart,
        )
        if series is None:
            values = column.values()
            return polars_series(name, self._column(name, values, set(map(type, values))))
        if series.dtype == pl.Null():
            return polars_series(name, self._column(name, [None] * len(series), {type(None)}))
        self._types[name] = series.head(0).to_arrow(compat_level=pl.CompatLevel.oldest()).type
        return series

    def _is_read_exactly(self, name: str) -> bool:
        return self._is_exact or name in self._documents or name in self._numbers_apart

    def parse(self, line: bytes) -> dict[str, Any] | Fault:
        """The object of a line, or a fault; numbers with fractions become Decimal."""
        try:
            # A key that occurs twice in an object would hide a value.
            value = json_value(line)
        except ValueError as error:
            reason = self._reason(str(error)) if is_utf8(line) else f"has bytes that are no {self._encoding}"
            return self._fault(line, reason)
        if type(value) is not dict:
            return self._fault(line, f"is {_KINDS[type(value)]} and no object{self._wanted}")
        if not value.keys() <= self._sound_names:
            if any(name.startswith(RESERVED_PREFIX) or "\0" in name for name in value):
                return self._fault(line, f"has a key that begins with {RESERVED_PREFIX!r} or has a NUL in it")
            self._sound_names.update(value)
        return value

    def _reason(self, message: str) -> str:
        """The parser's message without the key that it may quote."""
        place = _PLACE.search(message)
        what, where = (message[: place.start()], _where(*map(int, place.groups()))) if place else (message, "")
        if what.startswith("Detected duplicate key"):
            return f"has a key twice{where}"
        if what.startswith("recursion limit"):
            return f"is nested too deep{where}"
        # A line that ends too early may be the first one of an object, or of a list, that is written over several lines.
        return f"is no JSON: {what}{where}{self._wanted if what.startswith('EOF') else ''}"

    def _fault(self, line: bytes, reason: str) -> Fault:
        return Fault(reason, source_bytes(line, self._codec))

    def _column(self, name: str, values: Sequence[Any], kinds: set[type]) -> Any:  # noqa: ANN401, an array of any kind
        if name in self._numbers_apart:
            if any(type(value) is Decimal and int(value.as_tuple().exponent) > 0 for value in values):
                return _apart(values)  # in a column of decimals, 1e3 would be as 1000
            return super()._column(name, values, kinds)
        numbers = _as_one_kind_of_number(values, kinds, exact=self._is_read_exactly(name))
        return super()._column(name, numbers, kinds if numbers is values else set(map(type, numbers)))


class _Lines:
    """The lines of a text that are not blank, which are rows, and their cells by the names of their keys."""

    def __init__(self, text: bytes, types: Mapping[str, pl.DataType]) -> None:
        self._text = text
        decodable = _without_undecodable(text)
        self.cells = CellReader(decodable, types)
        self.count = 0
        starts, ends, in_doubt = [], [], []
        parts: dict[str, list[CellValues]] = {}
        for block in CellFinder(decodable).blocks():
            starts.append(block.line_starts)
            ends.append(block.line_ends)
            in_doubt.append(block.in_doubt + self.count)
            rows = np.arange(self.count, self.count + len(block.line_starts))
            self.count += len(rows)
            for name, values in self.cells.read(block, rows):
                parts.setdefault(name, []).append(values)
        self._starts, self._ends, self.in_doubt = map(np.concatenate, (starts, ends, in_doubt))
        self.columns = {name: JsonColumn(self.cells, self.count, own) for name, own in parts.items()}

    def line(self, row: int) -> bytes:
        return self._text[self._starts[row] : self._ends[row]]


def _without_undecodable(text: bytes) -> bytes:
    """The text, with lines that are no UTF-8 filled with bytes that are no JSON."""
    if is_utf8(text):
        return text
    line_ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == _LINE_END)
    starts = np.append(0, line_ends[:-1] + 1)
    made = bytearray(text)
    for line in undecodable(text, starts, line_ends):
        made[starts[line] : line_ends[line]] = b"?" * int(line_ends[line] - starts[line])
    return bytes(made)


def _as_one_kind_of_number(values: Sequence[Any], kinds: set[type], *, exact: bool) -> Sequence[Any]:
    """Numbers with fractions, and integers in the same column, as doubles; `kinds` are the types of the values.

    They stay exact where `exact` asks for it and where a double would lose digits.
    """
    if Decimal not in kinds or not kinds <= {int, Decimal, type(None)}:
        return values
    if any(type(value) is int and abs(value) > _EXACT_IN_A_DOUBLE for value in values):
        return values  # a field of doubles refuses such an integer, and takes an equal number with a fraction
    if exact:
        return [Decimal(value) if type(value) is int else value for value in values]
    texts = pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
    doubles = texts.cast(pl.Float64, strict=False)
    if doubles.is_infinite().any() or doubles.null_count() > texts.null_count():
        return values
    is_doubtful = (texts.str.len_bytes() > _DOUBLE_DIGITS) | texts.str.contains("E", literal=True)
    for row in (is_doubtful & (doubles.cast(pl.String) != texts)).arg_true():
        if Decimal(repr(doubles[row])) != values[row]:
            return [Decimal(value) if type(value) is int else value for value in values]
    return doubles.to_list()


def _apart(values: Sequence[Any]) -> Any:  # noqa: ANN401, as above
    """A DYNAMIC array of the values."""
    texts = pl.Series([None if value is None else dynamic_text(value) for value in values], dtype=pl.String)
    return marked(texts, DYNAMIC).to_arrow(compat_level=pl.CompatLevel.oldest())


def _where(line: int, byte: int) -> str:
    return f" at byte {byte}" if line == 1 else f" at byte {byte} of its line {line}"
