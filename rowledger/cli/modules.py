"""The table specs of a module of the user's project."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from rowledger.errors import SpecError
from rowledger.spec import TableSpec, import_file, import_module

__all__ = ["specs_in"]


def specs_in(name: str) -> list[TableSpec]:
    """Import a module, by its name or its file, and return its specs, each once; raises SpecError where it has none.

    A spec counts if it is a name of the module, or an item of a list, a tuple or a dict that is.
    """
    is_file = name.endswith(".py") or "/" in name
    found = list(_specs_of(import_file(Path(name).absolute()) if is_file else import_module(name)))
    if not found:
        raise SpecError(f"{name}: no TableSpec is at its module level; name one there")
    return found


def _specs_of(module: ModuleType) -> Iterator[TableSpec]:
    """Each spec once, in the order of the module's names."""
    seen: list[TableSpec] = []
    for value in vars(module).values():
        for spec in _parts(value):
            if isinstance(spec, TableSpec) and not any(spec is other for other in seen):
                seen.append(spec)
                yield spec


def _parts(value: object) -> Iterable[object]:
    match value:
        case list() | tuple():
            return value
        case dict():
            return value.values()
        case _:
            return (value,)
