"""A row model's signature, which changes with anything that could change a verdict or a value.

A load that began under another signature is not resumed, because other rules checked part of its rows.
"""

# ruff: noqa: ANN401, a pydantic schema holds anything

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import partial
from inspect import getsource
from textwrap import dedent
from types import FunctionType, MethodType
from typing import Any
from uuid import uuid4

from pydantic import VERSION, BaseModel

__all__ = ["signature_of"]

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_NO_FILE = "<string>"
_NAMES_ONLY = {"ref", "schema_ref", "metadata"}  # keys numbered differently in each process, or about JSON schemas


def signature_of(model: type[BaseModel]) -> str:
    """SHA-256 over the model's fields, rules, settings and Python code, the same in each process."""
    digest = hashlib.sha256()
    own = [
        model.__pydantic_core_schema__,
        model.model_post_init,
        model.__init__ if model.__pydantic_custom_init__ else None,
    ]
    for part in _parts(own, frozenset()):
        digest.update(part.encode(errors="backslashreplace") + b"\n")
    return digest.hexdigest()


def _source_of(function: FunctionType) -> str:
    """The function's source, without comments if it parses alone; a new value on each call if there is no source.

    Without a source, a load is never resumed, because nothing shows whether the function is still the same.
    """
    if function.__module__.partition(".")[0] == "pydantic":  # all of its code changes with its version
        return f"pydantic {VERSION}"
    if function.__code__.co_filename == _NO_FILE:  # 3.13 returns the source of `python -c`, whatever function it is
        return uuid4().hex
    try:
        source = getsource(function.__code__)
    except OSError:
        return uuid4().hex
    try:
        return ast.unparse(ast.parse(dedent(source)))
    except SyntaxError:  # a lambda within an expression
        return source


def _parts(item: Any, around: frozenset[int]) -> Iterator[str]:  # noqa: C901, PLR0912, one branch per type
    if id(item) in around:  # a function that refers to itself
        return
    within = around | {id(item)}
    match item:
        case dict():
            for key in sorted(set(item) - _NAMES_ONLY, key=repr):
                yield f"{key!r}:"
                yield from _parts(item[key], within)
        case list() | tuple():
            yield f"{len(item)} items"
            for part in item:
                yield from _parts(part, within)
        case set() | frozenset():
            yield from sorted("".join(_parts(part, within)) for part in item)
        case FunctionType():
            yield f"function {item.__module__}.{item.__qualname__} {_source_of(item)}"
            yield from _parts([item.__defaults__, item.__kwdefaults__], within)
            for cell in item.__closure__ or ():
                try:
                    yield from _parts(cell.cell_contents, within)
                except ValueError:
                    yield "nothing yet"
        case MethodType():
            yield from _parts(item.__func__, within)
        case partial():
            yield from _parts([item.func, item.args, item.keywords], within)
        case type():
            yield f"{item.__module__}.{item.__qualname__}"
        case BaseModel():
            yield from _parts([type(item), dict(item)], within)
        case _:
            yield f"{type(item).__qualname__} {_ADDRESS.sub('', repr(item))}"
