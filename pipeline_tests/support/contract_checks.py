"""Check values against an annotation, in columns and row by row."""

from dataclasses import replace
from typing import Any

import polars as pl
from pydantic import create_model

from rowledger.contract.check import Contract
from rowledger.contract.checked import Checked
from rowledger.spec.marked_types import DYNAMIC


def as_json(*texts: str) -> pl.Series:
    """Values as a source of mixed JSON gives them."""
    return pl.Series([{DYNAMIC.fields[0].name: text} for text in texts], dtype=DYNAMIC)


def both_ways(annotation: Any, values: Any) -> list[Checked]:
    """In columns, and row by row."""
    series = values if isinstance(values, pl.Series) else pl.Series(values)
    contract = Contract.of(create_model("Row", v=(annotation, ...)))
    frame = pl.DataFrame([series.alias("v")])
    return [contract.check(frame), replace(contract, row_by_row="the test asks for it").check(frame)]


def assert_refused(annotation: Any, values: Any, reason: str) -> None:
    for checked in both_ways(annotation, values):
        assert checked.good.height == 0
        assert all(reason in letter.reason for letter in checked.rejected)
