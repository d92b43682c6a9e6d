"""Plan a partition in a worker: its chunks, and the columns of its source, held against the contract before any of its rows."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rowledger.chunk.jobs import PlanJob
from rowledger.contract import Contract
from rowledger.errors import SourceError
from rowledger.failpoints import Place, failpoint
from rowledger.ledger import BroughtColumns, Planned
from rowledger.sources import join_small
from rowledger.spec import ChunkDescriptor, Drift, FrameTransform, Source, TableSpec

if TYPE_CHECKING:  # a producer of a source that is spooled needs no frames
    import polars as pl

__all__ = ["ComingColumns", "plan_partition"]


def plan_partition(spec: TableSpec, job: PlanJob) -> Planned:
    """The partition's chunks, and the columns of its files; raises SourceError and whatever else the source raises."""
    failpoint(Place.WHILE_PLANNING, **job.facts)
    chunks, schemas = tuple(spec.source.chunks(job.partition, job.scope)), _Schemas(spec.source)
    brought = _columns_brought(spec, chunks, schemas)
    return Planned(chunks=join_small(spec.source, chunks, job.scope.chunk_rows_max, schemas.of), brought=brought)


class _Schemas:
    """The columns of files, each of which is looked at once, unless its chunks may have different columns."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._by_path: dict[str, pl.Schema] = {}

    def of(self, descriptor: ChunkDescriptor) -> "pl.Schema":
        if self._source.columns_vary:
            return self._source.frame_schema(descriptor)
        schema = self._by_path.get(descriptor.path)
        if schema is None:
            schema = self._by_path[descriptor.path] = self._source.frame_schema(descriptor)
        return schema


def _columns_brought(
    spec: TableSpec, descriptors: Iterable[ChunkDescriptor], schemas: _Schemas
) -> tuple[BroughtColumns, ...]:
    """The columns that the files bring beyond the contract, which the table gets under `Drift.EVOLVE`; each schema once.

    With a transform of frames the source's columns say nothing about the rows written, so the check of each chunk decides.
    So it does if the columns are known only when a chunk is read, unless the table must be given them before.
    Raises SourceError where the contract refuses a file's columns.
    """
    if isinstance(spec.transform, FrameTransform) or (spec.source.columns_vary and spec.drift is not Drift.EVOLVE):
        return ()
    contract, varies = Contract.of(spec.row), spec.source.columns_vary
    by_path = {(one.path, one.origin_row if varies else 0): one for one in descriptors}
    if spec.drift is not Drift.EVOLVE:
        for names, origin in {tuple(schemas.of(one)): one.origin for one in by_path.values()}.items():
            if spec.drift is Drift.FREEZE:
                with _said_of(origin):
                    contract.require_columns(names)
        return ()
    brought = []
    found = {tuple(schemas.of(one).items()): one.origin for one in by_path.values()}
    for schema, origin in found.items():
        with _said_of(origin):
            columns = contract.columns_for(dict(schema))
        if columns:
            brought.append(BroughtColumns(origin, tuple(columns)))
    return tuple(brought)


class ComingColumns:
    """The columns that chunks bring as they come. Each file is looked at once, unless its chunks may have different columns."""

    def __init__(self, spec: TableSpec) -> None:
        self._spec = spec
        self._seen: set[str] = set()

    def brought_by(self, descriptor: ChunkDescriptor) -> tuple[BroughtColumns, ...]:
        """The columns that this chunk brings beyond the contract; raises SourceError where the contract refuses its columns."""
        if descriptor.path in self._seen and not self._spec.source.columns_vary:
            return ()
        self._seen.add(descriptor.path)
        return _columns_brought(self._spec, [descriptor], _Schemas(self._spec.source))


@contextmanager
def _said_of(origin: str) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        raise SourceError(f"{origin}: {error}") from None
