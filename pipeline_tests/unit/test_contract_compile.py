"""Which row models compile, into which columns, and how the others are refused."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID, uuid4

import pytest
from annotated_types import Interval, Len, Predicate
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NaiveDatetime,
    PositiveInt,
    RootModel,
    StringConstraints,
    create_model,
    field_validator,
    model_validator,
)

from pipeline.contract.check import Contract
from pipeline.contract.types import BigInt, Integer, Real, SmallInt, varchar
from pipeline.errors import ContractError


class Size(StrEnum):
    SMALL = "s"


class Forgiving(Enum):
    A = "a"

    @classmethod
    def _missing_(cls, _value: object) -> "Forgiving":
        return cls.A


Distance = NewType("Distance", int)


@pytest.mark.parametrize(
    ("annotation", "sql", "nullable"),
    [
        (bool, "boolean", False),
        (int, "bigint", False),
        (float, "double precision", False),
        (str | None, "text", True),
        (Decimal, "numeric", False),
        (Annotated[Decimal, Field(max_digits=12, decimal_places=2)], "numeric(12,2)", False),
        (Annotated[Decimal, Field(max_digits=12, decimal_places=0)], "numeric(12,0)", False),
        (Annotated[Decimal, Field(decimal_places=2)], "numeric(38,2)", False),
        (date, "date", False),
        (datetime, "timestamp without time zone", False),
        (NaiveDatetime, "timestamp without time zone", False),
        (AwareDatetime | None, "timestamp with time zone", True),
        (time, "time without time zone", False),
        (UUID, "uuid", False),
        (bytes, "bytea", False),
        (SmallInt, "smallint", False),
        (Integer | None, "integer", True),
        (BigInt, "bigint", False),
        (Real, "real", False),
        (Annotated[str, varchar(7)], "character varying(7)", False),
        (Annotated[str, varchar(7)] | None, "character varying(7)", True),
        (Literal["a", "b", None], "text", True),  # noqa: PYI061, the other way to write it
        (Literal[1, 2], "bigint", False),
        (Size, "text", False),
        (Distance, "bigint", False),
        (PositiveInt, "bigint", False),
        (FiniteFloat, "double precision", False),
        (Annotated[int, Interval(ge=1, lt=5)], "bigint", False),
        (Annotated[str, Len(1, 3)], "text", False),
        (Annotated[str, StringConstraints(min_length=1, pattern="^a")], "text", False),
        (Annotated[Annotated[int, Field(ge=1)] | None, Field(le=2)], "bigint", True),
    ],
)
def test_an_annotation_becomes_a_column(annotation: Any, sql: str, nullable: bool) -> None:  # noqa: FBT001, a table's cell
    (column,) = Contract.of(create_model("Row", v=(annotation, ...))).columns

    assert (column.type.sql, column.nullable) == (sql, nullable)


@pytest.mark.parametrize(
    "annotation",
    [
        dict[str, int],
        list[int],
        Any,
        complex,
        int | str,
        Literal["a", 1],
        Forgiving,
        create_model("Nested", a=(int, ...)),
        Annotated[int, AfterValidator(abs)],
        Annotated[int, Predicate(bool)],
        Annotated[int, Field(strict=True)],
        Annotated[str, StringConstraints(strip_whitespace=True)],
        Annotated[str, Field(ge="a")],
        Annotated[float, Field(multiple_of=0.1)],
        Annotated[Decimal, Field(max_digits=60, decimal_places=2)],
        Annotated[datetime, Field(ge=datetime.fromisoformat("2013-01-01T00:00:00+00:00"))],
        Annotated[AwareDatetime, Field(ge=datetime(2013, 1, 1))],
    ],
)
def test_what_has_no_column_rule_is_refused_by_model_and_field(annotation: Any) -> None:
    with pytest.raises(ContractError, match=r"Row\.v: "):
        Contract.of(create_model("Row", v=(annotation, ...)))


def test_validators_are_refused_by_name() -> None:
    class Checked(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def _odd(cls, value: int) -> int:
            return value

    class Whole(BaseModel):
        a: int

        @model_validator(mode="after")
        def _sum(self) -> "Whole":
            return self

    with pytest.raises(ContractError, match=r"Checked: validator _odd is not yet supported in columns"):
        Contract.of(Checked)
    with pytest.raises(ContractError, match=r"Whole: validator _sum is not yet supported in columns"):
        Contract.of(Whole)


def test_model_settings_that_change_values_are_refused() -> None:
    class Stripped(BaseModel):
        model_config = ConfigDict(str_strip_whitespace=True)
        a: str

    with pytest.raises(ContractError, match="Stripped: model_config str_strip_whitespace"):
        Contract.of(Stripped)


def test_model_settings_that_change_no_value_are_taken() -> None:
    class Plain(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_enum_values=True)
        a: str

    assert len(Contract.of(Plain).columns) == 1


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (Field(default_factory=uuid4), "default_factory"),
        (Field(validation_alias="b"), "validation_alias"),
        (Field(default=-1, ge=0), "default breaks its own rules"),
    ],
)
def test_fields_that_a_retry_could_read_differently_are_refused(field: Any, words: str) -> None:
    with pytest.raises(ContractError, match=rf"Row\.v: .*{words}"):
        Contract.of(create_model("Row", v=(UUID if "factory" in words else int, field)))


def test_models_without_fields_or_with_a_root_are_refused() -> None:
    with pytest.raises(ContractError, match="at least one field"):
        Contract.of(create_model("Empty"))
    with pytest.raises(ContractError, match="RootModel"):
        Contract.of(RootModel[int])


def test_two_fields_of_one_column_are_refused() -> None:
    with pytest.raises(ContractError, match=r"same column \['a'\]"):
        Contract.of(create_model("Row", a=(int, ...), b=(int, Field(alias="a"))))


def test_a_contract_is_compiled_once() -> None:
    model = create_model("Row", v=(int, ...))

    assert Contract.of(model) is Contract.of(model)
