"""The columns of a source, checked against the contract before any of its rows."""

import logging
from collections.abc import Iterable, Sequence

from rowledger.chunk import columns_brought
from rowledger.contract import Contract, common_column
from rowledger.errors import SourceError
from rowledger.ledger import BroughtColumns
from rowledger.load.run_context import RunContext
from rowledger.machine import in_thread
from rowledger.postgres import Target, plan_columns
from rowledger.spec import ChunkDescriptor, Column, Partition

__all__ = ["SourceColumns", "source_names"]


class SourceColumns:
    """The columns of one partition's files. Each file is looked at once, unless its chunks may have different columns."""

    def __init__(self, run: RunContext, partition: Partition) -> None:
        self._run = run
        self._spec = run.request.spec
        self._name = run.name_of(partition)
        self._settled: set[str] = set()  # paths whose columns were checked against the contract

    async def settle(self, descriptors: Sequence[ChunkDescriptor], target: Target) -> Target:
        """Check the columns of chunks that have come against the contract, before their rows; raises SourceError."""
        vary = self._spec.source.columns_vary
        new = [descriptor for descriptor in descriptors if vary or descriptor.path not in self._settled]
        timeout_s = self._run.request.writer.planning_timeout_s
        brought = await in_thread(lambda: columns_brought(self._spec, new), timeout_s=timeout_s)
        self._settled |= {descriptor.path for descriptor in new}
        return await self.with_brought(brought, target)

    async def with_brought(self, files: Sequence[BroughtColumns], target: Target) -> Target:
        """The target with the columns that it lacks; the table gets them when the load is published. Raises SourceError."""
        new: dict[str, Column] = {}
        clashes: dict[str, str] = {}
        for file in files:
            for column in file.columns:
                other = new.get(column.name, column)
                common = common_column(other, column)
                if common is None:
                    clashes[column.name] = f"{column.type.sql} in {file.origin} and {other.type.sql} in another file"
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
