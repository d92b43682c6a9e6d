"""The type of a column is the narrowest that its values fit, and at most 1 % odd values become dead letters."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_tests.support.inferring import inferred, lines, types_of
from rowledger.sources.csv import CsvFiles


def test_a_column_has_the_type_that_all_its_values_fit(tmp_path: Path) -> None:
    table = inferred(
        tmp_path,
        "id,day,at,moment,clock,price,share,ok,zip,name\n"
        "1,2024-01-01,2024-01-01 10:00:00,2024-01-01T10:00:00Z,10:00:00,1.50,0.125,yes,01234,a\n"
        "2,2024-01-02,2024-01-02 10:00:00,2024-01-02T10:00:00+02:00,11:30:00,22.00,3,no,98765,\n",
    )
    assert types_of(table) == {
        "id": "integer",
        "day": "date",
        "at": "timestamp",
        "moment": "timestamptz",
        "clock": "time",
        "price": "numeric(9,2)",
        "share": "double",
        "ok": "boolean",
        "zip": "text",
        "name": "text null",
    }
    assert table.refused.rows == 0
    assert table.partition_candidates == ("day", "at", "moment")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["9223372036854775807", "1"], "bigint"),
        (["9223372036854775808", "1"], "numeric(28,0)"),
        (["1" * 50, "1"], "numeric"),
        (["0.1234567890123456789", "0.5"], "numeric(28,19)"),
        (["0.10000000000000001", "0.5"], "double"),
        (["1e-9", "0.5"], "double"),
        (["+491234567890", "+491234567891"], "text"),
        (["12a", "12"], "text"),
        (["Y", "Y"], "text"),
        (["Y", "N"], "boolean"),
        (["0", "1"], "integer"),
        (["1700000000", "1700000001"], "bigint"),
        (["2024-01-01T00:00:00.000000001", "2024-01-01T00:00:00.000000002"], "text"),
        (["2024-01-01", "2024-01-01 10:00:00"], "timestamp"),
        (["3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f2504e0-4f89-11d3-9a0c-0305e82c3302"], "uuid"),
        (["25%", "30%"], "text"),
    ],
)
def test_no_digit_and_no_meaning_is_lost(tmp_path: Path, values: list[str], expected: str) -> None:
    table = inferred(tmp_path, "\n".join(["n,v", *(f"{n},{value}" for n, value in enumerate(values)), ""]))
    assert types_of(table)["v"] == expected
    assert table.refused.rows == 0


def test_one_odd_value_in_three_hundred_becomes_a_dead_letter(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("id,v", lambda n: f"{n},{'error' if n == 70 else n / 8}"))
    assert types_of(table)["v"] == "double"
    assert [(column, count) for column, _, count in table.refused.reasons] == [("v", 1)]
    assert "error" not in str(table.refused)


def test_a_day_that_does_not_exist_becomes_a_dead_letter(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("id,day", lambda n: f"{n},{'0000-00-00' if n == 7 else '2024-01-31'}"))
    assert types_of(table)["day"] == "date"
    assert table.refused.of("day") == 1


@pytest.mark.parametrize(
    "odd", [lambda n: "error" if n % 50 == 7 else n / 8, lambda n: f"{n}a" if n == 7 else n], ids=["many", "codes"]
)
def test_many_odd_values_and_codes_among_numbers_make_a_column_text(
    tmp_path: Path, odd: Callable[[int], object]
) -> None:
    table = inferred(tmp_path, lines("id,v", lambda n: f"{n},{odd(n)}"))
    assert types_of(table)["v"] == "text"
    assert table.refused.rows == 0


def test_odd_values_of_several_columns_share_the_one_percent(tmp_path: Path) -> None:
    table = inferred(
        tmp_path,
        lines("a,b", lambda n: f"{'x' if n in (1, 2) else n / 8},{'y' if n in (5, 6) else n / 4}"),
    )
    assert sorted(types_of(table).values()) == ["double", "text"]
    assert table.refused.rows == 2


def test_null_markers_of_typed_columns_are_null_and_texts_alone_keep_them(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("n,v,country", lambda n: f"{n},{'-' if n % 2 else n},{'NA' if n % 3 else 'DE'}"))
    assert types_of(table) == {"n": "integer", "v": "integer null", "country": "text"}
    assert isinstance(table.source, CsvFiles)
    assert table.source.nulls == ("", "-")


def test_quoted_null_markers_are_null(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines('"n","v"', lambda n: f'"{n}","{"" if n % 2 else n}"'))
    assert types_of(table) == {"n": "integer", "v": "integer null"}
    assert isinstance(table.source, CsvFiles)
    assert table.source.quoted_nulls


def test_a_column_without_values_and_a_file_with_a_header_alone_are_text(tmp_path: Path) -> None:
    assert types_of(inferred(tmp_path, "a,b\n1,\n")) == {"a": "integer", "b": "text null"}
    table = inferred(tmp_path, "a,Big Name\n")
    assert types_of(table) == {"a": "text null", "big_name": "text null"}
    assert table.rows == 0


def test_the_types_come_from_all_rows(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("v", lambda n: "0.5" if n == 149_999 else str(n), rows=150_000))
    assert types_of(table) == {"v": "double"}
    assert table.rows == 150_000


def test_timestamps_as_postgresql_copies_them_are_timestamps(tmp_path: Path) -> None:
    row = "2024-01-01 00:00:00.123456+00,2024-01-01 00:00:00-03,2024-01-01 00:00:00 UTC,2024-01-01 00:00:00 +0530"
    table = inferred(tmp_path, lines("a,b,c,d", lambda n: row if n else "infinity,,,"))
    assert types_of(table) == {
        "a": "timestamptz",
        "b": "timestamptz null",
        "c": "timestamptz null",
        "d": "timestamptz null",
    }
    [(column, reason, rows)] = table.refused.reasons
    assert (column, rows) == ("a", 1)
    assert "infinity, or a year before 1 or after 9999" in reason


@pytest.mark.parametrize(
    "value",
    ["$1,234.50", "1 234,50 €", "-€5", "5 %", "($12.00)", "(12)", "12.50-", "\u2212$12.5", "$-3", "1\u202f234,5\u00a0€"],
)  # fmt: skip
def test_a_number_with_more_than_digits_is_text_and_said_to_be(tmp_path: Path, value: str) -> None:
    table = inferred(tmp_path, lines("id;v", lambda n: f"{n};{value if n % 2 else n}"))
    assert types_of(table) == {"id": "integer", "v": "text"}
    assert any("v: Text, since its numbers have a currency" in note for note in table.notes)


@pytest.mark.parametrize("value", ["10.0.0.1", "030 123456", "12a", "A-12", "2024-", "-"])
def test_what_is_no_number_is_not_said_to_be_one(tmp_path: Path, value: str) -> None:
    table = inferred(tmp_path, lines("id;v", lambda n: f"{n};{value}x"))
    assert not any("since its numbers" in note for note in table.notes)


def test_yes_and_no_in_another_language_are_text_and_said_to_be(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("id;v", lambda n: f"{n};{'Ja' if n % 2 else 'Nein'}"))
    assert types_of(table) == {"id": "integer", "v": "text"}
    assert any("yes or no in another language" in note for note in table.notes)


def test_numbers_that_could_be_days_are_numbers_and_said_to_be_to_check(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("id,day,no", lambda n: f"{n},2024{n % 12 + 1:02}{n % 28 + 1:02},{20240101 + n}"))
    assert types_of(table) == {"id": "integer", "day": "integer", "no": "integer"}
    assert table.notes == ('day: Each could be a day: for a date, give the source date_formats=("%Y%m%d",).',)


def test_a_column_may_be_called_count_and_have_null_markers(tmp_path: Path) -> None:
    table = inferred(tmp_path, "id,count\n1,2\n2,NA\n3,4\n")
    assert types_of(table) == {"id": "integer", "count": "integer null"}


def test_the_summary_says_why_fixed_places_are_no_numeric(tmp_path: Path) -> None:
    rows = lines(
        "celsius,ratio,euro,any,whole",
        lambda n: f"{n % 30}.{n % 10},0.{n % 9 + 1}{n % 9 + 1},{n % 7}.{n % 10}0,{n / 8},{n}",
    )
    table = inferred(tmp_path, rows)
    assert types_of(table) == {
        "celsius": "double",
        "ratio": "double",
        "euro": "numeric(9,2)",
        "any": "double",
        "whole": "integer",
    }
    [said] = [note for note in table.notes if "are double" in note]
    assert said.startswith("Numbers of celsius, ratio are double, though all have equally many decimal places: ")
