"""Choose among the readings of a text: by other quotes, another encoding, or as mere lines, if too many lines are no rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import polars as pl

from rowledger.infer.csv_dialect import western
from rowledger.infer.file_rows import FileRows
from rowledger.infer.formats import FoundSource
from rowledger.sources import CsvFiles, JsonFiles, NdjsonFiles
from rowledger.spec import FAULT, LINE, RESERVED_PREFIX

__all__ = ["best_reading"]

_FAULTS_SHARE_MAX = 0.01
_LINES_FROM_SHARE = 0.1
"""The share of lines that are no rows from which a file is read as lines."""


@dataclass
class _Faults:
    """Lines that are no rows, those among them that do not decode, and rows with letters beyond ASCII."""

    rows: int = 0
    undecodable: list[bytes] = field(default_factory=list)
    encoded_rows: int = 0


@contextmanager
def best_reading(found: FoundSource) -> Iterator[FileRows]:
    """The rows of the reading with the fewest faults; the first one unless it has more than 1 %. Raises SourceError."""
    rows = FileRows(found.source, found.schema)
    others = list(found.others)
    try:
        faults = _faults(rows)
        if (encoding := _encoding(rows, faults)) is not None:
            others = [reading.model_copy(update={"encoding": encoding}) for reading in others]
            rows = _instead_of(rows, FileRows(rows.source.model_copy(update={"encoding": encoding})))
            faults = _faults(rows)
        while others and faults.rows > (_FAULTS_SHARE_MAX if len(others) > 1 else _LINES_FROM_SHARE) * rows.count:
            other = FileRows(others.pop(0))
            other_faults = _faults(other)
            if other_faults.rows < faults.rows:
                rows, faults = _instead_of(rows, other), other_faults
            else:
                other.close()
        yield rows
    finally:
        rows.close()


def _instead_of(former: FileRows, rows: FileRows) -> FileRows:
    former.close()
    return rows


def _faults(rows: FileRows) -> _Faults:
    faults = _Faults()
    for frame in rows.frames():
        if FAULT not in frame.columns:
            continue
        is_fault = frame[FAULT].is_not_null()
        faults.rows += int(is_fault.sum())
        lines = frame.filter(is_fault & frame[FAULT].str.starts_with("has bytes that are no "))[LINE]
        faults.undecodable += lines.drop_nulls().to_list()
        if len(lines):
            texts = [
                name
                for name in frame.columns
                if not name.startswith(RESERVED_PREFIX) and frame[name].dtype == pl.String
            ]
            is_encoded = pl.any_horizontal(
                pl.col(name).str.len_bytes() != pl.col(name).str.len_chars() for name in texts
            )
            faults.encoded_rows += int(frame.select(is_encoded.sum()).item()) if texts else 0
    return faults


def _encoding(rows: FileRows, faults: _Faults) -> str | None:
    """Another encoding, if more lines beyond ASCII are no UTF-8 than are."""
    source = rows.source
    if not isinstance(source, CsvFiles | JsonFiles | NdjsonFiles) or source.encoding != "utf-8":
        return None
    if len(faults.undecodable) <= faults.encoded_rows:
        return None
    return western(b"\n".join(faults.undecodable))
