"""The Dagster events of a replay: each partition's current figures, from a job's run or from the command line."""

import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path

import dagster as dg

from rowledger.dagster.check_events import CHECKS_CAN_HAVE_PARTITIONS, with_targets
from rowledger.dagster.failures import describe_error
from rowledger.dagster.metadata import (
    CRASHED_WORKERS,
    REFUSED_BY_REASON,
    SECONDS,
    WRITTEN_ROWS,
    Metadata,
    Record,
    counts_metadata,
    table_value,
)
from rowledger.dagster.run_keys import dimension_tags
from rowledger.dagster.verification import verification_evaluations
from rowledger.dead_letters import read_published_counts, read_recorded_partitions
from rowledger.errors import UnknownPartition
from rowledger.ledger import DeadLetterOutcome, DeadLetterResult, ReplayReport, read_specs, read_status
from rowledger.publish import PartitionVerification
from rowledger.spec import WHOLE, Partition, TableSpec

__all__ = ["record_in_dagster", "red_partitions", "replay_events", "replay_metadata", "replay_reasons"]


REASONS_MAX = 20  # keeps the metadata of a thousand refusals readable


def replay_events(
    spec: TableSpec,
    asset: dg.AssetKey,
    partition_of: Callable[[str], Partition],
    report: ReplayReport,
    url: str,
    *,
    red: Container[str],
) -> Iterator[dg.AssetMaterialization | dg.AssetObservation]:
    """An event for each partition of the replay: a materialization where rows were written, otherwise an observation.

    A `red` partition gets an observation too, since a materialization would end its red.
    Each event has the counts that the ledger now has of the partition, even an observation: Dagster shows its figures
    instead of those of the materialization before it. Raises DatabaseUnavailable.
    """
    keys = list(dict.fromkeys(outcome.partition_key for outcome in report.outcomes))
    counts = read_published_counts(url, spec.name, keys)
    for key in keys:
        outcomes = report.of_partition(key)
        partition = _known(partition_of, key)
        whole = partition == WHOLE
        tags, shown = dimension_tags(partition), None if whole else key
        metadata = replay_metadata(report, outcomes)
        written = sum(outcome.written_rows for outcome in outcomes)
        if key in counts:
            metadata |= {"replayed_rows": written, **counts_metadata(counts[key], whole=whole)}
        if written and key in counts and key not in red:
            yield dg.AssetMaterialization(asset, partition=shown, metadata=metadata, tags=tags)
        else:
            yield dg.AssetObservation(asset, partition=shown, metadata=metadata, tags=tags)


def red_partitions(url: str, table: str, report: ReplayReport) -> set[str]:
    """The partitions of the replay whose latest load was not published, though earlier rows of them are."""
    keys = list(dict.fromkeys(outcome.partition_key for outcome in report.outcomes))
    return {found.partition_key for found in read_status(url, table, keys) if not found.is_well} if keys else set()


def _known(partition_of: Callable[[str], Partition], key: str) -> Partition:
    """The partition of a dead letter; only its key where the table no longer has the partition."""
    try:
        return partition_of(key)
    except UnknownPartition:
        return Partition(key)


def replay_metadata(report: ReplayReport, outcomes: Iterable[DeadLetterOutcome]) -> Metadata:
    """Figures of a replay, or of its part in one partition. Reasons contain no row values."""
    outcomes = list(outcomes)
    reasons: list[Record] = [{"reason": reason, "dead_letters": count} for reason, count in replay_reasons(outcomes)]
    found = Counter(outcome.result for outcome in outcomes)
    return {
        "dead_letters": len(outcomes),
        **{f"{result}_dead_letters": found[result] for result in DeadLetterResult},
        WRITTEN_ROWS: sum(outcome.written_rows for outcome in outcomes),
        **({REFUSED_BY_REASON: table_value(reasons)} if reasons else {}),
        CRASHED_WORKERS: report.worker_deaths,
        SECONDS: round(report.seconds, 3),
        "replay": str(report.replay),
    }


def replay_reasons(outcomes: Iterable[DeadLetterOutcome]) -> list[tuple[str, int]]:
    """The most frequent reasons why dead letters were not written, each with its count."""
    failed = (DeadLetterResult.REFUSED, DeadLetterResult.SKIPPED)
    return Counter(outcome.reason for outcome in outcomes if outcome.result in failed).most_common(REASONS_MAX)


def record_in_dagster(
    spec: TableSpec, report: ReplayReport, verifications: Sequence[PartitionVerification], url: str
) -> str | None:
    """Record the events of a replay outside a Dagster run; returns why they were not recorded, or None.

    The rows are written by then, so an error of Dagster fails nothing.
    """
    keys = list({outcome.partition_key for outcome in report.outcomes})
    try:
        asset = _asset_of(url, spec.name)
        if asset is None:  # Dagster has no asset of this table
            return None
        instance = _instance()
        if instance is None:
            return "DAGSTER_HOME is not set, and there is no dagster.yaml in this folder"
        partitions = read_recorded_partitions(url, spec.name, keys)
        with instance:
            red = red_partitions(url, spec.name, report)
            for event in replay_events(
                spec, asset, lambda key: partitions.get(key, Partition(key)), report, url, red=red
            ):
                instance.report_runless_asset_event(event)
            # Dagster shows only checks that come after the materialization.
            partitioned = CHECKS_CAN_HAVE_PARTITIONS and any(partitions.get(key) != WHOLE for key in keys)
            made = verification_evaluations(verifications, partitioned=partitioned, red=red)
            for evaluation in with_targets(instance, asset, made):
                instance.report_runless_asset_event(evaluation)
    except Exception as error:  # noqa: BLE001 - any storage may be configured, each with its own errors
        return describe_error(error)
    return None


def _asset_of(url: str, table: str) -> dg.AssetKey | None:
    """The key of the asset that loads the table, as its latest load in Dagster has recorded it."""
    found = next((kept.asset_key for kept in read_specs(url) if kept.table_name == table), None)
    return None if found is None else dg.AssetKey(found)


def _instance() -> dg.DagsterInstance | None:
    """The instance that Dagster's own commands would use here."""
    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    if Path("dagster.yaml").exists():
        return dg.DagsterInstance.from_config(str(Path.cwd()))
    return None
