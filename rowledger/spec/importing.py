"""Where a process finds the modules of the user's project, and how it imports one: by name or by file."""

import contextlib
import importlib
import importlib.util
import itertools
import os
import sys
import traceback
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from rowledger.errors import RowledgerError, SpecError
from rowledger.settings import import_folders

__all__ = [
    "MAINS",
    "find_module",
    "import_file",
    "import_module",
    "import_path",
    "is_importable",
    "mistake",
    "module_file",
]

MAINS = ("__main__", "__mp_main__")
"""Names of the module that a process was started with; multiprocessing uses the second one in a child process."""
_MESSAGE_CHARS_MAX = 500


def import_path() -> list[str]:
    """The folders from which another process can import what this one can: the absolute folders of `sys.path`, in its order.

    Before them come the folders that modules of this process were imported from and that have since left `sys.path`: Dagster
    adds its working directory only while it imports the definitions.
    """
    listed = import_folders()
    return [*_former_folders(tuple(listed), len(sys.modules)), *listed]


@lru_cache(maxsize=1)
def _former_folders(listed: tuple[str, ...], _modules: int) -> list[str]:
    """Folders that modules were found in, without the listed ones. The number of modules is part of the cache key."""
    modules = [*sys.modules.copy().items()]  # the copy is made at once; another thread may import while a list is
    # A folder from which only a file was imported, by its path, was never searched for modules.
    former = {root for name, module in modules for root in _roots(name, module) if root in sys.path_importer_cache}
    if former := former.difference(listed):
        former.difference_update(path for _, module in modules for path in _package_path(module))
    return sorted(former)


def _roots(name: str, module: ModuleType) -> list[str]:
    """The folder in which a top-level module or package was found; several for a namespace package."""
    if "." in name or name in MAINS:
        return []
    if folders := _package_path(module):
        return [folder.rpartition(os.sep)[0] for folder in folders]
    file = _own(module, "__file__")
    return [file.rpartition(os.sep)[0]] if isinstance(file, str) else []


def _package_path(module: ModuleType) -> list[str]:
    """The folders of a package."""
    return [path for path in _own(module, "__path__") or () if isinstance(path, str)]


def _own(module: ModuleType, attribute: str) -> Any:  # noqa: ANN401 - what a module has under that name
    """Read from the module's namespace, because a lazy module imports every attribute it is asked for, or runs then."""
    try:
        return object.__getattribute__(module, "__dict__").get(attribute)
    except AttributeError:  # `sys.modules` may hold anything
        return None


def module_file(module: ModuleType) -> Path | None:
    """The file of a module; None for a module without one, such as that of an interactive session."""
    file = _own(module, "__file__")
    return Path(file).absolute() if isinstance(file, str) else None


def is_importable(name: str, file: Path | None) -> bool:
    """Whether an import of `name`, in a process with our `import_path`, finds `file`; None means a module without a file."""
    if (found := find_module(name)) is None:
        return False
    if file is None:
        return not found.has_location
    return found.origin is not None and _is_same(Path(found.origin), file)


def find_module(name: str) -> ModuleSpec | None:
    """What an import of `name`, in a process with our `import_path`, would find; it is not imported, nor are its packages."""
    path: list[str] | None = None
    found: ModuleSpec | None = None
    for package in itertools.accumulate(name.split("."), "{}.{}".format):
        if (found := _found(package, path)) is not None:
            path = list(found.submodule_search_locations or ())
        # A namespace package in another package is not found before that is imported.
        elif not (path := [folder for each in path or () if (folder := _below(each, package)) is not None]):
            return None
    return found


def _below(folder: str, package: str) -> str | None:
    inner = Path(folder, package.rpartition(".")[2])
    return str(inner) if inner.is_dir() else None


def _found(name: str, path: list[str] | None) -> ModuleSpec | None:
    """What a new import would find; `importlib.util.find_spec` would return modules that are already loaded."""
    for finder in sys.meta_path:
        where = import_path() if path is None and finder is PathFinder else path
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            if (found := finder.find_spec(name, where, None)) is not None:
                return found
    return None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def import_module(name: str) -> ModuleType:
    """The module of that name; if `python -m` runs it, the running one. Raises SpecError with the module's mistake."""
    running = sys.modules["__main__"]
    if running.__spec__ is not None and running.__spec__.name == name:
        return running
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise SpecError(f"there is no module {error.name!r} on this process's import path") from None
        raise SpecError(mistake(error, _file_of(name))) from error


def import_file(file: Path) -> ModuleType:
    """The module of that file: the loaded one, or a new one named after the file. Raises SpecError with the file's mistake."""
    for module in list(sys.modules.values()):  # `__main__` is the first of them
        if module_file(module) == file:
            return module
    if not file.is_file():
        raise SpecError(f"there is no file {file}")
    name = _free_name(file.stem)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SpecError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs, as `import` does: pydantic looks there for names in annotations
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise SpecError(mistake(error, file)) from error
    return module


def _free_name(stem: str) -> str:
    """The stem; if another module has that name, a variant that no import statement can name."""
    name, number = stem, 1
    while name in sys.modules:
        number += 1
        name = f"{stem} ({number})"
    return name


def _file_of(name: str) -> Path | None:
    """The file of a module that could not be imported."""
    parent, _, _ = name.rpartition(".")
    package = sys.modules.get(parent)
    found = _found(name, None if not parent else _package_path(package) if package is not None else [])
    return Path(found.origin) if found is not None and found.has_location and found.origin else None


def mistake(error: BaseException, file: Path | None) -> str:
    """What the import of a file raised, on one line: file, line and mistake."""
    match error:
        case ValidationError():
            told = "; ".join(_mistakes(error))
        case RowledgerError():
            told = str(error)
        case SyntaxError():
            told = f"{type(error).__name__}: {error.msg}"
        case _:
            told = f"{type(error).__name__}: {error}"
    told = " ".join(told.split())[:_MESSAGE_CHARS_MAX]
    if file is None:
        return told
    line = _line(error, file)
    return f"{_shown(file)}: {'' if line is None else f'line {line}: '}{told}"


def _mistakes(error: ValidationError) -> Iterator[str]:
    """Each mistake: the message of a SpecError where a validator raised one, otherwise pydantic's."""
    for found in error.errors(include_url=False):
        own = found.get("ctx", {}).get("error")
        field = ".".join(str(part) for part in found["loc"])
        yield str(own) if isinstance(own, SpecError) else f"{field}: {found['msg']}"


def _line(error: BaseException, file: Path) -> int | None:
    """The line of the file at which its import failed."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == file:
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if Path(frame.filename) == file), None)


def _shown(file: Path) -> str:
    """The file's path, relative to the current folder where it lies in it."""
    with contextlib.suppress(ValueError, FileNotFoundError):
        return str(file.relative_to(Path.cwd()))
    return str(file)
