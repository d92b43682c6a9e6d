"""Dead letters as `rowledger dead-letters` prints them: a table, the details of one, the outcome of a replay."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import click
from rich import box
from rich.table import Table
from rich.text import Text

from rowledger.cli.console import state_text
from rowledger.contract import Stage
from rowledger.counted import counted
from rowledger.dead_letters import Shown
from rowledger.errors import RowledgerError
from rowledger.ledger import (
    ROWS_COUNT_FROM_0,
    DeadLetterOutcome,
    DeadLetterResult,
    KeptDeadLetter,
    LetterReason,
    ReplayReport,
    short_names,
    told_rows,
)
from rowledger.machine import ProcessIdentity

__all__ = [
    "counted_letters",
    "dead_letter_table",
    "plain",
    "print_dead_letter",
    "print_outcome",
    "reason_table",
    "told_of_replay",
]

_VALUE_CHARACTERS_MAX = 40
_FOLDED = ("source", "value", "reason", "rows")


def dead_letter_table(letters: Sequence[KeptDeadLetter], values: Mapping[int, str]) -> Table:
    """Dead letters with their reasons, and with the refused values that are given by id.

    What is the same for all of them is in the title.
    """
    columns = {
        "id": [str(letter.dead_letter_id) for letter in letters],
        "partition": [letter.partition_key for letter in letters],
        "row": [f"{letter.row_no}.{letter.part}" if letter.part else str(letter.row_no) for letter in letters],
        "source": _places(letters),
        "state": [str(letter.state) for letter in letters],
        "stage": [str(letter.stage) for letter in letters],
        "column": [letter.column_name or "" for letter in letters],
        "SQLSTATE": [letter.sqlstate or "" for letter in letters],
        "value": [_shortened(values.get(letter.dead_letter_id, "")) for letter in letters],
        "reason": [letter.reason for letter in letters],
    }
    if not any(columns["value"]):
        del columns["value"]
    optional = {"partition", "source", "state", "column", "SQLSTATE"}
    alike = {name: texts[0] for name, texts in columns.items() if name in optional and len(set(texts)) == 1}
    told = ", ".join(text for name in ("partition", "source", "state") if (text := alike.get(name)))
    named = {name: texts for name, texts in columns.items() if name not in alike}
    return _table(f"dead letters: {told}" if told else "dead letters", named)


def reason_table(reasons: Sequence[LetterReason], values: Mapping[int, str]) -> Table:
    """Reasons with how many dead letters they have, a few of their rows' numbers, and the first refused value where given."""
    columns = {
        "dead letters": [f"{reason.dead_letters:,}" for reason in reasons],
        "partitions": [f"{reason.partitions:,}" for reason in reasons],
        "stage": [reason.stage for reason in reasons],
        "column": [reason.column_name or "" for reason in reasons],
        "SQLSTATE": [reason.sqlstate or "" for reason in reasons],
        "value": [_shortened(values.get(reason.first_ids[0], "")) for reason in reasons],
        "reason": [reason.reason for reason in reasons],
        "rows": [
            told_rows(reason.first_rows, has_more=reason.dead_letters > len(reason.first_rows)) for reason in reasons
        ],
    }
    optional = {"column", "SQLSTATE", "value"}
    named = {name: texts for name, texts in columns.items() if name not in optional or any(texts)}
    if {reason.partitions for reason in reasons} == {1}:
        del named["partitions"]
    return _table("dead letters by reason", named)


def _table(title: str, columns: Mapping[str, Sequence[str]]) -> Table:
    shown = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in {"dead letters", "partitions"} else "left"
        shown.add_column(name, justify=justify, no_wrap=name not in _FOLDED, overflow="fold")
    for texts in zip(*columns.values(), strict=True):
        named = dict(zip(columns, texts, strict=True))
        shown.add_row(*(state_text(text) if name == "state" else Text(text) for name, text in named.items()))
    return shown


def _shortened(value: str) -> str:
    return value if len(value) <= _VALUE_CHARACTERS_MAX else f"{value[: _VALUE_CHARACTERS_MAX - 1]}…"


def _places(letters: Sequence[KeptDeadLetter]) -> list[str]:
    """Where each is: the source alone where the row has the same number in the source as in the partition, for all of them."""
    names = short_names(letter.source for letter in letters)
    if all(letter.source_row in (None, letter.row_no) for letter in letters):
        return [names[letter.source] for letter in letters]
    return [
        names[letter.source] if letter.source_row is None else f"row {letter.source_row} of {names[letter.source]}"
        for letter in letters
    ]


def _told_source(letter: KeptDeadLetter) -> str:
    if letter.source_row is None or not letter.source:
        return letter.source
    return f"row {letter.source_row} of {letter.source} ({ROWS_COUNT_FROM_0})"


def _worker(letter: KeptDeadLetter) -> str:
    host = letter.worker_host
    return str(letter.worker_pid if host is None else ProcessIdentity(letter.worker_pid, host))


def print_dead_letter(shown: Shown) -> None:
    """Print all that is known of one dead letter."""
    letter = shown.letter
    facts: dict[str, object] = {
        "dead letter": f"{letter.dead_letter_id}, {letter.state}, revision {letter.revision}",
        "load": f"{letter.load_id} of {letter.partition_key}, {letter.load_state}",
        "row": f"{letter.row_no}{f', part {letter.part}' if letter.part else ''}",
        "source": _told_source(letter),
        "stage": letter.stage,
        "reason": letter.reason,
        "column": letter.column_name,
        "SQLSTATE": letter.sqlstate,
        "constraint": letter.constraint_name,
        "refused": f"{plain(letter.recorded_at)}, attempt {letter.attempt}, worker {_worker(letter)}",
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
