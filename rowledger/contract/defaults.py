"""Defaults of fields. Only constants are allowed: a retry, and a replay a year later, must find the same values."""

# ruff: noqa: ANN401, the row model decides what a default may be

import builtins
import datetime as dt
import decimal
import fractions
import ipaddress
import types
import uuid
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rowledger.contract.nested_values import parts_in
from rowledger.errors import ContractError

__all__ = ["constant_of", "refuse_volatile"]

# Callables that always return the same value for the same arguments.
_PURE = {
    bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range,
    decimal.Decimal, fractions.Fraction, dt.date, dt.time, dt.datetime, dt.timedelta, dt.timezone,
    ipaddress.ip_address, ipaddress.ip_network, ipaddress.IPv4Address, ipaddress.IPv6Address, uuid.UUID,
}  # fmt: skip


def constant_of(where: str, info: FieldInfo, adapter: TypeAdapter[Any]) -> Any:
    """The field's default, or PydanticUndefined; raises ContractError if it is not constant or breaks the field's rules."""
    default = info.default
    if info.default_factory is not None:
        if not _is_constant(info.default_factory):
            name = getattr(info.default_factory, "__qualname__", repr(info.default_factory))
            raise ContractError(
                f"{where}: default_factory {name} may give another value each time, and a retry must find the same; "
                "give a constant, or let the table or a transform fill the column"
            )
        default = info.default_factory()  # type: ignore[call-arg]
    if default is PydanticUndefined:
        return default
    try:
        valid = adapter.validate_python(default)
    except ValidationError as error:
        raise ContractError(f"{where}: its default breaks its own rules: {error.errors()[0]['msg']}") from None
    # Pydantic does not validate a default; its validated form counts only if its type differs, as for 0 in a Decimal field.
    return default if type(default) is type(valid) and not info.validate_default else valid


def refuse_volatile(where: str, schema: Any) -> None:
    """Raise ContractError if a field's schema, at any depth, contains something that may differ between retries."""
    for part in parts_in(schema):
        match part:
            case {"type": "default", "default_factory": factory} if not _is_constant(factory):
                name = getattr(factory, "__qualname__", repr(factory))
                raise ContractError(
                    f"{where}: default_factory {name} inside it may give another value each time; give a constant"
                )
            case {"type": "date" | "datetime", "now_op": "past" | "future" as side}:
                raise ContractError(
                    f"{where}: whether a value is in the {side} changes with the time, and a retry must find the same "
                    "verdict; bound the field by constants"
                )
            case _:
                pass


def _is_constant(factory: Callable[..., Any]) -> bool:
    """Whether the factory is known to return the same value each time: a pure constructor, or a function of only those."""
    if factory in _PURE:
        return True
    if isinstance(factory, type) and issubclass(factory, BaseModel):
        return all(
            info.default_factory is None or _is_constant(info.default_factory) for info in factory.model_fields.values()
        )
    if not isinstance(factory, types.FunctionType):
        return False
    code = factory.__code__
    if code.co_argcount or code.co_freevars or any(isinstance(const, types.CodeType) for const in code.co_consts):
        return False
    named = [factory.__globals__.get(name, getattr(builtins, name, None)) for name in code.co_names]  # attributes too
    return all(
        _is_constant(found) if isinstance(found, type) else isinstance(found, types.FunctionType) and found in _PURE
        for found in named
    )
