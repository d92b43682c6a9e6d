"""Find the cells in lines of JSON objects without parsing them: where each key and each value begins and ends.

What is between the quotes is compared with what programs write: {"key":value,"key":value}, with or without a space after colons
and commas. A line that passes is valid JSON if each of its values is. A line that does not is in doubt, and a parser decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from jiter import from_json

from rowledger.sources.json_template import PART_BYTES, Block, Key, Template, are_all, count_controls, where
from rowledger.spec import RESERVED_PREFIX

__all__ = ["CellFinder"]

_Integers = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]
_Booleans = npt.NDArray[np.bool_]

_BLOCK_BYTES = PART_BYTES
_QUOTE, _BACKSLASH, _COLON, _COMMA, _SPACE, _LINE_END, _RETURN, _OPENS, _CLOSES = b'"\\:, \n\r{}'
_BLANKS = b" \t\r"
_CONTROLS_END = 32  # JSON allows none of the bytes below within a text
_NONE: _Integers = np.empty(0, dtype=np.int64)
_STEPS = np.zeros(256, dtype=np.int8)
_STEPS[[*b"[{"]], _STEPS[[*b"]}"]] = 1, -1


class CellFinder:
    """Finds the cells of a text, block by block. The text is valid UTF-8, and its last line has a line end."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._signs = np.frombuffer(text, dtype=np.uint8)
        self._template: Template | None = None

    def blocks(self) -> Iterator[Block]:
        start = self._text.find(b"\n") + 1
        if start:
            yield self._block(0, start)  # alone, so that it is known how the others are likely to be written
        while start < len(self._text):
            last = self._text.rfind(b"\n", start, start + _BLOCK_BYTES)
            stop = (self._text.find(b"\n", start) if last < 0 else last) + 1
            yield self._block(start, stop)
            start = stop

    def _block(self, start: int, stop: int) -> Block:
        signs, template = self._signs[start:stop], self._template
        has_escapes = self._text.find(b"\\", start, stop) >= 0
        controls = count_controls(signs)
        if template and template.is_flat and not has_escapes:
            if found := template.block_of(self._signs, start, stop, controls):
                return found
            template = None  # it would not be found by its quotes either
        quotes, escapes = where(signs, lambda part: part == _QUOTE) + start, _NONE
        if has_escapes:
            escapes = where(signs, lambda part: part == _BACKSLASH) + start
            quotes = _without_escaped(quotes, escapes)
        if template and (found := template.block_by_quotes(self._signs, quotes, escapes, start, stop, controls)):
            return found
        block, self._template = _Lines.of(self._text, self._signs, quotes, start, stop).block(escapes, controls)
        return block


def _without_escaped(quotes: _Integers, escapes: _Integers) -> _Integers:
    """The quotes that an odd number of backslashes does not precede."""
    firsts = np.flatnonzero(np.diff(escapes, prepend=-2) != 1)
    lengths = np.diff(firsts, append=len(escapes))
    escaped = (escapes[firsts] + lengths)[lengths % 2 == 1]
    return quotes[~np.isin(quotes, escaped, assume_unique=True)]


class _InDoubt(Exception):
    """Some lines, by their numbers, are not as expected."""

    def __init__(self, lines: _Integers) -> None:
        super().__init__()
        self.lines = lines


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines that are not blank: line `i` has the quotes from `quotes[firsts[i]]` on, `counts[i]` of them."""

    text: bytes
    signs: _Bytes
    starts: _Integers
    ends: _Integers
    quotes: _Integers
    firsts: _Integers
    counts: _Integers

    @classmethod
    def of(cls, text: bytes, signs: _Bytes, quotes: _Integers, start: int, stop: int) -> Self:
        ends = where(signs[start:stop], lambda part: part == _LINE_END) + start
        starts = np.append(start, ends[:-1] + 1)
        bounds = np.searchsorted(quotes, np.append(start, ends))
        firsts, counts = bounds[:-1], np.diff(bounds)
        is_blank = np.zeros(len(ends), dtype=np.bool_)
        for line in np.flatnonzero(counts == 0).tolist():
            is_blank[line] = not text[starts[line] : ends[line]].strip(_BLANKS)
        if is_blank.any():
            starts, ends, firsts, counts = (values[~is_blank] for values in (starts, ends, firsts, counts))
        return cls(text, signs, starts, ends, quotes, firsts, counts)

    def block(self, escapes: _Integers, controls: int) -> tuple[Block, "Template | None"]:
        """The block, and how its first line without doubt is written."""
        is_sound = self._look_right(controls)
        while (sound := np.flatnonzero(is_sound)).size:
            try:
                values = self._values(sound)
                keys, order = self._keys(values, sound)
            except _InDoubt as doubt:
                is_sound[sound[doubt.lines]] = False
                continue
            is_text = (values.firsts == _QUOTE)[order]
            starts, ends, firsts = values.starts[order] + is_text, values.ends[order] - is_text, values.firsts[order]
            in_doubt = np.flatnonzero(~is_sound)
            block = Block(self.starts, self.ends, in_doubt, starts, ends, firsts, keys, escapes)
            return block, self._template(block, int(sound[0]))
        everything = np.arange(len(self.starts))
        return Block(self.starts, self.ends, everything, _NONE, _NONE, np.empty(0, np.uint8), [], escapes), None

    def _template(self, block: Block, line: int) -> "Template":
        quotes = self.quotes[self.firsts[line] : self.firsts[line] + self.counts[line]]
        cells = [
            (name, int(block.starts[cell]), int(block.ends[cell]))
            for name, cell, _, lines in block.keys
            if lines is None or lines[0] == line
        ]
        cells.sort(key=lambda cell: cell[1])
        return Template.of(self.text, quotes, int(self.starts[line]), int(self.ends[line]) + 1, cells)

    def _look_right(self, controls: int) -> _Booleans:
        """Whether each line is from { to }, and has pairs of quotes, the first behind the {, and no control character."""
        stops = self._stops()
        firsts = np.minimum(self.firsts, len(self.quotes) - 1)
        is_right: _Booleans = (self.counts > 0) & (self.counts % 2 == 0)
        if not len(self.quotes):
            return is_right
        is_right &= (self.signs[self.starts] == _OPENS) & (self.signs[stops - 1] == _CLOSES)
        is_right &= self.quotes[firsts] == self.starts + 1
        if controls != len(stops) + np.count_nonzero(stops != self.ends):
            start, stop = int(self.starts[0]), int(self.ends[-1])
            found = where(self.signs[start:stop], lambda part: part < _CONTROLS_END) + start
            lines = np.searchsorted(self.starts, found, side="right") - 1
            is_right[lines[found < stops[lines]]] = False
        return is_right

    def _stops(self) -> _Integers:
        """Where each line ends without its carriage return."""
        stops: _Integers = self.ends - (self.signs[self.ends - 1] == _RETURN)
        return stops

    def _values(self, sound: _Integers) -> "_Values":
        """The values of these lines; raises _InDoubt."""
        counts = self.counts[sound]
        quotes = self.quotes
        if len(sound) < len(self.counts) or counts.sum() < len(quotes):
            quotes = quotes[_ranges(self.firsts[sound], counts)]
        opens, closes = quotes[::2], quotes[1::2]
        lines = np.repeat(np.arange(len(sound)), counts // 2)
        starts, stops = self.starts[sound], self._stops()[sound]
        if (depths := self._depths(quotes, opens, starts, stops)) is not None:
            is_top = depths == 1
            opens, closes, lines = opens[is_top], closes[is_top], lines[is_top]
        return _values(self.signs, opens, closes, lines, starts, stops)

    def _depths(self, quotes: _Integers, opens: _Integers, starts: _Integers, stops: _Integers) -> _Integers | None:
        """How deep each text is nested, 1 for an object's own keys and values; None if no line has brackets within it."""
        start, stop = int(starts[0]), int(stops[-1])
        if self.text.find(b"[", start, stop) < 0 and self.text.count(b"{", start, stop) == len(starts):
            return None  # a bracket that closes nothing is part of a value that is not JSON
        brackets = where(self.signs[start:stop], lambda part: _STEPS[part]) + start
        numbers = np.searchsorted(starts, brackets, side="right") - 1
        brackets = brackets[(np.searchsorted(quotes, brackets) % 2 == 0) & (brackets < stops[numbers])]
        steps = _STEPS[self.signs[brackets]]
        depths = np.cumsum(steps, dtype=np.int64)
        numbers = np.searchsorted(starts, brackets, side="right") - 1
        is_last = np.append(numbers[1:] != numbers[:-1], True)
        befores = np.append(0, depths[is_last])[:-1]
        depths -= befores[numbers]
        # Within a line the depth is positive, and at its end nothing is open.
        if (wrong := (depths <= 0) != is_last).any() or (wrong := depths * is_last != 0).any():
            raise _InDoubt(np.unique(numbers[wrong]))
        found: _Integers = depths[np.searchsorted(brackets, opens) - 1]
        return found

    def _keys(self, values: "_Values", sound: _Integers) -> tuple[list[Key], _Integers]:
        """The keys as a block has them, and the order of the values that this means.

        Raises _InDoubt for lines with a key twice, or with a key that no column may have.
        """
        if (alike := self._keys_of_each_line(values, sound)) is not None:
            return alike
        bounds = np.stack([values.key_starts, values.key_ends], axis=1).ravel()
        spans = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(bounds) - 1, [None, pa.py_buffer(bounds.data), pa.py_buffer(self.text)]
        )
        encoded = spans.take(np.arange(0, len(bounds), 2)).dictionary_encode()
        names = [_name(key) for key in encoded.dictionary.to_pylist()]
        # Keys that are written in several ways, "a" and "\\u0061", have the number of the first one.
        numbers = {name: number for number, name in reversed(list(enumerate(names)))}
        key_numbers = np.array([-1 if name is None else numbers[name] for name in names])[encoded.indices.to_numpy()]
        if (is_unsound := key_numbers < 0).any():
            raise _InDoubt(np.unique(values.lines[is_unsound]))
        order = np.argsort(key_numbers, kind="stable")
        key_numbers, lines = key_numbers[order], values.lines[order]
        is_same = key_numbers[1:] == key_numbers[:-1]
        if (is_twice := is_same & (lines[1:] == lines[:-1])).any():
            raise _InDoubt(np.unique(lines[1:][is_twice]))
        stops = [*(np.flatnonzero(~is_same) + 1).tolist(), len(lines)]
        keys: list[Key] = []
        for start, stop in zip([0, *stops], stops, strict=False):
            keys.append(Key(str(names[key_numbers[start]]), start, stop, sound[lines[start:stop]]))
        return keys, order

    def _keys_of_each_line(self, values: "_Values", sound: _Integers) -> tuple[list[Key], _Integers] | None:
        """The same, if all lines have the keys of the first one in its order."""
        width, rest = divmod(len(values.lines), len(sound))
        if rest or (values.lines.reshape(len(sound), width) != np.arange(len(sound))[:, np.newaxis]).any():
            return None
        names = []
        for start, end in zip(
            values.key_starts.reshape(-1, width).T, values.key_ends.reshape(-1, width).T, strict=True
        ):
            literal = self.text[start[0] : end[0]]
            if (end - start != len(literal)).any() or not are_all(self.signs, start, literal):
                return None
            names.append(_name(literal))
        if None in names or len(set(names)) < width:
            return None
        count = len(sound)
        order = np.arange(width * count).reshape(count, width).T.ravel()
        return [Key(str(name), n * count, (n + 1) * count, sound) for n, name in enumerate(names)], order


@dataclass(frozen=True, slots=True)
class _Values:
    """The values of lines in their order, a text's with its quotes, and their keys, without."""

    lines: _Integers
    key_starts: _Integers
    key_ends: _Integers
    starts: _Integers
    ends: _Integers
    firsts: _Bytes


def _values(
    signs: _Bytes, opens: _Integers, closes: _Integers, lines: _Integers, starts: _Integers, stops: _Integers
) -> _Values:
    """What the pairs of quotes say of the lines from `starts` to `stops`; raises _InDoubt."""
    texts = closes, lines
    at = np.flatnonzero(signs[closes + 1] == _COLON)
    key_opens, key_closes, lines = opens[at], closes[at], lines[at]
    keys = np.bincount(lines, minlength=len(starts))
    if (without := keys == 0).any():
        raise _InDoubt(np.flatnonzero(without))
    value_starts = key_closes + 2
    value_starts += signs[value_starts] == _SPACE
    firsts = signs[value_starts]
    is_last = np.append(lines[1:] != lines[:-1], True)
    value_ends = np.append(key_opens[1:], 0) - 1
    value_ends[is_last] = stops - 1
    value_ends -= signs[value_ends] == _SPACE
    is_text = firsts == _QUOTE
    behind = at[is_text] + 1  # a text is the pair behind its key's
    behind[behind == len(opens)] = 0
    wrong = (value_ends <= value_starts) | (signs[value_ends] != np.where(is_last, _CLOSES, _COMMA))
    wrong[is_text] |= (opens[behind] != value_starts[is_text]) | (closes[behind] + 1 != value_ends[is_text])
    if wrong.any():
        raise _InDoubt(np.unique(lines[wrong]))
    if len(opens) != len(at) + np.count_nonzero(is_text):
        pairs = np.bincount(texts[1], minlength=len(starts))
        values = np.bincount(lines[is_text], minlength=len(starts))
        raise _InDoubt(np.flatnonzero(pairs != keys + values))
    return _Values(lines, key_opens + 1, key_closes, value_starts, value_ends, firsts)


def _ranges(firsts: _Integers, counts: _Integers) -> _Integers:
    """The numbers from each first on, as many as its count."""
    offsets = np.repeat(firsts - np.append(0, np.cumsum(counts)[:-1]), counts)
    return offsets + np.arange(len(offsets))


def _name(key: Any) -> str | None:  # noqa: ANN401, the stubs know no bytes here
    """The name that a key is for; None if no column may have it, or it is none."""
    try:
        name = str(from_json(b'"' + key + b'"'))
    except ValueError:
        return None
    return None if name.startswith(RESERVED_PREFIX) or "\0" in name else name
