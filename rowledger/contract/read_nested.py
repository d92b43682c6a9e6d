"""Lists and nested documents, read at column speed: split into flat columns, checked, and reassembled.

A value with any suspect part goes to pydantic as a whole, which names the place. So does every value of a field or a source
column that has no flat form.
"""

import json
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from jiter import from_json
from pydantic import TypeAdapter, ValidationError

from rowledger.contract.cells import flattened, rows_of, unheld_cells
from rowledger.contract.column_fit import writes_json
from rowledger.contract.core_schema import has_type
from rowledger.contract.decimal_texts import digits_of
from rowledger.contract.dynamic import BYTES_FOR_PEOPLE, dynamic_texts
from rowledger.contract.exact_conversion import polars_series
from rowledger.contract.find_suspects import doubt_violations
from rowledger.contract.fit_value import doubt_nul
from rowledger.contract.kinds import Kind
from rowledger.contract.read_column import is_readable, read_column
from rowledger.contract.reading import Reading, blank
from rowledger.contract.rules import FieldRules
from rowledger.contract.target_types import doubt_undeclared_digits, fit_column
from rowledger.spec import DECIMAL_TEXT, DYNAMIC, ColumnType, types_in

__all__ = ["read_nested"]

_ANY: dict[str, str] = {"type": "any"}
_ANY_OBJECT = ({}, *({"keys_schema": {"type": kind}, "values_schema": _ANY} for kind in ("str", "any")))
_ANY_LIST: tuple[dict[str, Any], ...] = ({}, {"items_schema": _ANY})
_JSON_PARTS = {"type", "schema"}
_LONG = 100_000
_REFUSED_ESCAPE = r"\\u(?:0000|[dD][89a-fA-F])"
# Types that polars writes as JSON exactly as pydantic does.
_PLAIN = {
    pl.Boolean, pl.String, pl.Float64, pl.Null, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32,
    pl.UInt64, pl.List, pl.Struct,
}  # fmt: skip


def read_nested(rules: FieldRules, target: ColumnType, source: pl.Series) -> Reading:
    """The column as read at column speed; values that this cannot judge, which may be all of them, are suspects."""
    reading: Reading | None = None
    if writes_json(rules, target):
        reading = _read_document(rules, source)
    elif target.array and not rules.by_value:
        reading = _read_lists(rules, source, target.element)
    if reading is None:
        reading = Reading(pl.Series(dtype=target.frame_type).clear(len(source)), source.is_not_null())
    if source.dtype.is_nested() or rules.by_value:
        reading.refused += unheld_cells(source)
    return reading


def _read_document(rules: FieldRules, source: pl.Series) -> Reading | None:
    """Nested values as JSON text; None if each must go to pydantic."""
    schema = _schema(rules)
    is_anything = bool(schema == _ANY)
    if source.dtype == DYNAMIC and (opening := _opening_of_anything(rules, schema)) is not None:
        return _read_json_texts(dynamic_texts(source).str.replace_all(*BYTES_FOR_PEOPLE, literal=True), opening)
    if source.dtype == pl.String and schema["type"] == "json" and not schema.keys() - _JSON_PARTS:
        opening = _opening_of_anything(rules, schema.get("schema", _ANY))
        return None if opening is None else _read_json_texts(source, opening)
    if is_anything and (isinstance(source.dtype, pl.Decimal) or source.dtype == DECIMAL_TEXT):
        return Reading(digits_of(source) if source.dtype == DECIMAL_TEXT else source.cast(pl.String))
    whole = Reading(source) if is_anything else _read(rules, source, None)
    if whole is None or not _is_plain(whole.values.dtype):
        return None
    whole.values = _json_texts(whole.values)
    if is_anything and any(part.is_float() for part in types_in(source.dtype)):
        whole.doubt(whole.values.str.contains("null", literal=True))  # the null may be a NaN
    if source.null_count():
        whole.values = blank(whole.values, source.is_null())
    return _without_odd_escapes(whole)


def _schema(rules: FieldRules) -> dict[str, Any]:
    """Pydantic's schema of the field's non-null values."""
    schema: Any = rules.adapter.core_schema
    inner = schema["schema"] if schema["type"] == "nullable" else schema
    return {key: part for key, part in inner.items() if key != "metadata"}


def _opening_of_anything(rules: FieldRules, schema: dict[str, Any]) -> str | None:
    """How JSON texts begin for a schema that takes any value, any object or any list unchanged; None for other schemas."""
    match schema:
        case {"type": "any"}:
            return ""
        case {"type": "dict", **rest} if rest in _ANY_OBJECT and _takes_any_key(rules.adapter):
            return "{"
        case {"type": "list", **rest} if rest in _ANY_LIST:
            return "["
    return None


def _read_json_texts(texts: pl.Series, opening: str) -> Reading:
    """JSON texts that become documents unchanged."""
    reading = Reading(texts)
    sound = pl.Series([text is None or _is_sound(text) for text in texts.to_list()], dtype=pl.Boolean)
    reading.doubt(~sound | ~texts.str.starts_with(opening))
    return _without_odd_escapes(reading)


def _is_sound(text: str) -> bool:
    """Whether the text is JSON other than null, without NaN and without duplicate keys."""
    try:
        return from_json(text.encode(), catch_duplicate_keys=True, allow_inf_nan=False) is not None
    except ValueError:
        return False


@cache
def _takes_any_key(adapter: TypeAdapter[Any]) -> bool:
    """Whether the model's settings for texts, which also apply to an object's keys, neither change nor refuse any."""
    keys = dict.fromkeys(["", " Aa ", "x" * _LONG])
    takes_text = has_type(adapter.core_schema, {"json"})
    try:
        return bool(adapter.validate_python(json.dumps(keys) if takes_text else keys) == keys)
    except ValidationError:
        return False


def _without_odd_escapes(reading: Reading) -> Reading:
    """Mark documents that may contain an escaped NUL character or surrogate, which jsonb refuses."""
    reading.doubt(reading.values.str.contains(_REFUSED_ESCAPE))
    return reading


def _json_texts(values: pl.Series) -> pl.Series:
    """Structs, or lists of anything, as JSON texts."""
    if isinstance(values.dtype, pl.Struct):
        return values.struct.json_encode()
    wrapped: pl.Series = pl.select(pl.struct(v=values)).to_series().struct.json_encode()
    return wrapped.str.slice(len('{"v":')).str.head(-1)


def _is_plain(dtype: pl.DataType) -> bool:
    """Whether polars writes values of that type as JSON exactly as pydantic does."""
    return all(type(part) in _PLAIN and part != DECIMAL_TEXT for part in types_in(dtype))


def _read(rules: FieldRules, source: pl.Series, target: ColumnType | None) -> Reading | None:
    """One node of a nested value; `target` is the type of an array's elements, and None within a document."""
    if rules.element is not None or rules.members is not None:
        reading = _read_struct(rules, source) if rules.element is None else _read_lists(rules, source, target)
        if reading is not None and not rules.column.nullable:
            reading.doubt(source.is_null())
        return reading
    if not is_readable(rules, source.dtype):
        return None
    reading = read_column(rules, source)
    for mask, _ in reading.refused:
        reading.doubt(mask)
    doubt_violations(rules, reading)
    fitted_type = target or rules.column.type
    doubt_undeclared_digits(rules, reading, fitted_type)
    reading.values = fit_column(reading, fitted_type)
    if target is not None and reading.values.dtype == pl.String and (nul := doubt_nul(reading.values)) is not None:
        reading.doubt(nul)
    if target is None and rules.kind is Kind.FLOAT:
        reading.doubt(~reading.values.is_finite())  # JSON has no NaN: pydantic decides
    if not rules.column.nullable:
        reading.doubt(source.is_null())
    return reading


def _read_lists(rules: FieldRules, source: pl.Series, target: ColumnType | None) -> Reading | None:
    if rules.element is None or not isinstance(source.dtype, pl.List | pl.Array):
        return None
    flat, row_of, offsets = flattened(source)
    inner = _read(rules.element, flat, target)
    if inner is None:
        return None
    nulls = source.is_null()
    lists = pa.LargeListArray.from_arrays(
        pa.array(offsets, type=pa.int64()),
        inner.values.to_arrow(),
        mask=pa.array(nulls.to_numpy()) if nulls.any() else None,
    )
    reading = Reading(polars_series(source.name, lists))
    if inner.suspect is not None:
        reading.doubt(rows_of(inner.suspect, row_of, len(source)))
    lengths = pl.Series(np.diff(offsets))
    if rules.min_length is not None:
        reading.doubt((lengths < rules.min_length) & ~nulls)
    if rules.max_length is not None:
        reading.doubt((lengths > rules.max_length) & ~nulls)
    return reading


def _read_struct(rules: FieldRules, source: pl.Series) -> Reading | None:
    if rules.members is None or not isinstance(source.dtype, pl.Struct) or source.dtype in (DECIMAL_TEXT, DYNAMIC):
        return None
    parts = {field.name: field for field in source.struct.unnest().get_columns()}
    nulls = source.is_null()
    suspect: pl.Series | None = None
    fields: list[pl.Series] = []
    for member in rules.members:
        part = parts.get(member.sources[0])
        reading = None if part is None else _read(member, part, None)
        if reading is None:
            return None
        if reading.suspect is not None:
            suspect = reading.suspect if suspect is None else suspect | reading.suspect
        fields.append(reading.values.alias(member.field))
    values = pl.select(pl.when(~nulls).then(pl.struct(fields)).alias(source.name)).to_series()
    whole = Reading(values)
    if suspect is not None:
        whole.doubt(suspect & ~nulls)
    return whole
