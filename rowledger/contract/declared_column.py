"""One column of a row model that is declared as data: its type, its rules and what it means."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    TypeAdapter,
    field_validator,
)

from rowledger.contract.declared_type import COMMON_TYPES, KNOWN_TYPE, declared_type

__all__ = ["DeclaredColumn"]

_DURATION: TypeAdapter[timedelta] = TypeAdapter(timedelta)


def _plain(value: object) -> object:
    """A value that YAML has read as a date or a number of another class, in the form that JSON has for it."""
    match value:
        case timedelta():
            return _DURATION.dump_python(value, mode="json")
        case date() | datetime() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case _:
            return value


def _known(value: str) -> str:
    declared_type(value)  # raises ValueError
    return value


_Float = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Bound = Annotated[StrictInt | _Float | str | None, BeforeValidator(_plain)]
_Plain = Annotated[JsonValue, BeforeValidator(_plain)]


class DeclaredColumn(BaseModel):
    """One column: its type, its rules and what it means. In an array, bounds, pattern and choices apply to each element."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Annotated[str, AfterValidator(_known)] = Field(
        description="The column's type as SQL names it: bigint, text, varchar(20), numeric(10,2), timestamptz, text[], … "
        "enum(mood) is the PostgreSQL enum mood, whose labels are the choices.",
        examples=["bigint", "varchar(20)", "numeric(10,2)", "text[]"],
        json_schema_extra={"if": {"pattern": KNOWN_TYPE}, "then": {}, "else": {"enum": list(COMMON_TYPES)}},
    )
    nullable: bool = Field(default=False, description="Whether the column may be null.")
    default: _Plain = Field(
        default=None,
        description="The value of rows whose source does not have the column, such as an absent key of NDJSON. Without a "
        "default, the source must have it.",
    )
    source: str | None = Field(
        default=None, min_length=1, description="The source's name of the column, where it differs from the table's."
    )
    description: str = Field(
        default="", description="What the column holds; becomes the column's description in Dagster."
    )
    gt: _Bound = Field(default=None, description="Values are greater than this.")
    ge: _Bound = Field(default=None, description="Values are this or greater.")
    lt: _Bound = Field(default=None, description="Values are less than this.")
    le: _Bound = Field(default=None, description="Values are this or less.")
    multiple_of: _Bound = Field(default=None, description="Values are multiples of this number.")
    min_length: StrictInt | None = Field(
        default=None, ge=0, description="Fewest characters, bytes, or elements of an array."
    )
    max_length: StrictInt | None = Field(
        default=None, ge=0, description="Most characters, bytes, or elements of an array."
    )
    pattern: str | None = Field(
        default=None, description="Regular expression that is found in each text; ^ and $ make it match the whole text."
    )
    choices: Annotated[tuple[StrictInt | str, ...] | None, Field(min_length=1)] = Field(
        default=None, description="The only values that there are."
    )

    rules: ClassVar[tuple[str, ...]] = (
        "gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "choices",
    )  # fmt: skip

    @field_validator("choices")
    @classmethod
    def _different(cls, value: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("a value is named twice")
        return value

    def as_json(self) -> Mapping[str, Any]:
        """The fields that were given, as JSON has them; `model_validate` makes an equal column of them."""
        return self.model_dump(mode="json", exclude_unset=True)
