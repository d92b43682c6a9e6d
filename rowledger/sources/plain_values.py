"""Convert Python values, of any library, to equal values of the few types that a column may have."""

import base64
import dataclasses
import json
import math
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import AnyUrl, BaseModel, SecretBytes, SecretStr

from rowledger.spec import BYTES_KEY, source_names

__all__ = [
    "PLAIN_TYPES",
    "Unfit",
    "dynamic_text",
    "holds_signaling_nan",
    "json_text",
    "model_values",
    "object_names",
    "plain_value",
    "source_names_of",
    "text_or_bytes",
    "type_name",
]

_WRITTEN_BITS_MAX = 14_000  # Python neither writes nor reads the decimal digits of longer integers
_AS_TEXT = (
    *(IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network),
    *(PurePath, AnyUrl),
)
PLAIN_TYPES = {type(None), bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, UUID}
"""Types whose values are taken as they are; values of other types are converted one by one."""


class Unfit(Exception):
    """An item is not a row, or a value has no place in one; the message says why and quotes no value."""


def _refuse(value: object) -> object:
    raise Unfit(f"holds a value of type {type_name(value)}, which no column can hold")


def plain_value(value: Any, unfit: Callable[[object], object] = _refuse) -> Any:  # noqa: ANN401, C901, PLR0911, PLR0912, one line a type
    """An equal value of one of the plain types; for a value that has none, the result of `unfit`."""
    if type(value) in PLAIN_TYPES:
        return value
    match value:
        case Enum():
            return plain_value(value.value, unfit)
        case _ if (library := type(value).__module__.partition(".")[0]) in {"numpy", "pandas"}:
            return _plain_of_library(value, library, unfit)
        case datetime():
            return datetime.combine(value.date(), value.time(), value.tzinfo)
        case list() | tuple():
            return [plain_value(item, unfit) for item in value]
        case set() | frozenset():
            # Sorted, so that the order is the same in every run.
            return sorted((plain_value(item, unfit) for item in value), key=json_text)
        case BaseModel():
            return {name: plain_value(item, unfit) for name, item in model_values(value).items()}
        case Mapping() if (names := object_names(value)) is not None:
            return {name: plain_value(item, unfit) for name, item in zip(names, value.values(), strict=True)}
        case SecretStr() | SecretBytes():
            return value.get_secret_value()
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case Decimal():
            return Decimal(value)
        case date():
            return date(value.year, value.month, value.day)
        case timedelta():
            return timedelta(value.days, value.seconds, value.microseconds)
        case UUID():
            return UUID(int=value.int)
        case _ if isinstance(value, _AS_TEXT):
            return str(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain_value(getattr(value, field.name), unfit) for field in dataclasses.fields(value)}
        case _:
            return unfit(value)


def object_names(keys: Collection[object]) -> list[str] | None:
    """The names of a JSON object for these keys; None unless all are texts, integers or UUIDs with distinct names."""
    names = [
        int.__repr__(key) if isinstance(key, int) else str(key)
        for key in keys
        if isinstance(key, str | int | UUID) and type(key) is not bool and not isinstance(key, Enum)
    ]
    return names if len(set(names)) == len(keys) else None


def _plain_of_library(value: Any, library: str, unfit: Callable[[object], object]) -> Any:  # noqa: ANN401, PLR0911, one line a type
    """The plain value for a type of numpy or pandas; neither library is imported."""
    kind = type(value).__name__
    if library == "pandas":
        if kind in {"NaTType", "NAType"}:
            return None
        if kind == "Timestamp":
            return value.isoformat() if value.nanosecond else value.to_pydatetime()
        if kind == "Timedelta":
            return value.isoformat() if value.nanoseconds else value.to_pytimedelta()
        return unfit(value)
    if kind == "ndarray":
        return plain_value(list(value) if value.dtype.kind in "mM" else value.tolist(), unfit)
    if kind in {"datetime64", "timedelta64"}:
        if str(value) == "NaT":
            return None
        exact = value.astype(f"{kind}[us]")
        # A text, if it is finer than a microsecond, or after the year 9999, for which Python has no value.
        return exact.item() if exact == value and type(exact.item()) is not int else str(value)
    item = value.item()
    return item if type(item) in PLAIN_TYPES else unfit(value)


def model_values(model: BaseModel) -> dict[str, Any]:
    """The model's values under the names that its class reads. They are not serialized: serializers could change them."""
    row = {source: getattr(model, name) for name, source in source_names_of(type(model)).items()}
    return {**row, **(model.model_extra or {})}


@cache
def source_names_of(model: type[BaseModel]) -> dict[str, str]:
    """The name that the class reads for each of its fields."""
    return {name: source_names(model, name)[0] for name in model.model_fields}


def text_or_bytes(content: bytes) -> str | bytes:
    """The text; its bytes where it is not valid UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def type_name(value: object) -> str:
    """The name of the value's type for messages: with its module, unless it is built in."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


_ENCODER = json.JSONEncoder(ensure_ascii=False)  # json.dumps would make one for each value


def json_text(value: object, *, bytes_key: str = "base64") -> str:  # noqa: C901, PLR0911, one line a type
    """A plain value as JSON, as in the payloads of dead letters; decimals are numbers with all digits.

    NaN and infinities are written with JSON's usual extension: a column of text would silently accept them as texts.
    """
    match value:
        case None | bool() | str():
            return _ENCODER.encode(value)
        case dict():
            # Generators take a level of the stack each, in all versions of Python: what is too deep for a column is found here.
            members = (f"{json_text(name)}: {json_text(item, bytes_key=bytes_key)}" for name, item in value.items())
            return "{" + ", ".join(members) + "}"
        case list():
            return "[" + ", ".join(json_text(item, bytes_key=bytes_key) for item in value) + "]"
        case int():
            return int.__repr__(value) if value.bit_length() < _WRITTEN_BITS_MAX else f'"{value:#x}"'
        case float() if math.isfinite(value):
            return float.__repr__(value)
        case Decimal() if value.is_finite():
            return str(value)
        case Decimal() if value.is_snan():
            return '"sNaN"'  # for display only; `holds_signaling_nan` keeps it out of columns
        case float() | Decimal():
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        case bytes():
            return json.dumps({bytes_key: base64.b64encode(value).decode("ascii")})
        case UUID():
            return f'"{value}"'
        case date() | time():
            return json.dumps(value.isoformat())
        case timedelta():
            return json.dumps(_iso_duration(value))
    raise TypeError(f"not a plain value: {type_name(value)}")


def dynamic_text(value: object) -> str:
    """A plain value as JSON for a DYNAMIC column, in which bytes differ from an object that looks like them."""
    return json_text(value, bytes_key=BYTES_KEY)


def holds_signaling_nan(value: object) -> bool:
    """Whether a plain value is or contains Decimal("sNaN"), which equals no value and which JSON and PostgreSQL lack."""
    match value:
        case Decimal():
            return value.is_snan()
        case list():
            return any(map(holds_signaling_nan, value))
        case dict():
            return any(map(holds_signaling_nan, value.values()))
    return False


def _iso_duration(value: timedelta) -> str:
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    fraction = f".{value.microseconds:06}" if value.microseconds else ""
    return f"{sign}P{value.days}DT{value.seconds}{fraction}S"
