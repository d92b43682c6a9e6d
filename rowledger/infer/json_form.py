"""In which form a JSON file has its rows: one object a line, a list, or a list inside one object."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jiter import from_json

from rowledger.errors import SourceError

__all__ = ["JsonForm", "json_form"]

_ENDINGS = {".json", ".jsonl", ".ndjson", ".geojson"}
_LEVELS_MAX = 3


@dataclass(frozen=True, slots=True)
class JsonForm:
    """Whether a row may span lines, and the keys that lead to the list of rows, if it is inside an object."""

    spans_lines: bool
    rows_at: tuple[str, ...] = ()


def json_form(path: Path, text: str) -> JsonForm | None:
    """The form of a file that begins with this text; None if it is not JSON. Raises SourceError for JSON without rows."""
    start = text.lstrip()
    if not start.startswith(("{", "[")):
        return None
    lines = [line for line in start.split("\n")[:3] if line.strip()]
    if isinstance(_parsed(lines[0]), dict) and (len(lines) == 1 or start.startswith("{")):
        place = _rows_at(_parsed(lines[0]), rows_min=2) if len(lines) == 1 else None
        return JsonForm(spans_lines=False) if place is None else JsonForm(spans_lines=True, rows_at=place)
    is_named_json = bool({ending.lower() for ending in path.suffixes} & _ENDINGS)
    found = _parsed(start, partial=True)
    match found:
        case [dict(), *_]:
            return JsonForm(spans_lines=True)
        case dict() if found:
            return JsonForm(spans_lines=True, rows_at=_rows_at(found, rows_min=1) or ())
        case list() if is_named_json:
            raise SourceError(
                f"{path}: is a list of values that are no objects, and a row is an object; write it as objects"
            )
        case _:
            # Objects one after another are no JSON together.
            return JsonForm(spans_lines=True) if is_named_json and start.startswith("{") else None


def _parsed(text: str, *, partial: bool = False) -> Any:  # noqa: ANN401, any JSON
    """The value of the text, which may be cut off if `partial`; None if it is no JSON."""
    try:
        return from_json(text.encode(), partial_mode=partial)
    except ValueError:
        return None


def _rows_at(value: dict[str, Any], *, rows_min: int) -> tuple[str, ...] | None:
    """The keys of the longest list of objects, at most three levels down; None if none has `rows_min` of them."""
    found = max(_lists(value, ()), key=lambda item: item[0], default=(0, ()))
    return found[1] if found[0] >= rows_min else None


def _lists(value: dict[str, Any], keys: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for key, item in value.items():
        match item:
            case [dict(), *_]:
                yield len(item), (*keys, key)
            case dict() if len(keys) < _LEVELS_MAX - 1:
                yield from _lists(item, (*keys, key))
