"""Rows that Python code makes, as a source: spooled as they arrive, and loaded while the code continues."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rowledger.errors import SourceError
from rowledger.sources.spooled_source import SpooledSource
from rowledger.spec import ByReference, ChunkDescriptor, Partition, SourceContext

if TYPE_CHECKING:  # who declares a source makes no rows
    import polars as pl

__all__ = ["GivenRows", "PythonRows"]


class _RowsOfCode(SpooledSource):
    columns_max: int = Field(default=2_000, ge=1, le=100_000, description="Columns the rows may have altogether.")

    def _spooled(self, name: str, call: Callable[[], object], scope: SourceContext) -> Iterator[ChunkDescriptor]:
        """Yield a chunk as soon as it is full, or a minute after the previous one when the rows arrive slowly.

        `name` is what messages call the code.
        """
        from rowledger.sources.python_reader import FunctionRows  # noqa: PLC0415, workers never call the code

        with contextlib.closing(FunctionRows(name, call, scope.columns, self.columns_max)) as rows:
            for descriptor in self.new_spool(scope).write(rows.frames(), origin=name):
                yield descriptor
                rows.chunk_given()


class PythonRows(_RowsOfCode):
    """The rows that a function yields for a partition. It runs in a guarded process, for one partition after another.

    The function is a generator or an async generator, or returns an iterable or one frame. An item is one row (a pydantic
    model, a dict, a dataclass or a named tuple) or many: a list of rows, a polars or pandas frame, an Arrow table or record
    batch, or any object that exports an Arrow stream. Items of all kinds may be mixed. A named index of a pandas frame becomes
    columns, and its missing values become nulls. An item that is not a row becomes a dead letter.

    If the function yields the same rows again, a rerun resumes where the previous run ended.
    """

    kind: Literal["python"] = "python"
    function: Annotated[Callable[[Partition], object], ByReference("source.function")]

    @property
    def name(self) -> str:
        """The function's module and name, for messages."""
        function = self.function
        return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        return self._spooled(self.name, partial(self.function, partition), scope)


class GivenRows(_RowsOfCode):
    """Rows that come with each load, `rowledger.load(spec, rows=…)`: all that a function of PythonRows may yield.

    The rows do not belong to the spec, so other processes can verify the table and replay its dead letters, but not load it.
    """

    takes_rows: ClassVar[bool] = True

    kind: Literal["given"] = "given"
    origin: str = Field(
        default="the given rows",
        min_length=1,
        description="What messages and dead letters call the origin of the rows.",
    )

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        if scope.rows is None:  # the load has checked that there are rows
            raise SourceError(f"{self.origin}: partition {partition.key} was planned without its rows")
        return self._spooled(self.origin, scope.rows, scope)

    def frames(self, call: Callable[[], object], columns: tuple[str, ...]) -> "Iterator[pl.DataFrame | None]":
        """The rows that the call returns, in frames; None where rows are slow to come. `columns` are the contract's."""
        from rowledger.sources.python_reader import FunctionRows  # noqa: PLC0415, workers never call the code

        with contextlib.closing(FunctionRows(self.origin, call, columns, self.columns_max)) as rows:
            yield from rows.own_frames()
