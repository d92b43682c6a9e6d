"""The table specs that commands work with: those in the ledger, or the one that `--spec` names."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from rowledger.errors import NothingPublished, NothingRecorded, SpecError
from rowledger.ledger import KeptSpec, read_known_tables, read_specs
from rowledger.spec import TableSpec

__all__ = ["KnownSpecs", "read_table_spec", "with_spec"]

F = TypeVar("F", bound=Callable[..., Any])

_GIVE_ONE = "give --spec MODULE:NAME or --spec FILE.py:NAME"


def with_spec(command: F) -> F:
    """Add the option `--spec`, which the command gets as `given`."""
    return click.option(
        "--spec",
        "given",
        metavar="MODULE:NAME",
        help="This table spec instead of the one of the latest load, which the ledger keeps; or FILE.py:NAME.",
    )(command)


class KnownSpecs:
    """The specs in the ledger, one of which the given spec may replace."""

    def __init__(self, url: str, given: str | None) -> None:
        self._given = None if given is None else TableSpec.from_reference(given)
        kept = read_specs(url)  # the latest first
        self._of_table = {spec.table_name: spec for spec in reversed(kept)}
        self._of_target = {spec.target: spec for spec in reversed(kept)}
        self.tables = read_known_tables(url)

    def require(self, table: str) -> TableSpec:
        """The spec of that table; raises SpecError that says why there is none to use, and NothingRecorded."""
        if self._given is not None:
            if self._given.name != table:
                raise SpecError(f"--spec names the spec of table {self._given.name}, not of table {table}")
            return self._given
        kept = self._of_table.get(table)
        if kept is None and table not in (names := {known.table_name for known in self.tables}):
            knows = f"it knows {', '.join(sorted(names))}" if names else "it knows none"
            raise NothingRecorded(f"the ledger has no table {table!r}; {knows}")
        return _rebuilt(table, kept)

    def require_of_target(self, table: str, target: str) -> TableSpec:
        """The spec of the latest load into the target, whatever its name; raises SpecError and NothingPublished."""
        if self._given is not None and target == str(self._given.target):
            return self._given
        if self._given is not None and table == self._given.name:
            raise _elsewhere(table, target, str(self._given.target))
        kept = self._of_target.get(target)
        if kept is None and (moved := self._of_table.get(table)) is not None:
            raise _elsewhere(table, target, moved.target)
        return _rebuilt(table, kept)


def _elsewhere(table: str, target: str, now: str) -> NothingPublished:
    return NothingPublished(
        f"table {table}: its loads are in {target}, but the table spec names {now} now; they cannot be verified"
    )


def read_table_spec(url: str, table: str, given: str | None = None) -> TableSpec:
    """The spec of one table; raises SpecError, and NothingRecorded for a table that the ledger does not know."""
    return KnownSpecs(url, given).require(table)


def _rebuilt(table: str, kept: KeptSpec | None) -> TableSpec:
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
