"""Rows that a Python function yields, as a source: spooled as they arrive, and loaded while the function continues."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from rowledger.sources.spooled_source import SpooledSource
from rowledger.spec import ByReference, ChunkDescriptor, Partition, SourceContext

__all__ = ["PythonRows"]


class PythonRows(SpooledSource):
    """The rows that a function yields for a partition.

    The function is a generator or an async generator, or returns an iterable or one frame. An item is one row (a pydantic
    model, a dict, a dataclass or a named tuple) or many: a list of rows, a polars or pandas frame, an Arrow table or record
    batch, or any object that exports an Arrow stream. Items of all kinds may be mixed. A named index of a pandas frame becomes
    columns, and its missing values become nulls. An item that is not a row becomes a dead letter.

    If the function yields the same rows again, a rerun resumes where the previous run ended.
    """

    kind: Literal["python"] = "python"
    function: Annotated[Callable[[Partition], object], ByReference("source.function")]
    columns_max: int = Field(default=2_000, ge=1, le=100_000, description="Columns the rows may have altogether.")

    @property
    def name(self) -> str:
        """The function's module and name, for messages."""
        function = self.function
        return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        """Yield a chunk as soon as it is full, or a minute after the previous one when the rows arrive slowly."""
        from rowledger.sources.python_reader import FunctionRows  # noqa: PLC0415, workers never call the function

        call = partial(self.function, partition)
        with contextlib.closing(FunctionRows(self.name, call, scope.columns, self.columns_max)) as rows:
            for descriptor in self.new_spool(scope).write(rows.frames(), origin=self.name):
                yield descriptor
                rows.chunk_given()
