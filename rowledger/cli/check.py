"""`rowledger check`: whether the table specs of some modules can be used."""

import click

from rowledger.cli.modules import specs_in
from rowledger.contract import check_spec
from rowledger.errors import RowledgerError, SpecError
from rowledger.spec import TableSpec

__all__ = ["check"]


@click.command(short_help="Import modules that declare tables; exit code 1 when one has a mistake.")
@click.argument("modules", nargs=-1, required=True, metavar="MODULE_OR_FILE...")
def check(*, modules: tuple[str, ...]) -> None:
    """Import each module or Python file, and report for each table spec in it whether it can be used. Needs no server.

    A spec counts if it is a name of the module, or an item of a list, a tuple or a dict that is.
    """
    mistakes: list[str] = []
    declared: dict[str, str] = {}
    for name in modules:
        try:
            found = specs_in(name)
        except RowledgerError as error:
            mistakes.append(str(error))
            continue
        for spec in found:
            try:
                check_spec(spec)
                _require_first(spec, name, declared)
            except RowledgerError as error:
                mistakes.append(f"{name}: {error}")
            else:
                click.echo(f"table {spec.name}: it can be used; target {spec.target}")
    if mistakes:
        raise SpecError("\n".join(mistakes))


def _require_first(spec: TableSpec, module: str, declared: dict[str, str]) -> None:
    """Raise SpecError where another spec has the table's name or its target."""
    for thing in (f"table {spec.name}", f"target {spec.target}"):
        if (other := declared.get(thing)) is not None:
            raise SpecError(f"table {spec.name}: {thing} is already declared in {other}")
    declared |= dict.fromkeys((f"table {spec.name}", f"target {spec.target}"), module)
