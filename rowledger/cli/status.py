"""`rowledger status` and `rowledger incidents`: what the ledger records. Neither needs the tables' specs."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich import box
from rich.table import Table
from rich.text import Text

from rowledger.cli.balance_table import balance_table, print_whole, width_of
from rowledger.cli.console import console, state_text
from rowledger.cli.selection import ANY_TABLE, PARTITIONS
from rowledger.cli.servers import SERVER, chosen_url
from rowledger.cli.shown_partitions import ShownPartition, read_shown
from rowledger.cli.specs import GivenSpecs, with_spec
from rowledger.counted import counted
from rowledger.errors import DiscrepancyFound
from rowledger.ledger import (
    Attempt,
    AttemptState,
    KeptIncident,
    PartitionStatus,
    PublishedRows,
    RowCounts,
    read_incidents,
)
from rowledger.postgres import TargetServer
from rowledger.settings import host_name

__all__ = ["incidents", "print_balance", "status"]

_INCIDENTS_WIDTH_MIN = 120  # columns of a terminal on which a line of an incident has all facts and some words
_RUN_CHARACTERS = 8  # of a run's id, as Dagster's pages shorten it


@click.command(short_help="What readers see of each partition, and the latest attempt at it.")
@ANY_TABLE
@PARTITIONS
@click.option("--failed", is_flag=True, help="Only partitions that are not published, or whose latest attempt failed.")
@click.option("--exit-code", "use_exit_code", is_flag=True, help="End with exit code 1 if there is such a partition.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with totals.")
@SERVER
@with_spec
@click.pass_context
def status(
    ctx: click.Context,
    /,
    *,
    table_name: str | None,
    partitions: Sequence[str],
    failed: bool,
    use_exit_code: bool,
    as_json: bool,
    server: str | None,
    given: GivenSpecs,
) -> None:
    """Show what readers see of each partition, and why the latest attempt is not what they see.

    Rows are those of the published load, or of all published loads where they add up. Readers see nothing of a failed
    attempt. A table on several servers is shown server by server; one that cannot be read ends the command with exit code 1.
    """
    found, problems = read_shown(table_name, partitions, server, given)
    bad = [one for one in found if not one.is_well]
    shown = bad if failed else found
    if as_json:
        click.echo(json.dumps({**_as_json(shown), "problems": problems}, indent=2, default=_plain))
    elif shown:
        for on, of_server in itertools.groupby(shown, lambda one: one.server):
            _print(on, list(of_server))
    elif found or not problems:
        by = "published by its latest attempt" if len(found) == 1 else "all published by their latest attempt"
        click.echo(f"{counted(len(found), 'partition')}, {by}")
    if problems:
        raise DiscrepancyFound("\n".join(problems))
    if use_exit_code and bad:
        ctx.exit(1)


def _print(server: TargetServer | None, shown: Sequence[ShownPartition]) -> None:
    """Print the partitions of one server."""
    if server is not None:
        click.echo(f"server {server}")
    print_balance([one.status for one in shown])
    for line in attempt_lines([one.status for one in shown]):
        click.echo(line)
    for one in shown:
        if one.misplaced:
            click.echo(f"{one.status.table} {one.status.partition_key}: {one.misplaced}")


@click.command(short_help="Workers that died, with host, pid, cause and chunk.")
@ANY_TABLE
@PARTITIONS
@click.option("--all-loads", is_flag=True, help="Those of earlier loads too, which a later load has made good or will.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@SERVER
def incidents(
    *, table_name: str | None, partitions: Sequence[str], all_loads: bool, as_json: bool, server: str | None
) -> None:
    """List what guards noticed during the latest load of each partition, mostly deaths of workers.

    What concerns a whole run, such as an outage of the database, has no partition.
    """
    url = chosen_url(server, table_name, partitions)
    found = read_incidents(url, table_name, partitions, every_load=all_loads)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(incident) for incident in found], indent=2, default=_plain))
        return
    of = f"table {table_name}" if table_name else ""
    named = ", ".join(filter(None, [of, f"partition {', '.join(partitions)}" if partitions else ""]))
    if found:
        print_incidents(found)
        return
    none = (
        "no load has incidents"
        if all_loads
        else "the latest loads have no incidents; --all-loads lists those of earlier ones"
    )
    click.echo(f"{named and f'{named}: '}{none}")


def print_balance(rows: Sequence[PartitionStatus]) -> None:
    """Print what readers see of each partition, and the sums. Partitions that are not published have no figures.

    On a terminal that is too narrow, headings and times are shorter, and runs are left out, which the lines of failed
    attempts name.
    """
    page = console()
    shown = _balance_table(rows, narrow=False)
    if page.width < width_of(shown):
        shown = _balance_table(rows, narrow=True)
    print_whole(page, shown)


def _balance_table(rows: Sequence[PartitionStatus], *, narrow: bool) -> Table:
    tables = sorted({row.table for row in rows})
    published = [row.published for row in rows]
    time_of = _short_time if narrow else _minute
    leading = {"table": [Text(row.table) for row in rows]} if len(tables) > 1 else {}
    leading["partition"] = [Text(row.partition_key) for row in rows]
    leading["published (UTC)"] = [Text("-" if found is None else time_of(found.published_at)) for found in published]
    run = [Text(_short(None if found is None else found.run_id)) for found in published]
    attempts = [state_text(row.latest.state) for row in rows]
    return balance_table(
        f"table {', '.join(tables)}",
        leading,
        [None if found is None else found.counts for found in published],
        [row.latest.worker_deaths for row in rows],
        {"latest attempt": attempts} if narrow else {"run": run, "latest attempt": attempts},
        narrow=narrow,
    )


def attempt_lines(rows: Sequence[PartitionStatus]) -> list[str]:
    """The latest attempts that readers do not see: the run, how far it came, why it failed. Commands stay on one line."""
    told: list[str] = []
    for row in rows:
        if row.latest.state is AttemptState.PUBLISHED:
            continue
        if row.published is not None:
            seen = f"readers see {row.published.counts.written_rows:,} rows of {_minute(row.published.published_at)}"
        elif row.latest.state is AttemptState.FORGOTTEN:
            seen = "rows of it that are still in the table are not accounted for until it is loaded again"
        else:
            seen = "readers see no rows of it"
        told.append(f"{row.table} {row.partition_key}: {_attempt(row.latest)}; {seen}")
        if row.latest.reason:
            told.append(f"  {row.latest.reason.removeprefix(f'table {row.table}, partition {row.partition_key}: ')}")
    return told


def _attempt(latest: Attempt) -> str:
    if latest.state is AttemptState.FORGOTTEN:  # the run that had loaded it
        return f"{latest.state}: load {latest.load_id} of run {_short(latest.run_id)}, {latest.staged_rows:,} rows"
    by = f" by run {_short(latest.run_id)}" if latest.run_id else ""
    if latest.load_id is None:
        return f"{latest.state} at {_minute(latest.at)}{by}, before a load was begun"
    return (
        f"{latest.state} at {_minute(latest.at)}{by}, load {latest.load_id}: "
        f"{latest.chunks_committed} of {counted(latest.chunks, 'chunk')}; "
        f"rows: {latest.staged_rows:,} staged, {latest.dead_lettered_rows:,} dead-lettered"
    )


def print_incidents(incidents: Sequence[KeptIncident]) -> None:
    """Print incidents as a table, with hosts where there are others than this one.

    On a narrow terminal times are shorter, and runs, exit codes and attempts are left out.
    """
    page = console()
    page.print(_incident_table(incidents, narrow=page.width < _INCIDENTS_WIDTH_MIN))


def _incident_table(incidents: Sequence[KeptIncident], *, narrow: bool = False) -> Table:
    """Incidents as a table."""
    time_of = _short_time if narrow else _minute
    columns: dict[str, list[object]] = {
        "at (UTC)": [time_of(incident.detected_at) for incident in incidents],
        "run": [_short(incident.run_id) for incident in incidents],
        "table": [incident.table for incident in incidents],
        "partition": [incident.partition_key for incident in incidents],
        "host": [incident.host for incident in incidents],
        "pid": [incident.pid for incident in incidents],
        "kind": [incident.kind for incident in incidents],
        "exit code": [incident.exit_code for incident in incidents],
        "chunk": [incident.chunk_no for incident in incidents],
        "attempt": [incident.attempt or None for incident in incidents],
        "what happened": [incident.summary for incident in incidents],
    }
    left_out = {"run", "exit code", "attempt"} if narrow else set()
    if len(set(columns["table"])) == 1:
        left_out.add("table")
    if set(columns["host"]) == {host_name()}:
        left_out.add("host")
    shown = Table(title="incidents", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    named = {name: facts for name, facts in columns.items() if name not in left_out}
    for name in named:
        shown.add_column(name, overflow="fold", no_wrap=name in {"at (UTC)", "run", "pid"})
    for cells in zip(*named.values(), strict=True):
        shown.add_row(*(Text("-" if fact is None else str(fact)) for fact in cells))
    return shown


def _as_json(shown: Sequence[ShownPartition]) -> dict[str, object]:
    rows = [one.status for one in shown]
    published = [row.published for row in rows if row.published is not None]
    totals = sum((found.counts for found in published), RowCounts())
    return {
        "partitions": [
            {
                **dataclasses.asdict(one.status),
                "published": None if one.status.published is None else _published_as_json(one.status.published),
                "missing_rows": None if one.status.published is None else one.status.published.counts.missing_rows,
                "server": None if one.server is None else one.server.variable,
                "misplaced": one.misplaced,
                "is_well": one.is_well,
            }
            for one in shown
        ],
        "totals": {
            "partitions": len(rows),
            "published_partitions": len(published),
            "failed_partitions": sum(not one.is_well for one in shown),
            **dataclasses.asdict(totals),
            "missing_rows": totals.missing_rows,
            "incidents": sum(row.latest.incidents for row in rows),
            "worker_deaths": sum(row.latest.worker_deaths for row in rows),
        },
    }


def _published_as_json(published: PublishedRows) -> dict[str, object]:
    facts = dataclasses.asdict(published)
    return {**facts, **facts.pop("counts")}


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _short_time(at: datetime) -> str:
    return f"{at:%m-%d %H:%M}" if at.year == datetime.now(UTC).year else f"{at:%Y-%m-%d}"


def _short(run_id: str | None) -> str:
    return (run_id or "-")[:_RUN_CHARACTERS]


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
