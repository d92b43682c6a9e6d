"""The user's modules behind a table: those whose code reads, checks or changes a row in a worker."""

import ast
import contextlib
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rowledger.spec.importing import MAINS, find_module, module_file
from rowledger.spec.table import TableSpec

__all__ = ["modules_behind"]

_LIBRARY_FOLDERS = {"site-packages", "dist-packages"}
_OWN_PACKAGE = __name__.partition(".")[0]


def modules_behind(spec: TableSpec) -> dict[str, str]:
    """A digest of each module of the user that a worker runs: SHA-256 of its file, by the module's name.

    They are the modules of the row model, the transform and the source's class, and all modules that these import, wherever in
    their text, and so on. Installed libraries are left out, but for the packages of those three.
    """
    makers = [spec.row, type(spec.source), *([] if spec.transform is None else [spec.transform.function])]
    names = {name for maker in makers for name in _with_packages(_true_name(maker.__module__))}
    packages = {name.partition(".")[0] for name in names} - {_OWN_PACKAGE}
    waiting = [name for name in names if name.partition(".")[0] in packages]
    seen, found = set(waiting), dict[str, str]()
    is_library = cache(_is_library)
    while waiting:
        name = waiting.pop()
        with contextlib.suppress(OSError):
            if (file := _file_of(name)) is not None:
                content = file.read_bytes()
                known_as = file.stem if name in MAINS else name.partition(" ")[0]  # see `import_file`
                found[known_as] = hashlib.sha256(content).hexdigest()
                for imported in _imports(content, name, is_package=file.stem == "__init__"):
                    package = imported.partition(".")[0]
                    if imported not in seen and (package in packages or not is_library(package)):
                        seen.add(imported)
                        waiting.append(imported)
    return found


def _true_name(module: str) -> str:
    """The name under which others import a module that `python -m` runs; the name itself otherwise."""
    running = getattr(sys.modules.get(module), "__spec__", None) if module in MAINS else None
    return module if running is None else running.name


def _is_library(package: str) -> bool:
    """Whether a top-level module is not the user's own: of the standard library, installed, built in, or not there at all."""
    if package == _OWN_PACKAGE or package in sys.stdlib_module_names or (found := find_module(package)) is None:
        return True
    places = found.submodule_search_locations or ([found.origin or ""] if found.has_location else [])
    return not places or any(not _LIBRARY_FOLDERS.isdisjoint(Path(place).parts) for place in places)


def _file_of(name: str) -> Path | None:
    """The text of a module, loaded or not; None for what is no module, or is not written in Python."""
    file: Path | None = None
    if (module := sys.modules.get(name)) is not None:
        file = module_file(module)
    elif (spec := find_module(name)) is not None and spec.has_location and spec.origin is not None:
        file = Path(spec.origin)
    return file if file is not None and file.suffix == ".py" else None


def _imports(content: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """The names of all modules that a module may import, and of their packages; `from a import b` may import `a.b`."""
    with contextlib.suppress(SyntaxError, ValueError):  # what cannot be parsed was not imported either
        for node in ast.walk(ast.parse(content)):
            match node:
                case ast.Import():
                    for alias in node.names:
                        yield from _with_packages(alias.name)
                case ast.ImportFrom():
                    around = module.split(".")[: -node.level + is_package or None] if node.level else []
                    base = ".".join([*around, *([node.module] if node.module else [])])
                    yield from _with_packages(base)
                    yield from (f"{base}.{alias.name}" for alias in node.names if base)


def _with_packages(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]
