"""Look at dead letters and decide about them: list, show, export, import what was edited, mark, discard, purge.

How a letter looks in a file is told in `dead_letter_files`; what brings rows into the table is `replay`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg

from rowledger.dead_letters.files import (
    dead_letter_line,
    edited_row,
    new_private_file,
    read_lines,
    require_none,
    visible_row,
    why_unchangeable,
    write_all,
)
from rowledger.errors import LedgerMissing, NothingRecorded, RowledgerError
from rowledger.ledger import (
    Actor,
    DeadLetterEvent,
    DeadLetterSelection,
    DeadLetterState,
    KeptDeadLetter,
    LoadState,
    RowCounts,
    change_dead_letters,
    find_dead_letters,
    ledger_reader,
    ledger_session,
    mend_dead_letters,
    partition_of_bounds,
    purge_dead_letters,
    read_letter_events,
    read_payloads,
    read_table_of_dead_letter,
    read_waiting_mended,
    require_recorded,
)
from rowledger.postgres import query
from rowledger.settings import WriterSettings
from rowledger.spec import Partition, TableSpec

__all__ = [
    "Imported",
    "Shown",
    "decide",
    "export_dead_letters",
    "find_known_dead_letters",
    "import_dead_letters",
    "is_purgeable",
    "list_dead_letters",
    "purge",
    "read_published_counts",
    "read_recorded_partitions",
    "read_rows",
    "read_waiting",
    "show_dead_letter",
    "table_of_dead_letter",
]

T = TypeVar("T")

_PAGE_LETTERS = 1_000
_ENDED = (LoadState.REPLACED, LoadState.REJECTED, LoadState.ABANDONED)


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that is known of one dead letter. `payload` and `mended_payload` are JSON texts, redacted as asked."""

    letter: KeptDeadLetter
    payload: str
    mended_payload: str | None
    traceback: str
    events: list[DeadLetterEvent]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has changed: letters that are mended now, and lines in which nothing was edited."""

    mended: tuple[int, ...]
    unchanged: tuple[int, ...]


def list_dead_letters(url: str, table: str, selection: DeadLetterSelection) -> tuple[list[KeptDeadLetter], int]:
    """Letters in source order, and how many there are without the limit; raises NothingRecorded, DatabaseUnavailable."""
    return asyncio.run(_reading(url, lambda connection: find_known_dead_letters(connection, table, selection)))


async def find_known_dead_letters(
    connection: asyncpg.Connection, table: str, selection: DeadLetterSelection
) -> tuple[list[KeptDeadLetter], int]:
    """`find_dead_letters`, where what is named exists: the table, each partition, each letter.

    Raises NothingRecorded otherwise, so that nothing is said or done about less than was asked for.
    """
    await require_recorded(connection, table, selection.partitions or ())
    letters, found = await find_dead_letters(connection, table, selection)
    asked = set(selection.ids or ())
    if found < len(asked):
        missing = sorted(asked - {letter.dead_letter_id for letter in letters})
        named = ", ".join(map(str, missing)) if found == len(letters) else f"for {len(asked) - found} of these numbers"
        raise NothingRecorded(f"table {table} has no dead letter {named} that fits")
    return letters, found


def read_rows(url: str, spec: TableSpec | None, ids: Sequence[int], *, reveal: bool) -> dict[int, str]:
    """The rows of letters as JSON texts, as a replay would take them; sensitive values only where they are to be revealed."""
    if not ids:
        return {}
    payloads = asyncio.run(_reading(url, lambda connection: read_payloads(connection, ids)))
    return {
        number: visible_row(spec, payload, payload.current, reveal=reveal)[0] for number, payload in payloads.items()
    }


def table_of_dead_letter(url: str, dead_letter_id: int) -> str:
    """The name of the table that a letter belongs to; raises RowledgerError where there is none of that number."""
    name = asyncio.run(_reading(url, lambda connection: read_table_of_dead_letter(connection, dead_letter_id)))
    if name is None:
        raise NothingRecorded(
            f"there is no dead letter {dead_letter_id}; `rowledger dead-letters list --table TABLE` shows those of a table"
        )
    return name


def show_dead_letter(url: str, table: str, spec: TableSpec | None, dead_letter_id: int, *, reveal: bool) -> Shown:
    """One dead letter of the table with its row, its traceback and its history; without its spec every value is hidden."""

    async def read(connection: asyncpg.Connection) -> Shown:
        letters, _ = await find_known_dead_letters(connection, table, DeadLetterSelection(ids=(dead_letter_id,)))
        row = (await read_payloads(connection, [dead_letter_id]))[dead_letter_id]
        mended = row.mended_payload
        return Shown(
            letter=letters[0],
            payload=visible_row(spec, row, row.payload, reveal=reveal)[0],
            mended_payload=None if mended is None else visible_row(spec, row, mended, reveal=reveal)[0],
            # An exception's own text may quote the row.
            traceback=row.traceback if reveal or (spec is not None and not spec.sensitive) else "",
            events=await read_letter_events(connection, dead_letter_id),
        )

    return asyncio.run(_reading(url, read))


def export_dead_letters(url: str, spec: TableSpec, selection: DeadLetterSelection, path: Path, *, reveal: bool) -> int:
    """Write the letters to a new file that only its owner can read, a JSON object a line, and return their number."""

    async def write(connection: asyncpg.Connection) -> int:
        letters, _ = await find_known_dead_letters(connection, spec.name, selection)
        if not letters:
            raise NothingRecorded(f"table {spec.name} has no dead letters that fit; no file was written")
        with new_private_file(path) as descriptor:
            for start in range(0, len(letters), _PAGE_LETTERS):
                page = letters[start : start + _PAGE_LETTERS]
                payloads = await read_payloads(connection, [letter.dead_letter_id for letter in page])
                lines = (
                    dead_letter_line(spec, letter, payloads[letter.dead_letter_id], reveal=reveal) for letter in page
                )
                write_all(descriptor, "".join(lines).encode())
            os.fsync(descriptor)
        return len(letters)

    return asyncio.run(_reading(url, write))


def import_dead_letters(url: str, spec: TableSpec, path: Path, actor: Actor) -> Imported:
    """Take back an edited export: changed rows are kept beside the originals, and their letters wait for a replay.

    All lines or none: raises DeadLetterFileRefused, which names each line that cannot be taken.
    """
    lines = read_lines(path)

    async def take(connection: asyncpg.Connection) -> Imported:
        ids = tuple(line.dead_letter_id for line in lines)
        found, _ = await find_dead_letters(connection, spec.name, DeadLetterSelection(ids=ids))
        letters = {letter.dead_letter_id: letter for letter in found}
        payloads = await read_payloads(connection, ids)
        changed: dict[int, str] = {}
        problems: list[str] = []
        for line in lines:
            number = line.dead_letter_id
            try:
                edited = edited_row(spec, line, letters.get(number), payloads.get(number))
            except ValueError as error:
                problems.append(f"line {line.number}: dead letter {number} {error}")
                continue
            if edited is not None:
                changed[number] = edited
        require_none(path, problems)
        revisions = {number: letters[number].revision for number in changed}
        mended = await mend_dead_letters(connection, revisions, changed, actor)
        _require_all_changed(spec.name, revisions, mended)
        return Imported(tuple(sorted(mended)), tuple(number for number in ids if number not in changed))

    return asyncio.run(_in_transaction(url, take))


def decide(url: str, table: str, selection: DeadLetterSelection, state: DeadLetterState, actor: Actor) -> list[int]:
    """Mark the selected letters as mended, open or discarded, all or none, and return them.

    Letters that are in that state already are left as they are, except that one may be marked as mended anew: that asks for
    another replay.
    """

    async def change(connection: asyncpg.Connection) -> list[int]:
        letters, _ = await find_known_dead_letters(connection, table, selection)
        letters = [letter for letter in letters if letter.state != state or state is DeadLetterState.MENDED]
        _require_changeable(table, letters)
        revisions = {letter.dead_letter_id: letter.revision for letter in letters}
        changed = (
            await mend_dead_letters(connection, revisions, {}, actor)
            if state is DeadLetterState.MENDED
            else await change_dead_letters(connection, revisions, state, actor)
        )
        _require_all_changed(table, revisions, changed)
        return changed

    return asyncio.run(_in_transaction(url, change))


def is_purgeable(letter: KeptDeadLetter) -> bool:
    """Whether no balance needs the letter: it was replayed, or its load is over and not in the table."""
    return letter.state == DeadLetterState.REPLAYED or letter.load_state in _ENDED


def purge(url: str, letters: Sequence[KeptDeadLetter]) -> list[int]:
    """Delete those of the letters that no balance needs, with their history, and return them."""
    ids = [letter.dead_letter_id for letter in letters if is_purgeable(letter)]
    return asyncio.run(_in_transaction(url, lambda connection: purge_dead_letters(connection, ids)))


def read_waiting(url: str, table: str) -> tuple[int, int | None]:
    """How many letters were mended and wait for a replay, and the number of the newest step that made one so."""
    try:
        return asyncio.run(_reading(url, lambda connection: read_waiting_mended(connection, table)))
    except LedgerMissing:
        return 0, None


def read_published_counts(url: str, table: str, partition_keys: Sequence[str]) -> dict[str, RowCounts]:
    """What the published loads of each of these partitions account for now, replays included."""

    async def read(connection: asyncpg.Connection) -> dict[str, RowCounts]:
        rows = await connection.fetch(query("published_counts"), table, list(partition_keys))
        return {key: RowCounts(*counts) for key, *counts in rows}

    return asyncio.run(_reading(url, read))


def read_recorded_partitions(url: str, table: str, partition_keys: Sequence[str]) -> dict[str, Partition]:
    """These partitions as the ledger has their bounds, by key; one of which no load has recorded bounds is left out."""

    async def read(connection: asyncpg.Connection) -> dict[str, Partition]:
        rows = await connection.fetch(query("recorded_partitions"), table, list(partition_keys))
        return {key: partition_of_bounds(key, bounds) for key, bounds in rows}

    return asyncio.run(_reading(url, read))


def _require_changeable(table: str, letters: Sequence[KeptDeadLetter]) -> None:
    for letter in letters:
        if (reason := why_unchangeable(letter)) is not None:
            raise RowledgerError(f"table {table}: dead letter {letter.dead_letter_id} {reason}; nothing was changed")


def _require_all_changed(table: str, wanted: dict[int, int], changed: Sequence[int]) -> None:
    if missing := len(wanted) - len(changed):
        raise RowledgerError(
            f"table {table}: another process changed {missing} of these dead letters just now; nothing was done"
        )


async def _reading(url: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """What only looks: no migration, SELECT alone; raises what `ledger_reader` does."""
    async with ledger_reader(url, purpose="dead-letters", limits=WriterSettings()) as connection:
        return await work(connection)


async def _in_transaction(url: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """One transaction on a session of its own; raises DatabaseUnavailable, of which a second call finds what the first did."""
    session = ledger_session(
        url, purpose="dead letters", doing="deciding on dead letters", writes=True, limits=WriterSettings()
    )
    async with session as writer, writer.transaction():
        return await work(writer.connection)
