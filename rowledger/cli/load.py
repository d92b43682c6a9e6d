"""`rowledger load`: load partitions of a table without Dagster."""

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import ValidationError
from rich.text import Text

from rowledger.cli.balance_table import balance_table, print_whole
from rowledger.cli.console import console, state_text
from rowledger.cli.load_observer import observing_load
from rowledger.cli.partitions import NamedPartitions, names_partitions
from rowledger.cli.recorded_partitions import RecordedPartitions, read_recorded
from rowledger.cli.specs import GivenSpecs, read_table_spec, with_modules
from rowledger.counted import counted
from rowledger.errors import DatabaseUnavailable, LoadFailed, RowledgerError
from rowledger.ledger import AttemptState, PartitionReport, RowCounts, reason_of
from rowledger.load import load as load_partitions
from rowledger.postgres import servers_of, target_url
from rowledger.settings import WriterSettings
from rowledger.spec import TableSpec

__all__ = ["load"]

_REASONS_MAX = 20


@click.command(short_help="Load partitions of a table; exit code 1 when one was not published.")
@click.argument("spec", metavar="SPEC")
@with_modules
@names_partitions
@click.option("--landing-dir", type=click.Path(path_type=Path), help="The folder that {landing} stands for.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the writer, as workers=4; may be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the balances as JSON.")
def load(
    *,
    spec: str,
    modules: Sequence[str],
    named: NamedPartitions,
    landing_dir: Path | None,
    settings: Sequence[str],
    as_json: bool,
) -> None:
    """Load partitions of a table, and account for every row.

    SPEC names the table's spec: MODULE:NAME, FILE.py:NAME, or the name of a table that -m MODULE declares or that was
    loaded before. Progress goes to standard error. The exit code is 0 only if the database has confirmed every row of
    every partition; otherwise the reason is the last line.

    \b
    rowledger load my_project.tables:WEATHER --partition 2024-03-01 --by day
    rowledger load -m my_project.tables weather --partition-range 2024-03-01...2024-03-31 --by day
    rowledger load weather --partition 2024-03-01        (again, as it was loaded before)
    """  # noqa: D301 - click takes the backspace for: keep the lines
    writer = _writer(settings)
    found = _spec(spec, modules)
    url = target_url() if found.servers is None else None
    partitions = named.of(found, lambda keys: _recorded(url, found, keys))
    with observing_load() as observer:
        reports = load_partitions(
            found, partitions, url=url, landing_dir=landing_dir, writer=writer, observer=observer, check=False
        )
    failed = [report for report in reports if report.error is not None]
    if as_json:
        click.echo(json.dumps(_as_json(found, reports), indent=2))
    else:
        _print_balances(found, reports)
    if failed:
        raise LoadFailed(_reason(found, failed, len(reports)), reports=reports)


def _recorded(url: str | None, spec: TableSpec, keys: Sequence[str]) -> RecordedPartitions:
    """What the ledger has of the partitions, or those of all servers; one that is away is told, and its partitions fail."""
    if url is not None:
        return read_recorded(url, spec, keys)
    found = RecordedPartitions({}, {})
    for server in servers_of(spec):
        try:
            found = found.with_those_of(read_recorded(server.url, spec, keys))
        except DatabaseUnavailable as error:
            click.echo(f"server {server}: {error}", err=True)
    return found


def _spec(text: str, modules: Sequence[str]) -> TableSpec:
    if ":" in text:
        if modules:
            raise click.UsageError(f"{text} names a spec, and -m a module to find one in; give one of them")
        return TableSpec.from_reference(text)
    given = GivenSpecs(modules=tuple(modules))
    if (found := given.of(text)) is not None:
        return found
    try:
        return read_table_spec(target_url(), text, given)
    except RowledgerError as error:
        raise type(error)(f"{error}; or name its spec: MODULE:NAME, FILE.py:NAME, or -m MODULE {text}") from None


def _writer(given: Sequence[str]) -> WriterSettings:
    values = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in WriterSettings.model_fields:
            known = ", ".join(sorted(WriterSettings.model_fields))
            raise click.BadParameter(f"{text!r} is not NAME=VALUE with one of {known}", param_hint="--set")
        values[name] = value
    try:
        return WriterSettings.model_validate(values)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, found['loc'])) or 'settings'}: {found['msg']}" for found in error.errors()
        )
        raise click.BadParameter(told, param_hint="--set") from None


def _print_balances(spec: TableSpec, reports: Sequence[PartitionReport]) -> None:
    """Print what each partition has now, as `rowledger status` does: one that was not published has no figures."""
    done, failed = state_text(AttemptState.PUBLISHED), state_text(AttemptState.FAILED)
    table = balance_table(
        f"table {spec.name}",
        {
            "partition": [Text(report.partition_key) for report in reports],
            **({"server": [Text(report.server) for report in reports]} if spec.servers else {}),
        },
        [report.counts if report.published else None for report in reports],
        [len(report.deaths) for report in reports],
        {
            "seconds": [Text(f"{report.seconds:.1f}", justify="right") for report in reports],
            "this load": [done if report.published else failed for report in reports],
        },
    )
    print_whole(console(), table)
    if letters := sum(report.dead_lettered_rows for report in reports if report.published):
        only = [report.partition_key for report in reports if report.published and report.dead_lettered_rows]
        of = f" --partition {shlex.quote(only[0])}" if len(only) == 1 and only[0] != "all" else ""
        click.echo(f"{counted(letters, 'dead letter')}: rowledger dead-letters list --table {spec.name}{of}")


def _reason(spec: TableSpec, failed: Sequence[PartitionReport], partitions: int) -> str:
    """Why partitions were not published, one line each; the last thing that the command says."""
    texts = [reason_of(report.error) for report in failed if report.error is not None]
    place = f"table {spec.name}, partition "
    told = [
        text if text.startswith(place) else f"{place}{report.partition_key}: {text}"
        for report, text in zip(failed, texts, strict=True)
    ]
    if partitions == 1:
        return told[0]
    more = [f"and {len(told) - _REASONS_MAX} more"] if len(told) > _REASONS_MAX else []
    head = f"table {spec.name}: {len(failed)} of {counted(partitions, 'partition')} not published"
    return "\n".join([head, *told[:_REASONS_MAX], *more])


def _as_json(spec: TableSpec, reports: Sequence[PartitionReport]) -> dict[str, object]:
    published = [report for report in reports if report.published]
    totals = sum((report.counts for report in published), RowCounts())
    return {
        "table": spec.name,
        "target": str(spec.target),
        "published": len(published) == len(reports),
        "partitions": [_report_as_json(report) for report in reports],
        "totals": {
            "partitions": len(reports),
            "published_partitions": len(published),
            **dataclasses.asdict(totals),
            "missing_rows": totals.missing_rows,
        },
    }


def _report_as_json(report: PartitionReport) -> dict[str, object]:
    return {
        "partition_key": report.partition_key,
        "server": report.server or None,
        "published": report.published,
        "load_id": report.load_id,
        **dataclasses.asdict(report.counts),
        "missing_rows": report.counts.missing_rows,
        "discarded_values": report.discarded_values,
        "chunks": report.chunks,
        "retries": report.retries,
        "resumed": report.resumed,
        "seconds": round(report.seconds, 3),
        "checks": [dataclasses.asdict(check) for check in report.checks],
        "incidents": [
            {name: value for name, value in dataclasses.asdict(incident).items() if name != "stderr_tail"}
            for incident in report.incidents
        ],
        "error": None if report.error is None else reason_of(report.error),
        "error_kind": None if report.error is None else type(report.error).__name__,
    }
