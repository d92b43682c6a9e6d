"""The conditions that a partition puts on a row, one column each: a time window, or one value."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from rowledger.errors import SpecError
from rowledger.spec.column import INTEGER_LIMITS, TypeName

__all__ = ["KEY_TYPES", "Condition", "Equals", "Window"]

_TEXTS = frozenset({TypeName.TEXT, TypeName.VARCHAR, TypeName.CHAR, TypeName.ENUM})
KEY_TYPES = frozenset({*_TEXTS, *INTEGER_LIMITS})
"""Types whose every value, text or number, may be a key."""


@dataclass(frozen=True, slots=True)
class Window:
    """The column's value lies from `lower` (included) to `upper` (excluded), two instants in UTC."""

    column: str
    lower: datetime
    upper: datetime
    timezone: str = "UTC"

    def bounds(self, type_name: TypeName) -> tuple[date, date] | tuple[datetime, datetime]:
        """The bounds as values of the column's type; raises SpecError for a type that is neither date nor timestamp.

        A timestamptz is compared in UTC; a timestamp and a date are compared in the local time of `timezone`.
        """
        local = [moment.astimezone(ZoneInfo(self.timezone)) for moment in (self.lower, self.upper)]
        match type_name:
            case TypeName.TIMESTAMPTZ:
                return self.lower, self.upper
            case TypeName.TIMESTAMP:
                return local[0].replace(tzinfo=None), local[1].replace(tzinfo=None)
            case TypeName.DATE:
                return local[0].date(), local[1].date()
            case _:
                raise SpecError(f"partition column {self.column!r} is {type_name}; it must be a date or a timestamp")


@dataclass(frozen=True, slots=True)
class Equals:
    """The column's value is the one that `text` writes."""

    column: str
    text: str

    def value(self, type_name: TypeName) -> str | int | bool | date | UUID:
        """The text as a value of the column's type; raises SpecError if it is not one, or is not in the canonical spelling."""
        value: str | int | bool | date | UUID | None = None
        try:
            if limit := INTEGER_LIMITS.get(type_name):
                number = int(self.text)
                value = number if -limit <= number < limit else None
            elif type_name is TypeName.BOOLEAN:
                value = {"true": True, "false": False}.get(self.text)
            elif type_name is TypeName.DATE:
                value = date.fromisoformat(self.text)
            elif type_name is TypeName.UUID:
                value = UUID(self.text)
            elif type_name in _TEXTS:
                value = self.text
        except ValueError:
            value = None
        # Each value has one spelling: two keys for the same rows would replace each other's rows.
        if value is None or (not isinstance(value, bool) and str(value) != self.text):
            raise SpecError(f"partition key {self.text!r} is no value of column {self.column!r}, which is {type_name}")
        return value


Condition = Window | Equals
