"""Numbers of JSON documents with all their digits: how they are read, kept among Python values, and written.

JSON's numbers have any number of digits, a double has 17. If the row model declares a number's type (Decimal, float), that
type counts; where it takes anything, the number is kept unchanged.
"""

# ruff: noqa: ANN401, a document may be anything
import json
import math
import re
import sys
from decimal import Decimal
from functools import partial
from typing import Any

from jiter import from_json

from rowledger.contract.nested_values import parts_in, with_values

__all__ = [
    "ExactNumber",
    "RepeatedKey",
    "has_repeated_key",
    "holds_exact",
    "marked",
    "may_have_exact_numbers",
    "parse_json",
    "sorted_json",
    "with_exact_numbers",
]

_MAY_BE_EXACT = re.compile(r'"(?:-?[0-9][0-9.eE+-]*|-?s?NaN[0-9]*|-?Infinity)"')
_DEPTH_MAX = 350  # code that walks through values takes two frames a level, and Python has a thousand
_KEYS_TWICE = 2  # colons in a text with a duplicate key, at least


class ExactNumber(Decimal):
    """A document's number. Pydantic converts it to Decimal for a Decimal field, and keeps it for one that takes anything."""

    __slots__ = ()


class RepeatedKey(ValueError):
    """An object has a duplicate key: all its values but the last would be dropped."""


def parse_json(text: str, *, exact: bool = False, zeros: bool = False) -> Any:
    """The value of a JSON text. If `exact`, fractions are Decimal; otherwise ExactNumber if a double would lose digits.

    With `zeros`, a fraction is also ExactNumber if a double would be written differently, as 1.10 would.
    Raises ValueError, also as RepeatedKey, and RecursionError for more than 350 levels.
    """
    if exact:
        value = json.loads(text, parse_float=Decimal, parse_int=_integer, object_pairs_hook=_unique)
    else:
        number = _double_if_same if zeros else _double_if_exact
        value = json.loads(text, parse_float=number, object_pairs_hook=_unique)
    if text.count("[") + text.count("{") > _DEPTH_MAX:
        _require_shallow(value)
    return value


def _require_shallow(value: Any) -> None:
    """Raise RecursionError for a value with too many levels of lists and objects."""
    level = [value]
    for _ in range(_DEPTH_MAX + 1):
        level = [
            item
            for part in level
            if isinstance(part, dict | list)
            for item in (part.values() if isinstance(part, dict) else part)
        ]
    if level:
        raise RecursionError(f"more than {_DEPTH_MAX} levels")


def _integer(text: str) -> int | Decimal:
    """The number; a Decimal if it has more digits than Python converts to an int."""
    return int(text) if len(text) <= sys.int_info.default_max_str_digits else Decimal(text)


def _double_if_same(text: str) -> float | ExactNumber:
    double = float(text)
    return double if repr(double) == text else ExactNumber(text)


def _double_if_exact(text: str) -> float | ExactNumber:
    """The number as a double if that keeps all its digits, otherwise as ExactNumber."""
    double = float(text)
    if math.isfinite(double) and (repr(double) == text or Decimal(repr(double)) == Decimal(text)):
        return double
    return ExactNumber(text)


def has_repeated_key(text: str) -> bool:
    """Whether a JSON text has an object with a duplicate key, of which jsonb keeps only the last value.

    False for a text that is not JSON, which the server refuses; raises RecursionError for one that is nested too deeply.
    """
    if text.count(":") < _KEYS_TWICE:
        return False
    try:
        from_json(text.encode(), catch_duplicate_keys=True)
    except UnicodeEncodeError:
        return False
    except ValueError:
        try:
            parse_json(text)
        except RepeatedKey:
            return True
        except ValueError:
            return False
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise RepeatedKey
    return made


def marked(value: Any) -> Any:
    """The value with its Decimals, at any depth, as ExactNumber."""
    return with_values(value, lambda part: ExactNumber(part) if isinstance(part, Decimal) else part)


def may_have_exact_numbers(text: str) -> bool:
    """Whether a JSON text that pydantic wrote contains a string that may have been an exact number."""
    return _MAY_BE_EXACT.search(text) is not None


def with_exact_numbers(text: str, value: Any) -> str | None:
    """The JSON `text` that pydantic wrote of `value`, with exact numbers as numbers; pydantic writes them as strings.

    None if one of them is NaN or an infinity, which JSON does not have.
    """
    if not holds_exact(value):
        return text
    try:
        return _written(value, json.loads(text))
    except _NotFinite:
        return None


class _NotFinite(Exception):
    pass


def holds_exact(value: Any) -> bool:
    """Whether the value contains an ExactNumber at any depth."""
    return any(isinstance(part, ExactNumber) for part in parts_in(value))


_dumps = partial(json.dumps, ensure_ascii=False)


def _written(value: Any, made: Any) -> str:
    match value, made:
        case ExactNumber(), str():
            if not value.is_finite():
                raise _NotFinite
            return str(value)
        case dict(), dict() if len(value) == len(made):
            pairs = zip(made.items(), value.values(), strict=True)
            return "{" + ", ".join(f"{_dumps(key)}: {_written(item, part)}" for (key, part), item in pairs) + "}"
        case ((list() | tuple() | set() | frozenset()), list()) if len(value) == len(made):
            return "[" + ", ".join(_written(*pair) for pair in zip(value, made, strict=True)) + "]"
        case _:
            return _dumps(made)


def sorted_json(text: str) -> str:
    """A canonical form, equal for two JSON texts if jsonb stores them alike: all digits, each key once, keys sorted."""
    return json.dumps(json.loads(text, parse_float=_plain_digits, parse_int=_plain_digits), sort_keys=True)


def _plain_digits(number: str) -> str:
    """The number as a text that no document has: jsonb's texts have no NUL."""
    value = Decimal(number)
    return "\0" + format(value or value.copy_abs(), "f")
