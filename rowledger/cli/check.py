"""`rowledger check`: whether table specs can be used, and on request whether their sources and targets fit."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import click

from rowledger.cli.modules import specs_in
from rowledger.cli.partitions import NamedPartitions, names_partitions
from rowledger.cli.recorded_partitions import RecordedPartitions, read_recorded
from rowledger.contract import Contract, check_spec, require_partitions
from rowledger.counted import counted
from rowledger.errors import MissingPrivilege, RowledgerError, SpecError
from rowledger.load import SourceSample, TargetFindings, check_source, check_target
from rowledger.postgres import by_server, existing_url, servers_of
from rowledger.settings import settings
from rowledger.spec import WHOLE, Partition, TableSpec, WriteMode

__all__ = ["check"]

_ROWS = 10_000
_ROWS_MAX = 1_000_000
_CAUSES_MAX = 20


@click.command(
    short_help="Check table specs, and on request their sources and targets; exit code 1 when one has a mistake."
)
@click.argument("modules", nargs=-1, required=True, metavar="MODULE_OR_FILE...")
@click.option("--table", "tables", multiple=True, help="Only this table; may be given again.")
@click.option("--source", "with_source", is_flag=True, help="Try the row model on the first rows of a partition.")
@click.option(
    "--target", "with_target", is_flag=True, help="Look at the target, its columns and this role's privileges."
)
@names_partitions
@click.option(
    "--rows", "rows_max", default=_ROWS, show_default=True, type=click.IntRange(1, _ROWS_MAX), help="Rows to read."
)
@click.option("--landing-dir", type=click.Path(path_type=Path), help="The folder that {landing} stands for.")
def check(
    *,
    modules: tuple[str, ...],
    tables: tuple[str, ...],
    with_source: bool,
    with_target: bool,
    named: NamedPartitions,
    rows_max: int,
    landing_dir: Path | None,
) -> None:
    """Import each module or Python file, and report for each table spec in it whether it can be used.

    A spec counts if it is a name of the module, or an item of a list, a tuple or a dict that is. This needs no server.

    With --source the first rows of the partitions are read, with --target the database is asked. Nothing is written.
    """
    mistakes: list[str] = []
    usable = _usable_specs(modules, tables, mistakes)
    if unknown := sorted(set(tables) - {spec.name for spec in usable} - _names_in(mistakes, tables)):
        mistakes.append(f"{', '.join(modules)}: no spec of table {', '.join(unknown)} is at the module level")
    url = ""
    if with_target and any(spec.servers is None for spec in usable):
        try:
            url = existing_url()
        except RowledgerError as error:
            mistakes.append(str(error))
    for spec in usable:
        click.echo(f"table {spec.name}: it can be used; target {spec.target}")
        if not (with_source or with_target):
            continue
        try:
            partitions = _partitions(spec, named, url if spec.servers is None else "")
            require_partitions(spec, partitions)
        except RowledgerError as error:
            mistakes.append(str(error))
            continue
        found = _check_targets(spec, partitions, url, mistakes) if with_target else None
        if with_source:
            _check_source(spec, partitions, found, mistakes, rows_max, landing_dir or settings().landing_dir)
    if mistakes:
        raise SpecError("\n".join(mistakes))


def _usable_specs(modules: Sequence[str], tables: Sequence[str], mistakes: list[str]) -> list[TableSpec]:
    declared: dict[str, str] = {}
    usable = []
    for name in modules:
        try:
            found = specs_in(name)
        except RowledgerError as error:
            mistakes.append(str(error))
            continue
        for spec in found:
            if tables and spec.name not in tables:
                continue
            try:
                check_spec(spec)
                _require_first(spec, name, declared)
            except RowledgerError as error:
                mistakes.append(f"{name}: {error}")
            else:
                usable.append(spec)
    return usable


def _names_in(mistakes: Sequence[str], tables: Sequence[str]) -> set[str]:
    """The tables that a mistake is already told of."""
    return {table for table in tables if any(f"table {table}: " in mistake for mistake in mistakes)}


def _require_first(spec: TableSpec, module: str, declared: dict[str, str]) -> None:
    """Raise SpecError where another spec has the table's name or its target."""
    for thing in (f"table {spec.name}", f"target {spec.target}"):
        if (other := declared.get(thing)) is not None:
            raise SpecError(f"table {spec.name}: {thing} is already declared in {other}")
    declared |= dict.fromkeys((f"table {spec.name}", f"target {spec.target}"), module)


def _partitions(spec: TableSpec, named: NamedPartitions, url: str) -> list[Partition]:
    """The named partitions; of an unpartitioned table the whole, whatever is named for the others."""
    if spec.partition_by is None and (spec.write_mode is WriteMode.REPLACE or not named.are_given):
        return [WHOLE]
    if not named.are_given:
        return []

    def recorded(keys: Sequence[str]) -> RecordedPartitions:
        if url:
            # The look at the target names the privileges that are missing.
            with contextlib.suppress(MissingPrivilege):
                return read_recorded(url, spec, keys)
        return RecordedPartitions({}, {})

    return named.of(spec, recorded)


def _check_targets(
    spec: TableSpec, partitions: Sequence[Partition], url: str, mistakes: list[str]
) -> TargetFindings | None:
    """Look at the target; of a table on several servers on each that has the partitions, or on all where none is named."""
    if spec.servers is None:
        return _check_target(spec, partitions, url, mistakes) if url else None
    try:
        placed = by_server(spec, partitions) if partitions else {server: [] for server in servers_of(spec)}
    except RowledgerError as error:
        mistakes.append(str(error))
        return None
    found: TargetFindings | None = None
    for server, own in placed.items():
        click.echo(f"  server {server}")
        try:
            found = _check_target(spec, own, server.url, mistakes) or found
        except RowledgerError as error:
            mistakes.append(f"table {spec.name}: server {server}: {error}")
    return found


def _check_target(
    spec: TableSpec, partitions: Sequence[Partition], url: str, mistakes: list[str]
) -> TargetFindings | None:
    try:
        found = asyncio.run(check_target(spec, partitions, url=url))
    except RowledgerError as error:
        mistakes.append(str(error))
        return None
    mistakes.extend(problem if spec.name in problem else f"table {spec.name}: {problem}" for problem in found.problems)
    if found.creation:
        click.echo(f"  target: it is missing; the first load creates it:\n{_indented(found.creation)}")
        if spec.partition_by is not None and not partitions:
            click.echo("    (name a --partition to see how it would be partitioned)")
    elif found.target is not None and not found.problems:
        click.echo("  target: its columns fit, and this role may load it")
    return found


def _check_source(
    spec: TableSpec,
    partitions: Sequence[Partition],
    target: TargetFindings | None,
    mistakes: list[str],
    rows_max: int,
    landing_dir: Path,
) -> None:
    if spec.source.takes_rows:
        click.echo("  source: the program that loads the table gives its rows; they are not checked")
        return
    if not partitions:
        mistakes.append(f"table {spec.name}: its source is read partition by partition; name one by --partition")
        return
    columns = target.target.columns if target and target.target else Contract.of(spec.row).columns
    for partition in partitions:
        try:
            sample = asyncio.run(check_source(spec, partition, columns, landing_dir=landing_dir, rows_max=rows_max))
        except RowledgerError as error:
            place = f"table {spec.name}, partition {partition.key}"
            mistakes.append(str(error) if place in str(error) else f"{place}: {error}")
            continue
        _tell_sample(spec, partition, sample, mistakes)


def _tell_sample(spec: TableSpec, partition: Partition, sample: SourceSample, mistakes: list[str]) -> None:
    of = "" if partition == WHOLE else f", partition {partition.key}"
    rows = f"the first {counted(sample.rows, 'row')}" if sample.has_more else f"all {counted(sample.rows, 'row')}"
    click.echo(f"  source{of}: {rows} read; {counted(sample.refused_rows, 'row')} would be dead-lettered")
    for cause in sample.causes[:_CAUSES_MAX]:
        click.echo(f"    {cause.stage}: {cause}")
    if len(sample.causes) > _CAUSES_MAX:
        click.echo(f"    and {counted(len(sample.causes) - _CAUSES_MAX, 'reason')} more")
    if sample.refused_rows > spec.dead_letters.allowed_rows(sample.rows):
        mistakes.append(
            f"table {spec.name}, partition {partition.key}: of {rows}, {sample.refused_rows} would be dead-lettered; the "
            f"budget is {spec.dead_letters.told(sample.rows)}. Fix the source or the row model, or allow more in dead_letters"
        )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
