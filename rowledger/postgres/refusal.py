"""Why the server refused a row, as a dead letter records it."""

from collections.abc import Sequence

import asyncpg

from rowledger.contract import Refusal, Stage
from rowledger.postgres.sqlstate import copy_location, explain_refusal, identifiers, server_text

__all__ = ["refusal_of"]


def refusal_of(error: asyncpg.PostgresError, columns: Sequence[str] = (), *, by_index: str | None = None) -> Refusal:
    """The refusal of the row that was written; its reason has none of the row's values.

    `columns` are those of the table, which the error may name. `by_index` begins the reason where a unique index refused the
    row; it is None for a table without one.
    """
    is_key = by_index is not None and isinstance(error, asyncpg.UniqueViolationError)
    column, constraint = identifiers(error, columns)
    return Refusal(
        stage=Stage.KEY if is_key else Stage.COPY,
        reason=f"{by_index if is_key else 'refused by the server'}: {explain_refusal(error, columns)}",
        column=copy_location(error, columns).column or column,
        sqlstate=error.sqlstate,
        constraint=constraint,
        traceback=server_text(error),
    )
