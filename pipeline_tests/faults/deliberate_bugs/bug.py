"""A deliberate bug: a wrong collaborator in the place of a right one.

`in_place_of` names the right one by itself, and not as text: a type checker sees a name that has changed, and a signature too.
"""

import contextlib
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from types import ModuleType
from typing import ParamSpec, TypeVar

from rowledger.postgres import queries

__all__ = ["VARIABLE", "Bug", "all_bugs", "bug", "find_bug", "in_place_of", "in_query"]

P = ParamSpec("P")
R = TypeVar("R")

VARIABLE = "DELIBERATE_BUG"  # without the prefix of Rowledger's settings, which tests take out of the environment
"""The environment variable that names the bug of a process and its children, as `room.name`."""

_undo: list[Callable[[], None]] = []


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake, and the one test of the suite that is to notice it.

    `noticed` is part of what the test's failure says, so that it cannot fail for another reason.
    """

    make: Callable[[], None]
    test: str
    noticed: str

    @property
    def name(self) -> str:
        """Its module and its function."""
        return f"{self.make.__module__.rpartition('.')[2]}.{self.make.__name__}"

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Make the bug in this process, and undo it at the end of the block."""
        try:
            self.make()
            yield
        finally:
            while _undo:
                _undo.pop()()


def bug(*, test: str, noticed: str) -> Callable[[Callable[[], None]], Bug]:
    """Declare a bug. The function makes it in this process; its docstring says what an engineer may have thought."""
    return lambda make: Bug(make, test, noticed)


def find_bug(name: str) -> Bug:
    """The bug of that name. Imports its room alone: what a room imports, each worker of its tests imports too."""
    room, _, function = name.partition(".")
    found = getattr(importlib.import_module(f"{__package__}.{room}"), function)
    if not isinstance(found, Bug):
        raise TypeError(f"{name} is no bug")
    return found


def all_bugs() -> list[Bug]:
    """All bugs, room by room."""
    rooms = [importlib.import_module(f"{__package__}.{found.name}") for found in pkgutil.iter_modules([_FOLDER])]
    return [value for room in rooms for value in vars(room).values() if isinstance(value, Bug)]


def in_place_of(
    right: Callable[P, R], *, within: ModuleType | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Put the decorated function in the place of a function or method of Rowledger, wherever that is known by its name.

    With `within` a module, that module alone gets the wrong one. Raises LookupError where the right one is not found.
    """

    def put(wrong: Callable[P, R]) -> Callable[P, R]:
        places: list[tuple[object, str]]
        if within is not None:
            places = [(within, name) for name, value in vars(within).items() if value is right]
        elif "." in right.__qualname__:
            path = right.__qualname__.split(".")
            owner = reduce(getattr, path[:-1], sys.modules[right.__module__])
            places = [(owner, path[-1])] if vars(owner).get(path[-1]) is right else []
        else:
            modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "rowledger"]
            places = [(module, name) for module in modules for name, value in vars(module).items() if value is right]
        if not places:
            raise LookupError(f"{right.__qualname__} is not found in {within.__name__ if within else 'rowledger'}")
        for place, name in places:
            setattr(place, name, wrong)
            _undo.append(partial(setattr, place, name, right))
        return wrong

    return put


def in_query(name: str, pattern: str, replacement: str) -> None:
    """Put other SQL in the place of what the pattern finds once in a named query; raises LookupError where it finds none."""
    right = queries.query(name)
    wrong, found = re.subn(pattern, replacement, right)
    if found != 1 or wrong == right:
        raise LookupError(f"query {name}: {pattern!r} is found {found} times, not once, or the change changes nothing")
    known = queries._queries()
    known[name] = wrong
    _undo.append(lambda: known.update({name: right}))


_FOLDER = str(Path(__file__).parent)
