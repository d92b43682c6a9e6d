"""The rows of each version of a source, and which of them are to end in the table and which in the dead letters."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pipeline_tests.faults.nemesis.plan import DAYS, Manner, PartitionPlan
from pipeline_tests.support.sour_tables import SOUR
from pipeline_tests.support.tables import (
    APPENDED_EVENTS,
    APPENDED_ORDERS,
    APPENDED_PARCELS,
    APPENDED_READINGS,
    EVENTS,
    ORDERS,
    PARCELS,
    READINGS,
    UPSERTED_EVENTS,
    UPSERTED_ORDERS,
    Row,
    events,
    orders,
    parcels,
    readings,
    write_source,
)
from pipeline_tests.support.tables_of_spooled_files import (
    SPOOLED_EVENTS,
    SPOOLED_ORDERS,
    SPOOLED_PARCELS,
    SPOOLED_READINGS,
)
from rowledger.spec.table import TableSpec

__all__ = ["COLUMN_TYPES", "SPECS", "SourceVersion", "make_version", "partition_predicate"]


def _by_name(*specs: TableSpec) -> dict[str, TableSpec]:
    return {spec.name: spec for spec in specs}


SPECS: dict[Manner, dict[str, TableSpec]] = {
    Manner.REPLACED: _by_name(EVENTS, READINGS, ORDERS, PARCELS),
    Manner.SPOOLED: _by_name(SPOOLED_EVENTS, SPOOLED_READINGS, SPOOLED_ORDERS, SPOOLED_PARCELS),
    Manner.APPENDED: _by_name(APPENDED_EVENTS, APPENDED_READINGS, APPENDED_ORDERS, APPENDED_PARCELS),
    Manner.UPSERTED: _by_name(UPSERTED_EVENTS, UPSERTED_ORDERS),
}

COLUMN_TYPES: dict[str, dict[str, str]] = {
    "events": {
        "at": "timestamptz",
        "event_id": "integer",
        "name": "text",
        "amount": "double precision",
        "note": "text",
        "code": "text",
    },
    "readings": {"sensor": "integer", "value": "double precision"},
    "orders": {"order_id": "integer", "day": "date", "item": "text"},
    "parcels": {"day": "date", "parcel_id": "integer", "label": "text"},
}
"""The server's types of the columns, in the order of the row models."""

_NO_INT4 = 2**40
_ORDERS_A_DAY = 100_000  # order numbers are unique over all days
_REPEATS_IN = {"events": ("at", "event_id"), "orders": ("order_id",)}
_MARKED = {"events": "name", "orders": "item", "parcels": "label"}
_NUMBER = {"events": "event_id", "readings": "sensor", "orders": "order_id", "parcels": "parcel_id"}


@dataclass(frozen=True)
class SourceVersion:
    """One partition's source: all its rows, those that a load leaves in the table, and those that become dead letters."""

    key: str
    rows: list[Row]
    good: list[Row]
    bad: list[Row]


def make_version(table: str, plan: PartitionPlan, version: int) -> SourceVersion:
    """The rows of this version: each carries its version, so that no two versions share one."""
    rows = _MAKERS[table](plan)
    for row in rows:
        if table == "readings":
            if row["value"] is not None:
                row["value"] += version * 1_000
            row["sensor"] += version * 10
        else:
            row[_MARKED[table]] = f"version {version}, {row[_MARKED[table]]}"
    # The bad ones are spread over the source, so that most chunks have some; the first row is always good, to be repeated.
    bad_count = plan.refused_by_contract + plan.refused_by_server + plan.repeated_keys
    stride = max(1, (plan.rows - 1) // max(1, bad_count))
    places = [1 + number * stride for number in range(bad_count)]
    for number, place in enumerate(places):
        if number < plan.refused_by_contract:
            rows[place][_NUMBER[table]] = _NO_INT4 + place
        elif number < plan.refused_by_contract + plan.refused_by_server:
            rows[place][_MARKED[table]] += SOUR
        else:
            rows[place].update({column: rows[0][column] for column in _REPEATS_IN[table]})
    refused = set(places)
    good = [row for number, row in enumerate(rows) if number not in refused]
    return SourceVersion(plan.key, rows, good, [rows[place] for place in places])


def write_version(landing: Path, table: str, version: SourceVersion, row_group_rows: int) -> None:
    """Put the version where loads find it."""
    write_source(landing, table, version.key, version.rows, row_group_rows=row_group_rows)


def partition_predicate(table: str, key: str) -> str:
    """Which rows of the target are the partition's."""
    if table == "readings":
        return "true"
    day = date.fromisoformat(key)
    column = "at" if table == "events" else "day"
    return f"{column} >= '{day}' and {column} < '{day + timedelta(days=1)}'"


_MAKERS: dict[str, Callable[[PartitionPlan], list[Row]]] = {
    "events": lambda plan: events(plan.rows, plan.key),
    "readings": lambda plan: readings(plan.rows),
    "orders": lambda plan: orders(plan.rows, plan.key, first=DAYS.index(plan.key) * _ORDERS_A_DAY),
    "parcels": lambda plan: parcels(plan.rows, plan.key),
}
