"""JSON files as a source that are not one object a line: a list of objects, or objects one after another."""

from collections.abc import Iterator
from enum import Enum
from itertools import chain
from typing import Any, Literal

import polars as pl
from pydantic import Field

from rowledger.counted import counted
from rowledger.errors import SourceError
from rowledger.sources.frame_builder import Unfit
from rowledger.sources.json_elements import Elements, ListFinder, MalformedJson, split_elements
from rowledger.sources.json_frames import JsonFrames, json_facts
from rowledger.sources.source_file import SourceFile
from rowledger.sources.spooled_text import SpooledTextFiles
from rowledger.sources.text_reading import text_of
from rowledger.spec import SourceContext

__all__ = ["JsonFiles"]

_BLANKS = b" \t\r\n"
_WANTED = "; wanted are objects"
_LEVELS_SEARCHED = 3


class JsonFiles(SpooledTextFiles):
    """The JSON files of a partition: each a list of objects, or objects one after another, over any number of lines.

    With `rows_at`, each is one object, and the list of objects is the value at the end of these keys. Files are read in blocks,
    so their size does not matter. An element that is no object is a dead letter; the values are those of `NdjsonFiles`.
    """

    kind: Literal["json"] = "json"
    rows_at: tuple[str, ...] = Field(
        default=(), description="The keys, from the outermost on, that lead to the list of the rows."
    )

    def _frames(self, file: SourceFile, scope: SourceContext) -> Iterator[pl.DataFrame]:
        codec, _, blocks = text_of(self, file)
        facts = json_facts(scope, codec)
        builder = JsonFrames(facts, encoding=self.encoding, columns_max=self.columns_max, wanted=_WANTED)
        reader, rows = _Reader(self, file), 0
        try:
            for block in chain(blocks, [None]):
                if not (elements := reader.elements(block)):
                    continue
                if (
                    rows == 0
                    and reader.place is _Place.SEQUENCE
                    and isinstance(first := builder.parse(elements[0]), dict)
                ):
                    _require_rows(first, scope, file)
                yield _frame(builder, elements)
                rows += len(elements)
            reader.require_end()
        except MalformedJson as malformed:
            raise SourceError(
                f"{file.origin}: {malformed}, after {counted(rows, 'row')} or more; write the file again"
            ) from None
        except Unfit as unfit:
            raise SourceError(
                f"{file.origin}: {unfit}, from row {rows} on; fix the file, or raise the source's columns_max"
            ) from None


def _frame(builder: JsonFrames, elements: list[bytes]) -> pl.DataFrame:
    """The rows of elements, which are read in columns if each is on one line."""
    if any(b"\n" in element for element in elements):
        return builder.frame([builder.parse(element) for element in elements])
    return builder.frame_of_lines(b"\n".join([*elements, b""]))


class _Place(Enum):
    """Where in a file the reader is."""

    START = "start"
    OBJECT = "object"  # before the list at `rows_at`
    LIST = "list"
    SEQUENCE = "sequence"  # among objects one after another
    BEHIND = "behind"  # behind the list


class _Reader:
    """Gives the elements of one file, block by block; raises SourceError, and MalformedJson where brackets do not pair."""

    def __init__(self, source: JsonFiles, file: SourceFile) -> None:
        self.place = _Place.OBJECT if source.rows_at else _Place.START
        self._source = source
        self._file = file
        self._finder = ListFinder(source.rows_at)
        self._text = b""

    def elements(self, block: bytes | None) -> list[bytes]:
        """The elements that are complete with this block; None is the end of the file."""
        self._text += block or b""
        self._find_rows()
        found = Elements([], 0, is_closed=False)
        if self.place in (_Place.LIST, _Place.SEQUENCE):
            found = split_elements(self._text, in_list=self.place is _Place.LIST, final=block is None)
            self._text = self._text[found.consumed :]
        if found.is_closed:
            self.place = _Place.BEHIND
        if self.place is _Place.BEHIND:
            self._pass_the_rest()
        elif self.place is _Place.SEQUENCE and block is None and self._text.strip(_BLANKS):
            found.texts.append(self._text.strip(_BLANKS))  # an object that does not end, which is a fault
            self._text = b""
        self._require_short(found.texts)
        return found.texts

    def require_end(self) -> None:
        """Raise SourceError or MalformedJson unless the file has ended as it should."""
        match self.place:
            case _Place.LIST:
                raise MalformedJson("ends within its list")
            case _Place.OBJECT:
                raise SourceError(
                    f"{self._file.origin}: has no list at {list(self._source.rows_at)}; correct rows_at, the keys that lead "
                    "to the rows"
                )
            case _Place.BEHIND if self._source.rows_at and not self._finder.is_done:
                raise MalformedJson("ends within its object")
            case _Place.BEHIND if self._text.strip(_BLANKS):
                raise MalformedJson("has more after its rows")

    def _find_rows(self) -> None:
        if self.place is _Place.START and (text := self._text.lstrip(_BLANKS)):
            self.place = _Place.LIST if text.startswith(b"[") else _Place.SEQUENCE
            self._text = text.removeprefix(b"[")
        elif self.place is _Place.OBJECT:
            self._text = self._text[self._finder.walk(self._text) :]
            if self._finder.is_found:
                self.place = _Place.LIST

    def _pass_the_rest(self) -> None:
        if self._source.rows_at:
            self._text = self._text[self._finder.walk(self._text) :]
        elif self._text.strip(_BLANKS):
            raise MalformedJson("has more after its list")

    def _require_short(self, texts: list[bytes]) -> None:
        """Raise SourceError if an element, or what is not complete yet, is longer than `record_bytes_max`."""
        limit, size = self._source.record_bytes_max, len(self._text)
        if self.place is _Place.SEQUENCE and size > limit:
            raise SourceError(
                f"{self._file.origin}: an object of {size:,} bytes or more, {limit:,} are allowed; if a list in it holds the "
                "rows, name the keys that lead to it: JsonFiles(rows_at=('key',)); otherwise raise record_bytes_max"
            )
        self._source.require_short(max(map(len, texts), default=size), self._file)


def _require_rows(first: dict[str, Any], scope: SourceContext, file: SourceFile) -> None:
    """Raise SourceError if the file's first object has none of the contract's columns, but a list of objects."""
    if set(first) & set(scope.columns) or (path := _list_in(first, ())) is None:
        return
    raise SourceError(
        f"{file.origin}: has none of the columns {list(scope.columns)}, but a list of objects at {'.'.join(path)}; if these "
        f"are the rows, declare JsonFiles(rows_at={path!r})"
    )


def _list_in(value: dict[str, Any], path: tuple[str, ...]) -> tuple[str, ...] | None:
    """The keys that lead to the first list of objects."""
    for key, inner in value.items():
        if isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
            return (*path, key)
    for key, inner in value.items():
        if isinstance(inner, dict) and len(path) < _LEVELS_SEARCHED and (found := _list_in(inner, (*path, key))):
            return found
    return None
