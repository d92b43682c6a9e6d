"""Find the elements of a JSON list, or of a sequence of JSON values, in text that comes in blocks, without parsing them.

Brackets and quotes alone decide where an element begins and ends, so one that is no JSON costs itself and not its neighbours.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from jiter import from_json

__all__ = ["Elements", "ListFinder", "MalformedJson", "split_elements"]

_BLANKS = b" \t\r\n"
_BETWEEN = _BLANKS + b","
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_LIST_OPENS, _LIST_CLOSES = ord("["), ord("]")
_STEPS = np.zeros(256, dtype=np.int8)
_STEPS[[*b"[{"]], _STEPS[[*b"]}"]] = 1, -1
_PIECES = re.compile(rb'(?:"(?:[^"\\]|\\.)*"?|[^,"])+', re.DOTALL)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)


class MalformedJson(Exception):
    """The text is not what brackets and quotes make of it; the message says what is wrong and quotes no value."""


@dataclass(frozen=True, slots=True)
class Elements:
    """The complete elements at the beginning of a text.

    `consumed` bytes are done with. `is_closed` means that the bracket that closes the list is among them.
    """

    texts: list[bytes]
    consumed: int
    is_closed: bool


def split_elements(text: bytes, *, in_list: bool, final: bool) -> Elements:
    """The elements that are complete in this text, which begins between two elements.

    Objects and lists are complete with their last bracket; a scalar is complete when something follows it, or if the text is
    `final`. Commas and blanks between elements have no meaning. Raises MalformedJson for a bracket that closes nothing.
    """
    places, depths = _brackets(text)
    outside = np.flatnonzero(depths < 0)
    end = int(places[outside[0]]) if len(outside) else None
    if end is not None:
        if not in_list or text[end] != _LIST_CLOSES:
            raise MalformedJson(f"has a {chr(text[end])!r} that closes nothing")
        places, depths = places[: outside[0]], depths[: outside[0]]
    before = np.concatenate([[0], depths[:-1]]) if len(depths) else depths
    starts = places[(before == 0) & (depths == 1)].tolist()
    ends = (places[(before == 1) & (depths == 0)] + 1).tolist()
    texts: list[bytes] = []
    done = 0
    for start, stop in zip(starts, ends, strict=False):  # the last one may not have ended yet
        texts += _scalars(text[done:start])
        texts.append(text[start:stop])
        done = stop
    if end is not None or (final and len(starts) == len(ends)):
        texts += _scalars(text[done:end])
        done = len(text) if end is None else end + 1
    return Elements(texts, done, end is not None)


def _brackets(text: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The positions of the brackets outside texts, and the depth after each."""
    signs = np.frombuffer(text, dtype=np.uint8)
    is_quote = signs == _QUOTE
    if b"\\" in text:
        backslashes = np.flatnonzero(signs == _BACKSLASH)
        firsts = np.flatnonzero(np.diff(backslashes, prepend=-2) != 1)
        lengths = np.diff(firsts, append=len(backslashes))
        escaped = (backslashes[firsts] + lengths)[lengths % 2 == 1]  # what is behind an odd number of them
        is_quote[escaped[escaped < len(signs)]] = False
    steps = _STEPS[signs]
    places = np.flatnonzero(steps)
    places = places[np.searchsorted(np.flatnonzero(is_quote), places) % 2 == 0]
    return places, np.cumsum(steps[places], dtype=np.int64)


def _scalars(between: bytes) -> Iterator[bytes]:
    """What is between two elements that begin with a bracket, other than commas and blanks."""
    if not between.strip(_BETWEEN):
        return
    for piece in _PIECES.findall(between):
        if piece.strip(_BLANKS):
            yield piece.strip(_BLANKS)


@dataclass
class ListFinder:
    """Walks through an object to the list at the end of a path of keys, and behind that list to the object's end."""

    path: tuple[str, ...]
    is_found: bool = False
    is_done: bool = False
    _open: list[int] = field(default_factory=list)
    _keys: list[Any] = field(default_factory=list)  # of each open bracket: the key of its value, if it is an object's
    _awaits_key: bool = False

    def walk(self, text: bytes) -> int:
        """How many bytes were passed: up to behind the list's opening bracket, or all but a token that is not complete.

        Raises MalformedJson.
        """
        position = 0
        while True:
            while text[position : position + 1].isspace():
                position += 1
            token = _TOKEN.match(text, position)
            if token is None or (token.end() == len(text) and text[position : position + 1] not in b"{}[],:"):
                return position
            self._take(token[0])
            position = token.end()
            if text[token.start()] == _LIST_OPENS and self._at_path and not self._is_inside_lists:
                if self.is_found:
                    raise MalformedJson(f"has the list {self._told} twice")
                self.is_found = True
                self._open.pop()  # the bracket that closes it is read with its elements
                self._keys.pop()
                return position

    @property
    def _told(self) -> str:
        return ".".join(self.path)

    @property
    def _at_path(self) -> bool:
        return tuple(self._keys[:-1]) == self.path

    @property
    def _is_inside_lists(self) -> bool:
        return _LIST_OPENS in self._open[:-1]

    def _take(self, token: bytes) -> None:
        if self.is_done:
            raise MalformedJson("has more after its object")
        if not self._open and token != b"{":
            raise MalformedJson("is no object")
        match token:
            case b"{" | b"[":
                self._open.append(token[0])
                self._keys.append(None)
                self._awaits_key = token == b"{"
            case b"}" | b"]":
                opened = self._open.pop()
                self._keys.pop()
                if opened != (ord("{") if token == b"}" else _LIST_OPENS):
                    raise MalformedJson(f"has a {token.decode()!r} that closes nothing")
                self.is_done = not self._open
            case b",":
                self._awaits_key = self._open[-1] == ord("{")
            case b":":
                self._awaits_key = False
            case _ if self._awaits_key:
                self._keys[-1] = _key(token)


def _key(token: bytes) -> str | bytes:
    try:
        return str(from_json(token))
    except ValueError:
        return token
