"""A row model that is declared as data: it comes back in any process, and follows the same rules as a class."""

import json
import re
import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import polars as pl
import pytest
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from rowledger import CsvFiles, TableSpec, declared_row
from rowledger.contract.check import Contract
from rowledger.contract.declared_column import DeclaredColumn
from rowledger.contract.declared_type import OTHER_NAMES, TYPE_NAMES
from rowledger.contract.signature import signature_of
from rowledger.contract.sql_types import BigInt, Integer, char, pg_enum, pg_type, varchar
from rowledger.errors import ContractError, SpecError

COLUMNS: dict[str, Any] = {
    "id": "bigint",
    "code": {"type": "varchar(3)", "pattern": "^[A-Z]+$", "source": "The Code", "description": "Airport"},
    "seats": {"type": "integer", "nullable": True, "default": None, "ge": 0, "le": 900},
    "price": {"type": "numeric(10,2)", "gt": "0.00", "default": "1.50", "multiple_of": "0.05"},
    "day": {"type": "date", "ge": date(2024, 1, 1), "lt": "2025-01-01"},
    "seen": "timestamptz",
    "taken": {"type": "interval", "lt": timedelta(days=1)},
    "kind": {"type": "smallint", "choices": [1, 2]},
    "mood": {"type": "enum(mood)", "choices": ["glad", "sad"]},
    "moods": {"type": "enum(mood)[]", "choices": ["glad", "sad"], "max_length": 2},
    "colour": {"type": "text", "choices": ["red", "blue"], "nullable": True},
    "tags": {"type": "text[]", "pattern": "^[a-z]+$", "min_length": 1},
    "flag": {"type": "char(4)"},
    "range": "int4range",
}


class Written(BaseModel):
    """The same columns, written by hand."""

    id: BigInt
    code: Annotated[str, varchar(3), Field(pattern="^[A-Z]+$")] = Field(validation_alias="The Code")
    seats: Annotated[Integer, Field(ge=0, le=900)] | None = None
    price: Annotated[Decimal, Field(max_digits=10, decimal_places=2, gt=Decimal(0), multiple_of=Decimal("0.05"))] = (
        Decimal("1.50")
    )
    day: Annotated[date, Field(ge=date(2024, 1, 1), lt=date(2025, 1, 1))]
    seen: AwareDatetime
    taken: Annotated[timedelta, Field(lt=timedelta(days=1))]
    mood: Annotated[Literal["glad", "sad"], pg_enum("mood")]
    moods: Annotated[list[Annotated[Literal["glad", "sad"], pg_enum("mood")]], Field(max_length=2)]
    colour: Literal["red", "blue"] | None
    tags: Annotated[list[Annotated[str, Field(pattern="^[a-z]+$")]], Field(min_length=1)]
    flag: Annotated[str, char(4)]
    range: Annotated[str, pg_type("int4range")]


def _spec(columns: dict[str, Any]) -> TableSpec:
    return TableSpec(name="flights", row=declared_row("flights", columns), source=CsvFiles(path="x.csv"))


def test_a_spec_with_declared_columns_comes_back_from_its_json() -> None:
    spec = _spec(COLUMNS)

    text = spec.as_json()

    assert TableSpec.from_json(text) == spec
    assert list(json.loads(text)["row"]["columns"]) == list(COLUMNS)


def test_the_json_of_a_spec_gives_the_same_contract_in_another_process() -> None:
    spec = _spec(COLUMNS)
    code = (
        "import sys; from rowledger import TableSpec; from rowledger.contract import signature_of; "
        "spec = TableSpec.from_json(sys.stdin.read()); print(signature_of(spec.row)); print(spec.as_json())"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], input=spec.as_json(), capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == [signature_of(spec.row), spec.as_json()]


def test_a_spec_takes_the_columns_themselves_and_names_the_row_after_the_table() -> None:
    spec = TableSpec.model_validate({"name": "flights", "row": {"columns": COLUMNS}, "source": CsvFiles(path="x.csv")})

    assert spec == _spec(COLUMNS)


def test_declarations_that_differ_in_one_rule_are_different_rows() -> None:
    one, other = (declared_row("t", {"n": {"type": "integer", "ge": bound}}) for bound in (0, 1))

    assert one is not other
    assert signature_of(one) != signature_of(other)
    assert declared_row("t", {"n": {"type": "integer", "ge": 0}}) is one


def test_a_class_derived_from_declared_columns_travels_by_its_own_name() -> None:
    spec = TableSpec(name="t", row=Derived, source=CsvFiles(path="x.csv"))

    assert json.loads(spec.as_json())["row"] == f"{__name__}:Derived"


class Derived(declared_row("base", {"id": "bigint"})):  # type: ignore[misc]
    note: str


def test_declared_columns_have_the_rules_of_the_same_columns_in_a_class() -> None:
    without_kind = {name: column for name, column in COLUMNS.items() if name != "kind"}
    declared, written = Contract.of(declared_row("flights", without_kind)), Contract.of(Written)

    for mine, theirs in zip(declared.rules, written.rules, strict=True):
        for part in ("field", "column", "kind", "sources", "default", "by_value", "allowed", "bounds", "pattern"):
            assert getattr(mine, part) == getattr(theirs, part), (mine.field, part)


def test_values_are_refused_for_each_rule_and_in_the_same_words() -> None:
    row = declared_row(
        "t",
        {
            "n": {"type": "smallint", "ge": 0},
            "p": {"type": "numeric(4,2)", "multiple_of": "0.05"},
            "k": {"type": "integer", "choices": [1, 2]},
            "s": {"type": "text", "pattern": "^a", "max_length": 2},
            "d": {"type": "date", "lt": "2025-01-01"},
        },
    )
    good = {"n": "1", "p": "1.05", "k": "2", "s": "ab", "d": "2024-12-31"}
    bad = {"n": "-1", "p": "1.04", "k": "3", "s": "abc", "d": "2025-01-01"}
    frame = pl.DataFrame([good, *({**good, name: value} for name, value in bad.items())])

    checked = Contract.of(row).check(frame)

    assert checked.good.height == 1
    assert [(letter.row_no, letter.column) for letter in checked.rejected] == list(enumerate(bad, 1))


@pytest.mark.parametrize("name", ["_hidden", "schema", "copy", "model_fields", "Sample Number", "class", "é"])
def test_a_column_may_have_any_name_that_postgresql_takes(name: str) -> None:
    contract = Contract.of(declared_row("t", {name: "integer", "other": "text"}))

    checked = contract.check(pl.DataFrame({name: ["1", "x"], "other": ["a", "b"]}))

    assert [column.name for column in contract.columns] == [name, "other"]
    assert checked.good.to_dicts() == [{name: 1, "other": "a"}]


def test_documents_are_read_from_text_and_from_objects_without_a_loss() -> None:
    contract = Contract.of(declared_row("t", {"doc": "jsonb"}))
    number = "12345678901234567890.10"

    from_text = contract.check(pl.DataFrame({"doc": [f'{{"a":{number}}}', "[1]", "{", "x"]}))
    from_objects = contract.check(pl.DataFrame({"doc": [{"a": 1}, {"a": 2}]}))

    assert from_text.good["doc"].to_list() == [f'{{"a": {number}}}', "[1]"]
    assert from_objects.good["doc"].to_list() == ['{"a":1}', '{"a":2}']


@pytest.mark.parametrize(
    ("column", "mistake"),
    [
        ("bigin", "type: bigin is no type of PostgreSQL; is bigint meant? The types are bigint, boolean,"),
        ("string", "is text meant?"),
        ("wibble", "the types are bigint, boolean,"),
        ("name", "would cut values short"),
        ("numeric(3,5)", "the scale is between 0 and the precision"),
        ("enum", "as enum(mood)"),
        ("enum(mood)", "needs choices"),
        (3, "valid dictionary"),
        ({"typ": "text"}, "type: Field required"),
        ({"type": "text", "colour": 1}, "colour: is no field of a column; these are type, nullable,"),
        ({"type": "text", "ge": 1}, "ge goes with numbers, dates and times, not with text"),
        ({"type": "integer", "max_length": 1}, "max_length goes with texts, bytea and arrays"),
        ({"type": "integer", "pattern": "1"}, "pattern goes with texts"),
        ({"type": "text", "multiple_of": 2}, "multiple_of goes with numbers"),
        ({"type": "date", "choices": ["2024-01-01"]}, "choices goes with texts, integers and enums"),
        ({"type": "integer", "choices": [1, 1]}, "a value is named twice"),
        ({"type": "integer", "choices": [1], "ge": 1}, "take ge out"),
        ({"type": "smallint", "choices": [40_000]}, "choices: Input should be less than or equal to 32767"),
        ({"type": "varchar(2)", "choices": ["abc"]}, "choices: String should have at most 2 characters"),
        ({"type": "integer", "choices": ["a"]}, "choices: Input should be a valid integer"),
        ({"type": "integer", "ge": "x"}, "ge: Input should be a valid integer"),
        ({"type": "integer", "ge": True}, "ge"),
        ({"type": "double", "ge": float("nan")}, "ge"),
        ({"type": "text", "pattern": "("}, "pattern: error: unclosed group"),
        ({"type": "text", "default": None}, "default: Input should be a valid string"),
        ({"type": "smallint", "default": 40_000}, "default: Input should be less than or equal to 32767"),
        ({"type": "text", "nullable": "perhaps"}, "nullable: Input should be a valid boolean"),
    ],
)
def test_a_mistake_is_told_with_table_and_column_on_one_line(column: object, mistake: str) -> None:
    with pytest.raises(SpecError) as caught:
        Contract.of(declared_row("flights", {"seats": column}))  # type: ignore[dict-item]

    assert str(caught.value).startswith("table flights: column seats: ")
    assert mistake in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("columns", [{}, None, [], ["id"], "id"])
def test_columns_that_are_not_given_by_name_are_refused(columns: object) -> None:
    with pytest.raises(ValueError, match="columns must name each column with its type"):
        TableSpec.model_validate({"name": "t", "row": {"columns": columns}, "source": CsvFiles(path="x.csv")})


def test_a_bound_that_lacks_a_zone_is_refused_by_column() -> None:
    with pytest.raises((SpecError, ContractError), match="seen"):
        Contract.of(declared_row("t", {"seen": {"type": "timestamptz", "ge": "2024-01-01T00:00:00"}}))


@pytest.mark.parametrize("name", TYPE_NAMES)
def test_each_type_that_an_editor_offers_has_a_column_also_as_an_array(name: str) -> None:
    contract = Contract.of(
        declared_row("t", {"one": name, "many": f"{name}[]", "none": {"type": name, "nullable": True}})
    )

    one, many, none = contract.columns
    assert (one.nullable, none.nullable) == (False, True)
    assert one.type == none.type
    assert many.type.array or name in ("json", "jsonb")


def test_the_schema_of_a_column_describes_every_field_and_offers_the_types() -> None:
    schema = TypeAdapter(DeclaredColumn).json_schema()

    assert all(part.get("description") for part in schema["properties"].values())
    assert set(TYPE_NAMES) <= set(schema["properties"]["type"]["else"]["enum"])


_LONGER = ("INTEGER", "varchar(3)", "numeric(10, 2)[]", "timestamp(3) with time zone", "public.geometry", "enum(mood)")


@pytest.mark.parametrize("name", [*TYPE_NAMES, *OTHER_NAMES, *_LONGER, "bit varying(8)", "text []", '"Odd"', "{{ t }}"])
def test_an_editor_refuses_no_type_that_a_column_may_have(name: str) -> None:
    assert _editor_takes(name)


@pytest.mark.parametrize("name", [*TYPE_NAMES, *OTHER_NAMES])
def test_each_name_of_a_type_makes_a_column(name: str) -> None:
    assert Contract.of(declared_row("t", {"one": name})).columns


@pytest.mark.parametrize("name", ["intt", "intt[]", "numerik(10,2)", "varchr(3)", "timestampz", "enumm(mood)", ""])
def test_an_editor_and_a_column_refuse_a_mistyped_type(name: str) -> None:
    assert not _editor_takes(name)
    with pytest.raises(SpecError):
        declared_row("t", {"one": name})


def _editor_takes(name: str) -> bool:
    rule = TypeAdapter(DeclaredColumn).json_schema()["properties"]["type"]
    return re.search(rule["if"]["pattern"], name) is not None or name in rule["else"]["enum"]
