"""`rowledger status`, `rowledger verify` and `rowledger incidents`: what the ledger says."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime

import click
from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.errors import DiscrepancyFound
from pipeline.model.report import PartitionStatus
from pipeline.operations.forget import run_forget
from pipeline.operations.status import KeptIncident, read_incidents, read_status
from pipeline.operations.verify import run_verify
from pipeline.postgres.database import target_url
from pipeline.tables import all_tables
from pipeline.tables import table as table_named

__all__ = ["balance_table", "forget", "incident_table", "incidents", "status", "verify"]

_PLAIN_WIDTH = 160  # columns of a table that goes to a file or a pipe


@click.command(short_help="What was enqueued, written and dead-lettered, a line a partition.")
@click.option("--table", "table_name", help="Only this table.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with totals.")
def status(*, table_name: str | None, as_json: bool) -> None:
    """Show the latest load of each partition."""
    if table_name is not None:
        table_named(table_name)
    rows = read_status(target_url(), table_name)
    if as_json:
        click.echo(json.dumps(_as_json(rows), indent=2, default=_plain))
        return
    if not rows:
        click.echo(f"nothing has been loaded yet; tables: {', '.join(sorted(all_tables()))}")
        return
    _console().print(balance_table(rows))


@click.command(short_help="Compare published partitions with the ledger; exit code 1 when one differs.")
@click.option("--table", "table_name", help="Only this table.")
@click.option("--partition", "partitions", multiple=True, help="Only this partition; may be given again.")
def verify(*, table_name: str | None, partitions: Sequence[str]) -> None:
    """Count and fingerprint the published partitions, and compare them with what was loaded."""
    specs = all_tables().values() if table_name is None else [table_named(table_name)]
    url = target_url()
    differing: list[str] = []
    for spec in specs:
        results = run_verify(spec, url=url, partition_keys=partitions or None)
        bad = [result for result in results if not result.passed]
        for result in bad:
            for check in result.checks:
                if not check.passed:
                    click.echo(f"{spec.name} {result.partition_key}: {check.name}: {check.summary}", err=True)
        if bad:
            differing.append(f"table {spec.name}: {len(bad)} of {len(results)} published partitions")
        else:
            click.echo(f"table {spec.name}: {len(results)} published partitions are what was loaded")
    if differing:
        raise DiscrepancyFound(f"{', '.join(differing)} differ from the ledger")


@click.command(short_help="Stop answering for published rows; an append adds them again.")
@click.option("--table", "table_name", required=True)
@click.option("--partition", "partitions", multiple=True, help="Only this partition; may be given again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(*, table_name: str, partitions: Sequence[str], yes: bool) -> None:
    """Forget published loads whose rows somebody has truncated, dropped or changed on purpose.

    The table is left as it is. The next load takes what it finds there for given, and an append adds rows that it has added
    before. Where partitions cannot be told apart in the table, all loads of the table are forgotten.
    """
    spec, url = table_named(table_name), target_url()
    if not yes:
        of = f"partitions {', '.join(partitions)} of table" if partitions else "table"
        click.confirm(f"Forget the published loads of {of} {table_name}?", abort=True)
    forgotten = run_forget(spec, url=url, partition_keys=partitions or None)
    click.echo(f"{len(forgotten)} published loads of table {table_name} are forgotten")


@click.command(short_help="Workers that died, with pid, cause and chunk.")
@click.option("--table", "table_name", required=True)
@click.option("--partition", help="Only this partition.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def incidents(*, table_name: str, partition: str | None, as_json: bool) -> None:
    """List the worker deaths of the latest load of each partition."""
    table_named(table_name)
    found = read_incidents(target_url(), table_name, partition=partition)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(incident) for incident in found], indent=2, default=_plain))
        return
    _console().print(incident_table(found) if found else f"no worker of table {table_name} has died")


def balance_table(rows: Sequence[PartitionStatus]) -> Table:
    """Each partition's balance, and the sum; as wide as a terminal of 80 columns."""
    tables = sorted({row.table for row in rows})
    shown = Table(
        title=f"table {', '.join(tables)}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=True,
        pad_edge=False,
        collapse_padding=True,
    )
    leading = {"partition": [row.partition_key for row in rows], "state": [str(row.state) for row in rows]}
    if len(tables) > 1:
        leading = {"table": [row.table for row in rows], **leading}
    numbers = {
        "enqueued": [row.enqueued_rows for row in rows],
        "written": [row.written_rows for row in rows],
        "dead letters": [row.dead_lettered_rows for row in rows],
        **({"added": [row.added_rows for row in rows]} if any(row.added_rows for row in rows) else {}),
        **({"filtered": [row.filtered_rows for row in rows]} if any(row.filtered_rows for row in rows) else {}),
        "missing": [row.missing_rows for row in rows],
        "worker deaths": [row.incidents for row in rows],
    }
    for name in leading:
        shown.add_column(name, no_wrap=True)
    for name, values in numbers.items():
        shown.add_column(name, f"{sum(values):,}", justify="right", min_width=6)
    shown.add_column("run", no_wrap=True, min_width=8)
    for index, row in enumerate(rows):
        texts = [values[index] for values in leading.values()]
        figures = [f"{values[index]:,}" for values in numbers.values()]
        shown.add_row(*texts, *figures, (row.run_id or "")[:8])
    return shown


def incident_table(incidents: Sequence[KeptIncident]) -> Table:
    """Workers that died."""
    columns = ("partition", "pid", "kind", "exit code", "chunk", "attempt", "what happened")
    shown = Table(*columns, title="incidents", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for incident in incidents:
        shown.add_row(
            incident.partition_key,
            str(incident.pid),
            incident.kind,
            str(incident.exit_code),
            str(incident.chunk_no),
            str(incident.attempt),
            incident.summary,
        )
    return shown


def _as_json(rows: Sequence[PartitionStatus]) -> dict[str, object]:
    return {
        "partitions": [dataclasses.asdict(row) for row in rows],
        "totals": {
            "partitions": len(rows),
            "enqueued_rows": sum(row.enqueued_rows for row in rows),
            "written_rows": sum(row.written_rows for row in rows),
            "dead_lettered_rows": sum(row.dead_lettered_rows for row in rows),
            "filtered_rows": sum(row.filtered_rows for row in rows),
            "added_rows": sum(row.added_rows for row in rows),
            "incidents": sum(row.incidents for row in rows),
        },
    }


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
