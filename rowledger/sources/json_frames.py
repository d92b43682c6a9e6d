"""Build frames from the texts of JSON objects: every object becomes a row, any other text a fault with its reason.

No value is read as another one: a missing key is not null, true is not 1, and numbers keep their digits.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl
from jiter import from_json

from rowledger.sources.frame_builder import Fault, FrameBuilder
from rowledger.sources.text_files import is_utf8, source_bytes
from rowledger.spec import RESERVED_PREFIX, SourceContext

__all__ = ["JsonFrames"]

_EXACT_IN_A_DOUBLE = 2**53
_DOUBLE_DIGITS = 15  # decimal digits that survive a conversion to a double and back
_PLACE = re.compile(r" at line (\d+) column (\d+)$")
_KINDS = {
    list: "a list",
    str: "a text",
    bool: "a Boolean",
    type(None): "null",
    int: "a number",
    Decimal: "a number",
}


class JsonFrames(FrameBuilder):
    """Builds frames from lines: all values are plain, and integers and fractions in a column are one kind of number."""

    def __init__(self, scope: SourceContext, *, codec: str, encoding: str, columns_max: int, wanted: str) -> None:
        """`wanted` says in the reason of a fault what the source's rows are."""
        super().__init__(scope.columns, columns_max=columns_max)
        self._is_exact, self._documents = scope.exact_numbers, scope.documents or ()
        self._codec, self._encoding, self._wanted = codec, encoding, wanted
        self._sound_names: set[str] = set()

    def parse(self, line: bytes) -> dict[str, Any] | Fault:
        """The object of a line, or a fault; numbers with fractions become Decimal."""
        try:
            # A key that occurs twice in an object would hide a value.
            value = from_json(
                line, allow_inf_nan=False, catch_duplicate_keys=True, float_mode="decimal", cache_mode="keys"
            )
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
        is_exact = self._is_exact or name in self._documents
        numbers = _as_one_kind_of_number(values, kinds, exact=is_exact)
        return super()._column(name, numbers, kinds if numbers is values else set(map(type, numbers)))


def _as_one_kind_of_number(values: Sequence[Any], kinds: set[type], *, exact: bool) -> Sequence[Any]:
    """Numbers with fractions, and integers in the same column, as doubles; `kinds` are the types of the values.

    They stay exact where `exact` asks for it and where a double would lose digits.
    """
    if Decimal not in kinds or not kinds <= {int, Decimal, type(None)}:
        return values
    if exact:
        return [Decimal(value) if type(value) is int else value for value in values]
    if any(type(value) is int and abs(value) > _EXACT_IN_A_DOUBLE for value in values):
        return values
    texts = pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
    doubles = texts.cast(pl.Float64, strict=False)
    if doubles.is_infinite().any() or doubles.null_count() > texts.null_count():
        return values
    is_long = texts.str.len_bytes() > _DOUBLE_DIGITS
    for row in (is_long & (doubles.cast(pl.String) != texts)).arg_true():
        if Decimal(repr(doubles[row])) != values[row]:
            return [Decimal(value) if type(value) is int else value for value in values]
    return doubles.to_list()


def _where(line: int, byte: int) -> str:
    return f" at byte {byte}" if line == 1 else f" at byte {byte} of its line {line}"
