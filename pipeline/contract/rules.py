"""What one column must satisfy: the compiled form of a model's field, shared by all that check it."""

# ruff: noqa: ANN401, what a bound or a default may be is for the row model to say

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import TypeAdapter

from pipeline.model.column import Column

__all__ = ["Bound", "FieldRules", "Kind"]


class Kind(StrEnum):
    """What Python value a field holds; decides how source columns are read into it."""

    BOOL = "boolean"
    INT = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    TEXT = "text"
    BYTES = "bytes"
    UUID = "UUID"
    DATE = "date"
    TIMESTAMP = "naive timestamp"
    TIMESTAMPTZ = "timestamp with zone"
    TIME = "time"
    INTERVAL = "duration"
    IP_ADDRESS = "IP address"
    IP_INTERFACE = "IP interface"
    IP_NETWORK = "IP network"


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a range: `op` is ge, gt, le or lt."""

    op: Literal["ge", "gt", "le", "lt"]
    value: Any

    def holds(self, value: Any) -> bool:
        match self.op:
            case "ge":
                return bool(value >= self.value)
            case "gt":
                return bool(value > self.value)
            case "le":
                return bool(value <= self.value)
            case "lt":
                return bool(value < self.value)


@dataclass(frozen=True)
class FieldRules:
    """All that one column must satisfy. `default` is PydanticUndefined where the source has to bring the column."""

    field: str
    column: Column
    kind: Kind
    adapter: TypeAdapter[Any]
    default: Any
    bounds: tuple[Bound, ...] = ()
    multiple_of: int | Decimal | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    allowed: tuple[Any, ...] | None = None
    finite: bool = False

    @property
    def name(self) -> str:
        return self.column.name
