"""The user's tables: one module a table, each with a row model and a module-level `TableSpec`.

A module whose name begins with an underscore is left alone: a place for what several tables share. A file with a mistake makes
its own tables unusable and no others.
"""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from rowledger.contract import check_spec
from rowledger.errors import RowledgerError, SpecError
from rowledger.spec import TableSpec, mistake

__all__ = ["BrokenTable", "Tables", "read_tables", "table"]


_DECLARED_NAME = re.compile(rf"\b{TableSpec.__name__}\(\s*name\s*=\s*[\"'](\w+)[\"']")


@dataclass(frozen=True, slots=True)
class BrokenTable:
    """A table that cannot be used: its name, as far as it can be told from the file's text, and the file's mistake.

    `message` is one line that begins with file and line.
    """

    name: str
    message: str

    @property
    def error(self) -> SpecError:
        return SpecError(self.message)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that can be used, by name, and those that cannot."""

    specs: Mapping[str, TableSpec]
    broken: tuple[BrokenTable, ...]

    def require(self, name: str) -> TableSpec:
        """The spec of that name; raises SpecError that says what is wrong with its file, or lists the known ones."""
        if name in self.specs:
            return self.specs[name]
        for broken in self.broken:
            if broken.name == name:
                raise broken.error
        files = "; ".join(broken.message for broken in self.broken)
        raise SpecError(
            f"unknown table {name!r}; known tables: {', '.join(sorted(self.specs)) or 'none'}"
            f"{f'; and these files cannot be read: {files}' if files else ''}"
        )


def read_tables() -> Tables:
    """Every table of this package; a mistake in one file is kept beside the tables of the others."""
    specs: dict[str, TableSpec] = {}
    broken: list[BrokenTable] = []
    owners: dict[str, str] = {}
    for module_info in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        stem = module_info.name.rpartition(".")[2]
        if stem.startswith("_"):
            continue
        file = f"{module_info.name.replace('.', '/')}.py"
        text = _text(stem)
        try:
            module = importlib.import_module(module_info.name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's file raises is that file's mistake
            message = f"{file}{mistake(error, Path(__path__[0]) / f'{stem}.py').partition(f'{stem}.py')[2]}"
            broken += [BrokenTable(name, message) for name in _names_in(text) or _DECLARED_NAME.findall(text) or [stem]]
            continue
        own = [spec for spec in _specs(module) if spec not in specs.values()]
        if not own:
            said = "no TableSpec stands at module level; name one, or begin the file's name with '_'"
            broken.append(BrokenTable(stem, f"{file}: {said}"))
        for spec in own:
            line = _names_in(text).get(spec.name)
            if (refusal := _refusal(spec, owners)) is not None:
                where = file if line is None else f"{file}: line {line}"
                broken.append(BrokenTable(spec.name, f"{where}: {refusal}"))
                continue
            owners |= {f"table {spec.name}": file, f"target {spec.target}": file}
            specs[spec.name] = spec
    return Tables(specs, tuple(broken))


def _refusal(spec: TableSpec, owners: Mapping[str, str]) -> RowledgerError | None:
    """Why a spec cannot be used beside those before it."""
    try:
        check_spec(spec)
    except RowledgerError as error:
        return error
    taken = next((name for name in (f"table {spec.name}", f"target {spec.target}") if name in owners), None)
    return None if taken is None else SpecError(f"{taken} is already declared in {owners[taken]}")


def table(name: str) -> TableSpec:
    """The spec of that name, whatever is wrong with other files; raises SpecError."""
    return read_tables().require(name)


def _specs(module: ModuleType) -> list[TableSpec]:
    return [value for value in vars(module).values() if isinstance(value, TableSpec)]


def _text(stem: str) -> str:
    """The file's text; empty for one that cannot be read as such, which its import will tell of."""
    for folder in __path__:
        try:
            return (Path(folder) / f"{stem}.py").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return ""


def _names_in(text: str) -> dict[str, int]:
    """The names of the specs that a file declares, each with its line, as far as its text alone tells them."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return {}
    return dict(_declared(tree))


def _declared(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called != TableSpec.__name__:
            continue
        for keyword in node.keywords:
            if (
                keyword.arg == "name"
                and isinstance(keyword.value, ast.Constant)
                and isinstance(keyword.value.value, str)
            ):
                yield keyword.value.value, node.lineno
