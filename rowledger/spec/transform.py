"""Transforms: a function of the user that runs in the worker, between source and contract, and changes or filters rows."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from rowledger.spec.reference import ByReference
from rowledger.spec.source import RESERVED_PREFIX

__all__ = ["ROW", "FrameTransform", "RowTransform"]

ROW = f"{RESERVED_PREFIX}row"
"""A column of every frame that a transform gets and must keep: which source row this one comes from."""


class _Transform(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    function: Annotated[Callable[..., Any], ByReference("transform.function")]
    adds_rows: bool = Field(
        default=False, description="Whether it may make several rows of one; otherwise that is an error."
    )

    @property
    def source_code(self) -> str:
        """What the function does, as far as its own text says: rows that another version of it made are not resumed."""
        try:
            text = inspect.getsource(self.function)
        except (OSError, TypeError):
            text = ""
        return f"{getattr(self.function, '__qualname__', '')}\n{text}"


class FrameTransform(_Transform):
    """A function from the source's columns to the contract's, over frames of any number of rows, each row for itself.

    The frame has the column `ROW` beside the source's. `filter` and `with_columns` keep it; a `select` has to name it. A row
    that is missing behind the function is filtered, and counted so. It is found again by splitting which rows it raises for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: Annotated[Callable[[pl.DataFrame], pl.DataFrame], ByReference("transform.function")]
    adds_rows: bool = Field(
        default=False, description="Whether it may make several rows of one; otherwise that is an error."
    )


class RowTransform(_Transform):
    """A function from one valid row, an instance of the row model, to another, or to None for a row to filter.

    Slower by far than a `FrameTransform`. With `adds_rows` it may give a list of rows. What it gives is validated again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: Annotated[Callable[[Any], Any], ByReference("transform.function")]
    adds_rows: bool = Field(
        default=False, description="Whether it may give a list of rows; otherwise that is an error."
    )
