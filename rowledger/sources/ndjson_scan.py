"""Find the lines of a file with one JSON object a line, without parsing them. Workers never import this module."""

import re
from collections.abc import Iterator
from itertools import chain

import numpy as np
from jiter import from_json

from rowledger.errors import SourceError
from rowledger.sources.json_frames import json_facts
from rowledger.sources.source_file import SourceFile
from rowledger.sources.text_files import TextFiles
from rowledger.sources.text_reading import Text
from rowledger.sources.text_records import Records, ScannedText, positions_of
from rowledger.spec import SourceContext

__all__ = ["scan_ndjson"]

_LINE_END = ord("\n")
_OPENS = re.compile(rb"[{\[]")
_SPACE = b" \t\r"
_BLANKS = b" \t\r\n"
_FIRST_LINE_BYTES_MAX = 2**20
_FLAT_SHARE, _NESTED_SHARE = 2.0, 2 / 3
"""Every line repeats the names of the columns, which take no memory once they are read; a nested value becomes a Python one."""


def scan_ndjson(source: TextFiles, file: SourceFile, text: Text, scope: SourceContext) -> Iterator[ScannedText]:
    """All lines of the file, in parts of some MiB; raises SourceError."""
    facts = json_facts(scope, text.codec)
    content, offset, is_by_lines, share = b"", text.offset or 0, False, None
    for block in chain(text.blocks, [None]):
        final = block is None
        content += block or b""
        if not is_by_lines:
            head = content.lstrip(_BLANKS) + (b"\n" if final else b"")
            is_by_lines = _require_lines(head, file)
            if not is_by_lines and not final:
                source.require_short(len(content), file)
                continue
        records = _lines(content, final=final)
        sizes = records.ends - records.starts
        source.require_short(int(sizes.max(initial=len(content) - records.consumed)), file)
        if len(sizes):
            are_rows = _are_rows(content, records)
            if share is None and (are_rows is None or are_rows.any()):
                row = 0 if are_rows is None else int(are_rows.argmax())
                is_nested = len(_OPENS.findall(content, int(records.starts[row]), int(records.ends[row]))) > 1
                share = _NESTED_SHARE if is_nested else _FLAT_SHARE
            yield ScannedText(content, offset, records, are_rows, facts, share or _FLAT_SHARE)
        content, offset = content[records.consumed :], offset + records.consumed


def _lines(content: bytes, *, final: bool) -> Records:
    """The lines that are complete: with their line end, or the last ones of the file."""
    ends = positions_of(_LINE_END, np.frombuffer(content, dtype=np.uint8))
    starts = np.append(0, ends + 1)
    if final and int(starts[-1]) < len(content):
        return Records(starts, np.append(ends, len(content)), {}, len(content))
    return Records(starts[:-1], ends, {}, int(starts[-1]))


def _are_rows(content: bytes, records: Records) -> "np.ndarray[tuple[int], np.dtype[np.bool_]] | None":
    """Which lines are not blank; None if all are not."""
    firsts = np.frombuffer(content, dtype=np.uint8)[np.minimum(records.starts, len(content) - 1)]
    are_odd = (records.starts == records.ends) | np.isin(firsts, np.frombuffer(_SPACE, dtype=np.uint8))
    are_blank = [
        number
        for number in np.flatnonzero(are_odd).tolist()
        if not content[records.starts[number] : records.ends[number]].strip(_SPACE)
    ]
    if not are_blank:
        return None
    are_rows = np.ones(len(records.starts), dtype=np.bool_)
    are_rows[are_blank] = False
    return are_rows


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
