"""Dead letters as `rowledger dead-letters` prints them: a table, the details of one, the outcome of a replay."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import click
from rich import box
from rich.table import Table
from rich.text import Text

from rowledger.contract import Stage
from rowledger.counted import counted
from rowledger.dead_letters import Shown
from rowledger.errors import RowledgerError
from rowledger.ledger import DeadLetterOutcome, DeadLetterResult, KeptDeadLetter, ReplayReport

__all__ = ["counted_letters", "dead_letter_table", "plain", "print_dead_letter", "print_outcome", "told_of_replay"]


def dead_letter_table(letters: Sequence[KeptDeadLetter]) -> Table:
    """Dead letters with their reasons, without row values. What is the same for all of them is in the title."""
    columns = {
        "id": [str(letter.dead_letter_id) for letter in letters],
        "partition": [letter.partition_key for letter in letters],
        "row": [f"{letter.row_no}.{letter.part}" if letter.part else str(letter.row_no) for letter in letters],
        "source": [_place(letter) for letter in letters],
        "state": [str(letter.state) for letter in letters],
        "stage": [str(letter.stage) for letter in letters],
        "column": [letter.column_name or "" for letter in letters],
        "SQLSTATE": [letter.sqlstate or "" for letter in letters],
        "reason": [letter.reason for letter in letters],
    }
    if len({letter.source for letter in letters}) == 1:
        # The column `row` has the row's number.
        columns["source"] = [letters[0].source.rpartition("/")[2]] * len(letters)
    optional = {"partition", "source", "state", "column", "SQLSTATE"}
    alike = {name: texts[0] for name, texts in columns.items() if name in optional and len(set(texts)) == 1}
    told = ", ".join(text for name in ("partition", "source", "state") if (text := alike.get(name)))
    shown = Table(
        title=Text(f"dead letters: {told}" if told else "dead letters"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    named = {name: texts for name, texts in columns.items() if name not in alike}
    for name in named:
        shown.add_column(name, no_wrap=name not in {"source", "reason"}, overflow="fold")
    for texts in zip(*named.values(), strict=True):
        shown.add_row(*map(Text, texts))  # a Text, so that brackets and colons are not taken for markup
    return shown


def _place(letter: KeptDeadLetter) -> str:
    file = letter.source.rpartition("/")[2]
    return file if letter.source_row is None else f"{file}:{letter.source_row}"


def print_dead_letter(shown: Shown) -> None:
    """Print all that is known of one dead letter."""
    letter = shown.letter
    facts: dict[str, object] = {
        "dead letter": f"{letter.dead_letter_id}, {letter.state}, revision {letter.revision}",
        "load": f"{letter.load_id} of {letter.partition_key}, {letter.load_state}",
        "row": f"{letter.row_no}{f', part {letter.part}' if letter.part else ''}",
        "source": f"{letter.source}, row {letter.source_row}" if letter.source else "",
        "stage": letter.stage,
        "reason": letter.reason,
        "column": letter.column_name,
        "SQLSTATE": letter.sqlstate,
        "constraint": letter.constraint_name,
        "refused": f"{plain(letter.recorded_at)}, attempt {letter.attempt}, worker {letter.worker_pid}",
        "replays": letter.replays,
        f"payload ({letter.payload_of})": shown.payload,
        "edited": shown.corrected_payload,
    }
    width = max(map(len, facts))
    for name, value in facts.items():
        if value not in ("", None):
            click.echo(f"{name:<{width}}  {value}")
    if shown.traceback:
        title = "the server's words" if letter.stage in (Stage.COPY, Stage.KEY) else "traceback"
        click.echo(f"\n{title}\n{shown.traceback.rstrip()}")
    if shown.events:
        click.echo("\nhistory")
    for event in shown.events:
        by = f"by {event.actor}{f', run {event.run_id}' if event.run_id else ''}"
        why = "; ".join(text for text in (event.reason, event.note) if text)
        click.echo(f"  {plain(event.happened_at)}  {event.state:<9}  {by}{f': {why}' if why else ''}")


def print_outcome(outcome: DeadLetterOutcome) -> None:
    """Print what became of one dead letter of a replay."""
    where = f"{outcome.dead_letter_id}  {outcome.partition_key} row {outcome.row_no}"
    stage = f" ({outcome.stage})" if outcome.stage else ""
    rows = f" as {outcome.written_rows} rows" if outcome.written_rows > 1 else ""
    click.echo(f"{where}  {outcome.result}{rows}{stage}{f': {outcome.reason}' if outcome.reason else ''}")


def told_of_replay(report: ReplayReport) -> str:
    """A replay in one line."""
    if not report.outcomes:
        return f"table {report.table} has no dead letters to replay that fit"
    counts = {result: report.count(result) for result in DeadLetterResult}
    parts = [f"{count} {result}" for result, count in counts.items() if count or result is DeadLetterResult.WRITTEN]
    deaths = f"; {counted(report.worker_deaths, 'worker')} died" if report.worker_deaths else ""
    return f"{counted_letters(len(report.outcomes))}: {', '.join(parts)}, in {report.seconds:.1f} s{deaths}"


def counted_letters(letters: int) -> str:
    """The number of dead letters with the noun in singular or plural."""
    return "1 dead letter" if letters == 1 else f"{letters:,} dead letters"


def plain(value: object) -> str:
    """A value that JSON has no form for, as text."""
    match value:
        case datetime():
            return value.isoformat(timespec="seconds")
        case UUID():
            return str(value)
        case _:
            raise RowledgerError(f"a {type(value).__name__} cannot be shown as JSON")
