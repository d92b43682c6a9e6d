"""The candidate key is the columns that identify a row by their name and kind, not measures that differ by accident."""

from pathlib import Path

from pipeline_tests.support.inferring import inferred, lines


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
