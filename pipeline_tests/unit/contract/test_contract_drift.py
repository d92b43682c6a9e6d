"""Sources that have more or fewer columns than the contract, fields that rows do not have, and values of several types."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from rowledger.contract.check import Contract
from rowledger.contract.drift import SourceDrift
from rowledger.contract.missing_columns import ABSENT_REASON
from rowledger.contract.row_declaration import declared_row
from rowledger.errors import SourceError
from rowledger.spec.column import Column, ColumnType, TypeName
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.source import ABSENT_PREFIX
from rowledger.spec.table import Drift


class Row(BaseModel):
    a: int
    b: str | None
    c: float = 0.5


SOURCE = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})
WIDER = SOURCE.with_columns(d=pl.Series([7, None, 9]), e=pl.Series([None, None, "e"]))


def dynamic(*values: Any) -> pl.Series:
    texts = [None if value is None else {DYNAMIC.fields[0].name: json.dumps(value)} for value in values]
    return pl.Series("v", texts, dtype=DYNAMIC)


def by_row(contract: Contract) -> Contract:
    return Contract(contract.model, contract.rules, "the test asks for it")


@pytest.fixture(params=[lambda contract: contract, by_row], ids=["in columns", "by row"])
def contract(request: pytest.FixtureRequest) -> Contract:
    """Drift is the same matter on both ways."""
    way: Any = request.param
    return way(Contract.of(Row))  # type: ignore[no-any-return]


def test_drift_is_told_from_the_columns_names_alone() -> None:
    schema = pl.Schema({"a": pl.String(), "x": pl.Int8(), ABSENT_PREFIX + "x": pl.Boolean()})

    assert Contract.of(Row).drift_of(schema) == SourceDrift({"x": pl.Int8()}, ("b",))
    assert Contract.of(Row).drift_of(SOURCE.schema) == SourceDrift({}, ())


def test_a_frozen_contract_stops_at_unknown_and_at_missing_columns(contract: Contract) -> None:
    with pytest.raises(SourceError, match=r"columns that Row does not know: \['d', 'e'\]"):
        contract.check(WIDER)
    with pytest.raises(SourceError, match=r"lacks columns of Row: \['b'\]"):
        contract.check(SOURCE.drop("b"))
    with pytest.raises(SourceError, match=r"lacks columns of Row: \['b'\]"):
        contract.require_columns(SOURCE.drop("b").schema)


def test_unknown_values_can_be_left_out_and_are_counted(contract: Contract) -> None:
    checked = contract.check(WIDER, drift=Drift.DISCARD_VALUE)

    assert checked.good.columns == ["a", "b", "c"]
    assert (checked.rejected, checked.discarded_values) == ([], 3)


def test_rows_with_unknown_values_can_be_refused(contract: Contract) -> None:
    checked = contract.check(WIDER, drift=Drift.DISCARD_ROW)

    assert checked.good["a"].to_list() == [2]
    assert [(letter.row_no, letter.column, letter.reason) for letter in checked.rejected] == [
        (0, "d", "d: is a column that Row does not know"),
        (2, "d", "d: is a column that Row does not know; e: is a column that Row does not know"),
    ]
    assert json.loads(checked.rejected[1].payload) == {"a": 3, "b": "z", "d": 9, "e": "e"}


def test_unknown_columns_can_become_the_table_s(contract: Contract) -> None:
    evolved = contract.columns_for(WIDER.schema)

    checked = contract.check(WIDER, drift=Drift.EVOLVE, evolved=evolved)

    assert evolved == [
        Column("d", ColumnType(TypeName.BIGINT), nullable=True),
        Column("e", ColumnType(TypeName.TEXT), nullable=True),
    ]
    assert checked.good.rows() == [(1, "x", 0.5, 7, None), (2, None, 0.5, None, None), (3, "z", 0.5, 9, "e")]


def test_a_column_without_a_name_is_told_with_the_remedy_where_it_cannot_stay_unnamed(contract: Contract) -> None:
    unnamed = SOURCE.with_columns(pl.lit("1").alias(""))

    with pytest.raises(SourceError, match=r"column without a name.*name the columns with columns=\(…\)"):
        contract.check(unnamed)
    with pytest.raises(SourceError, match=r"column without a name.*name the columns with columns=\(…\)"):
        contract.columns_for(unnamed.schema)
    assert contract.check(unnamed, drift=Drift.DISCARD_VALUE).discarded_values == 3


def test_an_evolved_column_that_a_source_lacks_is_null(contract: Contract) -> None:
    evolved = contract.columns_for(WIDER.schema)

    assert contract.check(SOURCE, drift=Drift.EVOLVE, evolved=evolved).good["d"].to_list() == [None] * 3


def test_a_column_that_comes_up_behind_the_evolution_is_never_dropped_unseen(contract: Contract) -> None:
    with pytest.raises(SourceError, match=r"neither Row nor its table has: \['e'\]"):
        contract.check(WIDER, drift=Drift.EVOLVE, evolved=contract.columns_for(WIDER.drop("e").schema))


class Sample(BaseModel):
    """A row whose names a source may have in other forms."""

    sample_number: int
    groesse: int = Field(alias="Größe")
    code: int = Field(alias="Code")
    rest: int


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            "Sample Number|GROSSE|code|rest",
            (
                "the source has columns that Sample does not know: ['Sample Number', 'GROSSE', 'code'], and lacks columns of "
                "Sample: ['sample_number', 'Größe', 'Code']; give field sample_number the source's name: "
                "Field(alias='Sample Number'); give field groesse the source's name: Field(alias='GROSSE'); field code reads "
                "'Code' because of its alias: remove the alias, or set populate_by_name=True in model_config, to read both "
                "names"
            ),
        ),
        (
            "sample_number|Größe|Code|others|more",
            (
                "the source has columns that Sample does not know: ['others', 'more'], and lacks columns of Sample: ['rest']; "
                "where a field reads a column of another name, give it that name: Field(alias='name in the source'); add them "
                "to the row model, leave them out of the source, or say in the spec's `drift` what shall become of them; give "
                "a field whose column the source may lack a default (= None takes nulls), or fix the source"
            ),
        ),
        (
            "SampleNumber|Größe|Code|rest|more",
            (
                "the source has columns that Sample does not know: ['SampleNumber', 'more'], and lacks columns of Sample: "
                "['sample_number']; give field sample_number the source's name: Field(alias='SampleNumber'); add the others to "
                "the row model, leave them out of the source, or say in the spec's `drift` what shall become of them"
            ),
        ),
        (
            "sample_number|Größe|rest",
            (
                "the source lacks columns of Sample: ['Code']; give a field whose column the source may lack a default (= None "
                "takes nulls), or fix the source"
            ),
        ),
    ],
)
def test_names_that_do_not_fit_are_told_with_the_alias_that_would_make_them_fit(columns: str, told: str) -> None:
    with pytest.raises(SourceError) as caught:
        Contract.of(Sample).require_columns(pl.DataFrame({name: [1] for name in columns.split("|")}).schema)

    assert str(caught.value) == told


def test_columns_that_are_declared_as_data_are_told_in_its_words() -> None:
    columns = {"sample_number": "bigint", "day": {"type": "date", "source": "Day"}, "rest": "text"}
    contract = Contract.of(declared_row("samples", columns))

    def told(*names: str) -> str:
        with pytest.raises(SourceError) as caught:
            contract.require_columns(pl.DataFrame({name: [1] for name in names}).schema)
        return str(caught.value).partition("; ")[2]

    assert told("Sample Number", "day", "rest") == (
        "give column sample_number the source's name: `source: Sample Number`; column day reads 'Day', which is its "
        "`source`: correct it, or remove it"
    )
    assert told("sample_number", "Day", "others").startswith(
        "where a column has another name in the source, give it that name as its `source`; add them to the columns, "
    )
    assert told("sample_number", "Day").startswith("give a column that the source may lack a `default`")


@pytest.mark.parametrize("drift", [Drift.EVOLVE, Drift.DISCARD_ROW, Drift.DISCARD_VALUE])
def test_a_missing_column_refuses_each_row_where_the_contract_is_not_frozen(contract: Contract, drift: Drift) -> None:
    checked = contract.check(SOURCE.drop("b"), drift=drift)

    assert {letter.reason for letter in checked.rejected} == {f"b: {ABSENT_REASON}"}
    assert checked.good.height == 0


@pytest.mark.parametrize(
    ("value", "dtype", "sql"),
    [
        (True, None, "boolean"), (5, pl.Int8, "bigint"), (5, pl.UInt32, "bigint"), (2**64 - 1, pl.UInt64, "numeric(20,0)"),
        (2**100, pl.Int128, "numeric(38,0)"), (0.5, pl.Float32, "double precision"),
        (Decimal("1.25"), pl.Decimal(9, 2), "numeric(9,2)"),
        ("x", None, "text"), ("x", pl.Categorical, "text"), (b"x", None, "bytea"), (date(2024, 3, 1), None, "date"),
        (time(1), None, "time without time zone"), (datetime(2024, 3, 1), None, "timestamp without time zone"),  # noqa: DTZ001
        (datetime(2024, 3, 1, tzinfo=UTC), None, "timestamp with time zone"), (timedelta(1), None, "interval"),
        ([1], None, "jsonb"), ({"x": 1}, None, "jsonb"),
    ],
)  # fmt: skip
def test_an_evolved_column_holds_what_its_source_has(value: Any, dtype: Any, sql: str) -> None:
    source = SOURCE.with_columns(pl.Series("Other «name»", [value, None, value], dtype=dtype))
    contract = Contract.of(Row)
    evolved = contract.columns_for(source.schema)

    checked = contract.check(source, drift=Drift.EVOLVE, evolved=evolved)

    assert [column.type.sql for column in evolved] == [sql]
    assert checked.rejected == []
    found = checked.good["Other «name»"].to_list()
    assert (
        found == ([json.dumps(value, separators=(",", ":")), None] * 2)[:3] if sql == "jsonb" else [value, None, value]
    )


def test_values_of_several_types_evolve_into_documents() -> None:
    source = SOURCE.with_columns(dynamic("x", 1.5, None).alias("mixed"))
    contract = Contract.of(Row)
    evolved = contract.columns_for(source.schema)

    checked = contract.check(source, drift=Drift.EVOLVE, evolved=evolved)

    assert checked.good["mixed"].to_list() == ['"x"', "1.5", None]


def test_a_field_that_a_row_does_not_have_takes_its_default_or_is_required(contract: Contract) -> None:
    source = SOURCE.with_columns(
        pl.Series("c", [1.5, None, None]),
        pl.Series(ABSENT_PREFIX + "c", [False, True, False]),
        pl.Series(ABSENT_PREFIX + "b", [True, False, False]),
    )

    checked = contract.check(source)

    assert checked.good.rows() == [(2, None, 0.5)]
    assert checked.rejected[0].reason == f"b: {ABSENT_REASON}"
    assert checked.rejected[1].column == "c"
    assert json.loads(checked.rejected[0].payload) == {"a": 1, "c": 1.5}


def test_of_several_names_the_first_that_a_row_has_counts() -> None:
    class Renamed(BaseModel):
        model_config = ConfigDict(populate_by_name=True)
        v: int = Field(validation_alias=AliasChoices("new", "old"), default=0)

    source = pl.DataFrame(
        {
            "new": [1, None, None, None], ABSENT_PREFIX + "new": [False, True, True, True],
            "old": ["x", "2", None, None], ABSENT_PREFIX + "old": [True, False, True, True],
            "v": [9, 9, 3, None], ABSENT_PREFIX + "v": [False, False, False, True],
        }
    )  # fmt: skip
    for contract in (Contract.of(Renamed), by_row(Contract.of(Renamed))):
        assert contract.check(source).good["v"].to_list() == [1, 2, 3, 0]
        assert contract.check(pl.DataFrame({"old": [5]})).good["v"].to_list() == [5]


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (int, [1, "2", 3.0], [True, 1.5, "x", [1], {"a": 1}, 2**63]),
        (str, ["1", ""], [1, True, ["x"]]),
        (Decimal, [1, "1.5"], [True, "x", [1]]),
        (date, ["2024-03-01"], [5, "5", True, 1.5]),
        (bool, [True, "no", 1], [2, "maybe", []]),
        (bytes, ["x", {"base64": "eA=="}], [1, {"base64": "?"}]),
        (list[int], [[1], []], [1, [True], ["x"], {"a": 1}]),
        (Row, [{"a": 1, "b": None}], [{"a": True, "b": None}, {"a": 1}, 1, "x"]),
        (dict[str, int], [{"a": 1}, {}], [{"a": True}, {"a": 1.5}, [1]]),
    ],
)
def test_values_of_several_types_are_judged_one_by_one(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    compiled = Contract.of(create_model("Mixed", v=(annotation, ...)))
    for way in (compiled, by_row(compiled)):
        checked = way.check(pl.DataFrame([dynamic(*good, *bad)]))

        assert checked.good.height == len(good)
        assert [letter.row_no for letter in checked.rejected] == list(range(len(good), len(good) + len(bad)))


def test_a_number_of_any_type_keeps_its_digits_for_a_decimal() -> None:
    texts = pl.Series(
        "v", [{DYNAMIC.fields[0].name: "0.1234567890123456789"}, {DYNAMIC.fields[0].name: '"1"'}], dtype=DYNAMIC
    )

    checked = Contract.of(create_model("Exact", v=(Decimal, ...))).check(pl.DataFrame([texts]))

    assert [Decimal(value) for value in checked.good["v"]] == [Decimal("0.1234567890123456789"), Decimal(1)]


def test_payloads_are_read_back_by_the_contract_alone_where_nothing_else_is_known() -> None:
    class Known(BaseModel):
        day: date
        amount: Annotated[Decimal, Field(max_digits=5, decimal_places=2)]
        tags: list[int]
        name: Annotated[str, AfterValidator(str.strip)] = Field(alias="Name")

    assert Contract.of(Known).payload_schema == {
        "day": pl.Date(), "amount": pl.Decimal(5, 2), "tags": DYNAMIC, "Name": pl.String()
    }  # fmt: skip


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "1" * 5_000])
@pytest.mark.parametrize("annotation", [int, dict[str, int], Annotated[int, BeforeValidator(lambda value: value)]])
def test_json_that_python_cannot_read_costs_its_row_alone(annotation: Any, text: str) -> None:
    good = {"a": 1} if annotation == dict[str, int] else 1
    name = DYNAMIC.fields[0].name
    values = pl.Series("v", [{name: text}, {name: json.dumps(good)}], dtype=DYNAMIC)

    checked = Contract.of(create_model("Deep", v=(annotation, ...))).check(pl.DataFrame([values]))

    assert [letter.row_no for letter in checked.rejected] == [0]
    assert checked.rejected[0].reason.startswith("v: is JSON that cannot be read")


@pytest.mark.parametrize(
    "annotation",
    [list[int], Row, list[Row], dict[str, int], Any, set[str], int | float, Annotated[list[str], Field(min_length=1)]],
)
def test_columns_without_rows_or_values_have_the_column_s_type_all_the_same(annotation: Any) -> None:
    compiled = Contract.of(create_model("Empty", v=(annotation | None, None)))
    frame_type = compiled.columns[0].type.frame_type
    for source in (pl.Series("v", []), pl.Series("v", [], dtype=pl.List(pl.Null)), pl.Series("v", [None, None])):
        for way in (compiled, by_row(compiled)):
            checked = way.check(pl.DataFrame([source]))

            assert checked.good.schema == {"v": frame_type}
            assert (checked.good.height, checked.rejected) == (len(source), [])


def test_lists_that_are_all_empty_are_lists_of_anything() -> None:
    source = pl.DataFrame({"v": [[], []]}, schema={"v": pl.List(pl.Null)})

    assert Contract.of(create_model("Lists", v=(list[date], ...))).check(source).good["v"].to_list() == [[], []]


def test_a_number_that_jsonb_does_not_know_is_refused_in_a_document_of_any_kind() -> None:
    name = DYNAMIC.fields[0].name
    values = pl.Series("v", [{name: '{"a": NaN}'}, {name: '"NaN"'}], dtype=DYNAMIC)

    checked = Contract.of(create_model("Anything", v=(Any, ...))).check(pl.DataFrame([values]))

    assert [letter.reason for letter in checked.rejected] == [
        "v: holds NaN or an infinity, which would become null in JSON"
    ]
    assert checked.good["v"].to_list() == ['"NaN"']
