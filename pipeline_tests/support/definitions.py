"""Small tables as Dagster sees them, for runs of Dagster's own commands."""

import dagster as dg

from pipeline_tests.support.loading import FAST
from pipeline_tests.support.tables import EVENTS
from pipeline_tests.support.tables_of_write_modes import BY_DAY_AND_REGION, BY_REGION
from rowledger.dagster.assets import table_asset
from rowledger.dagster.checks import verify_check
from rowledger.dagster.replay import replay_job_and_sensor
from rowledger.dagster.resources import GuardedWriter

_SPECS = (EVENTS, BY_REGION, BY_DAY_AND_REGION)

defs = dg.Definitions.merge(
    dg.Definitions(
        assets=[table_asset(spec) for spec in _SPECS],
        asset_checks=[verify_check(spec) for spec in _SPECS],
        resources={"writer": GuardedWriter(**FAST)},
    ),
    replay_job_and_sensor(EVENTS),
)
