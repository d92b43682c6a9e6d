"""Files with one JSON object a line as a source: every line becomes a row, or a fault with its reason.

No value is read as another one: a missing key is not null, true is not 1, and numbers keep their digits.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import polars as pl
from jiter import from_json

from rowledger.errors import SourceError
from rowledger.sources.frame_builder import Unfit
from rowledger.sources.json_frames import JsonFrames
from rowledger.sources.source_file import SourceFile
from rowledger.sources.spooled_text import SpooledTextFiles
from rowledger.spec import SourceContext

__all__ = ["NdjsonFiles"]

_WANTED = "; wanted is one object a line"
_SPACE = b" \t\r"
_BLANKS = b" \t\r\n"
_FIRST_LINE_BYTES_MAX = 2**20


class NdjsonFiles(SpooledTextFiles):
    """The files of a partition with one JSON object a line, in the order of their names. Blank lines are skipped.

    A column has the type that all its values in a chunk share: text, Boolean, integer, number, list or object. Where they have
    several types, each value keeps its own and is checked separately.
    """

    kind: Literal["ndjson"] = "ndjson"

    def _frames(self, file: SourceFile, scope: SourceContext) -> Iterator[pl.DataFrame]:
        codec, _, blocks = self.text_of(file)
        builder = JsonFrames(scope, codec=codec, encoding=self.encoding, columns_max=self.columns_max, wanted=_WANTED)
        text, row, is_by_lines = b"", 0, False
        for block, final in _last_line_ended(blocks):
            text += block
            if not is_by_lines and not (is_by_lines := _require_lines(text.lstrip(_BLANKS), file)) and not final:
                self.require_short(len(text), file)
                continue
            whole, _, text = text.rpartition(b"\n")
            lines = [line for line in whole.split(b"\n") if line.strip(_SPACE)]
            self.require_short(max(map(len, lines), default=0), file)
            self.require_short(len(text), file)
            if not lines:
                continue
            try:
                yield builder.frame([builder.parse(line) for line in lines])
            except Unfit as unfit:
                raise SourceError(
                    f"{file.origin}: {unfit}, from row {row} on; fix the file, or raise the source's columns_max"
                ) from None
            row += len(lines)


def _require_lines(head: bytes, file: SourceFile) -> bool:
    """Whether the text is known to be one object a line; raises SourceError for a list, and objects over several lines."""
    first, line_end, rest = head.partition(b"\n")
    if not head.startswith((b"[", b"{")):
        return bool(head)
    if head.startswith(b"[") and (len(head) > _FIRST_LINE_BYTES_MAX or line_end) and _is_list_of_rows(first):
        raise SourceError(
            f"{file.origin}: is one JSON list, not one object a line; declare JsonFiles in place of NdjsonFiles"
        )
    second = rest.lstrip(_BLANKS)
    if head.startswith(b"{") and second and not second.startswith(b"{") and _is_begun(first):
        raise SourceError(
            f"{file.origin}: has an object over several lines, not one object a line; declare JsonFiles in place of NdjsonFiles"
        )
    return bool(line_end) and (bool(second) or head.startswith(b"["))


def _is_list_of_rows(text: bytes) -> bool:
    """Whether the text is the beginning of a list, or a list of objects, rather than a line that is a list of other values."""
    try:
        value = from_json(text)
    except ValueError:
        return _is_begun(text)
    return isinstance(value, list) and (not value or any(isinstance(item, dict) for item in value))


def _is_begun(line: bytes) -> bool:
    """Whether the line is the beginning of a value that it does not end."""
    try:
        from_json(line)
    except ValueError as error:
        return str(error).startswith("EOF")
    return False


def _last_line_ended(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The blocks, with a line end after the last one, which is marked."""
    held = b""
    for block in blocks:
        yield held, False
        held = block
    yield held + b"\n", True
