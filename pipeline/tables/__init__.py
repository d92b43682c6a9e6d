"""The user's tables: one module a table, each with a row model and a module-level `TableSpec`.

A module whose name begins with an underscore is left alone: a place for what several tables share.
"""

import importlib
import pkgutil
from types import ModuleType

from pydantic import ValidationError

from pipeline.contract.check import Contract
from pipeline.errors import RowledgerError, SpecError
from pipeline.model.table import TableSpec

__all__ = ["all_tables", "check_spec", "table"]


def all_tables() -> dict[str, TableSpec]:
    """Every table spec in this package, by name; raises SpecError that names the file and its mistake."""
    specs: dict[str, TableSpec] = {}
    owners: dict[str, str] = {}
    for module_info in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        if module_info.name.rpartition(".")[2].startswith("_"):
            continue
        file = f"{module_info.name.replace('.', '/')}.py"
        own = [spec for spec in _specs(_import(module_info.name, file)) if spec not in specs.values()]
        if not own:
            raise SpecError(f"{file}: no TableSpec stands at module level; name one, or begin the file's name with '_'")
        for spec in own:
            try:
                check_spec(spec)
            except RowledgerError as error:
                raise SpecError(f"{file}: {error}") from None
            for taken in (f"table {spec.name}", f"target {spec.target}"):
                if taken in owners:
                    raise SpecError(f"{file}: {taken} is already declared in {owners[taken]}")
                owners[taken] = file
            specs[spec.name] = spec
    return specs


def table(name: str) -> TableSpec:
    """The spec of that name; raises SpecError that lists the known ones."""
    specs = all_tables()
    if name not in specs:
        raise SpecError(f"unknown table {name!r}; known tables: {', '.join(sorted(specs))}")
    return specs[name]


def check_spec(spec: TableSpec) -> None:
    """What a spec's own validation cannot see: that its row model has columns for all it asks; raises RowledgerError."""
    columns = {column.name: column for column in Contract.of(spec.row).columns}
    if nullable := [name for name in spec.key if columns[name].nullable]:
        raise SpecError(f"table {spec.name}: key columns {nullable} may be null; a key's columns must not be")
    try:
        spec.partitions.require_types({name: column.type.name for name, column in columns.items()})
    except SpecError as error:
        raise SpecError(f"table {spec.name}: {error}") from None


def _specs(module: ModuleType) -> list[TableSpec]:
    return [value for value in vars(module).values() if isinstance(value, TableSpec)]


def _import(name: str, file: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ValidationError as error:
        raise SpecError(f"{file}: {_mistakes(error)}") from None
    except Exception as error:
        raise SpecError(f"{file}: {type(error).__name__}: {error}") from error


def _mistakes(error: ValidationError) -> str:
    """Each mistake in one line, in our own words where they are ours."""
    texts = []
    for mistake in error.errors(include_url=False):
        own = mistake.get("ctx", {}).get("error")
        field = ".".join(str(part) for part in mistake["loc"])
        texts.append(str(own) if isinstance(own, SpecError) else f"{field}: {mistake['msg']}")
    return "; ".join(texts)
