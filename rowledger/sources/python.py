"""Rows that a Python function gives, as a source: spooled as they come, and loaded while it continues."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from rowledger.sources.spooled_source import SpooledSource
from rowledger.spec import ByReference, ChunkDescriptor, Partition, SourceContext

__all__ = ["PythonRows"]


class PythonRows(SpooledSource):
    """What a function of the partition gives: pydantic models, dicts or dataclasses, a row each, or many rows at once.

    It is a generator, a generator of asyncio, or returns an iterable or one frame. Many rows are a list of such rows, a polars
    or pandas frame, an Arrow table or record batch, or any object that exports an Arrow stream; they may be mixed. Of a pandas
    frame a named index becomes columns, and its missing values are nulls. An item that is not a row becomes a dead letter.

    The same rows again make a rerun go on where an earlier one ended.
    """

    kind: Literal["python"] = "python"
    function: Annotated[Callable[[Partition], object], ByReference("source.function")]
    columns_max: int = Field(default=2_000, ge=1, le=100_000, description="Columns the rows may have altogether.")

    @property
    def name(self) -> str:
        """The function's module and name, by which messages call it."""
        function = self.function
        return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        """A chunk as soon as it is full, or a minute after the last one when the rows come slowly."""
        from rowledger.sources.python_reader import FunctionRows  # noqa: PLC0415, workers never call the function

        spool = self.new_spool(scope)
        call = partial(self.function, partition)
        with contextlib.closing(FunctionRows(self.name, call, scope.columns, self.columns_max)) as rows:
            while not rows.have_ended:
                first_row = rows.given
                for descriptor in spool.write(rows.until_overdue(), origin=self.name):
                    yield descriptor.model_copy(update={"origin_row": first_row + descriptor.origin_row})
                    rows.chunk_given()
