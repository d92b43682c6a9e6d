"""What a contract lets through, what it refuses, and what it says about it."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

import base64
import json
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given, strategies as st
from polars.testing import assert_frame_equal
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, create_model

from pipeline_tests.support.partitions import window_of_day
from rowledger.contract.check import Contract
from rowledger.contract.checked import Checked
from rowledger.contract.dead_letter import Stage
from rowledger.contract.sql_types import Integer, SmallInt, varchar
from rowledger.errors import SourceError, TargetMismatch
from rowledger.spec.column import ColumnType, TypeName
from rowledger.spec.partition import Partition


class Reading(BaseModel):
    station: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    level: Annotated[SmallInt, Field(ge=0, le=10)]
    note: str | None


class Level(BaseModel):
    a: float | None


class Label(BaseModel):
    text: str


def frame(**columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(columns)


def check_one(annotation: Any, series: pl.Series, **options: Any) -> Checked:
    return Contract.of(create_model("Row", v=(annotation, ...))).check(pl.DataFrame([series.alias("v")]), **options)


def test_clean_rows_pass_whole_in_contract_order_and_types() -> None:
    source = frame(note=["x", None], level=[1, 10], station=["ABC", "XYZ"])

    checked = Contract.of(Reading).check(source)

    wanted = pl.DataFrame(
        {"station": ["ABC", "XYZ"], "level": [1, 10], "note": ["x", None]}, schema_overrides={"level": pl.Int16}
    )
    assert_frame_equal(checked.good, wanted)
    assert checked.good_rows is None
    assert checked.rejected == []


def test_bad_rows_are_set_apart_with_number_column_reason_and_payload() -> None:
    source = frame(station=["ABC", "abc", "XYZ", None], level=[1, 2, 99, 4], note=[None, "n", "é\n€", "last"])

    checked = Contract.of(Reading).check(source)

    assert checked.good.rows() == [("ABC", 1, None)]
    assert checked.good_rows is not None
    assert checked.good_rows.to_list() == [0]
    assert [(letter.row_no, letter.stage, letter.column) for letter in checked.rejected] == [
        (1, Stage.CONTRACT, "station"),
        (2, Stage.CONTRACT, "level"),
        (3, Stage.CONTRACT, "station"),
    ]
    assert checked.rejected[0].reason == "station: String should match pattern '^[A-Z]{3}$' [string_pattern_mismatch]"
    assert checked.rejected[1].reason == "level: Input should be less than or equal to 10 [less_than_equal]"
    assert checked.rejected[2].reason == "station: is null, but the column is not nullable"
    assert json.loads(checked.rejected[1].payload) == {"station": "XYZ", "level": 99, "note": "é\n€"}


def test_a_row_with_two_faults_is_one_dead_letter_that_names_both() -> None:
    (letter,) = Contract.of(Reading).check(frame(station=["x"], level=[-1], note=["n"])).rejected

    assert letter.column == "station"
    assert "station: " in letter.reason
    assert "; level: " in letter.reason


def test_a_frame_without_rows_passes() -> None:
    checked = Contract.of(Reading).check(frame(station=["ABC"], level=[1], note=["x"]).clear())

    assert checked.good.height == 0
    assert checked.good.schema["level"] == pl.Int16


def test_numbers_that_came_as_text_are_read_and_the_one_that_is_none_is_refused() -> None:
    checked = check_one(SmallInt | None, pl.Series(["12", " 13 ", "late", None, "1.9", "70000"]))

    assert checked.good["v"].to_list() == [12, 13, None]
    assert [letter.row_no for letter in checked.rejected] == [2, 4, 5]


@pytest.mark.parametrize(
    ("annotation", "series"),
    [
        (int, pl.Series([True])),
        (float, pl.Series([True])),
        (Decimal, pl.Series([True])),
        (AwareDatetime, pl.Series([datetime(2013, 1, 1)])),
        (datetime, pl.Series([datetime(2013, 1, 1)]).dt.replace_time_zone("UTC")),
        (date, pl.Series([datetime(2013, 1, 1)]).dt.replace_time_zone("UTC")),
        (date, pl.Series([20130101])),
        (datetime, pl.Series([1357000000])),
        (str, pl.Series([1])),
        (int, pl.Series([[1]])),
        (int, pl.Series([{"a": 1}])),
    ],
)
def test_a_column_of_a_type_that_never_fits_stops_the_chunk_by_name(annotation: Any, series: pl.Series) -> None:
    with pytest.raises(SourceError, match=r"column 'v' is .* in the source"):
        check_one(annotation, series)


@pytest.mark.parametrize("annotation", [date, datetime, AwareDatetime, time])
def test_a_bare_number_as_text_is_no_point_in_time(annotation: Any) -> None:
    checked = check_one(annotation, pl.Series(["1356998400", " 0 ", "86400.0"]))

    assert checked.good.height == 0
    assert all("a bare number is not taken for a" in letter.reason for letter in checked.rejected)


def test_a_column_of_nulls_fits_any_nullable_field() -> None:
    assert check_one(int | None, pl.Series([None, None])).good["v"].to_list() == [None, None]
    assert check_one(AwareDatetime | None, pl.Series([None], dtype=pl.String)).good["v"].to_list() == [None]


@pytest.mark.parametrize(
    ("annotation", "series"),
    [
        (datetime, pl.Series([1_000_001], dtype=pl.Datetime("ns"))),
        (time, pl.Series([1_001], dtype=pl.Time)),
        (AwareDatetime, pl.Series([1], dtype=pl.Datetime("ns", "UTC"))),
        (date, pl.Series([1], dtype=pl.Datetime("ns"))),
        (date, pl.Series([2_932_897], dtype=pl.Date)),
        (datetime, pl.Series([2**62], dtype=pl.Datetime("us"))),
        (datetime, pl.Series([-(2**62)], dtype=pl.Datetime("ms"))),
        (int, pl.Series([2**63], dtype=pl.UInt64)),
        (Annotated[Decimal, Field(max_digits=12, decimal_places=4)], pl.Series([0.1], dtype=pl.Float32)),
    ],
)
def test_a_value_that_the_column_cannot_hold_exactly_is_refused_and_kept(annotation: Any, series: pl.Series) -> None:
    checked = check_one(annotation, series)

    assert checked.good.height == 0
    assert len(checked.rejected) == 1
    json.loads(checked.rejected[0].payload)


def test_zones_are_brought_to_utc_without_moving_the_instant() -> None:
    local = pl.Series([datetime(2013, 7, 1, 12)]).dt.replace_time_zone("America/New_York")

    (value,) = check_one(AwareDatetime, local).good["v"].to_list()

    assert value.isoformat() == "2013-07-01T16:00:00+00:00"


def test_unknown_and_missing_columns_stop_the_chunk() -> None:
    source = frame(station=["ABC"], level=[1], note=["x"])

    with pytest.raises(SourceError, match=r"does not know: \['extra'\]"):
        Contract.of(Reading).check(source.with_columns(extra=1))
    with pytest.raises(SourceError, match=r"lacks columns of Reading: \['note'\]"):
        Contract.of(Reading).check(source.drop("note"))


def test_a_missing_column_takes_its_declared_default() -> None:
    class Defaulted(BaseModel):
        a: int
        unit: Literal["m", "ft"] = "m"
        note: str | None = None

    checked = Contract.of(Defaulted).check(frame(a=[1, 2]))

    assert checked.good.rows() == [(1, "m", None), (2, "m", None)]


def test_an_alias_names_the_column_of_the_source_and_the_field_that_of_the_table() -> None:
    class Odd(BaseModel):
        a: Annotated[int, Field(alias="Größe in m", gt=0)]

    checked = Contract.of(Odd).check(pl.DataFrame({"Größe in m": [1, -1]}))

    assert [column.name for column in Contract.of(Odd).columns] == ["a"]
    assert checked.good.to_dict(as_series=False) == {"a": [1]}
    assert [(letter.column, letter.payload) for letter in checked.rejected] == [("a", '{"Größe in m": -1}')]
    assert checked.rejected[0].reason.startswith("a: ")


@pytest.mark.parametrize(
    ("annotation", "target", "good", "bad"),
    [
        (int, "smallint", 32767, 32768),
        (int, "numeric(4,1)", 999, 1000),
        (str, "character varying(2)", "é€", "abc"),
        (Decimal, "numeric(4,1)", Decimal("999.9"), Decimal("0.15")),
        (float, "real", 0.5, 0.1),
    ],
)
def test_the_tables_own_types_are_kept_exactly(annotation: Any, target: str, good: Any, bad: Any) -> None:
    parsed = ColumnType.parse(target)
    assert parsed is not None

    checked = check_one(annotation, pl.Series([good, bad]), types={"v": parsed})

    assert checked.good.schema["v"] == parsed.frame_type
    assert checked.good["v"].to_list() == [good]
    assert len(checked.rejected) == 1


def test_a_table_column_of_another_meaning_is_a_mismatch() -> None:
    with pytest.raises(TargetMismatch, match="column 'v' is text in the table"):
        check_one(int, pl.Series([1]), types={"v": ColumnType(TypeName.TEXT)})


def test_a_default_that_the_table_cannot_hold_is_a_mismatch() -> None:
    contract = Contract.of(create_model("Row", a=(int, ...), v=(int, 40_000)))

    with pytest.raises(TargetMismatch, match="does not fit smallint"):
        contract.check(frame(a=[1]), types={"v": ColumnType(TypeName.SMALLINT)})


DAY_IN_NEW_YORK = Partition("2013-01-02", (window_of_day("v", "2013-01-02", "America/New_York"),))


@pytest.mark.parametrize(
    ("annotation", "inside", "outside"),
    [
        (date, [date(2013, 1, 2)], [date(2013, 1, 1), date(2013, 1, 3)]),
        (
            datetime,
            [datetime(2013, 1, 2), datetime(2013, 1, 2, 23, 59, 59, 999999)],
            [datetime(2013, 1, 1, 23), datetime(2013, 1, 3)],
        ),
    ],
)
def test_rows_of_another_day_are_refused_in_local_time(annotation: Any, inside: list[Any], outside: list[Any]) -> None:
    checked = check_one(annotation, pl.Series(inside + outside), bounds=DAY_IN_NEW_YORK)

    assert checked.good["v"].to_list() == inside
    assert {letter.reason for letter in checked.rejected} == {"v: belongs to another partition than 2013-01-02"}


def test_rows_of_another_day_are_refused_as_instants() -> None:
    instants = pl.Series(
        [datetime(2013, 1, 2, 5), datetime(2013, 1, 3, 4, 59), datetime(2013, 1, 2, 4, 59), datetime(2013, 1, 3, 5)]
    )

    checked = check_one(AwareDatetime, instants.dt.replace_time_zone("UTC"), bounds=DAY_IN_NEW_YORK)

    assert [letter.row_no for letter in checked.rejected] == [2, 3]


def test_a_row_without_a_day_belongs_to_no_partition() -> None:
    checked = check_one(date | None, pl.Series([date(2013, 1, 2), None]), bounds=DAY_IN_NEW_YORK)

    assert [letter.row_no for letter in checked.rejected] == [1]


@pytest.mark.parametrize(
    ("annotation", "series"),
    [
        (str, pl.Series(["a\x00b", "a"])),
        (str, pl.Series([b"a\x00b", b"a"])),
        (list[str], pl.Series([["a", "a\x00b"], ["a"]])),
        (Label, pl.Series([{"text": "a\x00b"}, {"text": "a"}])),
        (dict[str, str], pl.Series([{"text": "a\x00b"}, {"text": "\\u0000"}])),
        (Any, pl.Series([{"text": "a\x00b"}, {"text": "\\u0000"}])),
        (Annotated[str, BeforeValidator(str)], pl.Series(["a\x00b", "a"])),
    ],
)
def test_a_nul_character_is_refused_for_what_it_is(annotation: Any, series: pl.Series) -> None:
    checked = check_one(annotation, series)

    assert [letter.reason for letter in checked.rejected] == [
        "v: has a NUL character, which PostgreSQL's text cannot hold"
    ]
    assert checked.good.height == 1


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (Any, [{"a": float("nan")}, {"a": 1.0}, {"a": None}]),
        (dict[str, float | None], [{"a": float("inf")}, {"a": 1.0}, {"a": None}]),
        (Level, [{"a": float("nan")}, {"a": 1.0}, {"a": None}]),
        (list[Level], [[{"a": float("-inf")}], [{"a": 1.0}], [{"a": None}]]),
    ],
)
def test_a_number_that_json_would_turn_into_null_is_refused(annotation: Any, values: list[Any]) -> None:
    checked = check_one(annotation, pl.Series(values))

    assert [(letter.row_no, letter.reason) for letter in checked.rejected] == [
        (0, "v: holds NaN or an infinity, which would become null in JSON")
    ]


def test_bytes_may_hold_nul() -> None:
    assert check_one(bytes, pl.Series([b"a\x00b"])).rejected == []


def test_payloads_keep_exact_values() -> None:
    names = ["i", "d", "f", "nan", "inf", "b", "ts", "tz", "day", "t", "flag", "none", "text"]
    source = pl.DataFrame(
        [
            pl.Series("i", [2**64 - 1], dtype=pl.UInt64),
            pl.Series("d", [Decimal("1.10")], dtype=pl.Decimal(38, 2)),
            pl.Series("f", [0.1]),
            pl.Series("nan", [float("nan")]),
            pl.Series("inf", [float("-inf")]),
            pl.Series("b", [b"\x00\xff"]),
            pl.Series("ts", [1_357_034_400_000_000_001], dtype=pl.Datetime("ns")),
            pl.Series("tz", [datetime(2013, 1, 1, 10)]).dt.replace_time_zone("America/New_York"),
            pl.Series("day", [date(2013, 1, 1)]),
            pl.Series("t", [time(1, 2, 3, 4)]),
            pl.Series("flag", [True]),
            pl.Series("none", [None]),
            pl.Series("text", ['\x00 \ud7ff "€\n']),
        ]
    )  # fmt: skip
    model = create_model(
        "Row",
        i=(int, ...), d=(Decimal, ...), f=(float, ...), nan=(float, ...), inf=(float, ...), b=(bytes, ...), ts=(datetime, ...),
        tz=(AwareDatetime, ...), day=(date, ...), t=(time, ...), flag=(bool, ...), none=(int | None, ...), text=(str, ...),
    )  # fmt: skip

    (letter,) = Contract.of(model).check(source).rejected
    payload = json.loads(letter.payload)

    assert list(payload) == names
    assert payload["i"] == 2**64 - 1
    assert payload["d"] == "1.10"
    assert payload["f"] == 0.1
    assert (payload["nan"], payload["inf"]) == ("NaN", "-Infinity")
    assert base64.b64decode(payload["b"]["base64"]) == b"\x00\xff"
    assert payload["ts"].endswith("10:00:00.000000001")
    assert datetime.fromisoformat(payload["tz"]).timestamp() == 1_357_052_400
    assert (payload["day"], payload["t"]) == ("2013-01-01", "01:02:03.000004")
    assert (payload["flag"], payload["none"]) == (True, None)
    assert payload["text"] == '\x00 \ud7ff "€\n'


TEXT_KINDS: list[Any] = [
    int, float, Decimal, date, datetime, AwareDatetime, time, UUID, bool, Literal["a"], Integer, Annotated[str, varchar(1)],
    Annotated[str, Field(pattern="^x$")], Annotated[str, Field(max_length=1)],
    Annotated[Decimal, Field(max_digits=3, decimal_places=1)],
]  # fmt: skip


@given(secret=st.text(alphabet="§µ¶ðß0123456789", min_size=5, max_size=20), kind=st.sampled_from(TEXT_KINDS))
def test_reasons_never_quote_the_rows_value(secret: str, kind: Any) -> None:
    for letter in check_one(kind, pl.Series([secret, f"2013-01-0{secret}", f"{secret[:1]}-a"])).rejected:
        assert secret not in letter.reason
        assert not set(letter.reason) & set("§µ¶ðß")


def test_good_rows_are_never_handed_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(*_: Any) -> Callable[..., Any]:
        raise AssertionError("a clean value went to pydantic")

    monkeypatch.setattr("rowledger.contract.settle_suspects.judge", judged)
    rows = 1_000
    source = frame(station=["ABC"] * rows, level=["7"] * rows, note=[None] * rows)

    assert Contract.of(Reading).check(source).good.height == rows


def test_of_more_refused_rows_than_asked_for_the_first_and_one_of_each_further_reason_are_letters() -> None:
    source = frame(note=["x"] * 100, level=[11] * 90 + [5] * 5 + [-1] * 5, station=["ABC"] * 100)

    checked = Contract.of(Reading).check(source, letters_max=10)

    assert [letter.row_no for letter in checked.rejected] == [*range(10), 95]
    assert "greater than or equal to 0" in checked.rejected[-1].reason
    assert (checked.good.height, checked.rows_left_out) == (5, 84)
    assert checked.good_rows is not None
    assert checked.good_rows.to_list() == [*range(90, 95)]


@pytest.mark.parametrize("text", ["a\0", "x" * 40_000 + "\0", "thirteen byt\0"])
@pytest.mark.parametrize("others", [["short"], ["short", "y" * 200_000, None]])
def test_a_nul_is_found_in_short_and_in_long_texts_beside_others(text: str, others: list[str | None]) -> None:
    checked = check_one(str | None, pl.Series("v", [*others, text, *others], dtype=pl.String))
    assert checked.good["v"].to_list() == others * 2
    assert [letter.row_no for letter in checked.rejected] == [len(others)]
