"""Composition root for Dagster: every table in `pipeline/tables/` with its asset, checks, jobs, schedule and sensor.

A table whose file has a mistake does not keep the others from being used: its asset fails with the mistake.
"""

import logging
import re
from collections.abc import Iterator, Sequence

import dagster as dg

from pipeline.landing import landing_assets
from pipeline.tables import BrokenTable, Tables, read_tables
from rowledger.dagster import (
    GuardedWriter,
    broken_table,
    jobs_and_schedule,
    replay_job_and_sensor,
    table_asset,
    verify_check,
)
from rowledger.errors import SpecError
from rowledger.spec import TableSpec

__all__ = ["definitions_of", "defs"]

_log = logging.getLogger("rowledger")

# Steps start from a fork server that has dagster loaded already: 0.3 s instead of 1.5 s a step. Nothing of ours is
# loaded there, because polars does not survive a fork.
_executor = dg.multiprocess_executor.configured(
    {"start_method": {"forkserver": {"preload_modules": ["dagster", "dagster_postgres"]}}}
)


def definitions_of(tables: Tables) -> dg.Definitions:
    """Dagster's definitions of these tables, and of those that cannot be used."""
    landing = landing_assets(tables)
    broken = list(tables.broken)
    usable: list[dg.Definitions] = []
    taken = {asset.key.to_user_string() for asset in landing}
    for spec in tables.specs.values():
        try:
            usable.append(_table(spec, landing))
            taken.add(spec.name)
        except (SpecError, dg.DagsterError) as error:
            broken.append(BrokenTable(spec.name, f"table {spec.name}: {' '.join(str(error).split())}"))
    return dg.Definitions.merge(
        dg.Definitions(assets=landing, resources={"writer": GuardedWriter()}, executor=_executor),
        *usable,
        *_broken(broken, taken),
    )


def _table(spec: TableSpec, landing: Sequence[dg.AssetsDefinition]) -> dg.Definitions:
    own = dg.Definitions(assets=[table_asset(spec)], asset_checks=[verify_check(spec)])
    return dg.Definitions.merge(own, jobs_and_schedule(spec, landing), replay_job_and_sensor(spec))


def _broken(tables: Sequence[BrokenTable], taken: set[str]) -> Iterator[dg.Definitions]:
    """Each name once, and none that a table which can be used has."""
    for table in tables:
        _log.warning("table %s cannot be used: %s", table.name, table.message)
        name = re.sub(r"\W", "_", table.name, flags=re.ASCII)
        if name not in taken:
            taken.add(name)
            yield broken_table(name, table.message)


defs = definitions_of(read_tables())
