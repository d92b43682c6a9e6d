"""The user's tables: one module a table, each with a row model and a module-level `TableSpec`."""

import importlib
import pkgutil

from pipeline.errors import SpecError
from pipeline.model.table import TableSpec

__all__ = ["all_tables", "table"]


def all_tables() -> dict[str, TableSpec]:
    """Every table spec in this package, by name; raises SpecError when two share a name or a target."""
    specs: dict[str, TableSpec] = {}
    targets: dict[str, str] = {}
    for module_info in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        module = importlib.import_module(module_info.name)
        for spec in vars(module).values():
            if not isinstance(spec, TableSpec) or spec.row.__module__ != module.__name__:
                continue
            if spec.name in specs or str(spec.target) in targets:
                other = targets.get(str(spec.target), spec.name)
                raise SpecError(f"{module_info.name}: table {spec.name} ({spec.target}) clashes with table {other}")
            specs[spec.name] = spec
            targets[str(spec.target)] = spec.name
    return specs


def table(name: str) -> TableSpec:
    """The spec of that name; raises SpecError that lists the known ones."""
    specs = all_tables()
    if name not in specs:
        raise SpecError(f"unknown table {name!r}; known tables: {', '.join(sorted(specs))}")
    return specs[name]
