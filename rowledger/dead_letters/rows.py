"""The rows of dead letters for showing and editing: what is hidden in them, and what was changed in them.

Numbers stay as they are written: 1.10 never becomes 1.1 or a double on its way to an editor and back.
"""

import json
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

from rowledger.contract import PayloadOf
from rowledger.spec import TableSpec, column_name, source_names

__all__ = [
    "REDACTED",
    "hidden_columns",
    "is_same_row",
    "json_members",
    "names_in_source",
    "redact_row",
    "restore_hidden",
]

REDACTED = '"[redacted]"'
"""The placeholder of a hidden value, as JSON."""

_BLANKS = " \t\r\n"
_decoder = json.JSONDecoder()


def json_members(text: str) -> dict[str, str]:
    """The members of a JSON object, each value as it is written; raises ValueError for any other text.

    Stricter than Python: NaN, a repeated name and half of a surrogate pair are refused.
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
    """The columns of a row that may not be shown; all of them without a spec, which says what is sensitive.

    Where a spec has sensitive columns, columns that the contract does not know are hidden too, because a transform may make
    a sensitive column of them. A line that is not a row is hidden for the same reason.
    """
    if spec is None:
        return list(names)
    if not spec.sensitive:
        return []
    if payload_of == PayloadOf.LINE:
        return list(names)
    shown = names_in_source(spec) - names_in_source(spec, only=spec.sensitive)
    return [name for name in names if name not in shown]


def names_in_source(spec: TableSpec, *, only: Collection[str] | None = None) -> set[str]:
    """The names that a source's row has for the contract's columns, or for those `only`, which are named as in the table."""
    return {
        source
        for name, info in spec.row.model_fields.items()
        if only is None or column_name(name, info) in only
        for source in source_names(spec.row, name)
    }


def redact_row(members: dict[str, str], hidden: Sequence[str]) -> str:
    """The row as a JSON object in which the values of hidden columns are replaced."""
    return _joined({name: REDACTED if name in hidden else value for name, value in members.items()})


def restore_hidden(edited: dict[str, str], stored: dict[str, str], hidden: Sequence[str]) -> str:
    """An edited row as a JSON object in which hidden columns have their stored values."""
    return _joined({**edited, **{name: stored[name] for name in hidden}})


def is_same_row(one: str, other: str) -> bool:
    """Whether two JSON texts have the same values, whatever their layout. 1 is not 1.0, and neither is true."""
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
    """The value with the types of its scalars, since Python's 1 equals 1.0 and True.

    Numbers compare by value, not by spelling.
    """
    match value:
        case dict():
            return {name: _comparable(item) for name, item in value.items()}
        case list():
            return [_comparable(item) for item in value]
        case _:
            return type(value).__name__, value
