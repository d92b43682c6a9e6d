"""The text of a refusal: the row model's rules in pydantic's words, and never the row's values.

This excludes input that a parser quotes, and values that a user's validator puts into its message.
"""

# ruff: noqa: ANN401, a cell of a source row may be anything

import ast
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from inspect import getsource
from pathlib import Path
from traceback import extract_tb, walk_tb
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticKnownError, core_schema

from rowledger.contract.core_schema import modules_in, names_in

__all__ = ["JSON_TEXT_ERROR", "place_of", "reason_of", "words_of"]

_REASONS_MAX = 5  # per value: the first wrong items of a list say as much as a thousand

# Messages of these error types quote the input, or a parser's words about it, after the comma or the colon.
_QUOTING_ERRORS = (
    "_parsing", "_type", "_unicode", "_from_datetime_parsing", "_encoding", "iteration_error", "get_attribute_error",
    "timezone_offset", "json_invalid", "url_syntax_violation",
)  # fmt: skip
_PYDANTICS_OWN = frozenset(get_args(core_schema.ErrorType))
JSON_TEXT_ERROR = "rowledger_json_text"
"""The type of Rowledger's own errors about JSON in text form; their messages are constants."""
_USERS_OWN = {"value_error": "Value error", "assertion_error": "Assertion failed"}
_HIDDEN = "…"
_HOLDERS_OF_MESSAGES = (
    ast.Call, ast.keyword, ast.Assert, ast.Assign, ast.AnnAssign, ast.Return, ast.IfExp, ast.BinOp, ast.Attribute,
)  # fmt: skip
_PLACEHOLDER = re.compile(r"%[-+ #0-9.]*[a-zA-Z]|\{[^{}]*\}")
_TYPE_LABELS = {
    "bool", "int", "float", "decimal", "str", "bytes", "date", "datetime", "time", "timedelta", "uuid", "list", "dict", "none",
    "constrained-int", "constrained-str", "constrained-float", "constrained-decimal",
}  # fmt: skip


def reason_of(error: ValidationError, adapter: TypeAdapter[Any]) -> str:
    """Why one value is refused, in pydantic's words."""
    names, modules = _names_and_modules(adapter)
    found = [f"{place_of(loc, names)}: {words}" if loc else words for loc, words in words_of(error, modules)]
    more = [f"and {len(found) - _REASONS_MAX} more"] if len(found) > _REASONS_MAX else []
    return "; ".join([*found[:_REASONS_MAX], *more])


def words_of(error: ValidationError, modules: Collection[str]) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """The place of each error and its message in pydantic's words. The message has no values of the row; the place may.

    `modules` are those of the Python functions in the validated schema.
    """
    for detail in error.errors(include_url=False):
        yield detail["loc"], _message(detail, modules)


def place_of(loc: tuple[int | str, ...], names: Collection[str]) -> str:
    """A place in terms of `names`, list positions and types alone; a mapping's key is a value of the row, and is hidden."""
    return ".".join(
        str(step) if isinstance(step, int) or step in names or step in _TYPE_LABELS else _HIDDEN for step in loc
    )


@cache
def _names_and_modules(adapter: TypeAdapter[Any]) -> tuple[frozenset[str], frozenset[str]]:
    return names_in(adapter.core_schema), modules_in(adapter.core_schema)


def _message(detail: Any, modules: Iterable[str]) -> str:
    kind, message = str(detail["type"]), str(detail["msg"])
    if kind in _USERS_OWN and isinstance(error := detail.get("ctx", {}).get("error"), BaseException):
        message = _USERS_OWN[kind] + _of_validator(error)
    elif kind == "union_tag_invalid":
        message = f"Input tag does not match any of the expected tags: {detail['ctx']['expected_tags']}"
    elif kind == JSON_TEXT_ERROR:
        return message
    elif not _is_pydantics_own(detail):
        message = _words_of_users(message, modules) or "refused by code of the row model's own"
    elif kind.endswith(_QUOTING_ERRORS):
        message = re.split(r"[,:]", message, maxsplit=1)[0]
    return f"{message} [{kind}]"


def _is_pydantics_own(detail: Any) -> bool:
    """Whether the message is pydantic's own for that error type, and not a validator's that uses the type."""
    if detail["type"] not in _PYDANTICS_OWN:
        return False
    try:
        known = PydanticKnownError(detail["type"], detail.get("ctx"))
    except (TypeError, ValueError, KeyError):
        return False
    return bool(known.message() == detail["msg"])


def _words_of_users(message: str, modules: Iterable[str]) -> str | None:
    """A validator's message, reduced to texts in the source of these modules; None if it does not consist of them.

    What the source fills in at run time may come from the row, and is left out.
    """
    found = (pieces for module in modules for pieces in _templates_in(module) if _is_made_of(message, pieces))
    return max(map(_HIDDEN.join, found), key=len, default=None)


@cache
def _templates_in(module: str) -> frozenset[tuple[str, ...]]:
    """The sentences in a module's source, split where an f-string or a format inserts something.

    Single words and items of lists are left out: they may be values of the row that the code knows, such as Enum members.
    """
    try:
        source = ast.parse(getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return frozenset()
    texts: set[str] = set()
    for holder in ast.walk(source):
        for node in ast.iter_child_nodes(holder) if isinstance(holder, _HOLDERS_OF_MESSAGES) else ():
            match node:
                case ast.Constant(value=str(text)):
                    texts.add(text)
                case ast.JoinedStr(values=parts):
                    texts.add("".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts))
    return frozenset(tuple(_PLACEHOLDER.split(text)) for text in texts if " " in _PLACEHOLDER.sub("", text).strip())


def _is_made_of(message: str, pieces: Sequence[str]) -> bool:
    """Whether the message begins with the first piece, ends with the last, and has the others in between, in order."""
    if len(pieces) == 1:
        return message == pieces[0]
    first, *inner, last = pieces
    at, end = len(first), len(message) - len(last)
    if at > end or not (message.startswith(first) and message.endswith(last)):
        return False
    for piece in inner:  # not a regular expression: with several `.*` it takes for ever over a long message
        if (found := message.find(piece, at, end)) < 0:
            return False
        at = found + len(piece)
    return True


def _of_validator(error: BaseException) -> str:
    """The text for an exception that a validator raised: the words of its source, or the validator's name and line."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    if (words := _words_of_users(str(error), modules)) is not None:
        return f", {words}"
    called = extract_tb(error.__traceback__, limit=1)
    return f" in {called[0].name}, {Path(called[0].filename).name} line {called[0].lineno}" if called else ""
