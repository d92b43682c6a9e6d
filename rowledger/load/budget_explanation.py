"""Explain a load that was refused for its dead letters: how many there are, why, where, and how to see them."""

import shlex

import asyncpg

from rowledger.contract import NULL_REASON
from rowledger.counted import counted
from rowledger.errors import DeadLetterBudgetSpent
from rowledger.ledger import RefusalCause, RowPlace
from rowledger.postgres import query
from rowledger.spec import DECLARATION, TableSpec

__all__ = ["dead_letters_command", "explain_budget", "read_refusals"]

_CAUSES_MAX = 20
_CAUSES_IN_SENTENCE = 2


def dead_letters_command(table: str, partition_key: str) -> str:
    """The command that lists the dead letters of a partition's latest load, quoted for a shell."""
    return f"rowledger dead-letters list --table {shlex.quote(table)} --partition {shlex.quote(partition_key)}"


async def read_refusals(connection: asyncpg.Connection, load_id: int, partition_key: str) -> tuple[RefusalCause, ...]:
    """The causes of the dead letters of a partition's load, the most frequent first."""
    rows = await connection.fetch(query("refusals_of_load"), load_id, _CAUSES_MAX)
    return tuple(
        RefusalCause(
            rows=row["rows"],
            stage=row["stage"],
            column=row["column_name"],
            constraint=row["constraint_name"],
            sqlstate=row["sqlstate"],
            reason=row["reason"],
            first_rows=tuple(
                RowPlace(row_no, source, partition_key)
                for row_no, source in zip(row["first_rows"], row["first_sources"], strict=True)
            ),
        )
        for row in rows
    )


def explain_budget(
    spec: TableSpec,
    partition_key: str,
    spent: DeadLetterBudgetSpent,
    refusals: tuple[RefusalCause, ...],
    *,
    kept: int,
    budget: str,
) -> DeadLetterBudgetSpent:
    """The error with one sentence in place of its own: how many rows, the budget, why, and the command that lists them."""
    refused = kept if spent.refused_rows is None else max(kept, spent.refused_rows)
    causes = [str(cause) for cause in refusals[:_CAUSES_IN_SENTENCE]]
    why = "; ".join([spent.detail, *causes] if spent.detail else causes)
    more = f"; {len(refusals) - _CAUSES_IN_SENTENCE} more causes" if len(refusals) > _CAUSES_IN_SENTENCE else ""
    command = dead_letters_command(spec.name, partition_key)
    nulls = [cause.column for cause in refusals if cause.column and f"{cause.column}: {NULL_REASON}" in cause.reason]
    nullable = "nullable: true" if DECLARATION in vars(spec.row) else "X | None"
    remedy = f". If the source may have nulls, declare {', '.join(nulls)} as `{nullable}`" if nulls else ""
    return DeadLetterBudgetSpent(
        f"table {spec.name}, partition {partition_key}: {counted(refused, 'row')} {'was' if refused == 1 else 'were'} refused, "
        f"the budget is {budget}"
        f"{f', and {kept} of them are kept as dead letters' if kept < refused else ''}"
        f"{f': {why}{more}' if why else ''}{remedy}. See them: {command}",
        refused_rows=refused,
        detail=spent.detail,
        command=command,
    )
