"""Read dead letters and decide on them: list, show, export, import edits, mark, discard, purge.

`files` defines how a dead letter looks in a file; `replay` brings rows into the table.
"""

import asyncio
import getpass
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
)
from rowledger.errors import LedgerMissing, NothingRecorded, RowledgerError
from rowledger.ledger import (
    Actor,
    DeadLetterEvent,
    DeadLetterSelection,
    DeadLetterState,
    KeptDeadLetter,
    LetterReason,
    LoadState,
    RowCounts,
    change_dead_letters,
    find_dead_letters,
    ledger_reader,
    ledger_session,
    partition_of_bounds,
    purge_dead_letters,
    read_letter_events,
    read_letter_reasons,
    read_payloads,
    read_table_of_dead_letter,
    read_waiting_corrected,
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
    "list_reasons",
    "purge",
    "read_published_counts",
    "read_recorded_partitions",
    "read_rows",
    "read_waiting",
    "show_dead_letter",
    "table_of_dead_letter",
    "this_user",
]

T = TypeVar("T")

_PAGE_LETTERS = 1_000
_ENDED = (LoadState.REPLACED, LoadState.REJECTED, LoadState.ABANDONED)


@dataclass(frozen=True, slots=True)
class Shown:
    """All that is known of one dead letter. `payload` and `corrected_payload` are JSON texts, redacted unless revealed."""

    letter: KeptDeadLetter
    payload: str
    corrected_payload: str | None
    traceback: str
    events: list[DeadLetterEvent]


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import: dead letters that are corrected now, and those of lines in which nothing was edited."""

    corrected: tuple[int, ...]
    unchanged: tuple[int, ...]


def list_dead_letters(url: str, table: str, selection: DeadLetterSelection) -> tuple[list[KeptDeadLetter], int]:
    """Dead letters in source order, and how many there are without the limit; raises NothingRecorded, DatabaseUnavailable."""
    return asyncio.run(_reading(url, lambda connection: find_known_dead_letters(connection, table, selection)))


def list_reasons(url: str, table: str, selection: DeadLetterSelection) -> list[LetterReason]:
    """Why rows were refused, the most frequent reason first; raises what `list_dead_letters` does."""

    async def read(connection: asyncpg.Connection) -> list[LetterReason]:
        await require_recorded(connection, table, selection.partitions or ())
        return await read_letter_reasons(connection, table, selection)

    return asyncio.run(_reading(url, read))


async def find_known_dead_letters(
    connection: asyncpg.Connection, table: str, selection: DeadLetterSelection
) -> tuple[list[KeptDeadLetter], int]:
    """Find dead letters as `find_dead_letters` does, if the table and each named partition and dead letter exist.

    Raises NothingRecorded otherwise, so that a command never covers less than was asked for.
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
    """The rows of dead letters as JSON texts, as a replay takes them; sensitive values only with `reveal`."""
    if not ids:
        return {}
    payloads = asyncio.run(_reading(url, lambda connection: read_payloads(connection, ids)))
    return {
        number: visible_row(spec, payload, payload.current, reveal=reveal)[0] for number, payload in payloads.items()
    }


def table_of_dead_letter(url: str, dead_letter_id: int) -> str:
    """The name of the table that a dead letter belongs to; raises NothingRecorded where there is none with this id."""
    name = asyncio.run(_reading(url, lambda connection: read_table_of_dead_letter(connection, dead_letter_id)))
    if name is None:
        raise NothingRecorded(
            f"there is no dead letter {dead_letter_id}; `rowledger dead-letters list --table TABLE` shows those of a table"
        )
    return name


def show_dead_letter(url: str, table: str, spec: TableSpec | None, dead_letter_id: int, *, reveal: bool) -> Shown:
    """One dead letter of the table with its row, its traceback and its history. Without the spec every value is hidden."""

    async def read(connection: asyncpg.Connection) -> Shown:
        letters, _ = await find_known_dead_letters(connection, table, DeadLetterSelection(ids=(dead_letter_id,)))
        row = (await read_payloads(connection, [dead_letter_id]))[dead_letter_id]
        corrected = row.corrected_payload
        return Shown(
            letter=letters[0],
            payload=visible_row(spec, row, row.payload, reveal=reveal)[0],
            corrected_payload=None if corrected is None else visible_row(spec, row, corrected, reveal=reveal)[0],
            # The text of an exception may quote the row.
            traceback=row.traceback if reveal or (spec is not None and not spec.sensitive) else "",
            events=await read_letter_events(connection, dead_letter_id),
        )

    return asyncio.run(_reading(url, read))


def export_dead_letters(url: str, spec: TableSpec, selection: DeadLetterSelection, path: Path, *, reveal: bool) -> int:
    """Write the dead letters to a new file that only its owner can read, one JSON object a line; returns their number."""

    async def write(connection: asyncpg.Connection) -> int:
        letters, _ = await find_known_dead_letters(connection, spec.name, selection)
        if not letters:
            raise NothingRecorded(f"table {spec.name} has no dead letters that fit; no file was written")
        with new_private_file(path) as file:
            for start in range(0, len(letters), _PAGE_LETTERS):
                page = letters[start : start + _PAGE_LETTERS]
                payloads = await read_payloads(connection, [letter.dead_letter_id for letter in page])
                file.writelines(
                    dead_letter_line(spec, letter, payloads[letter.dead_letter_id], reveal=reveal) for letter in page
                )
        return len(letters)

    return asyncio.run(_reading(url, write))


def import_dead_letters(url: str, spec: TableSpec, path: Path, actor: Actor) -> Imported:
    """Import an edited export: changed rows are stored next to the originals, and their dead letters wait for a replay.

    Imports all lines or none. Raises DeadLetterFileRefused, which names each line that is refused.
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
        edited_letters = [letters[number] for number in changed]
        corrected = await _change(connection, spec.name, edited_letters, DeadLetterState.CORRECTED, actor, changed)
        return Imported(tuple(sorted(corrected)), tuple(number for number in ids if number not in changed))

    return asyncio.run(_in_transaction(url, take))


def decide(url: str, table: str, selection: DeadLetterSelection, state: DeadLetterState, actor: Actor) -> list[int]:
    """Mark the selected dead letters as corrected, open or discarded, all or none, and return their ids.

    Dead letters that are in that state already stay as they are. The exception is `corrected`, which may be set again to
    ask for another replay.
    """

    async def change(connection: asyncpg.Connection) -> list[int]:
        letters, _ = await find_known_dead_letters(connection, table, selection)
        letters = [letter for letter in letters if letter.state != state or state is DeadLetterState.CORRECTED]
        for letter in letters:
            if (reason := why_unchangeable(letter)) is not None:
                raise RowledgerError(
                    f"table {table}: dead letter {letter.dead_letter_id} {reason}; nothing was changed"
                )
        return await _change(connection, table, letters, state, actor)

    return asyncio.run(_in_transaction(url, change))


def this_user(note: str) -> Actor:
    """The user who runs this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    return Actor(f"{user}@{socket.gethostname()}", note)


def is_purgeable(letter: KeptDeadLetter) -> bool:
    """Whether no balance needs the dead letter: it was replayed, or its load has ended and is not in the table."""
    return letter.state == DeadLetterState.REPLAYED or letter.load_state in _ENDED


def purge(url: str, letters: Sequence[KeptDeadLetter]) -> list[int]:
    """Delete those of the dead letters that no balance needs, with their history, and return their ids."""
    ids = [letter.dead_letter_id for letter in letters if is_purgeable(letter)]
    return asyncio.run(_in_transaction(url, lambda connection: purge_dead_letters(connection, ids)))


def read_waiting(url: str, table: str) -> tuple[int, int | None]:
    """The number of corrected dead letters that wait for a replay, and the id of the latest event that made one so."""
    try:
        return asyncio.run(_reading(url, lambda connection: read_waiting_corrected(connection, table)))
    except LedgerMissing:
        return 0, None


def read_published_counts(url: str, table: str, partition_keys: Sequence[str]) -> dict[str, RowCounts]:
    """The counts of the published loads of each of these partitions now, replays included."""

    async def read(connection: asyncpg.Connection) -> dict[str, RowCounts]:
        rows = await connection.fetch(query("published_counts"), table, list(partition_keys))
        return {key: RowCounts(*counts) for key, *counts in rows}

    return asyncio.run(_reading(url, read))


def read_recorded_partitions(url: str, table: str, partition_keys: Sequence[str]) -> dict[str, Partition]:
    """The partitions with these keys, from the bounds in the ledger; a partition without recorded bounds is left out."""

    async def read(connection: asyncpg.Connection) -> dict[str, Partition]:
        rows = await connection.fetch(query("recorded_partitions"), table, list(partition_keys))
        return {key: partition_of_bounds(key, bounds) for key, bounds in rows}

    return asyncio.run(_reading(url, read))


async def _change(
    connection: asyncpg.Connection,
    table: str,
    letters: Sequence[KeptDeadLetter],
    state: DeadLetterState,
    actor: Actor,
    payloads: Mapping[int, str] | None = None,
) -> list[int]:
    """Change all of the dead letters, or raise where another process has changed one meanwhile."""
    revisions = {letter.dead_letter_id: letter.revision for letter in letters}
    changed = await change_dead_letters(connection, revisions, state, actor, payloads=payloads)
    if missing := len(letters) - len(changed):
        raise RowledgerError(
            f"table {table}: another process changed {missing} of these dead letters just now; nothing was done"
        )
    return changed


async def _reading(url: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Read in a session that changes nothing: no migration, SELECT alone. Raises what `ledger_reader` raises."""
    async with ledger_reader(url, purpose="dead-letters", limits=WriterSettings()) as connection:
        return await work(connection)


async def _in_transaction(url: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Run the work in one transaction of a new session; raises DatabaseUnavailable.

    After DatabaseUnavailable a second call finds what the first one did.
    """
    session = ledger_session(
        url, purpose="dead letters", doing="deciding on dead letters", writes=True, limits=WriterSettings()
    )
    async with session as writer, writer.transaction():
        return await work(writer.connection)
