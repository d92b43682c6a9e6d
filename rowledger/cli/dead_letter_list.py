"""`rowledger dead-letters list`: refused rows one by one, or by reason, with the refused values on a terminal."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from rowledger.cli.console import console
from rowledger.cli.dead_letter_texts import counted_letters, dead_letter_table, plain, reason_table
from rowledger.cli.selection import ANY_TABLE, selection_of, selects_within_table
from rowledger.cli.servers import SERVER, chosen_url
from rowledger.cli.specs import GivenSpecs, read_table_spec, with_spec
from rowledger.counted import counted
from rowledger.dead_letters import (
    REPLAYABLE,
    list_dead_letters,
    list_reasons,
    read_rows,
    refused_value,
    table_of_dead_letter,
)
from rowledger.errors import SpecError
from rowledger.ledger import (
    ROWS_COUNT_FROM_0,
    DeadLetterSelection,
    DeadLetterState,
    KeptDeadLetter,
    LetterReason,
    read_status,
)
from rowledger.spec import TableSpec

__all__ = ["STILL_DEAD", "list_command", "readable_spec"]

STILL_DEAD = (*REPLAYABLE, DeadLetterState.DISCARDED)
_LIMIT = 100
_MANY = 20  # more are listed by reason, unless a limit is given
_ROW_BYTES_MAX = 2**20  # of a row that is fetched to show one value of it


@click.command(name="list")
@ANY_TABLE
@selects_within_table
@click.option(
    "--by", type=click.Choice(["reason"]), help=f"One line a reason; so it is for more than {_MANY} without --limit."
)
@click.option("--limit", type=click.IntRange(1), help=f"Lines to show at most, of each table.  [default: {_LIMIT}]")
@click.option("--all-loads", is_flag=True, help="Those of replaced, rejected and abandoned loads too.")
@click.option(
    "--values/--no-values",
    default=None,
    help="Show the refused values, but none of a sensitive column.  [default: on a terminal]",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with the rows.")
@SERVER
@with_spec
@click.option("--reveal", is_flag=True, help="With the values of sensitive columns.")
def list_command(
    *,
    table_name: str | None,
    by: str | None,
    limit: int | None,
    all_loads: bool,
    values: bool | None,
    as_json: bool,
    server: str | None,
    given: GivenSpecs,
    reveal: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """List the dead letters of published loads, and of each partition's latest load.

    Without --state and --id all except replayed ones, whose rows are in the table.
    """
    url = chosen_url(server, table_name, options["partitions"], given)
    is_narrowed = any(options.values())
    if not options["states"] and not options["ids"]:
        options["states"] = STILL_DEAD
    selection = selection_of(options, limit=limit or _LIMIT, every_load=all_loads)
    found: list[dict[str, Any]] = []
    is_listed = False
    for table, part in _by_table(url, table_name, selection).items():
        letters, count = list_dead_letters(url, table, part)
        if not letters:
            continue
        is_listed = True
        is_by_reason = by is not None or not (count <= _MANY or limit is not None or as_json)
        has_values = values or (values is None and sys.stdout.isatty()) or as_json
        needs_spec = has_values and not (as_json and is_by_reason)
        spec = readable_spec(url, table, given, reveal=reveal) if needs_spec else None
        reasons = list_reasons(url, table, part) if is_by_reason else []
        if as_json:
            found += (
                _json_of_reasons(table, reasons)
                if is_by_reason
                else _json_of_letters(url, table, spec, letters, reveal=reveal)
            )
            continue
        if table_name is None:
            click.echo(f"table {table}")
        if is_by_reason:
            console().print(reason_table(reasons, _values_of_reasons(url, spec, reasons, reveal=reveal)))
            _tell_reasons(reasons, count, by)
        else:
            console().print(dead_letter_table(letters, _values_of_letters(url, spec, letters, reveal=reveal)))
            click.echo(ROWS_COUNT_FROM_0)
            if count > len(letters):
                click.echo(f"{len(letters)} of {count:,} dead letters; --limit shows more")
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False, default=plain))
    elif not is_listed:
        of = "no table has" if table_name is None else f"table {table_name} has no"
        click.echo(f"{of} dead letters{' that fit' if is_narrowed else ''}")


def _by_table(url: str, table: str | None, selection: DeadLetterSelection) -> dict[str, DeadLetterSelection]:
    """What to list of the table that is named, or else of each table that may have such dead letters."""
    if table is not None:
        return {table: selection}
    parts: dict[str, list[Any]] = {}
    if selection.ids:
        for dead_letter_id in selection.ids:
            parts.setdefault(table_of_dead_letter(url, dead_letter_id), []).append(dead_letter_id)
        return {name: selection.model_copy(update={"ids": tuple(ids)}) for name, ids in parts.items()}
    for row in read_status(url, None, selection.partitions):
        parts.setdefault(row.table, []).append(row.partition_key)
    if not selection.partitions:
        return dict.fromkeys(parts, selection)
    return {name: selection.model_copy(update={"partitions": tuple(keys)}) for name, keys in parts.items()}


def _json_of_reasons(table: str, reasons: Sequence[LetterReason]) -> list[dict[str, Any]]:
    return [{"table": table, **dataclasses.asdict(reason)} for reason in reasons]


def _json_of_letters(
    url: str, table: str, spec: TableSpec | None, letters: Sequence[KeptDeadLetter], *, reveal: bool
) -> list[dict[str, Any]]:
    rows = read_rows(url, spec, [letter.dead_letter_id for letter in letters], reveal=reveal)
    return [
        {"table": table, **dataclasses.asdict(letter), "payload": json.loads(rows[letter.dead_letter_id])}
        for letter in letters
    ]


def _tell_reasons(reasons: Sequence[LetterReason], found: int, by: str | None) -> None:
    told = sum(reason.dead_letters for reason in reasons)
    one_by_one = f"--limit {found} in place of --by reason" if by else f"--limit {found}"
    of = f" of {found:,}" if told < found else ""
    click.echo(f"{counted_letters(told)}{of}, {counted(len(reasons), 'reason')}; {ROWS_COUNT_FROM_0}")
    click.echo(
        f"{one_by_one} shows a line for each dead letter, "
        f"`rowledger dead-letters show {reasons[0].first_ids[0]}` all of the first"
    )


def _values_of_letters(
    url: str, spec: TableSpec | None, letters: Sequence[KeptDeadLetter], *, reveal: bool
) -> Mapping[int, str]:
    """The refused value of each dead letter, by its id."""
    wanted = [letter.dead_letter_id for letter in letters if letter.payload_bytes <= _ROW_BYTES_MAX]
    if spec is None:
        return {}
    rows = read_rows(url, spec, wanted, reveal=reveal)
    return {
        letter.dead_letter_id: refused_value(spec, letter.stage, letter.column_name, row)
        for letter in letters
        if (row := rows.get(letter.dead_letter_id)) is not None
    }


def _values_of_reasons(
    url: str, spec: TableSpec | None, reasons: Sequence[LetterReason], *, reveal: bool
) -> Mapping[int, str]:
    """The refused value of the first dead letter of each reason, by its id."""
    if spec is None:
        return {}
    rows = read_rows(url, spec, [reason.first_ids[0] for reason in reasons], reveal=reveal)
    return {
        reason.first_ids[0]: refused_value(spec, reason.stage, reason.column_name, rows[reason.first_ids[0]])
        for reason in reasons
    }


def readable_spec(url: str, table: str, given: GivenSpecs, *, reveal: bool) -> TableSpec | None:
    """The spec, which says what is sensitive. Without one, all values are hidden, and a line says so."""
    try:
        return read_table_spec(url, table, given)
    except SpecError as error:
        if not reveal:
            click.echo(f"every value is hidden, because the table's spec cannot be read: {error}", err=True)
        return None
