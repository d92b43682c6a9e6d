"""Fields that hold a value of one of several classes: their JSON names the class next to the value's own fields."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticSerializationError, core_schema

from rowledger.errors import SpecError
from rowledger.spec.reference import reference_of, refusal_of, resolve

__all__ = ["ByClass"]

_CLASS = "class"
"""The key of the class; no field can have this name in Python."""


@dataclass(frozen=True, slots=True)
class ByClass:
    """Annotates such a field. JSON names a user's class by its reference.

    `field` is what messages call the field. `short` pairs the short names of the library's own classes with their references,
    so that stored JSON remains readable when their modules move.
    """

    field: str
    short: tuple[tuple[str, str], ...]

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - a type
        return core_schema.with_info_before_validator_function(
            self._rebuilt,
            handler(kind),
            serialization=core_schema.plain_serializer_function_ser_schema(self._told, when_used="json-unless-none"),
        )

    def _told(self, value: BaseModel) -> dict[str, Any]:
        cls = type(value)
        own = {reference: name for name, reference in self.short}
        name = own.get(f"{cls.__module__}:{cls.__qualname__}") or reference_of(cls, self.field)
        try:
            return {_CLASS: name, **value.model_dump(mode="json", round_trip=True, warnings=False)}
        except PydanticSerializationError as error:  # pydantic drops the cause of an error that passes through it
            raise refusal_of(error) or error from None

    def _rebuilt(self, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, Mapping) or not isinstance(name := value.get(_CLASS), str):
            return value
        try:
            cls = resolve(dict(self.short).get(name, name))
        except SpecError as error:
            raise SpecError(f"{self.field} {name} cannot be imported: {error}") from error
        if not isinstance(cls, type) or not issubclass(cls, BaseModel):
            raise SpecError(f"{self.field}: {name} is not a class of such a field")
        rest = {key: part for key, part in value.items() if key != _CLASS}
        if info.mode == "json":
            return cls.model_validate_json(json.dumps(rest), by_alias=True, by_name=True)
        return cls.model_validate(rest, by_alias=True, by_name=True)
