r"""Convert the text of a COPY, which `copy_out` has read, to the frame that the same rows have when ADBC reads them.

COPY's text has a line for each row, tabs between the values, `\N` for null, and backslashes only where a value has a character
that would be taken for one of these, or a backslash. So pyarrow reads it in columns, and the few texts with a backslash are
converted afterwards.
"""

import codecs
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import csv

from rowledger.contract import polars_frame
from rowledger.counted import counted
from rowledger.errors import SourceError
from rowledger.sources.postgres_values import convert_columns, exact_frame, tick_of
from rowledger.sources.text_encoding import is_utf8
from rowledger.sources.typed_columns import typed_column
from rowledger.spec import ChunkDescriptor, TextRange

__all__ = ["copied_frame"]

_Column = Any
"""A `pyarrow.ChunkedArray` of any type; the stubs are too narrow."""

_ARROW_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(), "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(),
    "float4": pa.float32(), "float8": pa.float64(),
    "date": pa.date32(), "time": pa.time64("us"), "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"),
}  # fmt: skip
"""The types of columns whose texts pyarrow reads; those of all others are texts first."""
_UNITS = {"date": "D", "time": "us", "timestamp": "us", "timestamptz": "us"}

_BACKSLASH = ord("\\")
_ESCAPES = {"\\b": "\b", "\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\v": "\v"}
_ESCAPE = re.compile(rb"\\.")
_HELD = "\0"  # no text of PostgreSQL has it


def copied_frame(text: bytes, descriptor: ChunkDescriptor, typed: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The rows of a chunk, with columns of text in the types of `typed` where all texts have a plain form.

    Raises SourceError if there is another number of rows than the chunk has.
    """
    facts = descriptor.text
    assert facts is not None  # noqa: S101, the chunks of a COPY have one
    kinds = dict(zip(facts.columns, facts.types, strict=True))
    documents = None if facts.documents is None else frozenset(facts.documents)
    is_valid = is_utf8(text)  # a server in UTF-8 sends what it has, and what it has may be damaged
    columns = _columns(text, facts, is_valid=is_valid)
    for name, dtype in typed.items():
        texts = columns.get(name)
        if texts is None or texts.type != pa.string() or kinds[name] == "uuid" or (documents and name in documents):
            continue
        if (column := typed_column(texts, dtype)) is not None:
            columns[name] = column
    table = pa.table(columns)
    if table.num_rows != descriptor.rows:
        raise SourceError(
            f"{descriptor.origin}: {counted(table.num_rows, 'row')} were read from bytes that hold {descriptor.rows}: an error "
            "of this program, please report it"
        )
    if not is_valid or "time" in facts.types:
        return exact_frame(table, kinds, documents)
    series = dict(zip(table.column_names, polars_frame(table).get_columns(), strict=True))
    convert_columns(series, kinds, documents, {})
    return pl.DataFrame(series)


def _columns(text: bytes, facts: TextRange, *, is_valid: bool) -> dict[str, _Column]:
    """The values as ADBC gives them; types that it does not give exactly are the server's texts."""
    types = [_ARROW_TYPES.get(kind, pa.string()) for kind in facts.types]
    try:
        columns = _parsed(text, types).columns
    except pa.ArrowInvalid:  # an infinity, a year beyond 9999 or before 1, an offset with seconds, 24:00
        units = [_UNITS.get(kind) for kind in facts.types]
        table = _parsed(text, [kind if unit is None else pa.string() for unit, kind in zip(units, types, strict=True)])
        columns = [
            column if unit is None else _ticks(column, unit).cast(kind)
            for column, unit, kind in zip(table.columns, units, types, strict=True)
        ]
    has_escapes = b"\\" in text
    for number, kind in enumerate(facts.types):
        column = columns[number]
        if kind == "bytea":
            columns[number] = _bytes(column)
        elif has_escapes and column.type == pa.string() and _has_backslash(column):
            columns[number] = _unescaped(column) if is_valid else _unescaped_one_by_one(column)
    return dict(zip(facts.columns, columns, strict=True))


def _parsed(text: bytes, types: list[pa.DataType]) -> pa.Table:
    names = [str(number) for number in range(len(types))]
    if text.startswith(codecs.BOM_UTF8):
        text = codecs.BOM_UTF8 + text  # pyarrow takes the first one away, but here it is a part of the first value
    return csv.read_csv(
        pa.BufferReader(text),  # type: ignore[arg-type]
        read_options=csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
        parse_options=csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            check_utf8=False,  # checked already
            column_types=dict(zip(names, types, strict=True)),
            null_values=["\\N"],
            strings_can_be_null=True,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def _ticks(column: _Column, unit: str) -> _Column:
    """Texts of dates or times as numbers, such as ADBC has them."""
    coded = column.combine_chunks().dictionary_encode()
    kind = pa.int32() if unit == "D" else pa.int64()
    return pa.array([tick_of(text, unit) for text in coded.dictionary.to_pylist()], kind).take(coded.indices)


def _bytes(column: _Column) -> _Column:
    """Values of bytea from their hexadecimal digits, which stand behind an escaped backslash and x."""
    digits = pl.Series(column).str.slice(3)
    return digits.str.decode("hex").to_arrow(compat_level=pl.CompatLevel.oldest())


def _has_backslash(column: _Column) -> bool:
    content = column.combine_chunks().buffers()[2]
    return content is not None and bool((np.frombuffer(content, np.uint8) == _BACKSLASH).any())


def _unescaped(column: _Column) -> _Column:
    """The texts, with what COPY has escaped; an escaped backslash is set aside meanwhile, so that it begins no other escape."""
    texts = pl.Series("text", column)
    escaped = pl.col("text").str.replace_all("\\\\", _HELD, literal=True)
    for escape, character in _ESCAPES.items():
        escaped = escaped.str.replace_all(escape, character, literal=True)
    plain = escaped.str.replace_all(_HELD, "\\", literal=True)
    has_escape = pl.col("text").str.contains("\\", literal=True)
    converted = texts.to_frame().select(pl.when(has_escape).then(plain).otherwise("text").alias("text")).to_series()
    return converted.to_arrow(compat_level=pl.CompatLevel.oldest())


def _unescaped_one_by_one(column: _Column) -> _Column:
    """The same for texts that are not all UTF-8."""
    escapes = {escape.encode(): character.encode() for escape, character in _ESCAPES.items()}
    values = [
        value and _ESCAPE.sub(lambda escape: escapes.get(escape[0], escape[0][1:]), value)
        for value in column.cast(pa.binary()).to_pylist()
    ]
    return pa.array(values, pa.binary()).view(pa.string())
