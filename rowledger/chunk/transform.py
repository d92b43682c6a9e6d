"""Run a user's transform over rows, and find the rows for which it raises by splitting."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from rowledger.contract import for_calculation, with_scales_kept
from rowledger.errors import TransformFailed
from rowledger.ledger import RowCounts
from rowledger.machine import OwnProcess
from rowledger.spec import ABSENT_PREFIX, ROW, FrameTransform

__all__ = ["Pieces", "Transformed", "joined", "transform_frame"]

_TRACEBACK_CHARS_MAX = 8_000


@dataclass
class Transformed:
    """The result of a transform of a frame: `frame[i]` is part `parts[i]` of input row `positions[i]`, in the input's order.

    `refused` has position, reason (without values) and traceback (with the exception's text) of each row for which it raised.
    `counts` has the filtered and added rows.
    """

    frame: pl.DataFrame
    positions: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64]
    refused: list[tuple[int, str, str]]
    counts: RowCounts


@dataclass
class Pieces:
    """The growing outcome: frames with their ROW column, refusals, and the number of rows tried."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    tried_rows: int = 0

    def refuse(self, position: int, error: BaseException) -> None:
        self.refused.append((position, _reason(error), _traceback(error)))


def transform_frame(
    transform: FrameTransform,
    source: pl.DataFrame,
    *,
    refusals_max: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Transformed:
    """Apply the function to the frame. Stops once more than `refusals_max` rows are refused; raises TransformFailed."""
    numbered = source.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW))
    calculable = for_calculation(numbered)
    pieces, process = Pieces(), OwnProcess()
    spans = [(0, numbered.height)] if numbered.height else []
    while spans and len(pieces.refused) <= refusals_max:
        start, stop = spans.pop()
        on_progress(1)
        try:
            try:
                given = transform.function(calculable[start:stop])
            finally:
                process.end_others()  # polars hangs in a forked process
        except BaseException as error:
            if isinstance(error, MemoryError | KeyboardInterrupt):
                raise
            if stop - start == 1:
                pieces.tried_rows += 1
                pieces.refuse(start, error)
            else:
                middle = (start + stop) // 2
                spans += [(middle, stop), (start, middle)]
        else:
            pieces.tried_rows += stop - start
            made = _in_source_order(given, start, stop, adds_rows=transform.adds_rows)
            pieces.frames.append(with_scales_kept(made, numbered, calculable))
    return joined(pieces, source)


def _in_source_order(given: object, start: int, stop: int, *, adds_rows: bool) -> pl.DataFrame:
    """The function's result, checked to come from rows `start` to `stop - 1`, in their order; raises TransformFailed."""
    if isinstance(given, pl.LazyFrame):
        given = given.collect()
    if not isinstance(given, pl.DataFrame):
        raise TransformFailed(f"the transform gave a {type(given).__name__}; it must give a polars DataFrame")
    if ROW not in given.columns:
        raise TransformFailed(
            f"the transform left the column {ROW!r} out, which says where a row comes from; keep it: "
            "`select(pl.col(ROW), …)` with ROW from rowledger.spec.transform"
        )
    rows = given[ROW]
    if rows.null_count() or not rows.dtype.is_integer() or (len(rows) and not start <= rows.min() <= rows.max() < stop):  # type: ignore[operator]
        raise TransformFailed(
            f"the transform changed the column {ROW!r}, which says where a row comes from; leave it as it is"
        )
    if not adds_rows and rows.n_unique() != len(rows):
        raise TransformFailed(
            f"the transform made {len(rows)} rows of {rows.n_unique()}; if that is meant, declare it with adds_rows=True"
        )
    given = _without_false_absence(given)
    return given if rows.is_sorted() else given.sort(ROW, maintain_order=True)


def _without_false_absence(given: pl.DataFrame) -> pl.DataFrame:
    """The frame, in which a row has a column that it lacked in the source if the transform gave it a value."""
    masks = [name for name in given.columns if name.startswith(ABSENT_PREFIX)]
    return given.with_columns(
        pl.col(mask) & pl.col(name).is_null()
        for mask in masks
        if (name := mask.removeprefix(ABSENT_PREFIX)) in given.columns
    )


def joined(pieces: Pieces, source: pl.DataFrame) -> Transformed:
    """The pieces as one outcome; `source` is the function's input."""
    frame = (
        _concatenated(pieces.frames) if pieces.frames else source.clear().with_columns(pl.lit(0, pl.Int64).alias(ROW))
    )
    positions = frame[ROW].cast(pl.Int64).to_numpy()
    firsts = np.searchsorted(positions, positions)  # where the rows of the same input row begin
    distinct = int(np.count_nonzero(firsts == np.arange(len(firsts))))
    return Transformed(
        frame=frame.drop(ROW),
        positions=positions,
        parts=np.arange(len(positions)) - firsts,
        refused=pieces.refused,
        counts=RowCounts(
            filtered_rows=pieces.tried_rows - len(pieces.refused) - distinct, added_rows=len(positions) - distinct
        ),
    )


def _concatenated(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """The pieces as one frame; a column without values takes its type from the other pieces."""
    if len(frames) == 1:
        return frames[0]
    types: dict[str, pl.DataType] = {}
    for frame in frames:
        types |= {name: dtype for name, dtype in frame.schema.items() if dtype != pl.Null() or name not in types}
    try:
        return pl.concat(
            frame.with_columns(
                pl.col(name).cast(types[name]) for name, dtype in frame.schema.items() if dtype == pl.Null()
            )
            for frame in frames
        )
    except pl.exceptions.PolarsError as error:
        raise TransformFailed(
            f"the transform gives other columns or types for some rows than for others ({type(error).__name__}); "
            "name and cast them in it"
        ) from None


def _reason(error: BaseException) -> str:
    """The exception's type and place, without its message, which may quote the row."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return f"the transform raised {type(error).__name__}{place}"


def _traceback(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything
        text = "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
    # NUL cannot be stored in a text column.
    return text[-_TRACEBACK_CHARS_MAX:].replace("\0", "\\0").encode(errors="backslashreplace").decode()
