"""`rowledger infer`: a table from a file."""

from pathlib import Path

import click

from rowledger.counted import counted
from rowledger.errors import SpecError
from rowledger.infer import InferredTable, infer_table

__all__ = ["infer"]

_REASONS_MAX = 20


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
    _summarize(table, output)


def _summarize(table: InferredTable, output: Path | None) -> None:
    """Say on stderr what was found, and what to check by hand; no value of a row."""
    written = f", written to {output}" if output is not None else ""
    lines = [f"table {table.name}: {counted(table.rows, 'row')}, {counted(len(table.columns), 'column')}{written}"]
    width = max((len(column.name) for column in table.columns), default=0)
    for column in table.columns:
        null = "null" if column.nullable else "not null"
        source = f", {column.source_name!r} in the file" if column.source_name != column.name else ""
        lines.append(f"  {column.name:<{width}}  {column.type} {null}{source}")
    lines.append(f"candidate key: {', '.join(table.key) or 'none found'}")
    if table.partition_candidates:
        lines.append(f"partition_by could be: {', '.join(table.partition_candidates)}")
    lines.append(f"dead letters: {table.refused.rows:,} of {counted(table.rows, 'row')}")
    lines += [
        f"  {count:,} rows, {'a line' if column is None else column}: {reason}"
        for column, reason, count in table.refused.reasons[:_REASONS_MAX]
    ]
    if notes := table.notes:
        lines += ["check by hand:", *(f"  {note}" for note in notes)]
    click.echo("\n".join(lines), err=True)
