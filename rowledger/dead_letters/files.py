"""Dead letters as a file for editing: one JSON object a line, with the facts of the dead letter and its row.

Export writes the file, import reads it back. A value that was hidden in it stays as it was.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rowledger.contract import PayloadOf
from rowledger.counted import counted
from rowledger.dead_letters.rows import (
    REDACTED,
    hidden_columns,
    is_same_row,
    json_members,
    names_in_source,
    redact_row,
    restore_hidden,
)
from rowledger.errors import DeadLetterFileRefused, RowledgerError
from rowledger.ledger import DeadLetterState, KeptDeadLetter, KeptPayload, LoadState
from rowledger.spec import TableSpec

__all__ = [
    "DeadLetterLine",
    "dead_letter_line",
    "edited_row",
    "new_private_file",
    "read_lines",
    "require_none",
    "visible_row",
    "why_unchangeable",
]

_ERRORS_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class DeadLetterLine:
    """A line of an import: the id of the dead letter, and its row as members of a JSON object."""

    number: int
    dead_letter_id: int
    revision: int | None
    row: dict[str, str]
    hidden: tuple[str, ...]


def visible_row(spec: TableSpec | None, payload: KeptPayload, text: str, *, reveal: bool) -> tuple[str, list[str]]:
    """A row as it may be shown, and the names of its hidden columns."""
    members = json_members(text)
    payload_of = PayloadOf.SOURCE if payload.corrected_payload == text else payload.payload_of
    hidden = [] if reveal else hidden_columns(spec, list(members), payload_of)
    return (redact_row(members, hidden) if hidden else text), hidden


def dead_letter_line(spec: TableSpec, letter: KeptDeadLetter, payload: KeptPayload, *, reveal: bool) -> str:
    """The line of one dead letter; `redacted` names its hidden columns."""
    row, hidden = visible_row(spec, payload, payload.current, reveal=reveal)
    facts = {
        "id": letter.dead_letter_id,
        "revision": letter.revision,
        "state": letter.state,
        "partition": letter.partition_key,
        "source": letter.source,
        "source_row": letter.source_row,
        "row": letter.row_no,
        "stage": letter.stage,
        "column": letter.column_name,
        "constraint": letter.constraint_name,
        "sqlstate": letter.sqlstate,
        "reason": letter.reason,
        **({"redacted": hidden} if hidden else {}),
    }
    return f'{json.dumps(facts, ensure_ascii=False)[:-1]}, "payload": {row}}}\n'


def read_lines(path: Path) -> list[DeadLetterLine]:
    """The lines of an import; raises DeadLetterFileRefused."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # an editor may have put a byte-order mark before it
    except OSError as error:
        raise DeadLetterFileRefused(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DeadLetterFileRefused(
            f"{path} is not UTF-8: byte {error.start} cannot be read; save it as UTF-8"
        ) from None
    lines: list[DeadLetterLine] = []
    problems: list[str] = []
    first_of: dict[int, int] = {}
    for number, content in enumerate(text.split("\n"), start=1):  # not splitlines, which also splits inside JSON texts
        if not content.strip():
            continue
        try:
            line = _parsed_line(number, content)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        if (first := first_of.setdefault(line.dead_letter_id, number)) != number:
            problems.append(f"line {number}: dead letter {line.dead_letter_id} was in line {first} already")
        lines.append(line)
    require_none(path, problems)
    return lines


def _parsed_line(number: int, content: str) -> DeadLetterLine:
    members = json_members(content.strip())
    if missing := [name for name in ("id", "payload") if name not in members]:
        raise ValueError(f"has no {' and no '.join(missing)}")
    values = {name: json.loads(members[name]) for name in ("id", "revision", "redacted") if name in members}
    revision, hidden = values.get("revision"), values.get("redacted", [])
    if type(values["id"]) is not int or (revision is not None and type(revision) is not int):
        raise ValueError("has an id or a revision that is no whole number")
    if not isinstance(hidden, list) or not all(isinstance(name, str) for name in hidden):
        raise ValueError("has a list `redacted` that is not one of column names")
    try:
        row = json_members(members["payload"])
    except ValueError as error:
        raise ValueError(f"has a payload that {error}") from None
    return DeadLetterLine(number, values["id"], revision, row, tuple(hidden))


def edited_row(
    spec: TableSpec, line: DeadLetterLine, letter: KeptDeadLetter | None, payload: KeptPayload | None
) -> str | None:
    """The row of a line as JSON, or None when nothing was changed in it; raises ValueError with the reason for refusing it."""
    if letter is None or payload is None:
        raise ValueError(f"does not exist in table {spec.name}")
    stored = json_members(payload.current)
    is_line = payload.payload_of == PayloadOf.LINE and payload.corrected_payload is None
    # A value marked as redacted is never one, whatever was done to the line's `redacted` list.
    marked = [
        name
        for name in hidden_columns(spec, list(stored), payload.payload_of if is_line else PayloadOf.SOURCE)
        if name in line.hidden or line.row.get(name) == REDACTED
    ]
    if is_line and "line" not in line.row:
        marked = []
    edited = restore_hidden(line.row, stored, marked)
    if is_same_row(edited, payload.current):
        return None
    if (reason := why_unchangeable(letter)) is not None:
        raise ValueError(reason)
    if line.revision is not None and line.revision != letter.revision:
        raise ValueError("was changed since it was exported; export it again")
    if is_line and "line" in line.row and "line" not in names_in_source(spec):
        raise ValueError("still has a raw line for its payload; make it an object of columns")
    return edited


def why_unchangeable(letter: KeptDeadLetter) -> str | None:
    """Why a dead letter may not be edited, reopened or discarded; None when it may."""
    if letter.state == DeadLetterState.REPLAYED:
        return "was replayed; its row is in the table"
    if letter.load_state != LoadState.PUBLISHED:
        return (
            f"belongs to load {letter.load_id} of {letter.partition_key}, which is {letter.load_state}, not in the table: fix "
            "the source or the table spec, and load the partition again"
        )
    return None


def require_none(path: Path, problems: Sequence[str]) -> None:
    """Raise DeadLetterFileRefused with the problems, or the first of them; do nothing without any."""
    if problems:
        shown = list(problems[:_ERRORS_SHOWN_MAX])
        if more := len(problems) - len(shown):
            shown.append(f"and {more} more")
        raise DeadLetterFileRefused(
            "\n".join([f"{path}: {counted(len(problems), 'line')} cannot be taken; nothing was imported", *shown])
        )


@contextlib.contextmanager
def new_private_file(path: Path) -> Iterator[TextIO]:
    """Create a file that only its owner can read and write; raises if it exists.

    It is on the disk when the block ends, and deleted if the block fails.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise RowledgerError(f"{path} exists already; name another file") from None
    except OSError as error:
        raise RowledgerError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask is
            yield file
            file.flush()
            os.fsync(descriptor)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise RowledgerError(f"{path} cannot be written: {error.strerror}") from None
        raise
