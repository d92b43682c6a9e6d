"""Loads that are played: what Dagster makes of reports is seen without a database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import dagster as dg
import pytest

from pipeline.tables.flights import FLIGHTS
from pipeline_tests.support.definitions import RESOURCES, dagster_table
from rowledger.dagster import resources
from rowledger.dagster.assets import table_asset
from rowledger.errors import DiscrepancyFound, RowledgerError
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.reports import Check, CheckName, Incident, PartitionReport
from rowledger.spec.partition import Partition
from rowledger.spec.table import TableSpec


def published(key: str, *, table: str = "flights", incidents: tuple[Incident, ...] = ()) -> PartitionReport:
    return report(key, table=table, incidents=incidents)


def rejected(key: str, error: Exception | None = None, *, checks: tuple[Check, ...] | None = None) -> PartitionReport:
    found = report(key, error=error or DiscrepancyFound(f"flights {key}: enqueued 842, written 841"))
    return found if checks is None else replace(found, checks=checks)


def report(
    key: str, *, table: str = "flights", incidents: tuple[Incident, ...] = (), error: Exception | None = None
) -> PartitionReport:
    passed = error is None
    row_balance = Check(CheckName.ROW_BALANCE, passed, "842 = 840 + 2" if passed else "842 enqueued, 841 found")
    others = (Check(name, passed=True, summary="fine") for name in CheckName if name is not CheckName.ROW_BALANCE)
    return PartitionReport(
        table=table,
        partition_key=key,
        load_id=7,
        counts=RowCounts(enqueued_rows=842, written_rows=840, dead_lettered_rows=2),
        chunks=1,
        retries=1,
        seconds=0.5,
        peak_rss_bytes=100_000_000,
        resumed=False,
        checks=(row_balance, *others),
        incidents=incidents,
        error=error,
    )


def play_loads(monkeypatch: pytest.MonkeyPatch, played: Callable[..., list[PartitionReport]]) -> None:
    """Put it in the place of loads; no server is asked for anything."""
    monkeypatch.setattr(resources, "run_load", played)
    monkeypatch.setattr("rowledger.dagster.database.target_url", lambda: "postgresql://nowhere/db")


class PlayedLoad:
    """Stands in for `run_load`: returns the reports it was given, or raises; remembers how it was called."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.reports: dict[str, PartitionReport] = {}
        self.error: RowledgerError | None = None
        self.calls: list[SimpleNamespace] = []

    def __call__(self, spec: TableSpec, partitions: Sequence[Partition], **rest: object) -> list[PartitionReport]:
        partition_keys = [partition.key for partition in partitions]
        self.calls.append(SimpleNamespace(spec=spec, partition_keys=partition_keys, **rest))
        if self.error is not None:
            raise self.error
        return [self.reports.get(key) or published(key, table=spec.name) for key in partition_keys]

    def run(
        self,
        spec: TableSpec = FLIGHTS,
        *,
        days: Sequence[str] = (),
        partition_key: str | None = None,
        config: dict[str, object] | None = None,
        selection: dg.AssetSelection | None = None,
    ) -> "Run":
        """Materialize the table's asset in this process."""
        day_range = (
            {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}
            if days
            else {}
        )
        result = dg.materialize(
            [table_asset(dagster_table(spec))],
            instance=self.instance,
            resources=RESOURCES,
            run_config={"resources": {"rowledger_writer": {"config": config}}} if config else None,
            tags=day_range,
            partition_key=partition_key,
            selection=selection,
            raise_on_error=False,
        )
        return Run(result, self.instance)


@dataclass(frozen=True)
class Run:
    """A run that has ended, and the instance that has seen it: a failed step does not return what it had recorded."""

    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance

    @property
    def success(self) -> bool:
        return self.result.success

    @property
    def checks(self) -> list[dg.AssetCheckEvaluation]:
        return list(self.result.get_asset_check_evaluations())

    @property
    def materialized(self) -> dict[str | None, dict[str, object]]:
        """The metadata of each partition that is green now."""
        (key,) = self.instance.get_asset_keys()
        found = [
            record.asset_materialization for record in self.instance.fetch_materializations(key, limit=400).records
        ]
        return {m.partition: {name: value.value for name, value in m.metadata.items()} for m in found if m is not None}

    @property
    def failure(self) -> str:
        """What a person reads first."""
        (event,) = [event for event in self.result.all_events if event.is_step_failure]
        assert event.step_failure_data.user_failure_data is not None
        assert event.step_failure_data.error is not None
        description = event.step_failure_data.user_failure_data.description
        # After the traceback Dagster prints the cause: the same words, at the end of the log, and no error behind them.
        assert event.step_failure_data.error.to_string().endswith(f"rowledger.errors.RowledgerError: {description}\n")
        return description or ""
