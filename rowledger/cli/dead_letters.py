"""`rowledger dead-letters`: rows that were refused, the reasons, and the ways to load them."""

import dataclasses
import importlib
import importlib.util
import json
import logging
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from rowledger.cli.age import Age, age_of
from rowledger.cli.dead_letter_list import list_command, readable_spec
from rowledger.cli.dead_letter_texts import (
    counted_letters,
    plain,
    print_dead_letter,
    print_outcome,
    told_of_replay,
)
from rowledger.cli.selection import ONE_TABLE, selection_of, selects_dead_letters
from rowledger.cli.servers import SERVER, chosen_url
from rowledger.cli.specs import GivenSpecs, read_table_spec, with_spec
from rowledger.counted import counted
from rowledger.dead_letters import (
    REPLAYABLE,
    decide,
    export_dead_letters,
    import_dead_letters,
    is_purgeable,
    list_dead_letters,
    purge,
    run_replay,
    show_dead_letter,
    table_of_dead_letter,
    this_user,
)
from rowledger.errors import RowledgerError
from rowledger.ledger import DeadLetterState, KeptDeadLetter, ReplayReport, read_status
from rowledger.publish import PartitionVerification, run_verify
from rowledger.settings import WriterSettings
from rowledger.spec import TableSpec

__all__ = ["dead_letters"]

_NAMED_MAX = 5  # partitions in a question


@click.group(name="dead-letters", short_help="Rows that were refused, and how they are brought back.")
def dead_letters() -> None:
    """Rows that could not be written, with their reasons, and the ways to load them.

    There are two ways to load a refused row: fix the cause (the row model, the table, a missing parent row) and
    replay; or export the dead letters, edit their payloads, import the file, and replay.
    """


dead_letters.add_command(list_command)


@dead_letters.command()
@click.argument("dead_letter_id", type=int, metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@SERVER
@with_spec
@click.option("--reveal", is_flag=True, help="With the values of sensitive columns.")
def show(*, dead_letter_id: int, as_json: bool, server: str | None, given: GivenSpecs, reveal: bool) -> None:
    """Show everything about one dead letter: its row, its reason, its history. Each server counts its own from 1 on."""
    url = chosen_url(server)
    table = table_of_dead_letter(url, dead_letter_id)
    shown = show_dead_letter(url, table, readable_spec(url, table, given, reveal=reveal), dead_letter_id, reveal=reveal)
    if as_json:
        facts = {
            **dataclasses.asdict(shown.letter),
            "payload": json.loads(shown.payload),
            "corrected_payload": None if shown.corrected_payload is None else json.loads(shown.corrected_payload),
            "traceback": shown.traceback,
            "events": [dataclasses.asdict(event) for event in shown.events],
        }
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False, default=plain))
        return
    print_dead_letter(shown)


@dead_letters.command(name="export")
@selects_dead_letters
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="The file to write; it must not exist yet."
)
@SERVER
@with_spec
@click.option("--reveal", is_flag=True, help="With the values of sensitive columns, so that these can be edited too.")
def export_command(
    *,
    table_name: str,
    output: Path,
    server: str | None,
    given: GivenSpecs,
    reveal: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Write dead letters to a file for editing: one JSON object a line, with the row as its `payload`.

    Without --state those that are open or corrected. Only its owner can read the file.
    """
    options["states"] = options["states"] or REPLAYABLE
    url = chosen_url(server, table_name, options["partitions"], given)
    spec = read_table_spec(url, table_name, given)
    count = export_dead_letters(url, spec, selection_of(options), output, reveal=reveal)
    click.echo(
        f"{counted_letters(count)} written to {output}; edit the payloads, then: "
        f"rowledger dead-letters import --table {table_name} {shlex.quote(str(output))}"
    )


@dead_letters.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@ONE_TABLE
@click.option("--note", default="", help="Why, for the record.")
@SERVER
@with_spec
def import_command(*, file: Path, table_name: str, note: str, server: str | None, given: GivenSpecs) -> None:
    """Import an edited export. Changed rows are stored next to the originals and wait for a replay."""
    url = chosen_url(server, table_name, given=given)
    imported = import_dead_letters(url, read_table_spec(url, table_name, given), file, this_user(note))
    lines = counted(len(imported.unchanged), "line")
    click.echo(f"{counted_letters(len(imported.corrected))} corrected, {lines} without a change")
    if imported.corrected:
        click.echo(f"then: rowledger dead-letters replay --table {table_name} --state corrected")


@dead_letters.command()
@selects_dead_letters
@click.option(
    "--corrected",
    "state",
    flag_value=DeadLetterState.CORRECTED,
    help="The cause is fixed: they are ready for a replay.",
)
@click.option(
    "--open", "state", flag_value=DeadLetterState.OPEN, help="Take back that they were corrected or discarded."
)
@click.option("--note", default="", help="Why, for the record.")
@SERVER
def mark(*, table_name: str, state: str | None, note: str, server: str | None, **options: Any) -> None:  # noqa: ANN401
    """Mark dead letters as corrected, so that a sensor of the table may replay them, or as open again."""
    if state is None:
        raise click.UsageError("say --corrected or --open")
    url = chosen_url(server, table_name, options["partitions"])
    if not any(options.values()):
        options["states"] = (
            (DeadLetterState.OPEN,) if state == DeadLetterState.CORRECTED else (DeadLetterState.CORRECTED,)
        )
    changed = decide(url, table_name, selection_of(options), DeadLetterState(state), this_user(note))
    click.echo(f"{counted_letters(len(changed))} {_are(changed)} {state} now")


@dead_letters.command()
@selects_dead_letters
@click.option("--limit", type=click.IntRange(1), help="Try no more than so many.")
@click.option("--note", default="", help="Why, for the record.")
@SERVER
@with_spec
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    *,
    table_name: str,
    limit: int | None,
    note: str,
    server: str | None,
    given: GivenSpecs,
    **options: Any,  # noqa: ANN401
) -> None:
    """Run dead letters through the current transform and row model, and write them to the table.

    Without --state and --id those that are open or corrected. The exit code is 0 only if all of them were written (or
    are left out by the transform), and the partitions that rows were written to then match the ledger. It is 1 also
    where options select dead letters and none fits. A row that is refused again stays a dead letter, with its new
    reason.
    """
    url = chosen_url(server, table_name, options["partitions"], given)
    spec = read_table_spec(url, table_name, given)
    report = run_replay(
        spec,
        selection_of(options, limit=limit),
        url=url,
        writer=WriterSettings(),
        actor=this_user(note),
        log=_log,
        on_outcome=print_outcome,
    )
    click.echo(told_of_replay(report))
    if report.changed_partitions:
        verifications = _verify(spec, report, url)
        if (reason := _record_in_dagster(spec, report, verifications, url)) is not None:
            click.echo(f"Dagster was not told of it: {reason}", err=True)
        if not all(verification.passed for verification in verifications):
            ctx.exit(1)
    if not report.succeeded or (not report.outcomes and any(options.values())):
        ctx.exit(1)


def _verify(spec: TableSpec, report: ReplayReport, url: str) -> list[PartitionVerification]:
    """Compare the changed partitions with the ledger, and print what differs; an empty list where that is not possible now."""
    again = f"rowledger verify --table {shlex.quote(spec.name)}"
    try:
        verifications = run_verify(spec, url=url, partition_keys=report.changed_partitions)
    except RowledgerError as error:
        click.echo(f"the partitions that were changed are not verified: {error}; later: {again}", err=True)
        return []
    for verification in verifications:
        for problem in verification.problems:
            click.echo(f"{spec.name} {verification.partition_key}: {problem}; load the partition again", err=True)
    return verifications


def _record_in_dagster(
    spec: TableSpec, report: ReplayReport, verifications: Sequence[PartitionVerification], url: str
) -> str | None:
    """Count the replayed rows in Dagster's UI too, where Dagster is installed; returns why that failed, or None."""
    if importlib.util.find_spec("dagster") is None:
        return None
    # The import takes a second or two, which only a replay that has changed something should wait for.
    replay_events = importlib.import_module("rowledger.dagster.replay_events")
    reason: str | None = replay_events.record_in_dagster(spec, report, verifications, url)
    return reason


@dead_letters.command()
@selects_dead_letters
@click.option("--note", required=True, help="Why these rows are given up, for the record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@SERVER
def discard(*, table_name: str, note: str, yes: bool, server: str | None, **options: Any) -> None:  # noqa: ANN401
    """Decide that rows stay out of the table. They still count as dead letters of their load."""
    if not any(options.values()):
        raise click.UsageError("say which: --partition, --stage, --state, --constraint, --column or --id")
    options["states"] = options["states"] or REPLAYABLE
    url, selection = chosen_url(server, table_name, options["partitions"]), selection_of(options)
    if not yes:
        _, found = list_dead_letters(url, table_name, selection)
        click.confirm(f"Give up {counted(found, 'row')} of table {table_name}?", abort=True)
    changed = decide(url, table_name, selection, DeadLetterState.DISCARDED, this_user(note))
    click.echo(f"{counted_letters(len(changed))} {_are(changed)} discarded now")


@dead_letters.command(name="purge")
@selects_dead_letters
@click.option(
    "--older-than",
    metavar="AGE",
    callback=age_of,
    help="Only those refused longer ago: 90d, 12h, 2w; a number alone is in days.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@SERVER
def purge_command(
    *,
    table_name: str,
    older_than: Age | None,
    yes: bool,
    server: str | None,
    **options: Any,  # noqa: ANN401
) -> None:
    """Delete dead letters permanently, with their rows and their history. They never expire by themselves.

    Only those that no balance needs: dead letters that were replayed, and those of loads that are not in the table
    any more. The others prove where the rows of a published load are.
    """
    if not any(options.values()) and older_than is None:
        raise click.UsageError("say which: --state, --older-than, --partition, --stage, --constraint, --column or --id")
    url = chosen_url(server, table_name, options["partitions"])
    older_than_s = None if older_than is None else older_than.seconds
    letters, _ = list_dead_letters(url, table_name, selection_of(options, every_load=True, older_than_s=older_than_s))
    deletable = [letter for letter in letters if is_purgeable(letter)]
    if deletable and not yes:
        click.confirm(_question_of_purge(url, table_name, deletable), abort=True)
    deleted = purge(url, deletable)
    click.echo(f"{counted_letters(len(deleted))} deleted")
    if kept := len(letters) - len(deleted):
        click.echo(f"{kept} kept: the balance of a published or unfinished load counts them")


def _question_of_purge(url: str, table: str, letters: Sequence[KeptDeadLetter]) -> str:
    """Whether to delete them, with their states; unresolved ones of partitions without published rows are pointed out."""
    states = Counter(letter.state for letter in letters)
    told = ", ".join(f"{number:,} {state}" for state, number in states.most_common())
    question = f"Delete {counted_letters(len(letters))} of table {table} for good ({told})?"
    unresolved = [letter for letter in letters if letter.state in REPLAYABLE]
    keys = sorted({letter.partition_key for letter in unresolved})
    published = {
        (row.target, row.partition_key) for row in (read_status(url, table, keys) if keys else ()) if row.published
    }
    lost = [letter for letter in unresolved if (letter.target, letter.partition_key) not in published]
    if not lost:
        return question
    named = sorted({letter.partition_key for letter in lost})
    noun = "partition" if len(named) == 1 else "partitions"
    are = "is" if len(named) == 1 else "are"
    some = f"{', '.join(named[:_NAMED_MAX])}{', …' if len(named) > _NAMED_MAX else ''}"
    return f"{counted_letters(len(lost))} of {noun} {some}, which {are} not published, would be lost unresolved.\n{question}"


def _log(level: int, message: str) -> None:
    if level >= logging.WARNING:
        click.echo(message, err=True)


def _are(letters: Sequence[int]) -> str:
    return "is" if len(letters) == 1 else "are"
