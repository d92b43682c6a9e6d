"""The last word on suspicious values and the reason of a refusal: one value at a time.

Only suspects come here, and values of fields that have no column form. Reasons quote the row model's rules and never the
row's values: neither what a parser quotes of its input, nor what a validator of the user's put into its message.
"""

# ruff: noqa: ANN401, a cell of a source row may be anything

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from functools import cache, partial
from types import CodeType, FunctionType, MethodType, TracebackType
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticKnownError, PydanticSerializationError, core_schema

from rowledger.contract.payloads import Unreadable
from rowledger.contract.rules import FieldRules, Kind
from rowledger.contract.values import FittedValue, fit_value
from rowledger.spec import ColumnType

__all__ = [
    "JSON_TEXT_ERROR",
    "FittedValue",
    "constants_in",
    "conversion_made",
    "converted",
    "field_names",
    "judge",
    "names_in",
    "place_of",
    "silent_conversion",
    "words_of",
]

_NUMBER = re.compile(r"\s*[-+]?(?:[0-9_]+(?:\.[0-9_]*)?|\.[0-9_]+)(e[-+]?[0-9]+)?\s*", re.IGNORECASE)
_LOST_FRACTION = re.compile(r"\.[0-9]{6}[0-9]*[1-9]")
_CALENDAR_UNITS = re.compile(r"P[^T]*[YM]")  # of an ISO 8601 duration
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt _].*(?:[Zz]|[-+\u2212][0-9]{2}:?(?:[0-9]{2})?)\s*")
_EXACT_INTEGER = 2**53
_WHOLE_NUMBER = re.compile(r"\s*[-+]?[0-9_]+\s*")
_ALL_DIGITS = Context(prec=2_000)  # a double has 1,075 at most
_BEYOND_INTEGERS = "an integer beyond 2^53 is not exact in double precision"
_BEYOND_DOUBLE = "is beyond what double precision holds"
_KIND_OF = {
    bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT, Decimal: Kind.DECIMAL, date: Kind.DATE, datetime: Kind.TIMESTAMP,
    time: Kind.TIME, timedelta: Kind.INTERVAL,
}  # fmt: skip
_TEMPORAL = {Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TIME, Kind.INTERVAL}
_REASONS_MAX = 5  # of one value: a list of a thousand wrong items says no more than its first ones

# Messages of these error types quote the input, or what a parser says of it, behind the comma or the colon.
_QUOTING_ERRORS = (
    "_parsing", "_type", "_unicode", "_from_datetime_parsing", "_encoding", "iteration_error", "get_attribute_error",
    "timezone_offset", "json_invalid", "url_syntax_violation",
)  # fmt: skip
_PYDANTICS_OWN = frozenset(get_args(core_schema.ErrorType))
JSON_TEXT_ERROR = "rowledger_json_text"
"""The type of our own errors about JSON that came as text; their messages are constants."""
_USERS_OWN = {"value_error": "Value error", "assertion_error": "Assertion failed"}
_HIDDEN = "…"
_PIECE_LENGTH_MIN = 3
_FUNCTIONS_MAX = 200  # whose code is looked through for the words of a message
_PLACEHOLDER = re.compile(r"%[-+ #0-9.]*[a-zA-Z]|\{[^{}]*\}")
_TYPE_LABELS = {
    "bool", "int", "float", "decimal", "str", "bytes", "date", "datetime", "time", "timedelta", "uuid", "list", "dict", "none",
    "constrained-int", "constrained-str", "constrained-float", "constrained-decimal",
}  # fmt: skip


def judge(rules: FieldRules, target: ColumnType, value: Any) -> FittedValue:
    """What pydantic says about one value that is not null, less its silent conversions."""
    if (reason := silent_conversion(rules, value)) is not None:
        return FittedValue(reason=reason)
    try:
        valid = rules.adapter.validate_python(value)
    except ValidationError as error:
        return FittedValue(reason=reason_of(error, rules.adapter))
    except (ValueError, ArithmeticError):
        return FittedValue(reason=f"Input should be a valid {rules.kind}")
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - code of the row model's own: its faults are the row's
        return FittedValue(reason=f"validating it raised {type(error).__name__}")
    if (reason := conversion_made(rules, value, valid)) is not None:
        return FittedValue(reason=reason)
    return fit_value(rules, target, valid)


def conversion_made(rules: FieldRules, value: Any, valid: Any) -> str | None:
    """A silent conversion that shows only in what pydantic made of the value: within a document, or of a union's members."""
    if rules.kind is Kind.JSON:
        return _conversion_inside(rules, value, valid)
    is_union = bool(rules.alternatives) and not rules.is_taken_charge_of
    return _loss_as_double(value) if is_union and type(valid) is float and isinstance(value, str | Decimal) else None


def _conversion_inside(rules: FieldRules, value: Any, valid: Any) -> str | None:
    if rules.is_taken_charge_of or rules.members is not None:
        return None
    try:
        return converted(value, rules.adapter.dump_python(valid, warnings=False))
    except (PydanticSerializationError, ValueError):
        return None  # it cannot be written either, which is found in a moment


def converted(value: Any, made: Any) -> str | None:
    """The first silent conversion, at any depth, between a value as it came and what pydantic made of it."""
    if isinstance(made, Enum):
        made = made.value
    match value, made:
        case None, _:
            return None
        case dict(), dict():
            if len(made) < len(value) and not all(
                isinstance(key, str) for key in made
            ):  # a model leaves unknown keys out
                return "has keys that are the same once they are converted"
            by_name = {str(key): item for key, item in made.items()}  # integers and dates are texts in an object
            inside: Iterator[tuple[Any, Any]] = (
                (item, by_name[str(key)]) for key, item in value.items() if str(key) in by_name
            )
        case list(), list() | tuple() if len(value) == len(made):
            inside = zip(value, made, strict=True)
        case _:
            kind = _KIND_OF.get(type(made))
            return None if kind is None else _conversion(kind, value)
    return next(filter(None, (converted(*pair) for pair in inside)), None)


def silent_conversion(rules: FieldRules, value: Any) -> str | None:
    """A conversion that pydantic's lax mode makes, and that would change a value or its meaning unseen."""
    if isinstance(value, Unreadable):
        return value.reason
    if rules.is_taken_charge_of or value is None:
        return None
    if rules.alternatives:
        reasons = [_conversion(kind, value) for kind in rules.alternatives]
        return None if None in reasons else reasons[0]
    if rules.element is not None and isinstance(value, list):
        return next(filter(None, (silent_conversion(rules.element, item) for item in value)), None)
    if rules.members is not None and isinstance(value, dict):
        inside = ((member, value.get(member.sources[0])) for member in rules.members)
        return next(filter(None, (silent_conversion(member, item) for member, item in inside)), None)
    return _conversion(rules.kind, value)


def _conversion(kind: Kind, value: Any) -> str | None:  # noqa: C901, PLR0911, PLR0912, one line a conversion
    if isinstance(value, bytes) and (kind in _TEMPORAL or kind is Kind.FLOAT):
        value = value.decode(errors="replace")  # pydantic reads them as it reads text
    match value:
        case _ if kind in {Kind.ANY, Kind.JSON, Kind.LIST}:
            return None
        case bool() if kind is not Kind.BOOL:
            return f"a boolean is not taken for a {kind}"
        case Decimal() if kind is Kind.BOOL and value not in (0, 1):
            return "a decimal other than 0 and 1 is not taken for a boolean"  # pydantic makes a double of it first
        case int() if kind is Kind.FLOAT and abs(value) > _EXACT_INTEGER:
            return _BEYOND_INTEGERS
        case str() | Decimal() if kind is Kind.FLOAT:
            return _loss_as_double(value)
        case int() | float() | Decimal() if kind in _TEMPORAL:
            return f"a number is not taken for a {kind}"
        case str() if kind in _TEMPORAL and _NUMBER.fullmatch(value):
            return f"a bare number is not taken for a {kind}"
        case datetime(tzinfo=zone) if kind is Kind.DATE and zone is not None:
            return "an instant is not taken for a date, which would lose its zone"
        case str() if kind is Kind.DATE and _INSTANT.search(value):
            return "an instant is not taken for a date, which would lose its zone"
        case str() if kind is Kind.INTERVAL and _CALENDAR_UNITS.search(value):
            return "a year or a month has no fixed length, which a duration needs"
        case str() if kind in _TEMPORAL and _LOST_FRACTION.search(value):
            return f"has digits below the microsecond, which a {kind} would lose"
        case _:
            return None


def _loss_as_double(value: str | Decimal) -> str | None:
    """What a number with digits, or its text, loses in double precision; None if it is one of those that name a double.

    Such are the shortest digits of a double, and, up to 2^53, any further ones of its own, as programs print them.
    """
    if _is_beyond_double(value):
        return _BEYOND_DOUBLE
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None  # no number, or none as Python writes it: pydantic decides
    if not number.is_finite():
        return None
    if isinstance(value, str) and abs(number) > _EXACT_INTEGER and _WHOLE_NUMBER.fullmatch(value):
        return _BEYOND_INTEGERS
    double = float(number)
    if Decimal(repr(double)) == number:
        return None
    try:
        is_of_a_double = abs(number) <= _EXACT_INTEGER and _ALL_DIGITS.quantize(Decimal(double), number) == number
    except InvalidOperation:
        is_of_a_double = False
    return None if is_of_a_double else "a decimal with more digits than double precision holds"


def _is_beyond_double(value: Any) -> bool:
    """Whether a number with digits, or its text, becomes an infinity in double precision, or a zero that it is not."""
    text = str(value)
    try:
        double = float(text)
    except ValueError:
        return False
    mantissa = re.split("[eE]", text, maxsplit=1)[0]
    if math.isinf(double):
        return any(letter.isdigit() for letter in mantissa)
    return double == 0 and any(letter.isdigit() and letter != "0" for letter in mantissa)


def reason_of(error: ValidationError, adapter: TypeAdapter[Any]) -> str:
    """What is wrong with one value, in pydantic's words."""
    names = field_names(adapter)
    words_found = words_of(error, partial(_field_constants, adapter))
    found = [f"{place_of(loc, names)}: {words}" if loc else words for loc, words in words_found]
    more = [f"and {len(found) - _REASONS_MAX} more"] if len(found) > _REASONS_MAX else []
    return "; ".join([*found[:_REASONS_MAX], *more])


def words_of(
    error: ValidationError, constants: Callable[[], Collection[str]]
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Where something is wrong, and what, in pydantic's words, without the row's values; the place may hold some.

    `constants` gives what `constants_in` finds in the schema of what was validated.
    """
    for detail in error.errors(include_url=False):
        yield detail["loc"], _message(detail, constants)


def place_of(loc: tuple[int | str, ...], names: Collection[str]) -> str:
    """A place by `names`, list positions and types alone: a key of a mapping is a value of the row."""
    return ".".join(
        str(step) if isinstance(step, int) or step in names or step in _TYPE_LABELS else _HIDDEN for step in loc
    )


@cache
def field_names(adapter: TypeAdapter[Any]) -> frozenset[str]:
    """The names that the declaration itself gives to places in a value."""
    return names_in(adapter.core_schema)


@cache
def _field_constants(adapter: TypeAdapter[Any]) -> frozenset[str]:
    return constants_in(adapter.core_schema)


def names_in(schema: Any) -> frozenset[str]:
    """The names in one of pydantic's own schemas."""
    return frozenset(_names(schema))


def _names(schema: Any) -> Iterator[str]:
    match schema:
        case dict():
            if isinstance(fields := schema.get("fields"), dict):
                yield from map(str, fields)
            yield from (
                schema[key] for key in ("validation_alias", "alias", "name") if isinstance(schema.get(key), str)
            )
            for part in schema.values():
                yield from _names(part)
        case list() | tuple():
            for part in schema:
                yield from _names(part)
        case str():
            yield schema  # an alias within a list of choices; whatever else it is, it is the model's, not the row's
        case _:
            pass


def _message(detail: Any, constants: Callable[[], Collection[str]]) -> str:
    kind, message = str(detail["type"]), str(detail["msg"])
    if kind in _USERS_OWN and isinstance(error := detail.get("ctx", {}).get("error"), BaseException):
        message = f"{_USERS_OWN[kind]}, {_constant_words(str(error), _constants(error.__traceback__))}"
    elif kind == "union_tag_invalid":
        message = f"Input tag does not match any of the expected tags: {detail['ctx']['expected_tags']}"
    elif kind == JSON_TEXT_ERROR:
        return message
    elif not _is_pydantics_own(detail):
        message = _constant_words(message, constants())
    elif kind.endswith(_QUOTING_ERRORS):
        message = re.split(r"[,:]", message, maxsplit=1)[0]
    return f"{message} [{kind}]"


def _is_pydantics_own(detail: Any) -> bool:
    """Whether the words are those that pydantic has for that error, and not a validator's under its name."""
    if detail["type"] not in _PYDANTICS_OWN:
        return False
    try:
        known = PydanticKnownError(detail["type"], detail.get("ctx"))
    except (TypeError, ValueError, KeyError):
        return False
    return bool(known.message() == detail["msg"])


def _constant_words(message: str, constants: Iterable[str]) -> str:
    """The message of a validator, less what it put in from the row: all but the constants of its code."""
    pieces = {
        part
        for constant in constants
        for part in (constant, *_PLACEHOLDER.split(constant))
        if len(part) >= _PIECE_LENGTH_MIN
    }
    known = [False] * len(message)
    for piece in pieces:
        start = message.find(piece)
        while start >= 0:
            known[start : start + len(piece)] = [True] * len(piece)
            start = message.find(piece, start + 1)
    shown = "".join(letter if is_known else "\0" for letter, is_known in zip(message, known, strict=True))
    return re.sub("\0+", _HIDDEN, shown)


def _constants(traceback: TracebackType | None) -> Iterator[str]:
    """The texts that stand in the code that raised, or that it names."""
    if traceback is None:
        return
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    yield from _texts_of(traceback.tb_frame.f_code, traceback.tb_frame.f_globals)


def _texts_of(code: CodeType, names: Mapping[str, Any]) -> Iterator[str]:
    found = (*code.co_consts, *(names.get(name) for name in code.co_names))
    yield from (text for text in found if isinstance(text, str))


def constants_in(schema: Any) -> frozenset[str]:
    """The texts that stand in the code of a schema's validators and of the functions they call by name, or that it names."""
    found: set[str] = set()
    seen: set[int] = set()
    functions = list(_functions(schema))
    while functions:
        function = functions.pop()
        if id(function) in seen or len(seen) == _FUNCTIONS_MAX:
            continue
        seen.add(id(function))
        if isinstance(function, partial):
            functions.append(function.func)
        elif isinstance(function, FunctionType):
            found.update(_texts_of(function.__code__, function.__globals__))
            named = (function.__globals__.get(name) for name in function.__code__.co_names)
            functions += [value for value in named if isinstance(value, FunctionType)]
        elif isinstance(function, MethodType):  # which may call others of its class
            owner = function.__self__ if isinstance(function.__self__, type) else type(function.__self__)
            members = (getattr(member, "__func__", member) for member in vars(owner).values())
            functions += [function.__func__, *(member for member in members if isinstance(member, FunctionType))]
        else:
            functions.append(vars(type(function)).get("__call__"))
    return frozenset(found)


def _functions(schema: Any) -> Iterator[Any]:
    match schema:
        case dict():
            for part in schema.values():
                yield from _functions(part)
        case list() | tuple():
            for part in schema:
                yield from _functions(part)
        case _ if callable(schema) and not isinstance(schema, type):
            yield schema
        case _:
            pass
