"""Whole loads of decimals of several scales: the table has each with the zeros that it was given with."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support import tables_of_other_sources as elsewhere_for_tests
from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import assert_verified, edit, replay, results
from pipeline_tests.support.tables_of_other_sources import APPENDED_PRICES, PRICED
from rowledger.spec.partition import Partition

_SHOWN = "select amount::text, amounts::text, document::text from priced order by n"


@pytest.fixture(autouse=True)
def _nothing_given_to_other_tests() -> Iterator[None]:
    yield
    elsewhere_for_tests.given.clear()


def _rows(_partition: Partition) -> Iterator[object]:
    for n, text in enumerate(("1", "1.500", None, "1E+2", "-0")):
        amount = text and Decimal(text)
        yield {"n": n, "amount": amount, "amounts": [Decimal(n), Decimal("0.50")], "document": {"a": [amount]}}
    yield {"n": 2**40, "amount": Decimal("7.0"), "amounts": [Decimal("2.00")], "document": {"a": [Decimal("7.00")]}}


def test_decimals_of_a_function_keep_their_zeros_and_so_do_replayed_ones(database: str, tmp_path: Path) -> None:
    elsewhere_for_tests.given.append(_rows)

    report = load_one(database, PRICED, tmp_path, "all")

    assert report.error is None, report.error
    expected = [
        ("1", "{0,0.50}", '{"a": [1]}'),
        ("1.500", "{1,0.50}", '{"a": [1.500]}'),
        (None, "{2,0.50}", '{"a": [null]}'),
        ("100", "{3,0.50}", '{"a": [100]}'),
        ("0", "{4,0.50}", '{"a": [0]}'),
    ]
    assert [tuple(row) for row in fetch(database, _SHOWN)] == expected

    edit(database, PRICED, tmp_path, {5: {"n": 5}})
    assert results(replay(database, PRICED)) == {5: "written"}

    assert [tuple(row) for row in fetch(database, _SHOWN)] == [*expected, ("7.0", "{2.00}", '{"a": [7.00]}')]
    assert_verified(database, PRICED)
    assert_nothing_left_over(database)


def test_an_append_given_again_in_other_batches_is_the_same_append(database: str, tmp_path: Path) -> None:
    rows = [row for row in _rows(Partition(key="all")) if isinstance(row, dict) and row["n"] < 5]
    elsewhere_for_tests.given.append(lambda _: iter(rows))
    assert load_one(database, APPENDED_PRICES, tmp_path, "all").error is None

    def in_batches(_partition: Partition) -> Iterator[object]:
        kind = pl.Decimal(38, 3)
        schema = {
            "n": pl.Int64(), "amount": kind, "amounts": pl.List(kind), "document": pl.Struct({"a": pl.List(kind)}),
        }  # fmt: skip
        yield pl.DataFrame(rows, schema=schema)

    elsewhere_for_tests.given.append(in_batches)
    again = load_one(database, APPENDED_PRICES, tmp_path, "all")

    assert again.error is None, again.error
    assert len(fetch(database, "select from priced")) == len(rows)
