"""Whole loads of decimals of several scales: the table has each with the zeros that it was given with."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import assert_verified, edit, replay, results
from pipeline_tests.support.tables_of_other_sources import APPENDED_PRICES, PRICED, give
from rowledger.spec.partition import Partition

_SHOWN = "select amount::text, amounts::text, document::text from priced order by n"


def rows_of_several_scales(_partition: Partition) -> Iterator[object]:
    for n, text in enumerate(("1", "1.500", None, "1E+2", "-0")):
        amount = text and Decimal(text)
        yield {"n": n, "amount": amount, "amounts": [Decimal(n), Decimal("0.50")], "document": {"a": [amount]}}
    yield {"n": 2**40, "amount": Decimal("7.0"), "amounts": [Decimal("2.00")], "document": {"a": [Decimal("7.00")]}}


def test_decimals_of_a_function_keep_their_zeros_and_so_do_replayed_ones(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, rows_of_several_scales)

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


def sound_rows(partition: Partition) -> Iterator[object]:
    return (row for row in rows_of_several_scales(partition) if isinstance(row, dict) and row["n"] < 5)


def sound_rows_as_a_frame(partition: Partition) -> Iterator[object]:
    kind = pl.Decimal(38, 3)
    schema = {
        "n": pl.Int64(), "amount": kind, "amounts": pl.List(kind), "document": pl.Struct({"a": pl.List(kind)}),
    }  # fmt: skip
    yield pl.DataFrame(list(sound_rows(partition)), schema=schema)


def test_an_append_given_again_in_other_batches_is_the_same_append(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, sound_rows)
    assert load_one(database, APPENDED_PRICES, tmp_path, "all").error is None

    give(monkeypatch, sound_rows_as_a_frame)
    again = load_one(database, APPENDED_PRICES, tmp_path, "all")

    assert again.error is None, again.error
    assert len(fetch(database, "select from priced")) == 5
