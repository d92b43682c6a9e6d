"""The value for which a row was refused, as a person with a terminal may see it."""

from rowledger.contract import Stage
from rowledger.dead_letters.rows import json_members, names_in_source
from rowledger.spec import TableSpec

__all__ = ["refused_value"]

_LINE = "line"  # the only member of a payload that is a line of the source


def refused_value(spec: TableSpec, stage: str, column: str | None, row: str) -> str:
    """The value as JSON in printable characters; empty where no column of the row is named.

    `row` is the row as JSON, in which hidden values are replaced already. Where a line is not a row, the line is the value.
    """
    members = json_members(row)
    if column is None:
        return _printable(members.get(_LINE, "")) if stage == Stage.SOURCE else ""
    # A row that a transform made has the names of the table.
    names = [*names_in_source(spec, only=(column,)), column]
    return _printable(next((members[name] for name in names if name in members), ""))


def _printable(text: str) -> str:
    """The text without characters that would act on a terminal."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)
