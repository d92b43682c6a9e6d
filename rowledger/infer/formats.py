"""The source that reads a file: its format, compression, and for text the encoding and the dialect."""

import codecs
import glob
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import pyarrow as pa
from pyarrow import parquet as pq

from rowledger.errors import SourceError
from rowledger.infer.csv_dialect import LINES, encoding_of, find_dialect
from rowledger.infer.json_form import json_form
from rowledger.infer.shapes import NULL_MARKERS
from rowledger.sources import ArrowFiles, CsvFiles, JsonFiles, NdjsonFiles, ParquetFiles
from rowledger.spec import Source

__all__ = ["FoundSource", "file_path", "source_of"]

T = TypeVar("T")

_HEAD_BYTES = 2**20
_COMPRESSIONS: dict[bytes, Literal["gzip", "zstd"]] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_PARQUET, _ARROW_FILE, _ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_QUOTED_MARKER = re.compile(
    r"""(?:^|[,;\t|])(["'])(?:"""
    + "|".join(re.escape(marker) for marker in NULL_MARKERS if marker)
    + r""")\1(?=[,;\t|\r\n]|$)""",
    re.MULTILINE,
)
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or a workbook; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    b"SQLite format 3": "a SQLite database; read it by a SqlQuery",
    b"BZh": "compressed by bzip2; unpack it, or compress it by gzip or zstd",
    b"\xfd7zX": "compressed by xz; unpack it, or compress it by gzip or zstd",
    b"\x89HDF": "an HDF5 file; write it as Parquet",
    b"Obj\x01": "an Avro file; write it as Parquet",
    b"ORC": "an ORC file; write it as Parquet",
    b"%PDF": "a PDF document",
}


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A source, with the columns that a header names. `quotes_nulls` says that null markers stand inside quotes."""

    source: Source
    columns: tuple[str, ...] = ()
    quotes_nulls: bool = False
    others: tuple[CsvFiles, ...] = ()
    """Other readings of the same text, to try if too many lines of it are no rows."""
    schema: pa.Schema | None = None
    """The types that the file declares, if it does."""


def file_path(path: Path) -> str:
    """The file's path as a source's template, in which braces and wildcards stand for themselves."""
    shown = path if ".." not in path.parts else path.resolve()
    return glob.escape(str(shown)).replace("{", "{{").replace("}", "}}")


def source_of(path: Path) -> FoundSource:
    """The source for this file; raises SourceError for a file that no source reads."""
    template = file_path(path)
    head = _read(path, lambda raw: raw.read(16))
    if not head:
        raise SourceError(f"{path}: is empty, so nothing can be inferred from it; give a file with a header or rows")
    if head.startswith(_PARQUET):
        return FoundSource(ParquetFiles(path=template), schema=_read(path, pq.read_schema))
    if head.startswith((_ARROW_FILE, _ARROW_STREAM)):
        read = pa.ipc.open_file if head.startswith(_ARROW_FILE) else pa.ipc.open_stream
        return FoundSource(ArrowFiles(path=template), schema=_read(path, lambda raw: read(raw).schema))
    for magic, what in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise SourceError(f"{path}: is {what}")
    compression = next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), None)
    sample = _read(path, lambda raw: _expanded(raw, compression))
    return _text_source(path, template, sample)


def _text_source(path: Path, template: str, sample: bytes) -> FoundSource:
    encoding = encoding_of(sample)
    text = codecs.getincrementaldecoder(encoding)("replace").decode(sample).removeprefix("\ufeff")
    if not text.strip():
        raise SourceError(
            f"{path}: has blank lines alone, so nothing can be inferred; give a file with a header or rows"
        )
    settings = {} if encoding == "utf-8" else {"encoding": encoding}
    if (form := json_form(path, text)) is not None:
        reader = JsonFiles if form.spans_lines else NdjsonFiles
        rows_at = {"rows_at": form.rows_at} if form.rows_at else {}
        return FoundSource(reader.model_validate({"path": template, **settings, **rows_at}))
    if "\0" in text[:1000]:
        raise SourceError(f"{path}: is neither text nor Parquet nor Arrow; convert it to one of them")
    whole = text if len(sample) < _HEAD_BYTES else text[: text.rfind("\n") + 1] or text
    dialect = find_dialect(whole)
    source = CsvFiles.model_validate({"path": template, **settings, **dialect.settings()})
    return FoundSource(source, dialect.header_names, _QUOTED_MARKER.search(whole) is not None, _other_readings(source))


def _other_readings(source: CsvFiles) -> tuple[CsvFiles, ...]:
    """The text without quotes, with records filled up, and in the end as lines, which are all rows."""
    unquoted = source.model_copy(update={"quote": None, "escape": None})
    filled = [reading.model_copy(update={"ragged": "fill"}) for reading in (source, unquoted)]
    lines = source.model_copy(update=LINES.settings())
    return (unquoted, *filled, lines)


def _read(path: Path, read: Callable[[pa.NativeFile], T]) -> T:
    if not path.is_file():
        raise SourceError(f"{path}: no such file; give the path of one file")
    try:
        with pa.OSFile(str(path), "rb") as raw:
            return read(raw)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path}: cannot be read ({type(error).__name__}); it may be truncated or damaged") from None


def _expanded(raw: pa.NativeFile, compression: Literal["gzip", "zstd"] | None) -> bytes:
    if compression is None:
        return raw.read(_HEAD_BYTES)
    with pa.CompressedInputStream(raw, compression) as stream:
        return stream.read(_HEAD_BYTES)
