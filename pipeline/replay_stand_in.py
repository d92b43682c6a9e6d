"""Stands in for `preparation.rows.prepare_rows` and for the reading of payloads until they are there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from pipeline.contract.check import Contract
from pipeline.model.column import Column
from pipeline.model.partition import Partition
from pipeline.model.report import DeadLetter
from pipeline.model.table import TableSpec


@dataclass(frozen=True)
class PreparedRows:
    good: pl.DataFrame
    row_nos: Sequence[int]
    rejected: list[DeadLetter]
    filtered_rows: int = 0


def prepare_rows(
    spec: TableSpec,
    columns: Sequence[Column],
    source: pl.DataFrame,
    row_nos: Sequence[int],
    partition: Partition,
    *,
    dead_letters_max: int,  # noqa: ARG001 - the real one's
    is_transformed: bool = False,  # noqa: ARG001 - the real one's
) -> PreparedRows:
    checked = Contract.of(spec.row).check(
        source, types={column.name: column.type for column in columns}, bounds=partition
    )
    rejected = [replace(letter, row_no=row_nos[letter.row_no]) for letter in checked.rejected]
    if checked.good_rows is not None:
        row_nos = [row_nos[position] for position in checked.good_rows]
    return PreparedRows(checked.good, row_nos, rejected)


def frame_of_payloads(payloads: Sequence[str]) -> pl.DataFrame:
    rows = [json.loads(payload) for payload in payloads]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)
