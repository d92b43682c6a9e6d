"""JSON in text form, read as pydantic's `Json` reads it, but without the losses of pydantic's parser.

That parser converts every fraction to a double, and keeps the last value of a duplicate key. A text is therefore parsed here
first. If a double holds its numbers, pydantic gets the text; otherwise, pydantic gets the parsed values.

Imported only if a row model has such a field.
"""

# ruff: noqa: ANN401, the row model decides what a schema holds and what a value may be

import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from jiter import from_json
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError, PydanticSerializationError, SchemaSerializer, SchemaValidator

from rowledger.contract.core_schema import has_type, keeps_zeros
from rowledger.contract.document_numbers import RepeatedKey, holds_exact, parse_json
from rowledger.contract.refusal_reasons import JSON_TEXT_ERROR
from rowledger.contract.silent_conversions import converted

__all__ = ["lossless_validator", "model_validator"]

_OPAQUE = {"metadata", "serialization", "default", "expected", "cls", "config"}
"""Keys of a schema whose values contain no schema."""
_ANYTHING = {"type": "any"}
_LONG_NUMBER = re.compile(r"[0-9][0-9.]{15}|[0-9.][eE]")
"""Matches any number, also inside a string, that a double may not hold."""
_ZERO_AT_END = re.compile(r"\.[0-9]*0(?![0-9])")


def lossless_validator(schema: Any, config: Mapping[str, Any]) -> SchemaValidator:
    """A validator of one of pydantic's schemas whose `Json` fields lose nothing; `config` is that of the schema's root."""
    return _validator(_changed(schema, config, []), config)


@cache
def model_validator(model: type[BaseModel]) -> SchemaValidator:
    """The lossless validator of a model's rows."""
    return lossless_validator(model.__pydantic_core_schema__, {})


def _validator(schema: Any, config: Mapping[str, Any]) -> SchemaValidator:
    # Otherwise pydantic would reuse the existing validators of nested models.
    return SchemaValidator(schema, dict(config), _use_prebuilt=False)  # type: ignore[arg-type]


def _changed(schema: Any, config: Mapping[str, Any], definitions: list[Any]) -> Any:
    """The schema with its `json` parts replaced by lossless readers; fills `definitions` with the schemas it refers to."""
    match schema:
        case {"type": "json"}:
            return _reading(schema, config, definitions)
        case {"type": "definitions", "schema": inner, "definitions": found}:
            # Readers keep a reference to the list, which is filled only here, because a definition may refer to itself.
            definitions += [_changed(part, config, definitions) for part in found]
            return {**schema, "schema": _changed(inner, config, definitions), "definitions": definitions}
        case dict():
            inside = schema["config"] if isinstance(schema.get("config"), dict) else config
            return {
                key: part if key in _OPAQUE else _changed(part, inside, definitions) for key, part in schema.items()
            }
        case list():
            return [_changed(part, config, definitions) for part in schema]
        case tuple():
            return tuple(_changed(part, config, definitions) for part in schema)
        case _:
            return schema


def _reading(schema: Mapping[str, Any], config: Mapping[str, Any], definitions: list[Any]) -> Any:
    inner = _changed(schema.get("schema", _ANYTHING), config, definitions)
    reader = _Reader(inner, config, definitions)
    kept = {key: part for key, part in schema.items() if key in {"ref", "metadata", "serialization"}}
    return {**kept, "type": "function-plain", "function": {"type": "no-info", "function": reader.read}}


class _Reader:
    """Reads the texts of one `Json` field of a row model."""

    def __init__(self, inner: Any, config: Mapping[str, Any], definitions: Sequence[Any]) -> None:
        self._inner = inner
        self._is_anything = inner == _ANYTHING
        self._config = config
        self._definitions = definitions

    def read(self, text: Any) -> Any:
        if type(text) is not str or _LONG_NUMBER.search(text) or (self._keeps_zeros and _ZERO_AT_END.search(text)):
            return self._read_closely(text)
        try:
            parsed = from_json(text.encode(), catch_duplicate_keys=True)
        except ValueError:
            return self._read_closely(text)
        if self._is_anything:
            return parsed
        valid = self._of_text.validate_python(text)
        may_convert = self._is_temporal or "true" in text or "false" in text
        return self._without_conversion(parsed, valid) if may_convert else valid

    def _read_closely(self, text: Any) -> Any:
        """Read a text that may not be JSON, or that may have a number with more digits than a double holds."""
        try:
            parsed = parse_json(text.decode() if isinstance(text, bytes) else text, zeros=self._keeps_zeros)
        except RepeatedKey:
            raise PydanticCustomError(JSON_TEXT_ERROR, "is JSON that has a key twice") from None
        except (TypeError, ValueError, RecursionError):
            self._of_text.validate_python(text)  # refuses it with pydantic's message
            raise PydanticCustomError(JSON_TEXT_ERROR, "is JSON that cannot be read") from None
        if self._is_anything:
            return parsed
        valid = self._exactly(parsed, text) if holds_exact(parsed) else self._of_text.validate_python(text)
        return self._without_conversion(parsed, valid)

    def _exactly(self, parsed: Any, text: Any) -> Any:
        try:
            return self._of_value.validate_python(parsed)
        except ValidationError:
            self._of_text.validate_python(
                text
            )  # also refuses it, unless the model is strict, which accepts more in JSON
            raise PydanticCustomError(
                JSON_TEXT_ERROR, "has a number of more digits than a strict model is given"
            ) from None

    def _without_conversion(self, parsed: Any, valid: Any) -> Any:
        """The valid value; raises PydanticCustomError if pydantic silently converted a value in it."""
        try:
            reason = converted(parsed, self._serializer.to_python(valid, warnings=False))
        except (PydanticSerializationError, ValueError):
            return valid  # it cannot be written either, which `fit_value` finds next
        if reason is not None:
            raise PydanticCustomError(JSON_TEXT_ERROR, reason)
        return valid

    def _whole(self, schema: Any) -> Any:
        return (
            {"type": "definitions", "schema": schema, "definitions": self._definitions} if self._definitions else schema
        )

    @cached_property
    def _keeps_zeros(self) -> bool:
        return keeps_zeros(self._whole(self._inner))

    @cached_property
    def _is_temporal(self) -> bool:
        """Whether the schema may convert a number or a text to a date or a time."""
        return has_type(self._whole(self._inner), {"date", "datetime", "time", "timedelta"})

    @cached_property
    def _of_value(self) -> SchemaValidator:
        return _validator(self._whole(self._inner), self._config)

    @cached_property
    def _of_text(self) -> SchemaValidator:
        return _validator(self._whole({"type": "json", "schema": self._inner}), self._config)

    @cached_property
    def _serializer(self) -> SchemaSerializer:
        return SchemaSerializer(self._whole(self._inner), dict(self._config))  # type: ignore[arg-type]
