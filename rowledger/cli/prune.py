"""`rowledger prune`: delete old ledger entries of replaced and failed loads."""

import json
import re

import click

from rowledger.cli.selection import ANY_TABLE
from rowledger.counted import counted
from rowledger.ledger import PrunableEntries, find_prunable, prune as prune_entries
from rowledger.postgres import existing_url

__all__ = ["prune"]

_SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"(\d+)([mhdw])")
_DAY_S = _SECONDS["d"]
_NOUNS = {
    "loads": "load",
    "chunks": "chunk",
    "dead_letters": "resolved dead letter",
    "incidents": "incident",
    "failed_attempts": "failed attempt",
}


def _age_s(_ctx: click.Context, _option: click.Parameter, text: str) -> int:
    if (match := _AGE.fullmatch(text)) is None:
        raise click.BadParameter(f"{text!r} is no age; write a number and m, h, d or w, such as 90d")
    return int(match[1]) * _SECONDS[match[2]]


@click.command(short_help="Delete old ledger entries of replaced and failed loads.")
@click.option(
    "--older-than",
    "older_than_s",
    required=True,
    metavar="AGE",
    callback=_age_s,
    help="Only what ended longer ago: 90d, 12h, 2w.",
)
@ANY_TABLE
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; needs --yes or --dry-run.")
def prune(*, older_than_s: int, table_name: str | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete old ledger entries that nothing needs any more.

    These are replaced, rejected, abandoned and repeated loads, with their chunks, incidents and resolved dead letters, and
    earlier failed attempts. The table is not touched.

    What stays: every published load, each partition's latest load, failures that are later, loads at work, every dead letter
    that is not resolved, and entries that were edited by hand. Status, verify, replays, appends and reruns answer as
    before. It may run beside loads.
    """
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json does not ask; give --yes or --dry-run")
    url = existing_url()
    found = find_prunable(url, older_than_s=older_than_s, table=table_name)
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
    _tell_kept(found, older_than_s)


def _told(counts: dict[str, int]) -> str:
    return ", ".join(counted(number, _NOUNS[kind]) for kind, number in counts.items() if number) or "nothing"


def _tell_kept(found: PrunableEntries, older_than_s: int) -> None:
    for table, loads in sorted(found.kept_by_table.items()):
        click.echo(
            f"table {table}: {counted(loads, 'load')} kept for dead letters that are not resolved; these go by: "
            f"rowledger dead-letters purge --table {table} --older-than {older_than_s / _DAY_S:g}"
        )
