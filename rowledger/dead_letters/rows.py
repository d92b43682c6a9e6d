"""The rows of dead letters as people see and edit them: what is hidden of them, and what was changed in them.

Numbers stay as they are written: 1.10 is neither 1.1 nor a double on its way to a person and back.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rowledger.contract import PayloadOf
from rowledger.spec import TableSpec, column_names

__all__ = ["REDACTED", "hidden_columns", "is_same_row", "json_members", "redact_row", "restore_hidden"]

REDACTED = '"[redacted]"'
"""What stands for a hidden value, as JSON."""

_BLANKS = " \t\r\n"
_decoder = json.JSONDecoder()


def json_members(text: str) -> dict[str, str]:
    """The members of a JSON object, each value as it is written; raises ValueError for anything else.

    Strict where Python is not: no NaN, no name twice, no half of a surrogate pair.
    """
    value = _strictly_parsed(text)
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - the text is at fault
    members: dict[str, str] = {}
    position = _after_blanks(text, text.index("{") + 1)
    while text[position] != "}":
        name, position = _decoder.raw_decode(text, position)
        position = _after_blanks(text, _after_blanks(text, position) + 1)
        _, end = _decoder.raw_decode(text, position)
        members[name] = text[position:end]
        position = _after_blanks(text, end)
        if text[position] == ",":
            position = _after_blanks(text, position + 1)
    return members


def hidden_columns(spec: TableSpec | None, names: Sequence[str], payload_of: str) -> list[str]:
    """Which of a row's columns may not be shown; all where the spec is not known, which says what is sensitive.

    Where a spec has sensitive columns, one that the contract does not know is hidden too: a transform or an alias may make a
    sensitive one of it, and so is a line that is not a row.
    """
    if spec is None:
        return list(names)
    if not spec.sensitive:
        return []
    if payload_of == PayloadOf.LINE:
        return list(names)
    shown = set(column_names(spec.row)) - set(spec.sensitive)
    return [name for name in names if name not in shown]


def redact_row(members: dict[str, str], hidden: Sequence[str]) -> str:
    """The row as a JSON object without the values of hidden columns."""
    return _joined({name: REDACTED if name in hidden else value for name, value in members.items()})


def restore_hidden(edited: dict[str, str], stored: dict[str, str], hidden: Sequence[str]) -> str:
    """An edited row as a JSON object in which hidden columns have the values that they had."""
    return _joined({**edited, **{name: stored[name] for name in hidden}})


def is_same_row(one: str, other: str) -> bool:
    """Whether two JSON texts say the same, however they are laid out: 1 is not 1.0, and neither is true."""
    return bool(_comparable(_strictly_parsed(one)) == _comparable(_strictly_parsed(other)))


def _joined(members: dict[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in members.items()) + "}"


def _after_blanks(text: str, position: int) -> int:
    while text[position] in _BLANKS:
        position += 1
    return position


def _strictly_parsed(text: str) -> Any:  # noqa: ANN401 - any JSON value
    def refuse_constant(name: str) -> None:
        raise ValueError(f"holds {name}, which JSON does not know; write it as text")

    def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"has {next(name for name in names if names.count(name) > 1)!r} twice")
        return found

    try:
        value = json.loads(text, parse_float=Decimal, parse_constant=refuse_constant, object_pairs_hook=without_doubles)
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg} at character {error.pos + 1}") from None
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return value


def _comparable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """With the types of scalars beside them, since Python's 1 equals 1.0 and True; numbers by value, not by spelling."""
    match value:
        case dict():
            return {name: _comparable(item) for name, item in value.items()}
        case list():
            return [_comparable(item) for item in value]
        case _:
            return type(value).__name__, value
