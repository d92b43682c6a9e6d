"""The user's modules behind a table: those whose code reads, checks or changes a row in a worker."""

import ast
import contextlib
import hashlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from rowledger.spec.importing import MAINS, find_module, module_file
from rowledger.spec.table import TableSpec

__all__ = ["modules_behind"]

_LIBRARY_FOLDERS = {"site-packages", "dist-packages"}
_OWN_PACKAGE = __name__.partition(".")[0]
_VARIANT = re.compile(r" \(\d+\)$")  # see `import_file`


def modules_behind(spec: TableSpec, *, also: Iterable[str] = ()) -> dict[str, str]:
    """A digest of each module of the user that a worker runs: SHA-256 of its file, by the module's name.

    They are the modules of the row model, the transform and the source's class, and all modules that these import, wherever in
    their text, and so on. Installed libraries are left out, but for the packages of those three. `also` names modules that
    count in any case, such as those that another machine has found.

    Reads and parses files: call it in a thread.
    """
    makers = [spec.row, type(spec.source), *([] if spec.transform is None else [spec.transform.function])]
    names = {name for maker in makers for name in _with_packages(_true_name(maker.__module__))}
    packages = {name.partition(".")[0] for name in names} - {_OWN_PACKAGE}
    waiting = [name for name in names if name.partition(".")[0] in packages]
    seen, found = set(waiting), dict[str, set[str]]()
    is_library = cache(_is_library)
    while waiting:
        name = waiting.pop()
        if (file := _file_of(name)) is None or (name.partition(".")[0] not in packages and _is_installed(file)):
            continue
        with contextlib.suppress(OSError):
            content = file.read_bytes()
            # Files that were imported by their paths may share a name.
            known_as = file.stem if name in MAINS else _VARIANT.sub("", name)
            found.setdefault(known_as, set()).add(hashlib.sha256(content).hexdigest())
            for imported in _imports(content, name, is_package=file.stem == "__init__"):
                package = imported.partition(".")[0]
                if imported not in seen and (package in packages or not is_library(package)):
                    seen.add(imported)
                    waiting.append(imported)
    for name in {*also} - found.keys():
        with contextlib.suppress(OSError):
            if (file := _file_of(name)) is not None:
                found[name] = {hashlib.sha256(file.read_bytes()).hexdigest()}
    return {name: " ".join(sorted(digests)) for name, digests in found.items()}


def _true_name(module: str) -> str:
    """The name under which others import a module that `python -m` runs; the name itself otherwise."""
    running = getattr(sys.modules.get(module), "__spec__", None) if module in MAINS else None
    return module if running is None else running.name


def _is_library(package: str) -> bool:
    """Whether no module of a package is the user's own: of the standard library, installed, built in, or not there at all.

    Several distributions share a namespace package, so that says nothing about their modules.
    """
    if package == _OWN_PACKAGE or package in sys.stdlib_module_names or (found := find_module(package)) is None:
        return True
    return found.origin is not None and (not found.has_location or _is_installed(Path(found.origin)))


def _is_installed(file: Path) -> bool:
    return not _LIBRARY_FOLDERS.isdisjoint(file.parts)


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
    for node in _nodes(content):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield from _with_packages(alias.name)
            case ast.ImportFrom():
                around = module.split(".")[: -node.level + is_package or None] if node.level else []
                base = ".".join([*around, *([node.module] if node.module else [])])
                yield from _with_packages(base)
                yield from (f"{base}.{alias.name}" for alias in node.names if base)


def _nodes(content: bytes) -> Iterable[ast.AST]:
    """All of a module's syntax; none of what cannot be parsed, and was not imported either."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the module's own import has told them, or will
        try:
            return ast.walk(ast.parse(content))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ()


def _with_packages(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]
