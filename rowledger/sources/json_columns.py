"""Make columns of the cells of JSON lines: texts without a copy, numbers as they are written, other values one by one."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from jiter import from_json

from rowledger.contract import polars_series
from rowledger.sources.json_numbers import DOUBLE_DIGITS, doubles, exact_numbers, have_points, integers
from rowledger.sources.json_template import Block

__all__ = ["JsonColumn", "TextViews", "json_value"]

_Integers = npt.NDArray[np.int64]
_Booleans = npt.NDArray[np.bool_]
_Views = npt.NDArray[np.uint64]
_Kinds = npt.NDArray[np.uint8]

_VIEW_BYTES = 16
_LENGTH_BYTES = 4
_INLINE_BYTES_MAX = 12

_ABSENT, _PARSED, _TEXT, _ESCAPED, _NUMBER, _LITERAL, _NESTED, _UNKNOWN = range(8)
_KINDS = np.full(256, _UNKNOWN, dtype=np.uint8)
_KINDS[ord('"')] = _TEXT
_KINDS[[*b"-0123456789"]] = _NUMBER
_KINDS[[*b"tfn"]] = _LITERAL
_KINDS[[*b"[{"]] = _NESTED

_PLAIN_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$"
_JSON_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"
_NUMBER_BYTES_MAX = 4_000  # jiter reads no integer of more than 4,300 digits
_ZERO, _MINUS_ZERO = ord("0"), int.from_bytes(b"-0", "little")
_INT64 = range(-(2**63), 2**63)


def json_value(text: bytes) -> Any:  # noqa: ANN401, JSON may be anything
    """The value of a JSON text, with fractions as Decimal; raises ValueError, also for a key that occurs twice in an object."""
    return from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, float_mode="decimal", cache_mode="keys")


def _json_values(texts: list[bytes]) -> list[Any] | None:
    """The values of texts that cannot be more than one value each; None if one of them is not JSON."""
    try:
        values: list[Any] = json_value(b"[%b]" % b",".join(texts))
    except ValueError:
        return None
    return values


def _masks() -> npt.NDArray[Any]:
    """What of a view is a text's own bytes, for each length; the last mask is for texts that are elsewhere."""
    masks = np.zeros((_INLINE_BYTES_MAX + 2, _VIEW_BYTES), dtype=np.uint8)
    for length in range(_INLINE_BYTES_MAX + 1):
        masks[length, _LENGTH_BYTES : _LENGTH_BYTES + length] = 255
    masks[-1, _LENGTH_BYTES : 2 * _LENGTH_BYTES] = 255
    return masks.view(f"V{_VIEW_BYTES}").ravel()


def _view(text: bytes) -> _Views:
    return np.frombuffer(
        len(text).to_bytes(_LENGTH_BYTES, "little") + text.ljust(_INLINE_BYTES_MAX, b"\0"), dtype=np.uint64
    )


_MASKS = _masks()
_NULL, _TRUE, _FALSE = _view(b"null"), _view(b"true"), _view(b"false")


class TextViews:
    """Makes Arrow's views of cells: two words for each, which hold its length, and its bytes or where in the text they are.

    The text has less than 2 GiB.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text.ljust(_VIEW_BYTES, b"\0")
        self._windows = np.ndarray(
            (len(self._text) - _VIEW_BYTES + 1,), dtype=f"V{_VIEW_BYTES}", buffer=self._text, strides=(1,)
        )

    def of(self, block: Block) -> tuple[_Views, _Kinds]:
        """The views and kinds of a block's cells."""
        views, kinds = self._views(block.starts, block.ends), _KINDS[block.firsts]
        if len(block.escapes):
            has_escape = np.searchsorted(block.escapes, block.starts) < np.searchsorted(block.escapes, block.ends)
            kinds[(kinds == _TEXT) & has_escape] = _ESCAPED
        return views, kinds

    def _views(self, starts: _Integers, ends: _Integers) -> _Views:
        lengths = ends - starts
        places = starts - _LENGTH_BYTES  # a line has as many bytes before its first value
        last = len(self._windows) - 1
        views = self._windows[np.minimum(places, last)].view(np.uint64).reshape(-1, 2)
        for late in np.flatnonzero(places > last):
            views[late] = np.frombuffer(self._text[places[late] :].ljust(_VIEW_BYTES, b"\0"), dtype=np.uint64)
        views &= _MASKS[np.minimum(lengths, _INLINE_BYTES_MAX + 1)].view(np.uint64).reshape(-1, 2)
        views[:, 0] |= lengths.view(np.uint64)
        views[:, 1] |= np.where(lengths > _INLINE_BYTES_MAX, starts << 32, 0).view(np.uint64)
        return views

    def series(self, views: _Views, is_given: _Booleans) -> pl.Series:
        """The cells' texts, null where they are not given."""
        validity = None if is_given.all() else pa.py_buffer(np.packbits(is_given, bitorder="little").data)
        buffers = [validity, pa.py_buffer(views.data), pa.py_buffer(self._text)]
        return polars_series("", pa.Array.from_buffers(pa.string_view(), len(views), buffers))


class JsonColumn:
    """The values of one key: cells of the text, and those that had to be parsed as values of Python."""

    def __init__(self, source: TextViews, height: int, parts: Sequence[tuple[_Integers, _Views, _Kinds]] = ()) -> None:
        """`height` is the number of all rows. Each part has the rows, views and kinds of some cells."""
        self._source = source
        self._height = height
        self._parsed: dict[int, Any] = {}
        self._views = _joined([views for _, views, _ in parts], np.empty((0, 2), dtype=np.uint64))
        self._kinds = _joined([kinds for _, _, kinds in parts], np.empty(0, dtype=np.uint8))
        is_whole = len(self._kinds) == height
        self._rows = None if is_whole else _joined([rows for rows, _, _ in parts], np.empty(0, dtype=np.int64))
        self._numbers: pl.Series | None = None
        self._integers: pl.Series | None = None
        self._are_plain = False

    def _rows_of(self, cells: Any) -> _Integers:  # noqa: ANN401, a mask or numbers
        """The rows of some of the cells."""
        rows = np.arange(self._height) if self._rows is None else self._rows
        found: _Integers = rows[cells]
        return found

    def is_whole(self) -> bool:
        """Whether each row has the key, as far as the cells show it."""
        return self._rows is None and not self._parsed and bool(self._kinds.min(initial=_UNKNOWN) > _ABSENT)

    def is_present(self) -> _Booleans:
        """For each row whether it has the key."""
        is_present = np.zeros(self._height, dtype=np.bool_)
        is_present[self._rows_of(self._kinds != _ABSENT)] = True
        is_present[[*self._parsed]] = True
        return is_present

    def put(self, row: int, value: Any) -> None:  # noqa: ANN401, JSON may be anything
        """Take a value of a line that was parsed."""
        self._parsed[row] = value

    def leave_out(self, rows: _Integers) -> None:
        """Forget the cells of these rows."""
        self._kinds[rows if self._rows is None else np.isin(self._rows, rows)] = _ABSENT
        self._integers = self._numbers = None
        for row in rows.tolist():
            self._parsed.pop(row, None)

    def read(self) -> _Integers:
        """Parse what has to be parsed; the rows whose cell is no JSON value."""
        kinds = self._found_kinds()
        is_wrong = self._kinds == _UNKNOWN
        if _LITERAL in kinds:
            is_wrong |= (self._kinds == _LITERAL) & ~(self._is(_NULL) | self._is(_TRUE) | self._is(_FALSE))
        if _NUMBER in kinds:
            is_wrong |= self._wrong_numbers()
        if kinds & {_ESCAPED, _NESTED}:
            is_wrong[self._parse()] = True
        return self._rows_of(is_wrong)

    def _found_kinds(self) -> set[int]:
        if len(self._kinds) and (first := int(self._kinds[0])) == self._kinds.min() == self._kinds.max():
            return {first}
        return {kind for kind, count in enumerate(np.bincount(self._kinds)) if count}

    def _is(self, literal: _Views) -> _Booleans:
        """Which cells are this literal; a text of the same letters has the same view."""
        is_literal = (self._views[:, 0] == literal[0]) & (self._views[:, 1] == literal[1])
        found: _Booleans = is_literal & (self._kinds == _LITERAL)
        return found

    def _texts(self, kind: int) -> pl.Series:
        if kind != _NUMBER:
            return self._source.series(self._views, self._kinds == kind)
        if self._numbers is None:
            self._numbers = self._source.series(self._views, self._kinds == kind)
        return self._numbers

    def _wrong_numbers(self) -> _Booleans:
        texts = self._texts(_NUMBER)
        if not self._has_odd_zero() and (found := integers(texts)) is not None:
            self._integers = found
            return np.zeros(len(texts), dtype=np.bool_)
        is_right = texts.str.contains(_PLAIN_NUMBER)
        self._are_plain = bool(is_right.all())
        if not self._are_plain or texts.str.len_bytes().max() > _NUMBER_BYTES_MAX:  # type: ignore[operator]
            is_right = texts.str.contains(_JSON_NUMBER) & (texts.str.len_bytes() <= _NUMBER_BYTES_MAX)
        is_wrong: _Booleans = ~is_right.fill_null(value=True).to_numpy()
        return is_wrong

    def _has_odd_zero(self) -> bool:
        """Whether a number begins with a zero that is not its only digit, or with -0: 01 is not JSON, and -0 equals 0."""
        lengths, firsts = self._views[:, 0] & 0xFFFFFFFF, self._views[:, 0] >> 32
        is_odd = (((firsts & 0xFF) == _ZERO) & (lengths > 1)) | ((firsts & 0xFFFF) == _MINUS_ZERO)
        return bool((is_odd & (self._kinds == _NUMBER)).any())

    def _parse(self) -> list[int]:
        """Parse nested values, and texts with escapes; the numbers of the cells in which that fails."""
        wrong = []
        for kind, form in ((_ESCAPED, b'"%b"'), (_NESTED, b"%b")):
            cells = np.flatnonzero(self._kinds == kind)
            if not len(cells):
                continue
            texts = [form % text for text in self._texts(kind).gather(cells).cast(pl.Binary).to_list()]
            rows = self._rows_of(cells).tolist()
            if kind == _ESCAPED and (values := _json_values(texts)) is not None:
                self._parsed.update(zip(rows, values, strict=True))
                self._kinds[cells] = _PARSED
                continue
            for cell, row, text in zip(cells.tolist(), rows, texts, strict=True):
                try:
                    (self._parsed[row],) = json_value(b"[%b]" % text)  # as deep in a list as in the line's object
                except ValueError:
                    wrong.append(cell)
                else:
                    self._kinds[cell] = _PARSED
        return wrong

    # ---- as a column --------------------------------------------------------------------------------------------------------

    def series(self, *, exact: bool, keeps_scales: bool, has_integers_apart: bool) -> pl.Series | None:
        """The column, if all its values are texts, Booleans or numbers of usual sizes; None if it has to be made of `values`.

        It is that of `column_of`. A column of nulls alone has the type Null.
        """
        kinds = self._found_kinds() - {_ABSENT, _PARSED}
        types = set(map(type, self._parsed.values())) - {type(None)}
        if _LITERAL in kinds and np.array_equal(self._is(_NULL), self._kinds == _LITERAL):
            kinds.remove(_LITERAL)
        if not kinds and not types:
            return pl.Series(dtype=pl.Null).extend_constant(None, self._height)
        if kinds <= {_TEXT} and types <= {str}:
            return self._complete(self._texts(_TEXT), str)
        if kinds <= {_NUMBER} and types <= {int, Decimal}:
            return self._number_series(
                types, exact=exact, keeps_scales=keeps_scales, has_integers_apart=has_integers_apart
            )
        if kinds <= {_LITERAL} and types <= {bool}:
            is_true, is_false = pl.Series(self._is(_TRUE)), pl.Series(self._is(_FALSE))
            return self._complete(pl.select(pl.when(is_true | is_false).then(is_true)).to_series(), bool)
        return None

    def typed(self, dtype: pl.DataType) -> pl.Series | None:
        """The column in that type, where each of its texts, or numbers with fractions, has a plain form; otherwise None."""
        wanted = _TEXT if dtype in (pl.Date(), pl.Datetime("us")) else _NUMBER
        if self._parsed or self._found_kinds() - {wanted, _ABSENT, _LITERAL}:
            return None
        has_others = not np.array_equal(self._is(_NULL), self._kinds == _LITERAL)
        if has_others or (wanted == _NUMBER and not self._are_plain):
            return None
        from rowledger.sources.typed_columns import typed_column  # noqa: PLC0415, what it imports is dear for few rows

        texts = self._complete(self._texts(wanted)).to_arrow(compat_level=pl.CompatLevel.oldest())
        made = typed_column(pa.chunked_array([texts.cast(pa.string())]), dtype)
        if made is None:
            return None
        series = polars_series("", made)
        # A decimal has no negative zero, so that one becomes a double only where numbers are read as doubles.
        return None if dtype == pl.Float64() and ((series == 0.0) & (1.0 / series < 0.0)).any() else series

    def values(self) -> list[Any]:
        """The values as Python has them; None for a null, and where there is none."""
        made = self._complete(self._texts(_TEXT)).to_list()
        numbers = np.flatnonzero(self._kinds == _NUMBER)
        texts = self._texts(_NUMBER).gather(numbers).to_list()
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
        if self._integers is not None and Decimal not in types:
            fit = all(value is None or value in _INT64 for value in self._parsed.values())
            return self._complete(self._integers, int) if fit else None
        texts = self._complete(self._texts(_NUMBER), str)
        are_plain = self._are_plain and not types
        if not have_points(texts):
            return None  # integers of more than 64 bits, -0, or exponents alone
        if has_integers_apart and not texts.drop_nulls().str.contains("[.eE]").all():
            return None
        if not exact:
            is_short = are_plain and self._longest_number() <= DOUBLE_DIGITS
            return doubles(texts, is_short=is_short)
        if not are_plain and texts.str.contains("[eE]").any():
            return None
        return exact_numbers(texts, keeps_scales=keeps_scales)

    def _longest_number(self) -> int:
        lengths = self._views[:, 0] & 0xFFFFFFFF
        return int(lengths.max(where=self._kinds == _NUMBER, initial=0))


def _joined(parts: list[npt.NDArray[Any]], empty: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else empty
