"""Which rows belong to a partition: as a condition, and as the bounds with which a table is attached."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime

from rowledger.errors import TargetMismatch
from rowledger.postgres.catalogue import Target
from rowledger.postgres.queries import quote_identifier, quote_literal
from rowledger.spec import Equals, Partition, TypeName, Window

__all__ = ["partition_bounds", "partition_predicate", "printed_bounds"]


def partition_predicate(target: Target, partition: Partition) -> str:
    """SQL that is true for exactly the partition's rows: for all, where the table is loaded as a whole."""
    terms = []
    for condition in partition.conditions:
        column = quote_identifier(condition.column)
        bounds = [_constant(value, quote_literal) for value in _bound_values(target, condition)]
        # The cast has no length: a cast to varchar(3) would truncate a longer key, which then selects another key's rows.
        type_sql = replace(target.column_types[condition.column], length=None).sql
        for operator, bound in zip((">=", "<") if len(bounds) > 1 else ("=",), bounds, strict=True):
            terms.append(f"{column} {operator} {bound}::{type_sql}")
    return " and ".join(terms) or "true"


def partition_bounds(target: Target, partition: Partition) -> str:
    """The partition's bounds as SQL for ATTACH PARTITION."""
    return _bounds(target, partition, quote_literal)


def printed_bounds(target: Target, partition: Partition) -> str:
    """The same bounds as pg_get_expr prints them in a Rowledger session. For comparisons only; never run them."""
    return _bounds(target, partition, lambda text: "'" + text.replace("'", "''") + "'")


def _bounds(target: Target, partition: Partition, quote: Callable[[str], str]) -> str:
    (condition,) = partition.conditions
    bounds = [_constant(value, quote) for value in _bound_values(target, condition)]
    return f"FOR VALUES FROM ({bounds[0]}) TO ({bounds[1]})" if len(bounds) > 1 else f"FOR VALUES IN ({bounds[0]})"


def _bound_values(target: Target, condition: Window | Equals) -> list[object]:
    """The two bounds of a window, or the one value; raises TargetMismatch for a key that the column cannot hold.

    An integer value is returned as an int only where PostgreSQL prints it without quotes: if it is not negative and the
    column's type is integer. Otherwise it is returned as text.
    """
    column_type = target.column_types.get(condition.column)
    if column_type is None:
        raise TargetMismatch(
            f"target {target.name}: the row model has no column {condition.column} any more, by which the partition was told; "
            "load it again"
        )
    if isinstance(condition, Window):
        return list(condition.bounds(column_type.name))
    value = condition.value(column_type.name)
    too_long = isinstance(value, str) and column_type.length is not None and len(value) > column_type.length
    if too_long or (column_type.name is TypeName.ENUM and value not in column_type.labels):
        raise TargetMismatch(
            f"target {target.name}: its column {condition.column} is {column_type.sql} and cannot hold the partition key "
            f"{condition.text!r}; alter the column or the key"
        )
    is_bare = isinstance(value, bool) or (
        isinstance(value, int) and value >= 0 and column_type.name is TypeName.INTEGER
    )
    return [value if is_bare or isinstance(value, date) else str(value)]


def _constant(value: object, quote: Callable[[str], str]) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case datetime():
            text = value.isoformat(" ")
            return quote(text.removesuffix(":00") if text.endswith("+00:00") else text)
        case _:
            return quote(str(value))
