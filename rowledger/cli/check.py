"""`rowledger check`: whether the files of `pipeline/tables/` can be used."""

import click

from pipeline.tables import read_tables
from rowledger.errors import SpecError

__all__ = ["check"]


@click.command(short_help="Read every table's file; exit code 1 when one has a mistake.")
def check() -> None:
    """Read every file of pipeline/tables/ and say what is wrong with it. No server is asked."""
    tables = read_tables()
    for name, spec in tables.specs.items():
        click.echo(f"table {name}: its file can be used; target {spec.target}")
    if not tables.specs and not tables.broken:
        raise SpecError("there is no table: pipeline/tables/ holds no file that declares one")
    if tables.broken:
        raise SpecError("\n".join(broken.message for broken in tables.broken))
