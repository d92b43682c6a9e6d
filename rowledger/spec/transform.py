"""Transforms: a user's function that changes or filters rows in the worker, between source and contract."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from rowledger.spec.reference import ByReference
from rowledger.spec.source import RESERVED_PREFIX

if TYPE_CHECKING:  # who declares a transform has no frame yet
    from polars import DataFrame
else:
    DataFrame = Any

__all__ = ["ROW", "FrameTransform", "RowTransform"]

ROW = f"{RESERVED_PREFIX}row"
"""The column of a transform's frame that says which source row each row comes from; the transform must keep it."""


class _Transform(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    function: Annotated[Callable[..., Any], ByReference("transform.function")]
    adds_rows: bool = Field(
        default=False, description="Whether it may make several rows of one; otherwise that is an error."
    )

    @property
    def source_code(self) -> str:
        """The function's name and source text. A load that another version of the function began is not resumed."""
        try:
            text = inspect.getsource(self.function)
        except (OSError, TypeError):
            text = ""
        return f"{getattr(self.function, '__qualname__', '')}\n{text}"


class FrameTransform(_Transform):
    """A function from the source's columns to the contract's. It takes frames of any number of rows, and treats each row alone.

    The frame has the column `ROW` in addition to the source's. `filter` and `with_columns` keep it; a `select` must name it.
    A row that the function drops counts as filtered. When the function raises, the worker splits the frame to find the rows
    for which it raises.
    """

    function: Annotated[Callable[[DataFrame], DataFrame], ByReference("transform.function")]


class RowTransform(_Transform):
    """A function from one valid row, an instance of the row model, to another, or to None to filter the row.

    It is far slower than a `FrameTransform`. With `adds_rows` it may return a list of rows. Its results are validated again.
    """

    function: Annotated[Callable[[Any], Any], ByReference("transform.function")]
