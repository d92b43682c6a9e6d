"""Types as PostgreSQL prints them and as people write them, and what a frame holds for each."""

from datetime import time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import polars as pl
import pytest
from pydantic import BaseModel, Field, create_model

from rowledger.contract.check import Contract
from rowledger.contract.sql_types import char, pg_enum, pg_type, varchar
from rowledger.errors import ContractError
from rowledger.postgres.copy_format import describe_format
from rowledger.spec.column import Column, ColumnType, TypeName


@pytest.mark.parametrize(
    ("text", "name", "frame_type"),
    [
        ("smallint", TypeName.SMALLINT, pl.Int16()),
        ("numeric", TypeName.NUMERIC, pl.String()),
        ("numeric(38,0)", TypeName.NUMERIC, pl.Decimal(38, 0)),
        ("numeric(39,0)", TypeName.NUMERIC, pl.String()),
        ("numeric(5,-2)", TypeName.NUMERIC, pl.String()),
        ("numeric(2,5)", TypeName.NUMERIC, pl.String()),
        ("character varying(20)", TypeName.VARCHAR, pl.String()),
        ("character(20)", TypeName.CHAR, pl.String()),
        ("bpchar", TypeName.CHAR, pl.String()),
        ("timestamp(3) without time zone", TypeName.TIMESTAMP, pl.Datetime("us")),
        ("timestamp(0) with time zone", TypeName.TIMESTAMPTZ, pl.Datetime("us", "UTC")),
        ("time(6) without time zone", TypeName.TIME, pl.Time()),
        ("interval(3)", TypeName.INTERVAL, pl.Duration("us")),
        ("inet", TypeName.INET, pl.Binary()),
        ("integer[]", TypeName.INTEGER, pl.List(pl.Int32())),
        ("numeric(10,2)[]", TypeName.NUMERIC, pl.List(pl.Decimal(10, 2))),
        ("timestamp(3) without time zone[]", TypeName.TIMESTAMP, pl.List(pl.Datetime("us"))),
        ("time with time zone", TypeName.OTHER, pl.String()),
        ("int4range[]", TypeName.OTHER, pl.String()),
        ('shop."My Type"', TypeName.OTHER, pl.String()),
        ("bit varying(8)", TypeName.OTHER, pl.String()),
        ("geometry(Point,4326)", TypeName.OTHER, pl.String()),
    ],
)
def test_what_the_server_prints_is_read_and_written_the_same(
    text: str, name: TypeName, frame_type: pl.DataType
) -> None:
    parsed = ColumnType.parse(text)

    assert parsed is not None
    assert (parsed.name, parsed.frame_type, parsed.sql) == (name, frame_type, text)


@pytest.mark.parametrize(
    "text", ["interval day", "interval year to month", "interval day to second(3)", "name", "name[]"]
)
def test_a_type_that_would_cut_values_short_is_not_written(text: str) -> None:
    assert ColumnType.parse(text) is None


@pytest.mark.parametrize(
    ("written", "sql"),
    [
        ("int4range", "int4range"),
        ("INT", "integer"),
        ("int8[]", "bigint[]"),
        ("float8", "double precision"),
        ("timestamp(3)", "timestamp(3) without time zone"),
        ("TimestampTZ(3)", "timestamp(3) with time zone"),
        ("timestamp(3) with time zone", "timestamp(3) with time zone"),
        ("timetz", "time with time zone"),
        ("numeric(10, 2)", "numeric(10,2)"),
        ("char", "character(1)"),
        ("char(5)", "character(5)"),
        ("varchar(5)[]", "character varying(5)[]"),
        ("varbit(4)", "bit varying(4)"),
        ("geometry(Point, 4326)", "geometry(Point,4326)"),
        ('shop."My Type"', 'shop."My Type"'),
    ],
)
def test_a_type_is_pinned_by_any_name_that_people_write(written: str, sql: str) -> None:
    assert pg_type(written).type.sql == sql


@pytest.mark.parametrize("written", ["", "(3)", "interval day to second", "int; drop table x", "int -- x"])
def test_what_is_no_type_cannot_be_pinned(written: str) -> None:
    with pytest.raises(ValueError, match="type"):
        pg_type(written)


class Mood(Enum):
    GLAD = "glad"
    SAD = "sad"


def column(annotation: Any) -> Column:
    return Contract.of(create_model("Row", v=(annotation, ...))).columns[0]


@pytest.mark.parametrize(
    ("annotation", "sql"),
    [
        (Annotated[str, char(5)], "character(5)"),
        (Annotated[str, varchar(5)], "character varying(5)"),
        (Annotated[str, pg_type("jsonb")], "jsonb"),
        (Annotated[str, pg_type("inet")], "inet"),
        (Annotated[Mood, pg_enum("mood")], '"mood"'),
        (Annotated[Literal["a", "b"] | None, pg_enum("shop.My mood")], '"shop"."My mood"'),
        (Annotated[Decimal, pg_type("numeric(50,3)")], "numeric(50,3)"),
    ],
)
def test_a_pin_names_the_column_s_type(annotation: Any, sql: str) -> None:
    assert column(annotation).type.sql == sql


def test_an_enum_has_the_labels_of_its_annotation() -> None:
    assert column(Annotated[Mood, pg_enum("mood")]).type.labels == ("glad", "sad")


def test_a_text_pinned_to_a_type_of_another_form_is_written_as_that_type_s_text() -> None:
    assert column(Annotated[str, pg_type("inet")]).type.name is TypeName.OTHER


@pytest.mark.parametrize("annotation", [Annotated[str, pg_enum("mood")], Annotated[int, pg_enum("mood")]])
def test_an_enum_without_labels_is_refused_with_the_remedy(annotation: Any) -> None:
    with pytest.raises(ContractError, match="put it on a Literal or an Enum"):
        column(annotation)


def test_a_pin_that_can_never_hold_the_field_is_refused() -> None:
    class Row(BaseModel):
        v: Annotated[int, pg_type("date")]

    with pytest.raises(ContractError, match=r"Row\.v: a column of type date never holds a integer"):
        Contract.of(Row)


@pytest.mark.parametrize(
    ("annotation", "target", "values", "taken", "reason"),
    [
        (int, "numeric(5,-2)", [1200, 1250], ["1200"], "is no multiple of 100, as numeric(5,-2) takes"),
        (
            int,
            "numeric(5,-2)",
            [9_999_900, 10_000_000],
            ["9999900"],
            "has more than the 7 digits before the decimal point",
        ),
        (Decimal, "numeric(50,3)", ["1" * 47, "1" * 48], ["1" * 47], "has more than the 47 digits before the decimal"),
        (
            Decimal,
            "numeric(50,3)",
            ["0.125", "0.1255"],
            ["0.125"],
            "has more than the 3 decimals that numeric(50,3) takes",
        ),
        (
            Decimal,
            "numeric",
            ["1e3", "-0.0", "1e-16384"],
            ["1000", "0.0"],
            "has more than the 16383 decimals that numeric",
        ),
        (
            Decimal,
            "numeric",
            ["1" * 60, "1e999999999"],
            ["1" * 60],
            "has more than the 131072 digits that numeric takes",
        ),
        (Decimal, "numeric", ["1.50", "2", "007.0", "-0.00", "-00.5"], ["1.50", "2", "7.0", "0.00", "-0.5"], None),
        (Decimal, "numeric", [Decimal("1.50"), Decimal(2)], ["1.50", "2.00"], None),
        (Annotated[Decimal, Field(allow_inf_nan=True)], "numeric", ["NaN", "-Infinity"], ["NaN", "-Infinity"], None),
        (Annotated[Decimal, Field(allow_inf_nan=True)], "numeric(9,2)", ["NaN"], [], "is no finite number, which"),
        (
            timedelta,
            "interval(0)",
            ["00:00:01", "00:00:01.5"],
            [timedelta(seconds=1)],
            "has more than the 0 digits below",
        ),
        (
            time,
            "time(1) without time zone",
            ["00:00:01.5", "00:00:01.25"],
            [time(0, 0, 1, 500_000)],
            "has more than the 1",
        ),
        (str, "character(3)", ["ab   ", "abcd"], ["ab"], "has more than the 3 characters that character(3) takes"),
    ],
)
def test_the_table_s_type_is_fitted_exactly_or_not_at_all(
    annotation: Any, target: str, values: list[Any], taken: list[Any], reason: str | None
) -> None:
    parsed = ColumnType.parse(target)
    assert parsed is not None

    checked = Contract.of(create_model("Row", v=(annotation, ...))).check(
        pl.DataFrame({"v": values}), types={"v": parsed}
    )

    assert checked.good["v"].to_list() == taken
    assert checked.good.schema["v"] == parsed.frame_type
    assert all(reason is not None and reason in letter.reason for letter in checked.rejected)
    assert len(checked.rejected) == len(values) - len(taken)


def test_the_log_says_which_columns_need_text_copy() -> None:
    columns = [
        Column(name, parsed, nullable=True)
        for name in ("integer", "numeric", "int4range", "uuid[]", "text[]", "jsonb")
        if (parsed := ColumnType.parse(name)) is not None
    ]

    assert describe_format(columns) == "text COPY, because of int4range (int4range), uuid[] (uuid[])"
    assert describe_format(columns[:2]) == "binary COPY"
