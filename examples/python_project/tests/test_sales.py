"""What the table of sales takes, and what it refuses."""

from datetime import UTC, datetime
from decimal import Decimal

import dagster as dg
import pytest
from shop.definitions import defs
from shop.tables import SALES

from rowledger.testing import assert_balanced, load_and_report, refused_rows

GOOD = {"Sale ID": 1, "sold at": datetime(2024, 1, 1, 9, 30, tzinfo=UTC), "shop": "north", "amount": Decimal("12.50")}


@pytest.mark.usefixtures("rowledger_database")
def test_a_sale_of_nothing_becomes_a_dead_letter() -> None:
    rows = [{**GOOD, "Sale ID": number} for number in range(1, 5)]
    rows[2]["amount"] = Decimal("0.00")

    report = load_and_report(SALES, rows)

    assert_balanced(report)
    assert report.written_rows == 3
    assert [(row.row_no, row.column) for row in refused_rows(report)] == [(2, "amount")]


@pytest.mark.usefixtures("rowledger_database")
def test_a_sale_that_comes_twice_is_written_once() -> None:
    others = [{**GOOD, "Sale ID": number} for number in (2, 3, 4)]
    report = load_and_report(SALES, [GOOD, GOOD, *others])

    assert_balanced(report)
    assert [(row.row_no, row.stage) for row in refused_rows(report)] == [(1, "key")]


@pytest.mark.usefixtures("rowledger_database")
def test_the_asset_loads_a_day() -> None:
    sales = defs().get_assets_def("sales")
    resources = defs().resources

    assert dg.materialize([sales], partition_key="2024-01-01", resources=resources).success
