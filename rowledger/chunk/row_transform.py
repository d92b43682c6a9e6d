"""Run a user's transform over rows, each an instance of the row model, and refuse those for which it raises."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import polars as pl
from pydantic import BaseModel

from rowledger.chunk.transform import Pieces, Transformed, joined
from rowledger.contract import Contract, python_rows, uuids_for_fields
from rowledger.errors import TransformFailed
from rowledger.machine import OwnProcess
from rowledger.sources import FrameBuilder
from rowledger.spec import FAULT, ROW, RowTransform

__all__ = ["transform_rows"]


def transform_rows(
    transform: RowTransform,
    contract: Contract,
    source: pl.DataFrame,
    *,
    refusals_max: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Transformed:
    """The function's results for the rows of `source`, which have passed the contract.

    Stops once more than `refusals_max` rows are refused; raises TransformFailed.
    """
    builder = FrameBuilder((), columns_max=sys.maxsize)
    pieces, process = Pieces(), OwnProcess()
    given: list[Any] = []
    positions: list[int] = []
    for position, values in enumerate(python_rows(uuids_for_fields(source, contract.rules), contract.rules)):
        if len(pieces.refused) > refusals_max:
            break
        pieces.tried_rows += 1
        on_progress(1)
        try:
            made = [
                # Immediately, because the function may reuse the row, or a list in it.
                builder.take({rule.sources[0]: getattr(row, rule.field) for rule in contract.rules})
                for row in _as_rows(
                    transform.function(contract.model.model_validate(values)), adds_rows=transform.adds_rows
                )
            ]
        except TransformFailed:
            raise
        except BaseException as error:
            if isinstance(error, MemoryError | KeyboardInterrupt):
                raise
            process.end_others()
            pieces.refuse(position, error)
        else:
            process.end_others()  # polars hangs in a forked process
            given += made
            positions += [position] * len(made)
    if given:
        frame = builder.frame(given)
        if FAULT in frame.columns:
            raise TransformFailed("the transform gave a row with values that no column can hold")
        pieces.frames.append(frame.with_columns(pl.Series(ROW, positions, dtype=pl.Int64)))
    return joined(pieces, source)


def _as_rows(given: Any, *, adds_rows: bool) -> Iterator[BaseModel]:  # noqa: ANN401 - a user's function may give anything
    """The rows that a function returned for one row, one at a time; raises TransformFailed."""
    if given is None:
        return
    rows = given if adds_rows and isinstance(given, Iterable) and not isinstance(given, BaseModel) else (given,)
    for row in rows:
        if not isinstance(row, BaseModel):
            wanted = (
                "an instance of the row model, a list of them or None"
                if adds_rows
                else "an instance of the row model or None"
            )
            raise TransformFailed(f"the transform gave a {type(given).__name__}; it must give {wanted}")
        yield row
