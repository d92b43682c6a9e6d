"""The table specs that commands work with: those in the ledger, or those that `--spec` and `-m` name."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from rowledger.cli.modules import specs_in
from rowledger.errors import NothingPublished, SpecError
from rowledger.ledger import KeptSpec, read_known_tables, read_specs, require_known
from rowledger.spec import TableSpec

__all__ = ["GivenSpecs", "KnownSpecs", "read_table_spec", "rebuilt", "with_modules", "with_spec"]

F = TypeVar("F", bound=Callable[..., Any])

_GIVE_ONE = "give -m MODULE, --spec MODULE:NAME or --spec FILE.py:NAME"


@dataclass(frozen=True)
class GivenSpecs:
    """The specs that options name: one by its reference, and those of modules. They are imported when they are asked for."""

    reference: str | None = None
    modules: tuple[str, ...] = ()

    @functools.cached_property
    def specs(self) -> list[TableSpec]:
        """The specs; raises SpecError for one that cannot be imported."""
        found = [] if self.reference is None else [TableSpec.from_reference(self.reference)]
        return [*found, *(spec for name in self.modules for spec in specs_in(name))]

    def of(self, table: str) -> TableSpec | None:
        """The spec of a table; None where the options name none. Raises SpecError where they name others, or two for it."""
        if not self.specs:
            return None
        found = [spec for spec in self.specs if spec.name == table]
        if any(spec != found[0] for spec in found):
            raise SpecError(
                f"{', '.join(self.modules)}: two specs are of table {table}; name one as MODULE:NAME instead"
            )
        if found:
            return found[0]
        if self.modules:
            known = ", ".join(dict.fromkeys(spec.name for spec in self.specs))
            raise SpecError(
                f"{', '.join(self.modules)}: no spec of table {table} is at the module level, only of {known}"
            )
        raise SpecError(f"--spec names the spec of table {self.specs[0].name}, not of table {table}")


_MODULES = click.option(
    "-m",
    "--module",
    "modules",
    multiple=True,
    metavar="MODULE_OR_FILE",
    help="Take the table's spec from this module of the project, or from this Python file; may be given again.",
)
_SPEC = click.option(
    "--spec",
    "reference",
    metavar="MODULE:NAME",
    help="Take this table spec; or FILE.py:NAME. Without it and -m that of the latest load, which the ledger keeps.",
)


def with_spec(command: F) -> F:
    """Add the options `--spec` and `-m`, which the command gets as `given`, a GivenSpecs."""

    @functools.wraps(command)
    def with_given(*arguments: Any, reference: str | None, modules: Sequence[str], **options: Any) -> object:  # noqa: ANN401
        return command(*arguments, given=GivenSpecs(reference, tuple(modules)), **options)

    return _SPEC(_MODULES(with_given))  # type: ignore[return-value] # as click's own decorators


def with_modules(command: F) -> F:
    """Add the option `-m` alone, for a command whose argument may be a spec's reference."""
    return _MODULES(command)


class KnownSpecs:
    """The specs in the ledger, which the given specs replace."""

    def __init__(self, url: str, given: GivenSpecs) -> None:
        self._given = given
        self._given_specs = given.specs  # a mistake in them ends the command before the server is asked
        kept = read_specs(url)  # the latest first
        self._of_table = {spec.table_name: spec for spec in reversed(kept)}
        self._of_target = {spec.target: spec for spec in reversed(kept)}
        self.tables = read_known_tables(url)

    def require(self, table: str) -> TableSpec:
        """The spec of that table; raises SpecError that says why there is none to use, and NothingRecorded."""
        if (spec := self._given.of(table)) is not None:
            return spec
        kept = self._of_table.get(table)
        if kept is None:
            require_known(table, self.tables)
        return rebuilt(table, kept)

    def is_on_servers(self, table: str) -> bool:
        """Whether the spec of that table, as options or the ledger have it, names several servers."""
        for spec in self._given_specs:
            if spec.name == table:
                return spec.servers is not None
        kept = self._of_table.get(table)
        return kept is not None and kept.names_servers

    def require_of_target(self, table: str, target: str) -> TableSpec:
        """The spec of the latest load into the target, whatever its name; raises SpecError and NothingPublished."""
        for spec in self._given_specs:
            if target == str(spec.target):
                return spec
        for spec in self._given_specs:
            if table == spec.name:
                raise _elsewhere(table, target, str(spec.target))
        kept = self._of_target.get(target)
        if kept is None and (moved := self._of_table.get(table)) is not None:
            raise _elsewhere(table, target, moved.target)
        return rebuilt(table, kept)


def _elsewhere(table: str, target: str, now: str) -> NothingPublished:
    return NothingPublished(
        f"table {table}: its loads are in {target}, but the table spec names {now} now; they cannot be verified"
    )


def read_table_spec(url: str, table: str, given: GivenSpecs | None = None) -> TableSpec:
    """The spec of one table; raises SpecError, and NothingRecorded for a table that the ledger does not know."""
    return KnownSpecs(url, given or GivenSpecs()).require(table)


def rebuilt(table: str, kept: KeptSpec | None) -> TableSpec:
    """The spec that the ledger keeps of a table; raises SpecError that says why it cannot be used."""
    if kept is None:
        raise SpecError(
            f"table {table}: the ledger has no spec of it, since it was last loaded by a Rowledger that kept none; load a "
            f"partition of it, or {_GIVE_ONE}"
        )
    try:
        return TableSpec.from_json(kept.spec)
    except SpecError as error:
        raise SpecError(
            f"table {table}: the spec of its latest load cannot be used: {error}; run this in the folder of the table's "
            f"code, or {_GIVE_ONE}"
        ) from error
