"""The candidate key is the columns that identify a row by their name and kind, not measures that differ by accident."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest

from pipeline_tests.support.inferring import imported, inferred, lines
from rowledger.infer import infer_table, summary_of


def test_an_id_is_the_key(tmp_path: Path) -> None:
    assert inferred(tmp_path, lines("name,order_id", lambda n: f"n{n},{n}")).key == ("order_id",)


def test_a_measure_that_differs_in_each_row_is_no_key_where_two_columns_are(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("country,year,pop", lambda n: f"c{n % 20},{2000 + n // 20},{n * 7919 % 100_003}"))
    assert table.key == ("country", "year")


def test_three_columns_can_be_the_key(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("day,shop,till", lambda n: f"2024-01-{n // 30 + 1:02},s{n // 5 % 6},{n % 5}"))
    assert table.key == ("day", "shop", "till")


def test_a_value_that_comes_again_in_another_chunk_rules_a_key_out(tmp_path: Path) -> None:
    assert inferred(tmp_path, lines("id,v", lambda n: f"{min(n, 149_998)},1", 150_000)).key == ()


def test_a_column_with_nulls_and_a_column_of_doubles_are_no_keys(tmp_path: Path) -> None:
    assert inferred(tmp_path, lines("a,b", lambda n: f"{n or ''},{n / 8}")).key == ()


def test_fractions_are_no_key_however_many_differ(tmp_path: Path) -> None:
    """star98.csv: 303 rows of percentages with six places."""
    table = inferred(tmp_path, lines("share,score", lambda n: f"{n * 7919 % 100_003 / 1e3:.6f},{n % 3}"))
    assert (table.columns[0].type, table.key) == ("numeric(18,6)", ())
    pl.DataFrame({"price": [Decimal(n) / 8 for n in range(300)]}).write_parquet(tmp_path / "prices.parquet")
    assert infer_table(tmp_path / "prices.parquet").key == ()


def test_a_first_name_is_no_key_but_the_state_of_a_table_of_states_is(tmp_path: Path) -> None:
    people = lines("first_name,last_name,age", lambda n: f"Given{_letters(n)},Family{_letters(n // 2)},{n % 60}", 63)
    assert inferred(tmp_path, people).key == ()
    named = lines("calling,family,age", lambda n: f"Given{_letters(n)},Family{_letters(n * 3 // 4)},{n % 60}", 63)
    assert inferred(tmp_path, named).key == ()
    states = lines("state,region,murder", lambda n: f"State of {_letters(n)},{_letters(n % 4)},{n % 7 / 2}", 51)
    assert inferred(tmp_path, states).key == ("state",)


@pytest.mark.parametrize(
    ("header", "line", "key"),
    [
        ("price,n", lambda n: f"{n * 7919 % 100_003},1", ()),
        ("n,price", lambda n: f"1,{n * 7919 % 100_003}", ()),
        ("n,row", lambda n: f"1,{n * 7 % 300 + 1}", ("row",)),
        ("weight,customer_id", lambda n: f"{n % 9},{n * 7919 % 100_003}", ("customer_id",)),
        ("weight,zip_code", lambda n: f"{n % 9},{n * 79 % 90_001}", ()),
        ("vote_yes,vote_no", lambda n: f"{n % 9},{n * 79 % 90_001}", ()),
        ("account,n", lambda n: f"{10_000_000 + n * 7_919 * 997 % 80_000_003},1", ("account",)),
        ("price,part", lambda n: f"{n % 7},AB-{n}", ("part",)),
        ("price,reference", lambda n: f"{n % 7},{UUID(int=n << 64)}", ("reference",)),
        (",wage", lambda n: f"row {_letters(n)},{n % 11}", ("column_1",)),
    ],
)
def test_one_column_is_the_key_by_its_name_its_place_and_its_values(
    tmp_path: Path, header: str, line: Callable[[int], str], key: tuple[str, ...]
) -> None:
    assert inferred(tmp_path, lines(header, line)).key == key


def test_a_day_is_the_key_of_a_series_alone_and_with_what_the_series_is_of(tmp_path: Path) -> None:
    def day(number: int) -> date:
        return date(2024, 1, 1) + timedelta(days=number)

    assert inferred(tmp_path, lines("tmax,day", lambda n: f"{n % 9},{day(n)}")).key == ("day",)
    of_one = lines("station,tmax,day", lambda n: f"Lincoln airport,{n % 9},{day(n)}")
    assert inferred(tmp_path, of_one).key == ("station", "day")
    deaths = lines("age,died", lambda n: f"{n % 9},{day(n * n % 7919)}", 60)
    assert inferred(tmp_path, deaths).key == ()


def test_two_columns_whose_combinations_differ_by_accident_are_no_key(tmp_path: Path) -> None:
    rows = lines("family,age", lambda n: f"Family{_letters(n % 50)},{n * 7 % 45}", 63)
    assert inferred(tmp_path, rows).key == ()


def test_a_measure_that_hardly_ever_comes_twice_is_no_part_of_a_key(tmp_path: Path) -> None:
    """Ornstein.csv: the assets of 248 companies, of ten sectors in four nations."""
    rows = lines("assets,sector", lambda n: f"{min(n, 297) * 7919 % 100_003},{'ABCDEFG'[n % 7]}")
    assert inferred(tmp_path, rows).key == ()


def test_all_combinations_come_before_a_pair_with_a_count(tmp_path: Path) -> None:
    rows = lines("age,sex,class,survived", lambda n: f"{n % 2},{n // 2 % 2},{n // 4},{n // 2 + n % 2}", 12)
    assert inferred(tmp_path, rows).key == ("age", "sex", "class_")


def test_a_table_without_a_key_says_what_that_means(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("a,b", lambda n: f"{n % 3},{n / 8}"))
    [said] = [line for line in summary_of(table) if line.startswith("candidate key: ")]
    assert said == (
        "candidate key: none found; duplicates are not looked for, and write mode upsert needs one: if rows have a key, name it"
    )
    assert imported(table).key == ()


def _letters(number: int) -> str:
    """The number in letters alone."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))
