"""A field's type: its name in SQL, its annotation in the row model, and the type that is tried next when values do not fit."""

from dataclasses import dataclass

from rowledger.spec import DECIMAL_DIGITS_MAX

__all__ = [
    "ANYTHING", "BIGINT", "BOOLEAN", "BYTEA", "DATE", "DOUBLE", "INTEGER", "INTERVAL", "JSON_TEXT", "NUMERIC", "SMALLINT",
    "TEXT", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "UUID", "FieldType", "array_of", "looser", "numeric",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldType:
    """`name` is the short name of the SQL type; `plain` is the annotation of a value, without its digits."""

    name: str
    plain: str
    digits: tuple[int, int] | None = None
    """Digits and decimal places of a numeric."""

    @property
    def is_number(self) -> bool:
        return self.plain in ("SmallInt", "Integer", "int", "float", "Decimal")

    @property
    def may_identify(self) -> bool:
        """Whether it can be a part of a key: fractions measure something."""
        has_fractions = self.plain == "float" or (self.digits is not None and self.digits[1] > 0)
        return not has_fractions and self.plain not in ("bool", "Any")

    @property
    def python(self) -> str:
        """The annotation of a value."""
        if self.digits is None:
            return self.plain
        digits, places = self.digits
        return f"Annotated[Decimal, Field(max_digits={digits}, decimal_places={places})]"


TEXT = FieldType("text", "str")
BOOLEAN = FieldType("boolean", "bool")
SMALLINT = FieldType("smallint", "SmallInt")
INTEGER = FieldType("integer", "Integer")
BIGINT = FieldType("bigint", "int")
DOUBLE = FieldType("double", "float")
NUMERIC = FieldType("numeric", "Decimal")
DATE = FieldType("date", "dt.date")
TIMESTAMP = FieldType("timestamp", "dt.datetime")
TIMESTAMPTZ = FieldType("timestamptz", "AwareDatetime")
TIME = FieldType("time", "dt.time")
INTERVAL = FieldType("interval", "dt.timedelta")
UUID = FieldType("uuid", "UUID")
BYTEA = FieldType("bytea", "bytes")
ANYTHING = FieldType("json", "Any")
"""Any value, as a JSON document."""
JSON_TEXT = FieldType("json", "Json[Any]")
"""The text of a JSON document."""

_LADDER = (SMALLINT, INTEGER, BIGINT, NUMERIC)


def numeric(digits: int, places: int) -> FieldType:
    """A numeric with room for these digits; one without declared digits if a 128-bit decimal cannot hold them."""
    needed = digits + 3
    room = next((size for size in (9, 18, 28, DECIMAL_DIGITS_MAX) if needed <= size), None)
    if room is None:
        return NUMERIC
    return FieldType(f"numeric({room},{places})", "Decimal", (room, places))


def array_of(element: FieldType) -> FieldType:
    """A list of such values, some of which may be null."""
    return FieldType(f"{element.name}[]", f"list[{element.python} | None]")


def looser(current: FieldType, *, from_text: bool) -> FieldType | None:
    """The type to try when too many values do not fit; None if there is none. Text holds only what the source has as text."""
    if current in _LADDER[:-1]:
        return _LADDER[_LADDER.index(current) + 1]
    if current == DOUBLE or current.digits is not None:
        return NUMERIC
    if from_text:
        return TEXT if current != TEXT else None
    return ANYTHING if current.plain.startswith(("dict[", "list[")) else None
