"""A small table as Dagster sees it, for runs of Dagster's own commands."""

import dagster as dg

from pipeline.defs.assets import table_asset
from pipeline.defs.checks import verify_check
from pipeline.defs.replay import replay_job_and_sensor
from pipeline.defs.resources import GuardedWriter
from pipeline_tests.loading import FAST
from pipeline_tests.tables_for_tests import EVENTS

defs = dg.Definitions.merge(
    dg.Definitions(
        assets=[table_asset(EVENTS)], asset_checks=[verify_check(EVENTS)], resources={"writer": GuardedWriter(**FAST)}
    ),
    replay_job_and_sensor(EVENTS),
)
