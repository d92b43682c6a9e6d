"""Read the columns and values of rows: dicts and other mappings, pydantic models, dataclasses and named tuples.

What can be known from a row's class is found out once. Where the class leaves it open, each row is asked.
"""

import dataclasses
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from rowledger.sources.plain_values import Unfit, model_values, source_names_of, type_name

__all__ = ["RowReader", "is_row_class", "row_reader"]

RowReader = Callable[[Any], tuple[tuple[str, ...], Sequence[Any]]]
"""The names of an item's columns, and its values; raises Unfit for an item that is not a row."""

_AS_DICT = namedtuple("_Sample", ())._asdict.__code__  # type: ignore[attr-defined] # noqa: PYI024, all named tuples share it


def row_reader(kind: type) -> RowReader:
    """The reader of items of this class."""
    if kind is dict:
        return _read_dict
    if issubclass(kind, BaseModel) and not issubclass(kind, Mapping):
        return _model_reader(kind)
    if dataclasses.is_dataclass(kind) and not issubclass(kind, Mapping):
        return _dataclass_reader(kind)
    if _is_plain_named_tuple(kind):
        fields = kind._fields  # type: ignore[attr-defined]
        return lambda item: (fields, item)
    return _read_any


def is_row_class(kind: type) -> bool:
    """Whether items of the class are single rows, as its definition shows."""
    return kind is dict or (
        (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) or _is_plain_named_tuple(kind))
        and not hasattr(kind, "__arrow_c_stream__")
        and not hasattr(kind, "__arrow_c_array__")
    )


def _is_plain_named_tuple(kind: type) -> bool:
    as_dict = getattr(kind, "_asdict", None)
    return (
        issubclass(kind, tuple) and getattr(as_dict, "__code__", None) is _AS_DICT and kind.__iter__ is tuple.__iter__
    )


def _read_dict(item: dict[str, Any]) -> tuple[tuple[str, ...], Sequence[Any]]:
    return tuple(item), [*item.values()]


def _read_any(item: Any) -> tuple[tuple[str, ...], Sequence[Any]]:  # noqa: ANN401, that is the question
    match item:
        case Mapping():
            row = dict(item)
        case BaseModel():
            row = model_values(item)
        case _ if dataclasses.is_dataclass(item) and not isinstance(item, type):
            row = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        case tuple() if hasattr(item, "_asdict"):
            row = dict(item._asdict())
        case _:
            raise Unfit(f"is not a row: an item of type {type_name(item)}")
    return _read_dict(row)


def _model_reader(kind: type[BaseModel]) -> RowReader:
    sources = source_names_of(kind)
    fields, names = tuple(sources), tuple(sources.values())
    attributes = [vars(base)[field] for base in kind.__mro__ for field in fields if field in vars(base)]
    is_plain = (
        kind.__getattribute__ is object.__getattribute__
        and not any(hasattr(type(attribute), "__set__") for attribute in attributes)  # these come before `__dict__`
        and len(set(names)) == len(names)
    )
    if not is_plain:
        return _read_any

    def read(item: BaseModel) -> tuple[tuple[str, ...], Sequence[Any]]:
        values = item.__dict__
        if tuple(values) != fields or item.__pydantic_extra__:
            return _read_any(item)
        return names, [*values.values()]

    return read


def _dataclass_reader(kind: type) -> RowReader:
    names = tuple(field.name for field in dataclasses.fields(kind))
    if len(names) <= 1:  # `attrgetter` gives a tuple only for several names
        return _read_any
    values_of = attrgetter(*names)
    return lambda item: (names, values_of(item))
