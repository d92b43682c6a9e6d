"""Whatever ends a run, its log ends with the reason and what to do: Dagster prints an error's causes below its traceback."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from pydantic import BaseModel

from pipeline_tests.support.definitions import table_defs
from pipeline_tests.support.tables import DAY, EVENTS
from pipeline_tests.support.tables_of_write_modes import BY_NEW_REGION
from rowledger import WriteMode
from rowledger.dagster import (
    GuardedWriter,
    RowledgerIOManager,
    build_table_defs,
    errors_as_failures,
    rowledger_asset,
)
from rowledger.errors import DatabaseUnavailable, RowledgerError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
    pytest.mark.filterwarnings("ignore:Specifying a partitions_def on an AssetCheckSpec"),
]


class Reading(BaseModel):
    sensor: int


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture(autouse=True)
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database cannot be reached."""

    def target_url() -> str:
        raise DatabaseUnavailable("it is away")

    monkeypatch.setattr("rowledger.dagster.database.target_url", target_url)


def _table(job: str, **options: Any) -> tuple[dg.Definitions, str, dict[str, Any]]:
    return table_defs(EVENTS), f"events_{job}", options


def _broken(job: str) -> tuple[dg.Definitions, str, dict[str, Any]]:
    return build_table_defs("no_such_module:READINGS", jobs=True), f"readings_{job}", {}


def _no_such_key() -> tuple[dg.Definitions, str, dict[str, Any]]:
    config = {"ops": {"by_new_region_add_keys": {"config": {"keys": ["../etc"]}}}}
    return table_defs(BY_NEW_REGION), "by_new_region_add_partition", {"run_config": config}


def _returned(rows: object) -> tuple[dg.Definitions, str, dict[str, Any]]:
    @rowledger_asset(row=Reading)
    def readings() -> Any:
        return rows

    return dg.Definitions(assets=[readings]), "__ASSET_JOB", {}


def _told_of_others() -> tuple[dg.Definitions, str, dict[str, Any]]:
    days = dg.MultiPartitionsDefinition(
        {"day": dg.DailyPartitionsDefinition("2024-01-01"), "region": dg.StaticPartitionsDefinition(["north"])}
    )

    @rowledger_asset(
        row=Reading, partitions_def=days, write_mode=WriteMode.APPEND, backfill_policy=dg.BackfillPolicy.single_run()
    )
    def readings() -> Any:
        return []

    tags = {
        "dagster/partition/day": "2024-01-01",
        "dagster/partition/region": "north",
        "dagster/asset_partition_range_start": "2024-01-01|north",
        "dagster/asset_partition_range_end": "2024-01-02|north",
    }
    return dg.Definitions(assets=[readings]), "__ASSET_JOB", {"tags": tags}


def _through_io_manager(rows: object, **metadata: Any) -> tuple[dg.Definitions, str, dict[str, Any]]:
    @dg.asset(metadata=metadata)
    def readings() -> Any:
        return rows

    manager = RowledgerIOManager(writer=GuardedWriter())
    return dg.Definitions(assets=[readings], resources={"io_manager": manager}), "__ASSET_JOB", {}


def _own_step() -> tuple[dg.Definitions, str, dict[str, Any]]:
    @dg.asset
    def landing() -> None:
        with errors_as_failures("landing"):
            raise DatabaseUnavailable("it is away")

    return dg.Definitions(assets=[landing]), "__ASSET_JOB", {}


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (lambda: _table("load", partition_key=DAY), "events: DatabaseUnavailable: it is away"),
        (lambda: _table("verify"), "events: DatabaseUnavailable: it is away"),
        (lambda: _table("replay"), "events: DatabaseUnavailable: it is away"),
        (lambda: _broken("load"), "readings cannot be used: "),
        (lambda: _broken("replay"), "readings cannot be used: "),
        (_no_such_key, "by_new_region: UnknownPartition: "),
        (lambda: _returned(None), "readings: its function returned None"),
        (lambda: _returned([]), "readings: DatabaseUnavailable: it is away"),
        (_told_of_others, "readings: the run is for 2 partitions"),
        (lambda: _through_io_manager(None), "readings: its function returned None"),
        (lambda: _through_io_manager(pl.DataFrame()), "readings: SpecError: "),
        (
            lambda: _through_io_manager([], **{"rowledger/row": f"{__name__}:Reading"}),
            "readings: DatabaseUnavailable: it is away",
        ),
        (_own_step, "landing: DatabaseUnavailable: it is away"),
    ],
)
def test_the_last_error_of_a_failed_step_is_the_whole_reason(
    instance: dg.DagsterInstance, run: Callable[[], tuple[dg.Definitions, str, dict[str, Any]]], told: str
) -> None:
    defs, job, options = run()

    result = defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)

    [event] = [event for event in result.all_events if event.is_step_failure]
    reason = event.step_failure_data.user_failure_data
    assert reason is not None
    assert (reason.description or "").startswith(told)
    error = event.step_failure_data.error
    assert error is not None
    while error.cause is not None or error.context is not None:
        error = error.cause or error.context
    assert error.cls_name == RowledgerError.__name__
    assert error.message.strip().endswith((reason.description or "").strip())
    assert not error.stack
