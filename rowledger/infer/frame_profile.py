"""What a column of a source with types holds: the types of its chunks, and what its numbers and texts look like."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import polars as pl

from rowledger.infer import field_type as of
from rowledger.infer.field_type import FieldType
from rowledger.infer.notation import Notation
from rowledger.infer.text_profile import TextProfile
from rowledger.infer.text_types import Candidate, text_candidate
from rowledger.spec import BYTES_16, DECIMAL_TEXT, DYNAMIC, UUID, types_in

__all__ = ["FrameProfile"]


class _Kind(StrEnum):
    """What kind of value a JSON source has; values of a column with another type are `other`."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    LIST = "list"
    OBJECT = "object"
    OTHER = "other"


_FIRST_CHARACTERS = {
    _Kind.TEXT: r'^"', _Kind.NUMBER: r"^[-0-9]", _Kind.BOOLEAN: r"^[tf]", _Kind.LIST: r"^\[", _Kind.OBJECT: r"^\{",
}  # fmt: skip
_BY_TYPE: dict[Any, FieldType] = {
    pl.Boolean: of.BOOLEAN, pl.Int8: of.SMALLINT, pl.UInt8: of.SMALLINT, pl.Int16: of.SMALLINT, pl.UInt16: of.INTEGER,
    pl.Int32: of.INTEGER, pl.UInt32: of.BIGINT, pl.Int64: of.BIGINT, pl.Float16: of.DOUBLE, pl.Float32: of.DOUBLE,
    pl.Float64: of.DOUBLE, pl.String: of.TEXT, pl.Categorical: of.TEXT, pl.Enum: of.TEXT, pl.Binary: of.BYTEA, pl.Date: of.DATE,
    pl.Time: of.TIME, pl.Duration: of.INTERVAL, pl.Null: of.TEXT, pl.UInt64: of.numeric(20, 0), pl.Int128: of.NUMERIC,
    pl.UInt128: of.NUMERIC,
}  # fmt: skip
_OBJECT = FieldType("json", "dict[str, Any]")
_LIST = FieldType("json", "list[Any]")


@dataclass
class FrameProfile:
    """The values of one column. `absent` counts the rows that lack it. With `declares`, the source's types are declared."""

    declares: bool
    values: int = 0
    nulls: int = 0
    absent: int = 0
    types: dict[Any, None] = field(default_factory=dict)
    kinds: Counter[_Kind] = field(default_factory=Counter)
    numbers: TextProfile = field(default_factory=TextProfile)
    texts: TextProfile = field(default_factory=TextProfile)

    @property
    def is_of_texts(self) -> bool:
        """Whether the source has texts alone."""
        return not self.declares and set(self.kinds) <= {_Kind.TEXT}

    def add(self, column: pl.Series) -> None:
        """Count the values of one chunk."""
        values = column.drop_nulls()
        self.nulls += len(column) - len(values)
        self.values += len(values)
        if not len(values) and not self.declares:
            return
        self.types[column.dtype] = None
        if self.declares:
            return
        if column.dtype == DYNAMIC:
            self._add_mixed(values)
            return
        kind = _kind_of(column.dtype)
        self.kinds[kind] += len(values)
        if kind is _Kind.NUMBER:
            self.numbers.add(_digits(values))
        elif kind is _Kind.TEXT:
            self.texts.add(values)

    def _add_mixed(self, values: pl.Series) -> None:
        texts = values.struct.field(values.struct.fields[0])
        for kind, pattern in _FIRST_CHARACTERS.items():
            found = texts.filter(texts.str.contains(pattern))
            self.kinds[kind] += len(found)
            if kind is _Kind.NUMBER:
                self.numbers.add(found)
            elif kind is _Kind.TEXT and len(found):
                self.texts.add(found.str.json_decode(pl.String()))

    def candidate(self, misfits_max: int) -> Candidate:  # noqa: PLR0911, one line per kind
        """The type that all values fit, or all but `misfits_max` of them."""
        if self.declares:
            return Candidate(_common(self.types))
        if not self.kinds:
            return Candidate(of.TEXT)
        kind, count = self.kinds.most_common(1)[0]
        misfits = self.kinds.total() - count
        if misfits > misfits_max:
            return Candidate(of.ANYTHING)
        match kind:
            case _Kind.NUMBER:
                found = text_candidate(self.numbers, Notation(), misfits_max=0).type
                return Candidate(of.NUMERIC if found == of.TEXT else found, misfits)
            case _Kind.TEXT:
                texts = text_candidate(self.texts, Notation(), misfits_max=misfits_max - misfits, numbers=False)
                return Candidate(texts.type, misfits + texts.misfits)
            case _Kind.BOOLEAN:
                return Candidate(of.BOOLEAN, misfits)
            case _Kind.OBJECT:
                return Candidate(_OBJECT, misfits)
            case _Kind.LIST:
                lists = dict.fromkeys(dtype for dtype in self.types if isinstance(dtype, pl.List))
                return Candidate(_common(lists) if DYNAMIC not in self.types else _LIST, misfits)
            case _:
                return Candidate(_common(self.types), misfits)


def _kind_of(dtype: Any) -> _Kind:  # noqa: ANN401, polars' stubs know too little of it
    if dtype == DECIMAL_TEXT or dtype.is_numeric():
        return _Kind.NUMBER
    match dtype:
        case pl.String():
            return _Kind.TEXT
        case pl.Boolean():
            return _Kind.BOOLEAN
        case pl.List() | pl.Array():
            return _Kind.LIST
        case pl.Struct():
            return _Kind.OBJECT
        case _:
            return _Kind.OTHER


def _digits(values: pl.Series) -> pl.Series:
    return values.struct.field(values.struct.fields[0]) if values.dtype == DECIMAL_TEXT else values.cast(pl.String)


def _common(types: dict[Any, None]) -> FieldType:
    """The type that holds the values of all these types."""
    found = list(dict.fromkeys(_declared(dtype) for dtype in types if dtype != pl.Null))
    match found:
        case []:
            return of.TEXT
        case [single]:
            return single
        case _ if all(each.plain.startswith("list[") for each in found):
            return _LIST
        case _ if all(each.name.startswith(("smallint", "integer", "bigint", "numeric")) for each in found):
            return of.NUMERIC
        case _:
            return of.ANYTHING


def _declared(dtype: Any) -> FieldType:  # noqa: ANN401, PLR0911, one line per type, of which polars' stubs know too little
    """The type of a column that the source declares so."""
    if dtype == UUID:
        return of.UUID
    if dtype == BYTES_16:
        return of.BYTEA
    if dtype == DECIMAL_TEXT:
        return of.NUMERIC
    match dtype:
        case pl.Datetime():
            return of.TIMESTAMP if dtype.time_zone is None else of.TIMESTAMPTZ
        case pl.Decimal():
            return FieldType(f"numeric({dtype.precision},{dtype.scale})", "Decimal", (dtype.precision, dtype.scale))
        case pl.List() | pl.Array():
            element = _element(dtype.inner)
            return _LIST if element is None else of.array_of(element)
        case pl.Map():
            return of.ANYTHING
        case pl.Struct():
            return _OBJECT
    return _BY_TYPE.get(type(dtype), of.ANYTHING)


def _element(dtype: Any) -> FieldType | None:  # noqa: ANN401, polars' stubs know too little of it
    """The type of a list's elements; None where a list of them is a document."""
    if dtype == DECIMAL_TEXT:
        return of.DOUBLE
    if dtype == DYNAMIC or (dtype != UUID and len(list(types_in(dtype))) > 1) or dtype == pl.Null:
        return None
    return _declared(dtype)
