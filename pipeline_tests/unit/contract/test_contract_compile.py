"""Which row models compile, into which columns and by which way, and how the others are refused."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

import datetime as dt
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType
from uuid import UUID, uuid4

import polars as pl
import pytest
from annotated_types import Interval, Len, Predicate
from pydantic import (
    UUID4,
    AfterValidator,
    AliasChoices,
    AliasGenerator,
    AliasPath,
    AnyUrl,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    FutureDatetime,
    Json,
    NaiveDatetime,
    PastDate,
    PlainSerializer,
    PositiveInt,
    PrivateAttr,
    RootModel,
    SecretStr,
    Strict,
    StringConstraints,
    computed_field,
    create_model,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

from rowledger.contract.check import Contract
from rowledger.contract.signature import signature_of
from rowledger.contract.sql_types import BigInt, Integer, Real, SmallInt, SqlType, pg_type, varchar
from rowledger.errors import ContractError
from rowledger.spec.column import ColumnType, TypeName
from rowledger.spec.field_names import column_names


class Size(StrEnum):
    SMALL = "s"


class Forgiving(Enum):
    A = "a"

    @classmethod
    def _missing_(cls, _value: object) -> "Forgiving":
        return cls.A


class Mixed(Enum):
    A = "a"
    ONE = 1


class Point(BaseModel):
    x: float
    y: float


class Shape(BaseModel):
    name: str
    points: list[Point]


class Tree(BaseModel):
    children: "list[Tree]" = []


class Volatile(BaseModel):
    id: UUID = Field(default_factory=uuid4)


class Options(TypedDict):
    a: int


class Span(NamedTuple):
    first: int
    last: int


@dataclass
class Visit:
    day: date


ROOT = Path(__file__).parents[3]
Distance = NewType("Distance", int)
JSONB = SqlType(ColumnType(TypeName.JSONB))


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
        (timedelta, "interval", False),
        (IPv4Address, "inet", False),
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
        (Annotated[int, Field(strict=True)], "bigint", False),
        (Annotated[int, "a note", object()], "bigint", False),
        (Annotated[int, PlainSerializer(str)], "bigint", False),
        (Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)], "text", False),
        (list[int], "bigint[]", False),
        (list[Annotated[str, varchar(3)] | None] | None, "character varying(3)[]", True),
        (tuple[date, ...], "date[]", False),
        (Sequence[Decimal], "numeric[]", False),
        (Annotated[list[int], Strict()], "bigint[]", False),
        (Shape, "jsonb", False),
        (list[Shape], "jsonb", False),
        (list[list[int]], "jsonb", False),
    ],
)
def test_an_annotation_becomes_a_column(annotation: Any, sql: str, nullable: bool) -> None:  # noqa: FBT001, a table's cell
    contract = Contract.of(create_model("Row", v=(annotation, ...)))

    assert [(column.type.sql, column.nullable) for column in contract.columns] == [(sql, nullable)]
    assert (contract.row_by_row, contract.value_by_value) == (None, {})


@pytest.mark.parametrize(
    ("annotation", "sql", "why"),
    [
        (dict[str, int], "jsonb", "a JSON document"),
        (Mapping[str, Any] | None, "jsonb", "a JSON document"),
        (list, "jsonb", "a JSON document"),
        (Any, "jsonb", "a JSON document"),
        (Options, "jsonb", "a JSON document"),
        (Visit, "jsonb", "a JSON document"),
        (Span, "jsonb", "a JSON document"),
        (tuple[int, str], "jsonb", "a JSON document"),
        (Tree, "jsonb", "a JSON document"),
        (list[Visit], "jsonb", "a list of values that have no column form"),
        (Json, "jsonb", "Json"),
        (Json[list[int]], "jsonb", "Json"),
        (set[int], "bigint[]", "a set"),
        (list[Forgiving], "text[]", "a list of values that have no column form"),
        (int | float, "double precision", "a union of types"),
        (int | Decimal, "numeric", "a union of types"),
        (Size | str, "text", "a union of types"),
        (Annotated[int | str, JSONB], "jsonb", "a union of types"),
        (Annotated[int | str, pg_type("text")], "text", "a union of types"),
        (int | Point, "jsonb", "a union of types"),
        (Literal["a", 1], "jsonb", "a Literal of ['int', 'str']"),
        (Literal[Size.SMALL], "text", "a Literal of an Enum's members"),
        (Mixed, "jsonb", "an Enum of ['int', 'str']"),
        (Forgiving, "text", "an Enum with _missing_"),
        (UUID4, "uuid", "UuidVersion in its annotation"),
        (AnyUrl, "text", "type AnyUrl"),
        (Annotated[complex, pg_type("text")], "text", "type complex"),
        (Annotated[int, Predicate(bool)], "bigint", "Predicate in its annotation"),
        (Annotated[str, Field(pattern=re.compile("a"))], "text", "a compiled pattern"),
        (Annotated[str, Field(ge="a")], "text", "a bound on text"),
        (Annotated[float, Field(multiple_of=0.1)], "double precision", "multiple_of on float"),
    ],
)
def test_what_has_no_column_form_goes_to_pydantic_value_by_value(annotation: Any, sql: str, why: str) -> None:
    contract = Contract.of(create_model("Row", v=(annotation, ...)))

    assert contract.columns[0].type.sql == sql
    assert contract.row_by_row is None
    assert contract.value_by_value == {"v": why}


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (complex, "type complex"),
        (int | str, "a union of integer and text has no column; choose one type .* or pin one that holds all"),
        (date | int, "a union of date and integer"),
        (SecretStr, "SecretStr has no column; .* `sensitive`"),
        (PastDate, "in the past changes with the time"),
        (list[FutureDatetime], "in the future changes with the time"),
        (Volatile, "default_factory uuid4 inside it may give another value each time"),
        (list[Volatile], "default_factory uuid4 inside it"),
        (Annotated[Decimal, Field(max_digits=1001, decimal_places=2)], "Decimal with 1001 digits"),
        (Annotated[datetime, Field(ge=datetime.fromisoformat("2013-01-01T00:00:00+00:00"))], "without a zone"),
        (Annotated[AwareDatetime, Field(ge=datetime(2013, 1, 1))], "with a zone"),
        (Annotated[int, pg_type("text")], "never holds a integer"),
    ],
)
def test_what_has_no_column_is_refused_by_model_and_field(annotation: Any, words: str) -> None:
    with pytest.raises(ContractError, match=rf"Row\.v: .*{words}"):
        Contract.of(create_model("Row", v=(annotation, ...)))


class OddNumbers(BaseModel):
    a: int
    b: Annotated[int, AfterValidator(abs)]

    @field_validator("a")
    @classmethod
    def _odd(cls, value: int) -> int:
        return value


class Whole(BaseModel):
    a: int

    @model_validator(mode="after")
    def _sum(self) -> "Whole":
        return self


class Late(BaseModel):
    a: int

    def model_post_init(self, _context: object) -> None:
        """Nothing."""


class Built(BaseModel):
    a: int

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (OddNumbers, "validator _odd, AfterValidator abs of b"),
        (Whole, "validator _sum"),
        (Late, "model_post_init"),
        (Built, "an __init__ of its own"),
        (
            create_model("Listed", v=(list[Annotated[int, BeforeValidator(int)]], ...)),
            "BeforeValidator int of v",
        ),
        (
            create_model("Either", v=(Annotated[int, AfterValidator(abs)] | float, ...)),
            "AfterValidator abs of v",
        ),
    ],
)
def test_a_model_with_code_of_its_own_goes_row_by_row_and_says_why(model: type[BaseModel], why: str) -> None:
    assert Contract.of(model).row_by_row == why


def test_a_signature_is_that_of_the_rules_and_of_the_code() -> None:
    def made(limit: int, name: str = "Row", **options: Any) -> str:
        def check(value: int) -> int:
            return max(value, limit)

        validated = Annotated[int, AfterValidator(check), Field(ge=limit)]
        return signature_of(create_model(name, v=(validated, ...), w=(Tree, Tree()), **options))

    def other(limit: int) -> str:
        def check(value: int) -> int:
            return min(value, limit)

        return signature_of(
            create_model("Row", v=(Annotated[int, AfterValidator(check), Field(ge=limit)], ...), w=(Tree, Tree()))
        )

    assert made(1) == made(1)
    assert len({made(1), made(2), other(1), made(1, __config__={"strict": True}), made(1, x=(int | None, None))}) == 5


def test_a_function_without_a_source_has_a_signature_of_its_own_each_time() -> None:
    names: dict[str, Any] = {"__name__": "made.up"}
    exec("def unseen(value):\n    return value", names)
    model = create_model("Row", v=(Annotated[int, AfterValidator(names["unseen"])], ...))

    assert signature_of(model) != signature_of(model)


def test_a_signature_is_the_same_in_every_process() -> None:
    code = (
        "from pipeline_tests.unit.contract.test_contract_compile import *; "
        "print([signature_of(model) for model in (OddNumbers, Shape, Tree, Built)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
        ).stdout
        for _ in range(2)
    }

    assert said == {f"{[signature_of(model) for model in (OddNumbers, Shape, Tree, Built)]}\n"}


def test_private_attributes_alone_are_no_code() -> None:
    class Private(BaseModel):
        a: int
        _seen: bool = PrivateAttr(default=False)

    assert Contract.of(Private).row_by_row is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"extra": "allow"}, "extra='allow' has no column; say drift=Drift.EVOLVE"),
        ({"some_day": True}, "model_config some_day"),
    ],
)
def test_model_settings_without_a_column_s_rule_are_refused_by_name(config: Any, words: str) -> None:
    with pytest.raises(ContractError, match=f"Row: .*{words}"):
        Contract.of(create_model("Row", __config__=config, v=(int, ...)))


def test_computed_fields_are_refused_by_name() -> None:
    class Computed(BaseModel):
        a: int

        @computed_field
        def doubled(self) -> int:
            return 2 * self.a

    with pytest.raises(ContractError, match="Computed: computed_field doubled has no column; make it a plain property"):
        Contract.of(Computed)


def test_model_settings_that_change_no_value_are_taken() -> None:
    class Plain(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_enum_values=True)
        a: str

    assert len(Contract.of(Plain).columns) == 1


@pytest.mark.parametrize(
    "factory",
    [
        uuid4,
        date.today,
        lambda: dt.datetime.now(),  # noqa: DTZ005, PLW0108
        lambda: date.today(),  # noqa: DTZ011, PLW0108
        lambda: (lambda: uuid4())(),  # noqa: PLW0108, PLC3002
        lambda data: data["a"],
        iter,
    ],
)
def test_a_default_that_a_retry_could_find_otherwise_is_refused(factory: Any) -> None:
    with pytest.raises(ContractError, match=r"Row\.v: default_factory .* a retry must find the same"):
        Contract.of(create_model("Row", a=(int, 1), v=(Any, Field(default_factory=factory))))


@pytest.mark.parametrize(
    ("annotation", "factory", "default"),
    [
        (list[int], list, []),
        (list[int], lambda: [1, 2], [1, 2]),
        (Decimal, lambda: Decimal("1.5"), Decimal("1.5")),
        (Point, lambda: Point(x=1, y=2), Point(x=1, y=2)),
        (Tree, Tree, Tree()),
        (dict[str, str], dict, {}),
    ],
)
def test_a_factory_of_constants_is_a_default(annotation: Any, factory: Any, default: Any) -> None:
    contract = Contract.of(create_model("Row", v=(annotation, Field(default_factory=factory))))

    assert contract.rules[0].default == default


def test_a_default_that_breaks_its_own_rules_is_refused() -> None:
    with pytest.raises(ContractError, match=r"Row\.v: its default breaks its own rules: Input should be greater"):
        Contract.of(create_model("Row", v=(int, Field(default=-1, ge=0))))


def test_aliases_name_the_columns_of_the_source_and_serialization_aliases_those_of_the_table() -> None:
    class Row(BaseModel):
        model_config = ConfigDict(alias_generator=str.upper, populate_by_name=True)
        a: int
        b: int = Field(alias="Größe in m")
        c: int = Field(validation_alias=AliasChoices("first", AliasPath("second")))
        d: int = Field(alias="D", serialization_alias="dd")

    class Named(BaseModel):
        a: int = Field(validation_alias="x")
        b: int = Field(alias="y", serialization_alias="y")  # as pydantic fills it by itself
        c: int = Field(validation_alias="z", serialization_alias="z")
        d: int = Field(serialization_alias="dd")

    class Generated(BaseModel):
        model_config = ConfigDict(
            defer_build=True,
            alias_generator=AliasGenerator(validation_alias=str.upper, serialization_alias=lambda name: f"the {name}"),
        )
        a: int

    class ByNameAlone(BaseModel):
        model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)
        a: int = Field(alias="x")

    assert [(rule.name, rule.sources) for rule in Contract.of(Row).rules] == [
        ("a", ("A", "a")),
        ("b", ("Größe in m", "b")),
        ("c", ("first", "second", "c")),
        ("dd", ("D", "d")),
    ]
    assert [(rule.name, rule.sources) for rule in Contract.of(Named).rules] == [
        ("a", ("x",)),
        ("b", ("y",)),
        ("z", ("z",)),
        ("dd", ("d",)),
    ]
    assert column_names(Generated) == ["the a"]
    assert [(rule.name, rule.sources) for rule in Contract.of(Generated).rules] == [("the a", ("A",))]
    assert [(rule.name, rule.sources) for rule in Contract.of(ByNameAlone).rules] == [("a", ("a",))]


def test_two_fields_may_read_one_column_and_exchange_their_names() -> None:
    class Exchanged(BaseModel):
        a: int = Field(alias="b")
        b: int = Field(alias="a")
        c: int = Field(alias="a")

    checked = Contract.of(Exchanged).check(pl.DataFrame({"a": [1], "b": [2]}))

    assert checked.good.to_dicts() == [{"a": 2, "b": 1, "c": 1}]


def test_an_alias_into_a_document_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match=r"Row\.v: AliasPath \['a', 'b'\] has no column; take the value out"):
        Contract.of(create_model("Row", v=(int, Field(validation_alias=AliasPath("a", "b")))))


def test_models_without_fields_or_with_a_root_are_refused() -> None:
    with pytest.raises(ContractError, match="at least one field"):
        Contract.of(create_model("Empty"))
    with pytest.raises(ContractError, match="RootModel"):
        Contract.of(RootModel[int])


def test_two_fields_of_one_column_are_refused() -> None:
    with pytest.raises(ContractError, match=r"same column \['a'\]"):
        Contract.of(create_model("Row", a=(int, ...), b=(int, Field(serialization_alias="a"))))


@pytest.mark.parametrize("place", ["alias", "validation_alias", "serialization_alias"])
def test_a_reserved_name_is_refused(place: str) -> None:
    with pytest.raises(ContractError, match=r"Row\.v: names that begin with 'rowledger ' are reserved"):
        Contract.of(create_model("Row", v=(int, Field(**{place: "rowledger v"}))))


def test_a_contract_is_compiled_once() -> None:
    model = create_model("Row", v=(int, ...))

    assert Contract.of(model) is Contract.of(model)


@pytest.mark.parametrize("name", ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "x" * 64, "é" * 32])
def test_a_name_that_no_column_of_a_table_can_have_is_refused_and_may_be_that_of_the_source(name: str) -> None:
    for model in (
        create_model("Odd", **{name: (int, ...)}),
        create_model("Odd", value=(int, Field(serialization_alias=name))),
    ):
        with pytest.raises(ContractError, match=f"no column can be named '{name}'"):
            Contract.of(model)
    assert Contract.of(create_model("Renamed", value=(int, Field(alias=name)))).rules[0].sources == (name,)


def test_a_row_model_of_more_fields_than_a_table_has_columns_is_refused() -> None:
    fields = {f"c{number}": (int, ...) for number in range(1_601)}
    with pytest.raises(ContractError, match="1,601 fields, but a PostgreSQL table has at most 1,600 columns"):
        Contract.of(create_model("Wide", **fields))
