"""`rowledger infer`: a table from a file."""

import shlex
from pathlib import Path

import click

from rowledger.errors import SpecError
from rowledger.infer import infer_table, spec_name, summary_of

__all__ = ["infer"]


@click.command(short_help="Write the row model and the table spec that fit a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="The table's name; the file's if not given.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the module to this new file, not to stdout.")
def infer(*, file: Path, name: str | None, output: Path | None) -> None:
    """Infer a table from a CSV, NDJSON, Parquet or Arrow file: types, nullability, a candidate key.

    The row model is tried on all rows of the file. What it refuses is counted on stderr, by reason.
    """
    if output is not None and output.exists():
        raise SpecError(f"{output}: exists already; name a new file, or remove it")
    table = infer_table(file, name=name)
    if output is None:
        click.echo(table.module_text(), nl=False)
    else:
        output.write_text(table.module_text(), encoding="utf-8")
    written_to = None if output is None else str(output)
    click.echo("\n".join(summary_of(table, written_to=written_to)), err=True)
    partition = (
        f" --partition {table.partitions.path.key} --by {table.partitions.path.cadence}" if table.partitions else ""
    )
    module = click.format_filename(output or f"{table.name}.py")
    if output is None:
        named = "" if name is None else f" --name {shlex.quote(name)}"
        given = f"{shlex.quote(click.format_filename(file))}{named} --output {shlex.quote(module)}"
        click.echo(f"to write it: rowledger infer {given}", err=True)
    click.echo(f"to load it: rowledger load {shlex.quote(f'{module}:{spec_name(table.name)}')}{partition}", err=True)
