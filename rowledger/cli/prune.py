"""`rowledger prune`: delete old ledger entries of replaced and failed loads."""

import json
import shlex

import click

from rowledger.cli.age import Age, age_of
from rowledger.cli.selection import ANY_TABLE
from rowledger.cli.servers import SERVER, chosen_url
from rowledger.counted import counted
from rowledger.ledger import PrunableEntries, find_prunable, prune as prune_entries

__all__ = ["prune"]

_NOUNS = {
    "loads": "load",
    "chunks": "chunk",
    "dead_letters": "resolved dead letter",
    "incidents": "incident",
    "failed_attempts": "failed attempt",
}


@click.command(short_help="Delete old ledger entries of replaced and failed loads.")
@click.option(
    "--older-than",
    required=True,
    metavar="AGE",
    callback=age_of,
    help="Only what ended longer ago: 90d, 12h, 2w; a number alone is in days.",
)
@ANY_TABLE
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; needs --yes or --dry-run.")
@SERVER
def prune(
    *, older_than: Age, table_name: str | None, dry_run: bool, yes: bool, as_json: bool, server: str | None
) -> None:
    """Delete old ledger entries that nothing needs any more.

    These are replaced, rejected, abandoned and repeated loads, with their chunks, incidents and resolved dead letters, and
    earlier failed attempts. The table is not touched.

    What stays: every published load, each partition's latest load, failures that are later, loads at work, every dead letter
    that is not resolved, and entries that were edited by hand. Status, verify, replays, appends and reruns answer as
    before. It may run beside loads.
    """
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json does not ask; give --yes or --dry-run")
    url = chosen_url(server, table_name)
    found = find_prunable(url, older_than_s=older_than.seconds, table=table_name)
    something = any(found.counts.values())
    if something and not (as_json or yes or dry_run):
        click.confirm(f"Delete {_told(found.counts)} from the ledger?", abort=True)
    deleted = prune_entries(url, found) if something and not dry_run else None
    if as_json:
        facts = {
            "prunable": found.counts,
            "loads_by_state": dict(found.loads_by_state),
            "kept_for_dead_letters": dict(found.kept_by_table),
            "deleted": deleted,
        }
        click.echo(json.dumps(facts, indent=2))
        return
    if deleted is not None:
        click.echo(f"{_told(deleted)} deleted")
    elif something:
        states = ", ".join(f"{number} {state}" for state, number in sorted(found.loads_by_state.items()))
        click.echo(f"would delete {_told(found.counts)}{f'; the loads: {states}' if states else ''}")
    else:
        click.echo("nothing to delete")
    _tell_kept(found, older_than)


def _told(counts: dict[str, int]) -> str:
    return ", ".join(counted(number, _NOUNS[kind]) for kind, number in counts.items() if number) or "nothing"


def _tell_kept(found: PrunableEntries, older_than: Age) -> None:
    for table, loads in sorted(found.kept_by_table.items()):
        click.echo(
            f"table {table}: {counted(loads, 'load')} kept for dead letters that are not resolved; these go by: "
            f"rowledger dead-letters purge --table {shlex.quote(table)} --older-than {older_than.text}"
        )
