"""The rules of one column: the compiled form of a model's field, shared by all code that checks it."""

# ruff: noqa: ANN401, the row model decides what a bound or a default may be

import operator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from pydantic import TypeAdapter

from rowledger.contract.kinds import Kind
from rowledger.spec import Column

__all__ = ["Bound", "FieldRules"]


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a range: `op` is ge, gt, le or lt."""

    op: Literal["ge", "gt", "le", "lt"]
    value: Any

    def holds(self, value: Any) -> Any:
        """Whether the value is within the bound; of a column, a mask."""
        return getattr(operator, self.op)(value, self.value)


@dataclass(frozen=True)
class FieldRules:
    """The rules of one column. A list's elements and a nested model's fields have rules of their own.

    `sources` are the names that the source may have for the column; the first that it has counts. `default` is
    PydanticUndefined if the source must have the column. `by_value` says why every value, rather than only suspects, goes to
    pydantic. `is_taken_charge_of` means that a user's validator sees values before any conversion. `validators` are the user's
    functions that may change the value when a row is validated.
    """

    field: str
    column: Column
    kind: Kind
    adapter: TypeAdapter[Any]
    default: Any
    sources: tuple[str, ...] = ()
    element: "FieldRules | None" = None
    members: "tuple[FieldRules, ...] | None" = None
    alternatives: tuple[Kind, ...] = ()
    by_value: str | None = None
    is_taken_charge_of: bool = False
    validators: tuple[str, ...] = ()
    is_strict: bool = False
    strips: bool = False
    case: Literal["lower", "upper"] | None = None
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

    @property
    def tells_numbers_apart(self) -> bool:
        """Whether an integer and a number with a fraction that are equal may be two values for the field."""
        if self.kind in {Kind.JSON, Kind.ANY, Kind.LIST}:
            return False  # such a value keeps what it is anyway
        is_number = self.kind in {Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.DECIMAL}
        is_particular = self.is_strict and self.kind is not Kind.FLOAT
        has_code = self.is_taken_charge_of or bool(self.validators)
        return not is_number or is_particular or has_code or self.allowed is not None or bool(self.alternatives)
