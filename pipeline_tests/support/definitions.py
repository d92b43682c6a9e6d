"""Small tables as Dagster sees them, also for runs of Dagster's own commands."""

import dagster as dg

from pipeline_tests.support.loading import FAST
from pipeline_tests.support.tables import EVENTS
from pipeline_tests.support.tables_of_write_modes import BY_DAY_AND_REGION, BY_REGION
from rowledger.dagster.database import RowledgerDatabase
from rowledger.dagster.definitions import build_table_defs
from rowledger.dagster.partitions import KEY_PATTERN, partition_maker
from rowledger.dagster.resources import GuardedWriter
from rowledger.dagster.table import DagsterTable
from rowledger.dagster.translator import RowledgerTranslator, asset_spec
from rowledger.spec.table import TableSpec

MARCH = dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-04-01")
REGIONS = dg.StaticPartitionsDefinition(["north", "south"])

PARTITIONS: dict[str, dg.PartitionsDefinition] = {
    "events": MARCH,
    "flights": dg.DailyPartitionsDefinition("2013-01-01", end_date="2014-01-01", timezone="America/New_York"),
    "by_region": REGIONS,
    "by_day_and_region": dg.MultiPartitionsDefinition({"day": MARCH, "region": REGIONS}),
    "by_new_region": dg.DynamicPartitionsDefinition(name="regions"),
    "ticks": dg.HourlyPartitionsDefinition(
        "2024-11-03-00:00", end_date="2024-11-04-00:00", timezone="America/New_York"
    ),
    "weekly": dg.WeeklyPartitionsDefinition("2024-03-04", end_date="2024-04-01", day_offset=1),
    "monthly": dg.MonthlyPartitionsDefinition("2024-01-01"),
}
"""The partitions of the tables that have any, by the table's name."""


def table_defs(spec: TableSpec, *, landing: list[dg.AssetsDefinition] | None = None) -> dg.Definitions:
    """All that Dagster has of a table, with a writer for small loads."""
    partitions_def = PARTITIONS.get(spec.name)
    return build_table_defs(
        spec,
        partitions_def=partitions_def,
        landing=landing or (),
        writer=GuardedWriter(**FAST),
        jobs=True,
        schedule=partitions_def is None
        or isinstance(partitions_def, dg.TimeWindowPartitionsDefinition | dg.StaticPartitionsDefinition),
        sensor=True,
    )


def dagster_table(spec: TableSpec) -> DagsterTable:
    """The table as the parts of the face take it."""
    partitions_def = PARTITIONS.get(spec.name)
    partition_of = partition_maker(spec, partitions_def)
    asset = asset_spec(spec, partitions_def, RowledgerTranslator(), {})
    return DagsterTable(spec, asset, partition_of, KEY_PATTERN, "rowledger_database", "rowledger_writer")


RESOURCES = {"rowledger_database": RowledgerDatabase(), "rowledger_writer": GuardedWriter(**FAST)}
"""What the steps of such a table ask for."""


defs = dg.Definitions.merge(*(table_defs(spec) for spec in (EVENTS, BY_REGION, BY_DAY_AND_REGION)))
