"""The field that holds a row model: its JSON is the model's reference, or the declaration of a model that is data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from rowledger.spec.reference import ByReference, reference_of, resolve

__all__ = ["DECLARATION", "RowModel"]

DECLARATION = "__rowledger_declaration__"
"""The attribute in which a declared model keeps its declaration."""
_MAKER = "rowledger.contract.row_declaration:from_declaration"


@dataclass(frozen=True, slots=True)
class RowModel(ByReference):
    """Annotates such a field. A declaration is `{"columns": {name: type or column}}`."""

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - a type
        return core_schema.with_info_before_validator_function(
            self._made,
            handler(kind),
            serialization=core_schema.plain_serializer_function_ser_schema(self._told, when_used="json"),
        )

    def _told(self, row: type[BaseModel]) -> object:
        declaration = vars(row).get(DECLARATION)  # a class that a user derives from a declared one has a name
        return reference_of(row, self.field) if declaration is None else declaration

    def _made(self, value: object, info: ValidationInfo) -> object:
        if isinstance(value, Mapping):
            return resolve(_MAKER)(value, (info.data or {}).get("name", "row"))
        return self._imported(value)
