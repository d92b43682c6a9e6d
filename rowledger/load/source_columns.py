"""The columns of a source, checked against the contract before any of its rows."""

import logging
from collections.abc import Iterable, Sequence

from rowledger.contract import Contract, common_column
from rowledger.errors import SourceError
from rowledger.ledger import BroughtColumns
from rowledger.load.run_context import RunContext
from rowledger.postgres import Target, plan_columns
from rowledger.spec import Column, Partition

__all__ = ["source_names", "with_brought_columns"]


async def with_brought_columns(
    run: RunContext, partition: Partition, files: Sequence[BroughtColumns], target: Target
) -> Target:
    """The target with the columns that it lacks; the table gets them when the load is published. Raises SourceError."""
    name = run.name_of(partition)
    new: dict[str, Column] = {}
    clashes: dict[str, str] = {}
    for file in files:
        for column in file.columns:
            other = new.get(column.name, column)
            common = common_column(other, column)
            if common is None:
                clashes[column.name] = f"{column.type.sql} in {file.origin} and {other.type.sql} in another file"
            new[column.name] = common or other
    brought = [column for column in new.values() if column.name not in target.column_types]
    if not brought:
        return target
    planned = await run.sessions.transaction(
        f"{name}: look for the columns", lambda connection: plan_columns(connection, target, brought)
    )
    if odd := [f"{column.name} is {clashes[column.name]}" for column in planned.added if column.name in clashes]:
        raise SourceError(
            f"{name}: column {'; '.join(odd)}, so that the table cannot be given one for both; write the files with "
            "one type, or add the column to the row model"
        )
    names = ", ".join(column.name for column in brought)
    told = f"the source has columns that are not in the contract ({names}); the table has them, or gets them"
    run.request.observer.log(logging.INFO, f"{name}: {told}")
    return planned


def source_names(contract: Contract, columns: Iterable[Column]) -> tuple[str, ...]:
    """The names that a source without column names gives to the table's columns: those that the row model reads first."""
    read_as = {rule.name: rule.sources[0] for rule in contract.rules}
    return tuple(read_as.get(column.name, column.name) for column in columns)
