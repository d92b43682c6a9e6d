"""Find how a text file is written: its encoding, delimiter and quotes, the lines above its header, and its columns' names."""

import codecs
import contextlib
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rowledger.infer.names import distinct
from rowledger.infer.shapes import PATTERNS, Shape

__all__ = ["LINES", "CsvDialect", "encoding_of", "find_dialect"]

_NO_DELIMITER = "\x1f"
"""The unit separator of ASCII, which text hardly ever has: for a file of lines."""
_DELIMITERS = ",;\t|\x01~^: "
_RARE_DELIMITERS = ": ^~"  # often part of a value
_NAMED_DELIMITER = re.compile("^sep=(.)$", re.IGNORECASE)
"""The first line of a file that spreadsheets are told the delimiter by."""
_COMMENTS = ("#", "//", "%", "--")
_CONSISTENT_SHARE = 0.8
_PREAMBLE_LINES_MAX = 100
_ROWS_MAX = 2_000
_HALF = 0.5
_TYPED = (
    Shape.INTEGER, Shape.DECIMAL, Shape.AMBIGUOUS_POINT, Shape.EXPONENT, Shape.DATE, Shape.TIMESTAMP, Shape.INSTANT, Shape.TIME,
    Shape.UUID, Shape.DAY_OR_MONTH_FIRST, Shape.YEAR_FIRST, Shape.DECIMAL_COMMA, Shape.GROUPED, Shape.DAY_OR_MONTH_FIRST_TIME,
    Shape.ZERO_LED,
)  # fmt: skip
_TYPED_PATTERNS = [re.compile(PATTERNS[shape]) for shape in _TYPED]
_LINE_END = re.compile(r"\r\n?|\n")
_TIME = re.compile(r"[0-9]:[0-9]{2}:[0-9]{2}")
_YEAR = re.compile(r"^(?:1[6-9]|2[01])[0-9]{2}$")
_UTF8_AND_MORE = 4  # bytes of the longest character


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """The dialect. `names` are given if they are not just what the header says; `skip_lines` then includes the header."""

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    skip_lines: int = 0
    header: bool = True
    names: tuple[str, ...] = ()
    header_names: tuple[str, ...] = ()
    fills: bool = False
    """Whether many records have fewer fields than the header."""

    def settings(self) -> dict[str, Any]:
        """The settings of CsvFiles."""
        return {
            "delimiter": self.delimiter, "quote": self.quote, "escape": self.escape, "skip_lines": self.skip_lines,
            "header": self.header, "columns": self.names, "ragged": "fill" if self.fills else "refuse",
            "nulls": ("\\N",) if self.escape is not None and self.quote is None else ("",),
        }  # fmt: skip


LINES = CsvDialect(_NO_DELIMITER, quote=None, header=False, names=("line",), header_names=("line",))
"""A text whose lines are rows of one column."""


def encoding_of(head: bytes) -> str:
    """The encoding of a text that begins with these bytes: UTF-8, UTF-16 or UTF-32, else one of Western Europe."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [head[start::2].count(0) / max(len(head) // 2, 1) for start in (0, 1)]
    if max(zeros) > _HALF and min(zeros) < _HALF / 10:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    if is_utf8_start(head):
        return "utf-8"
    beyond_ascii = [line for line in head.splitlines()[:-1] if not line.isascii()]
    right = sum(map(is_utf8_start, beyond_ascii))
    return "utf-8" if 2 * right > len(beyond_ascii) else western(head)


def is_utf8_start(head: bytes) -> bool:
    """Whether the bytes are UTF-8; the last character may be cut off."""
    try:
        codecs.utf_8_decode(head, "strict", False)  # noqa: FBT003, a positional-only parameter
    except UnicodeDecodeError:
        return False
    return True


def western(text: bytes) -> str:
    """cp1252, or latin-1 for bytes that cp1252 does not have."""
    try:
        text.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def find_dialect(text: str) -> CsvDialect:
    """The dialect of a file that begins with this text."""
    first_end = _LINE_END.search(text)
    lines = re.split("\r" if first_end is not None and first_end[0] == "\r" else "\r?\n", text)
    quote: str | None = _quote(text)
    escape = "\\" if re.search(rf"[^\\]\\{quote}[^\r\n,;\t|]", text) else None
    named = _NAMED_DELIMITER.match(lines[0])
    delimiter = named[1] if named else _delimiter(lines, quote, escape)
    if delimiter == _NO_DELIMITER:
        return LINES
    if delimiter == "\t" and quote == '"' and _has_bare_quotes(text):
        quote = escape = None
    if delimiter == "\t" and '"' not in text and re.search(r"[^\\]\\[tnr\\]", text):
        quote, escape = None, "\\"  # as PostgreSQL's COPY and MySQL write text
    every = _records(lines, delimiter, quote, escape)
    records = _without_preamble(every)
    if not records:
        return CsvDialect(delimiter, quote, escape)
    header, body = records[0].fields, [record.fields for record in records[1:]]
    skipped = records[0].lines_before if len(records) < len(every) else 0
    counts = Counter(map(len, body))
    usual = counts.most_common(1)[0][0] if counts else len(header)
    if not _has_header(header, body):
        names = tuple(f"column_{number}" for number in range(1, max(usual, len(header)) + 1))
        # The first record has other figures than the rest: how many rows and columns there are.
        skipped = records[0].lines_with if usual > len(header) + 1 else skipped
        names = names[:usual] if usual > len(header) + 1 else names
        return CsvDialect(delimiter, quote, escape, skipped, header=False, names=names, header_names=names)
    fills = sum(count for size, count in counts.items() if size < len(header)) > len(body) / 100
    if usual > len(header):
        unnamed = [""] * (usual - len(header))
        is_trailing = all(not any(row[len(header) :]) for row in body if len(row) == usual)
        names = _named([*header, *unnamed] if is_trailing or len(unnamed) > 1 else ["row_name", *header])
        skipped = records[0].lines_with
        return CsvDialect(delimiter, quote, escape, skipped, header=False, names=names, header_names=names, fills=fills)
    names = _named(header)
    declared = () if names == tuple(header) else names
    return CsvDialect(delimiter, quote, escape, skipped, names=declared, header_names=names, fills=fills)


def _named(header: Sequence[str]) -> tuple[str, ...]:
    return tuple(distinct(name or f"column_{number}" for number, name in enumerate(header, start=1)))


def _quote(text: str) -> str:
    """The character around fields: the double quote unless only single quotes stand at both ends of fields."""
    single = len(re.findall(r"(?:^|[,;\t|])'[^'\r\n]*'(?=[,;\t|\r\n]|$)", text, re.MULTILINE))
    double = text.count('"')
    return "'" if single > 1 and not double else '"'


def _has_bare_quotes(text: str) -> bool:
    """Whether quotes in a file of tabs stand inside fields, as in files that quote nothing."""
    inside = len(re.findall(r'[^\t\r\n"]"[^\t\r\n"]', text))
    around = len(re.findall(r'(?:^|\t)"(?:[^"]|"")*"(?=\t|\r?$)', text, re.MULTILINE))
    opening = len(re.findall(r'(?:^|\t)"', text, re.MULTILINE))
    return inside > 0 and around < opening + inside


@dataclass(frozen=True, slots=True)
class _Record:
    """A record that is not blank, and the lines before it and up to its end."""

    fields: list[str]
    lines_before: int
    lines_with: int


def _records(lines: Sequence[str], delimiter: str, quote: str | None, escape: str | None = None) -> list[_Record]:
    reader = csv.reader(
        (f"{line}\n" for line in lines),
        delimiter=delimiter,
        quotechar=quote or '"',
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        escapechar=escape,
    )
    found: list[_Record] = []
    before = 0
    with contextlib.suppress(csv.Error):
        for row in reader:
            if row:
                found.append(_Record(row, before, reader.line_num))
            before = reader.line_num
            if len(found) > _ROWS_MAX:
                break
    return found


def _delimiter(lines: Sequence[str], quote: str | None, escape: str | None) -> str:
    """The delimiter by which most records, and the first of them, have the same number of fields."""
    best, best_score = ",", 0.0
    has_times = sum(map(bool, map(_TIME.search, lines))) > _HALF * len(lines)
    for delimiter in _DELIMITERS.replace(":", "") if has_times else _DELIMITERS:
        records = _records(lines, delimiter, quote, escape)
        if delimiter == " " and sum("" in record.fields for record in records) > _HALF * len(records):
            continue  # blanks align columns rather than divide them
        sizes = [len(record.fields) for record in records]
        several = Counter(size for size in sizes if size > 1)
        if not several:
            continue
        usual, count = several.most_common(1)[0]
        share = count / len(sizes)
        if share < _CONSISTENT_SHARE and (delimiter in _RARE_DELIMITERS or sum(several.values()) < _HALF * len(sizes)):
            continue
        start = next(number for number, size in enumerate(sizes) if size == usual)
        begins_early = all(size <= 1 for size in sizes[:start]) or start == 0
        first = sizes[0] if start else usual
        score = share + (0.5 if begins_early and first <= usual else 0)
        score += 0.0001 * usual - (0.4 if delimiter in _RARE_DELIMITERS else 0)
        if delimiter != "," and delimiter not in _RARE_DELIMITERS:
            score += 0.05  # a comma is also part of numbers and texts
        if start:
            score -= 0.5 if start > len(sizes) / 10 else 0.1  # another delimiter may also fit the header
        if score > best_score:
            best, best_score = delimiter, score
    if not best_score and any(len(record.fields) > 1 for record in _records(lines, best, quote, escape)):
        return _NO_DELIMITER
    return best


def _without_preamble(records: Sequence[_Record]) -> Sequence[_Record]:
    """The records from the header on, without comments and titles above it."""
    sizes = Counter(len(record.fields) for record in records)
    usual = max(sizes, key=lambda size: (sizes[size], size), default=0)
    for number, record in enumerate(records[:_PREAMBLE_LINES_MAX]):
        size = len(record.fields)
        filled = sum(1 for value in record.fields if value.strip())
        is_comment = record.fields[0].startswith("# ") or (record.fields[0].startswith(_COMMENTS) and size != usual)
        is_comment |= number == 0 and record.fields[0].lower().startswith("sep=")
        is_title = usual > 1 and (size <= max(1, (usual - 1) // 2) or (filled <= 1 and usual > 2))  # noqa: PLR2004
        if not (is_comment or is_title):
            return records[number:]
    return records


def _is_typed(value: str) -> bool:
    return any(pattern.match(value) for pattern in _TYPED_PATTERNS)


def _has_header(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the first record has names: it differs in kind from what is below it."""
    if not body:
        return not any(_is_typed(value.strip()) for value in first) or all(map(_YEAR.match, first))
    named = unnamed = repeated = 0
    for number, name in enumerate(first):
        values = [row[number].strip() for row in body if number < len(row) and row[number].strip()]
        if not values:
            continue
        if sum(map(_is_typed, values)) > _HALF * len(values):
            if not _is_typed(name.strip()):
                named += 1 if name.strip() else 0
            elif not _YEAR.match(name.strip()) or name.strip() in values[:50]:
                unnamed += 1
        elif _TIME.search(name) or (
            name.strip()[:1].isdigit() and sum(value[0].isdigit() for value in values) > _HALF * len(values)
        ):
            unnamed += 1  # such as a line of a log, or of figures that blanks align
        elif name.strip() in values and len(set(values)) < len(values):
            repeated += 1  # a value that occurs again
    if named or unnamed:
        return named >= unnamed
    return not repeated
