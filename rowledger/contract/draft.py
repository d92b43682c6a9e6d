"""The state of a field while its annotation is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from rowledger.errors import ContractError
from rowledger.spec import ColumnType

__all__ = ["Draft"]


@dataclass
class Draft:
    """The facts gathered about a field so far. `validators` are the Python functions in its annotation."""

    where: str
    config: Mapping[str, Any]
    base: Any = None
    nullable: bool = False
    is_json: bool = False
    item: Any = None  # the type of a list's items
    alternatives: "tuple[Draft, ...]" = ()
    allowed: tuple[Any, ...] | None = None
    constraints: dict[str, Any] = field(default_factory=dict)
    pinned: ColumnType | None = None
    by_value: str | None = None
    validators: list[str] = field(default_factory=list)
    is_taken_charge_of: bool = False
    within: tuple[type[BaseModel], ...] = ()  # the enclosing models, any of which may recur inside itself

    def refuse(self, construct: str, remedy: str) -> ContractError:
        return ContractError(f"{self.where}: {construct} has no column; {remedy}")

    def go_by_value(self, construct: str) -> None:
        self.by_value = self.by_value or construct
