"""Tables whose rows run through a transform: filtered, halved, repeated."""

import polars as pl

from pipeline_tests.support.tables import READINGS, TOLERANT, Reading
from rowledger.spec.table import TableSpec
from rowledger.spec.transform import FrameTransform


def keep_halves(frame: pl.DataFrame) -> pl.DataFrame:
    """Filters rows with an odd sensor, refuses those without a value, and halves the values of the others."""
    if frame["value"].null_count():
        raise ValueError(f"no value in {frame.rows()}")
    return frame.filter(pl.col("sensor") % 2 == 0).with_columns(pl.col("value") / 2)


HALVED_READINGS = TableSpec(
    name="halved_readings",
    row=Reading,
    source=READINGS.source,
    transform=FrameTransform(function=keep_halves),
    key=("sensor",),
    dead_letters=TOLERANT,
)


def repeat_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """As many rows of each as its sensor's number says, with values 0, 1, 2 …"""
    repeated = frame.with_columns(value=pl.int_ranges(pl.col("sensor").clip(0)))
    return repeated.explode("value", empty_as_null=False, keep_nulls=False).with_columns(
        pl.col("value").cast(pl.Float64)
    )


REPEATED_READINGS = TableSpec(
    name="repeated_readings",
    row=Reading,
    source=READINGS.source,
    transform=FrameTransform(function=repeat_rows, adds_rows=True),
    dead_letters=TOLERANT,
)


MULTIPLIED_READINGS = TableSpec(
    name="multiplied_readings",
    row=Reading,
    source=READINGS.source,
    transform=FrameTransform(function=repeat_rows),
    dead_letters=TOLERANT,
)
