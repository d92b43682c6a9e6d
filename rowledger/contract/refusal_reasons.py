"""The last word on suspicious values and the reason of a refusal: one value at a time.

Only suspects come here, and values of fields that have no column form. Reasons quote the row model's rules and never the
row's values: neither what a parser quotes of its input, nor what a validator of the user's put into its message.
"""

# ruff: noqa: ANN401, a cell of a source row may be anything

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, partial
from types import CodeType, FunctionType, MethodType, TracebackType
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticKnownError, core_schema

__all__ = ["JSON_TEXT_ERROR", "constants_in", "field_names", "names_in", "place_of", "reason_of", "words_of"]

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
