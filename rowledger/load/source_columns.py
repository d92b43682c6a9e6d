"""The columns of a source, checked against the contract before any of its rows."""

import logging
from collections.abc import Iterable, Sequence

from rowledger.contract import Contract, common_column
from rowledger.errors import SourceError
from rowledger.load.run_context import RunContext
from rowledger.machine import in_thread
from rowledger.postgres import Target, plan_columns
from rowledger.spec import ChunkDescriptor, Column, Drift, FrameTransform, Partition

__all__ = ["SourceColumns", "source_names"]


class SourceColumns:
    """The columns of one partition's files. Each file is looked at once."""

    def __init__(self, run: RunContext, partition: Partition) -> None:
        self._run = run
        self._spec = run.request.spec
        self._name = run.name_of(partition)
        self._settled: set[str] = set()  # paths whose columns were checked against the contract

    async def settle(self, descriptors: Sequence[ChunkDescriptor], target: Target) -> Target:
        """Check the source's columns against the contract, before its rows; raises SourceError.

        Under `Drift.EVOLVE` the returned target has the columns that the table lacks; the table gets them when the
        load is published. With a transform of frames the source's columns say nothing about the rows written, so the
        check of each chunk decides.
        """
        if isinstance(self._spec.transform, FrameTransform):
            return target
        by_path = {descriptor.path: descriptor for descriptor in descriptors if descriptor.path not in self._settled}
        source, timeout_s = self._spec.source, self._run.request.writer.planning_timeout_s
        schemas = await in_thread(
            lambda: {
                tuple(source.frame_schema(descriptor).items()): descriptor.origin for descriptor in by_path.values()
            },
            timeout_s=timeout_s,
        )
        self._settled |= set(by_path)
        contract = Contract.of(self._spec.row)
        new: dict[str, Column] = {}
        clashes: dict[str, str] = {}
        for schema, origin in schemas.items():
            try:
                if self._spec.drift is Drift.FREEZE:
                    contract.require_columns(dict(schema))
                columns = contract.columns_for(dict(schema)) if self._spec.drift is Drift.EVOLVE else []
            except SourceError as error:
                raise SourceError(f"{origin}: {error}") from None
            for column in columns:
                other = new.get(column.name, column)
                common = common_column(other, column)
                if common is None:
                    clashes[column.name] = f"{column.type.sql} in {origin} and {other.type.sql} in another file"
                new[column.name] = common or other
        brought = [column for name, column in new.items() if name not in target.column_types]
        if not brought:
            return target
        planned = await self._run.sessions.transaction(
            f"{self._name}: look for the columns", lambda connection: plan_columns(connection, target, brought)
        )
        if odd := [f"{column.name} is {clashes[column.name]}" for column in planned.added if column.name in clashes]:
            raise SourceError(
                f"{self._name}: column {'; '.join(odd)}, so that the table cannot be given one for both; write the files with "
                "one type, or add the column to the row model"
            )
        names = ", ".join(column.name for column in brought)
        told = f"the source has columns that are not in the contract ({names}); the table has them, or gets them"
        self._run.request.observer.log(logging.INFO, f"{self._name}: {told}")
        return planned


def source_names(contract: Contract, columns: Iterable[Column]) -> tuple[str, ...]:
    """The names that a source without column names gives to the table's columns: those that the row model reads first."""
    read_as = {rule.name: rule.sources[0] for rule in contract.rules}
    return tuple(read_as.get(column.name, column.name) for column in columns)
