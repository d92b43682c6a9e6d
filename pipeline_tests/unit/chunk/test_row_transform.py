"""A transform of rows may use its objects again: a row is what it was when it was given."""

from collections.abc import Iterator

import polars as pl
from pydantic import BaseModel

from rowledger.chunk.row_transform import transform_rows
from rowledger.contract.check import Contract
from rowledger.spec.transform import RowTransform


class Tagged(BaseModel):
    number: int
    tags: list[int]


_SOURCE = pl.DataFrame({"number": [0, 1, 2], "tags": [[0], [0], [0]]})


def test_a_list_that_a_transform_uses_again_is_what_it_was() -> None:
    tags: list[int] = []

    def tagged(row: Tagged) -> Tagged:
        tags[:] = [row.number]
        return row.model_construct(number=row.number, tags=tags)

    made = transform_rows(RowTransform(function=tagged), Contract.of(Tagged), _SOURCE, refusals_max=0)

    assert made.frame["tags"].to_list() == [[0], [1], [2]]


def test_a_row_that_a_transform_adds_again_and_again_is_what_it_was_each_time() -> None:
    def counted(row: Tagged) -> Iterator[Tagged]:
        for number in range(3):
            row.number = number
            yield row

    made = transform_rows(
        RowTransform(function=counted, adds_rows=True), Contract.of(Tagged), _SOURCE[:1], refusals_max=0
    )

    assert made.frame["number"].to_list() == [0, 1, 2]
    assert made.counts.added_rows == 2
