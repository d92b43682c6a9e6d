"""Make columns of the cells of JSON lines: texts without a copy, numbers as they are written, other values one by one."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from jiter import from_json

from rowledger.contract import polars_series
from rowledger.sources.json_digits import as_decimals, as_doubles
from rowledger.sources.json_numbers import doubles, exact_numbers, have_points, integers
from rowledger.sources.json_views import (
    ABSENT,
    ESCAPED,
    LITERAL,
    NESTED,
    NUMBER,
    PARSED,
    TEXT,
    UNKNOWN,
    CellReader,
    CellValues,
    Form,
)

__all__ = ["JsonColumn", "json_value"]

_Integers = npt.NDArray[np.int64]
_Booleans = npt.NDArray[np.bool_]
_Views = npt.NDArray[np.uint64]
_Kinds = npt.NDArray[np.uint8]

_PLAIN_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$"
_JSON_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"
_NUMBER_BYTES_MAX = 4_000  # jiter reads no integer of more than 4,300 digits
_ZERO, _MINUS_ZERO = ord("0"), int.from_bytes(b"-0", "little")
_PARSED_BYTES_MAX = 2**20
_INT64 = range(-(2**63), 2**63)
_ARROW_TYPES: dict[pl.DataType, pa.DataType] = {
    pl.Int64(): pa.int64(), pl.Float64(): pa.float64(), pl.Date(): pa.date32(),
}  # fmt: skip


def json_value(text: bytes) -> Any:  # noqa: ANN401, JSON may be anything
    """The value of a JSON text, with fractions as Decimal; raises ValueError, also for a key that occurs twice in an object."""
    return from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, float_mode="decimal", cache_mode="keys")


def _json_values(texts: list[bytes]) -> list[Any] | None:
    """The values of texts that cannot be more than one value each; None if one of them is not JSON."""
    try:
        values: list[Any] = (
            [json_value(texts[0])] if len(texts) == 1 else json_value(b"".join([b"[", b",".join(texts), b"]"]))
        )
    except ValueError:
        return None
    return values


def _view(text: bytes) -> _Views:
    return np.frombuffer(len(text).to_bytes(4, "little") + text.ljust(12, b"\0"), dtype=np.uint64)


_NULL, _TRUE, _FALSE = _view(b"null"), _view(b"true"), _view(b"false")


class JsonColumn:
    """The values of one key: cells of the text, and those that had to be parsed as values of Python."""

    def __init__(self, source: CellReader, height: int, parts: Sequence[CellValues] = ()) -> None:
        """`height` is the number of all rows. Each row has one cell at most."""
        self._source = source
        self._height = height
        self._parsed: dict[int, Any] = {}
        self._parts = parts
        self._kinds = np.concatenate([np.empty(0, dtype=np.uint8), *(part.kinds for part in parts)])
        is_whole = len(self._kinds) == height
        self._rows = None if is_whole else _joined([part.rows for part in parts])
        forms = {part.form for part in parts}
        self._form = forms.pop() if len(forms) == 1 else Form.VIEW
        self._numbers: pl.Series | None = None
        self._integers: pl.Series | None = None
        self._are_plain = False

    @cached_property
    def _starts(self) -> _Integers:
        return _joined([part.starts for part in self._parts])

    @cached_property
    def _lengths(self) -> _Integers:
        return _joined([part.ends for part in self._parts]) - self._starts

    @cached_property
    def _views(self) -> _Views:
        views = [
            part.words[0] if part.form is Form.VIEW else self._source.views(part.starts, part.ends)
            for part in self._parts
        ]
        return np.concatenate([np.empty((0, 2), dtype=np.uint64), *views])

    def _words(self, number: int, kind: int) -> _Integers:
        """What the column's form has first, or second, of the cells of that kind."""
        words = _joined([part.words[number] for part in self._parts])
        return words if self._kinds.min() == kind == self._kinds.max() else words[self._kinds == kind]

    def _rows_of(self, cells: Any) -> _Integers:  # noqa: ANN401, a mask or numbers
        """The rows of some of the cells."""
        rows = np.arange(self._height) if self._rows is None else self._rows
        found: _Integers = rows[cells]
        return found

    def is_whole(self) -> bool:
        """Whether each row has the key, as far as the cells show it."""
        return self._rows is None and not self._parsed and bool(self._kinds.min(initial=UNKNOWN) > ABSENT)

    def is_present(self) -> _Booleans:
        """For each row whether it has the key."""
        is_present = np.zeros(self._height, dtype=np.bool_)
        is_present[self._rows_of(self._kinds != ABSENT)] = True
        is_present[[*self._parsed]] = True
        return is_present

    def put(self, row: int, value: Any) -> None:  # noqa: ANN401, JSON may be anything
        """Take a value of a line that was parsed."""
        self._parsed[row] = value

    def leave_out(self, rows: _Integers) -> None:
        """Forget the cells of these rows."""
        self._kinds[rows if self._rows is None else np.isin(self._rows, rows)] = ABSENT
        self._integers = self._numbers = None
        for row in rows.tolist():
            self._parsed.pop(row, None)

    def read(self) -> _Integers:
        """Parse what has to be parsed; the rows whose cell is no JSON value."""
        kinds = self._found_kinds()
        is_wrong = self._kinds == UNKNOWN
        if LITERAL in kinds:
            is_wrong |= (self._kinds == LITERAL) & ~(self._is(_NULL) | self._is(_TRUE) | self._is(_FALSE))
        if NUMBER in kinds:
            is_wrong |= self._wrong_numbers()
        if kinds & {ESCAPED, NESTED}:
            is_wrong[self._parse()] = True
        return self._rows_of(is_wrong)

    def _found_kinds(self) -> set[int]:
        if len(self._kinds) and (first := int(self._kinds[0])) == self._kinds.min() == self._kinds.max():
            return {first}
        return {kind for kind, count in enumerate(np.bincount(self._kinds)) if count}

    def _is(self, literal: _Views) -> _Booleans:
        """Which cells are this literal."""
        cells = np.flatnonzero(self._kinds == LITERAL)
        views = self._source.views(self._starts[cells], self._starts[cells] + self._lengths[cells])
        is_literal = np.zeros(len(self._kinds), dtype=np.bool_)
        is_literal[cells] = (views[:, 0] == literal[0]) & (views[:, 1] == literal[1])
        return is_literal

    def _texts(self, kind: int) -> pl.Series:
        if kind != NUMBER:
            return self._source.series(self._views, self._kinds == kind)
        if self._numbers is None:
            self._numbers = self._source.series(self._views, self._kinds == kind)
        return self._numbers

    def _wrong_numbers(self) -> _Booleans:
        if self._form is Form.NUMBER:
            self._are_plain = True
        if self._form is Form.NUMBER or self._whole_numbers() is not None:
            return np.zeros(len(self._kinds), dtype=np.bool_)
        texts = self._texts(NUMBER)
        is_right = texts.str.contains(_PLAIN_NUMBER)
        self._are_plain = bool(is_right.all())
        if not self._are_plain or texts.str.len_bytes().max() > _NUMBER_BYTES_MAX:  # type: ignore[operator]
            is_right = texts.str.contains(_JSON_NUMBER) & (texts.str.len_bytes() <= _NUMBER_BYTES_MAX)
        is_wrong: _Booleans = ~is_right.fill_null(value=True).to_numpy()
        return is_wrong

    def _whole_numbers(self) -> pl.Series | None:
        """The numbers as a column of 64 bits, if all are integers of that size."""
        if self._integers is None and self._form is Form.NUMBER:
            if not self._words(1, NUMBER).any():
                self._integers = self._spread(NUMBER, self._words(0, NUMBER), pl.Int64())
        elif self._integers is None and not self._has_odd_zero():
            self._integers = integers(self._texts(NUMBER))
        return self._integers

    def _has_odd_zero(self) -> bool:
        """Whether a number begins with a zero that is not its only digit, or with -0: 01 is not JSON, and -0 equals 0."""
        lengths, firsts = self._views[:, 0] & 0xFFFFFFFF, self._views[:, 0] >> 32
        is_odd = (((firsts & 0xFF) == _ZERO) & (lengths > 1)) | ((firsts & 0xFFFF) == _MINUS_ZERO)
        return bool((is_odd & (self._kinds == NUMBER)).any())

    def _parse(self) -> list[int]:
        """Parse nested values, and texts with escapes; the numbers of the cells in which that fails."""
        wrong = []
        for kind, quote in ((ESCAPED, 1), (NESTED, 0)):
            cells = np.flatnonzero(self._kinds == kind)
            if not len(cells):
                continue
            starts, rows = self._starts[cells] - quote, self._rows_of(cells)
            lengths = self._lengths[cells] + 2 * quote
            # Some at once, and no more than a long one's bytes are in memory at a time.
            bounds = np.flatnonzero(np.diff(np.cumsum(lengths) // _PARSED_BYTES_MAX, prepend=0, append=-1))
            for first, stop in zip([0, *bounds[:-1].tolist()], bounds.tolist(), strict=True):
                texts = self._source.texts(starts[first:stop], lengths[first:stop])
                if kind == ESCAPED and (values := _json_values(texts)) is not None:
                    self._parsed.update(zip(rows[first:stop].tolist(), values, strict=True))
                    self._kinds[cells[first:stop]] = PARSED
                    continue
                for cell, row, text in zip(cells[first:stop].tolist(), rows[first:stop].tolist(), texts, strict=True):
                    try:
                        (self._parsed[row],) = json_value(b"[%b]" % text)  # as deep in a list as in the line's object
                    except ValueError:
                        wrong.append(cell)
                    else:
                        self._kinds[cell] = PARSED
        return wrong

    # ---- as a column --------------------------------------------------------------------------------------------------------

    def series(self, *, exact: bool, keeps_scales: bool, has_integers_apart: bool) -> pl.Series | None:
        """The column, if all its values are texts, Booleans or numbers of usual sizes; None if it has to be made of `values`.

        It is that of `column_of`. A column of nulls alone has the type Null.
        """
        kinds = self._found_kinds() - {ABSENT, PARSED}
        types = set(map(type, self._parsed.values())) - {type(None)}
        if LITERAL in kinds and np.array_equal(self._is(_NULL), self._kinds == LITERAL):
            kinds.remove(LITERAL)
        if not kinds and not types:
            return pl.Series(dtype=pl.Null).extend_constant(None, self._height)
        if kinds <= {TEXT} and types <= {str}:
            return self._complete(self._texts(TEXT), str)
        if kinds <= {NUMBER} and types <= {int, Decimal}:
            return self._number_series(
                types, exact=exact, keeps_scales=keeps_scales, has_integers_apart=has_integers_apart
            )
        if kinds <= {LITERAL} and types <= {bool}:
            is_true, is_false = pl.Series(self._is(_TRUE)), pl.Series(self._is(_FALSE))
            return self._complete(pl.select(pl.when(is_true | is_false).then(is_true)).to_series(), bool)
        return None

    def typed(self, dtype: pl.DataType) -> pl.Series | None:
        """The column in that type, where each of its texts, or numbers, has a plain form; otherwise None."""
        wanted = TEXT if dtype in (pl.Date(), pl.Datetime("us")) else NUMBER
        kinds = self._found_kinds() - {ABSENT}
        if self._parsed or wanted not in kinds or kinds - {wanted, LITERAL}:
            return None
        if LITERAL in kinds and not np.array_equal(self._is(_NULL), self._kinds == LITERAL):
            return None
        if (values := self._read_digits(dtype)) is not None:
            return self._complete(self._spread(wanted, values, dtype))
        if wanted == NUMBER and not self._are_plain:
            return None
        from rowledger.sources.typed_columns import typed_column  # noqa: PLC0415, what it imports is dear for few rows

        texts = self._complete(self._texts(wanted)).to_arrow(compat_level=pl.CompatLevel.oldest())
        made = typed_column(pa.chunked_array([texts.cast(pa.string())]), dtype)
        if made is None:
            return None
        series = polars_series("", made)
        # A decimal has no negative zero, so that one becomes a double only where numbers are read as doubles.
        return None if dtype == pl.Float64() and ((series == 0.0) & (1.0 / series < 0.0)).any() else series

    def _read_digits(self, dtype: pl.DataType) -> npt.NDArray[Any] | None:
        """The values of the cells in that type, as the type has them in memory; None if not all are read by their digits."""
        if self._form is Form.DATE:
            return self._words(0, TEXT).astype(np.int32) if dtype == pl.Date() else None
        if self._form is not Form.NUMBER:
            return None
        unscaled, scales = self._words(0, NUMBER), self._words(1, NUMBER)
        match dtype:
            case pl.Int64():
                return None if scales.any() else unscaled
            case pl.Decimal():
                return as_decimals(unscaled, scales, dtype.precision, dtype.scale)
            case pl.Float64():
                return as_doubles(unscaled, scales)
        return None

    def _spread(self, kind: int, values: npt.NDArray[Any], dtype: pl.DataType) -> pl.Series:
        """A column of that type with these values in the cells of that kind, and nulls in the others."""
        validity = None
        if len(values) < len(self._kinds):
            is_given = self._kinds == kind
            spread = np.zeros(len(self._kinds), dtype=values.dtype)
            spread[is_given] = values
            values, validity = spread, pa.py_buffer(np.packbits(is_given, bitorder="little").data)
        elif not isinstance(dtype, pl.Decimal):
            return pl.Series(values).cast(dtype)
        if isinstance(dtype, pl.Decimal):
            values = np.stack([values, values >> 63], axis=1)  # 128 bits, the lower half first
        arrow = pa.decimal128(dtype.precision, dtype.scale) if isinstance(dtype, pl.Decimal) else _ARROW_TYPES[dtype]
        return polars_series("", pa.Array.from_buffers(arrow, len(self._kinds), [validity, pa.py_buffer(values.data)]))

    def values(self) -> list[Any]:
        """The values as Python has them; None for a null, and where there is none."""
        made = self._complete(self._texts(TEXT)).to_list()
        numbers = np.flatnonzero(self._kinds == NUMBER)
        texts = self._texts(NUMBER).gather(numbers).to_list()
        parsed = json_value(f"[{','.join(texts)}]".encode())
        others = [*zip(self._rows_of(numbers).tolist(), parsed, strict=True), *self._parsed.items()]
        others += [(row, True) for row in self._rows_of(self._is(_TRUE)).tolist()]
        others += [(row, False) for row in self._rows_of(self._is(_FALSE)).tolist()]
        for row, value in others:
            made[row] = value
        return made

    def _complete(self, cells: pl.Series, convert: Callable[[Any], Any] | None = None) -> pl.Series:
        """The cells in their rows, and among them what was parsed, if it is to be converted."""
        if self._rows is not None:
            places = np.full(self._height, -1, dtype=np.int64)
            places[self._rows] = np.arange(len(cells))
            numbers = pl.Series(places)
            cells = cells.gather(pl.select(pl.when(numbers >= 0).then(numbers)).to_series())
        given = {row: convert(value) for row, value in self._parsed.items() if value is not None} if convert else {}
        return cells.scatter([*given], [*given.values()]) if given else cells

    def _number_series(
        self, types: set[type], *, exact: bool, keeps_scales: bool, has_integers_apart: bool
    ) -> pl.Series | None:
        if Decimal not in types and (whole := self._whole_numbers()) is not None:
            fit = all(value is None or value in _INT64 for value in self._parsed.values())
            return self._complete(whole, int) if fit else None
        if not (exact or types or has_integers_apart) and (found := self._read_digits(pl.Float64())) is not None:
            return self._complete(self._spread(NUMBER, found, pl.Float64()))
        texts = self._complete(self._texts(NUMBER), str)
        if not have_points(texts):
            return None  # integers of more than 64 bits, -0, or exponents alone
        is_mixed = has_integers_apart and not texts.drop_nulls().str.contains("[.eE]").all()
        has_exponents = not (self._are_plain and not types) and texts.str.contains("[eE]").any()
        if is_mixed or (exact and has_exponents):
            return None
        return exact_numbers(texts, keeps_scales=keeps_scales) if exact else doubles(texts)


def _joined(parts: Sequence[_Integers]) -> _Integers:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
