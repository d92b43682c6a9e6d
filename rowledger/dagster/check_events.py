"""Check evaluations of single partitions, and how a run records them.

Dagster stores no partition for an `AssetCheckResult` in a run over a range, and takes a partition's evaluation as current
only if it points to the partition's latest materialization (read in 1.13.27). So the evaluations are made here, after the
materializations that they are about.
"""

import inspect
import logging
import os
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from rowledger.counted import counted
from rowledger.dagster.failures import fail
from rowledger.dagster.metadata import lines
from rowledger.dagster.private_names import (
    AssetCheckEvaluationTargetMaterializationData,
    DagsterEventBatchMetadata,
    StepExecutionContext,
)

__all__ = [
    "CHECKS_CAN_HAVE_PARTITIONS",
    "Evaluation",
    "check_spec",
    "checks_have_partitions",
    "outputs_of",
    "recorded",
    "require_passed",
    "with_targets",
]


def checks_have_partitions(partitions_def: dg.PartitionsDefinition | None) -> bool:
    """Whether the checks of an asset with these partitions have partitions too.

    False for a table that is loaded whole, and where Dagster is too old to have partitions of checks.
    """
    return partitions_def is not None and CHECKS_CAN_HAVE_PARTITIONS


CHECKS_CAN_HAVE_PARTITIONS = all(
    name in inspect.signature(kind.__new__).parameters
    for kind, name in ((dg.AssetCheckSpec, "partitions_def"), (dg.AssetCheckEvaluation, "partition"))
)


def check_spec(
    key: dg.AssetKey, name: str, description: str, partitions_def: dg.PartitionsDefinition | None
) -> dg.AssetCheckSpec:
    """A blocking check of the asset, with the asset's partitions where Dagster has partitions of checks."""
    partitions: dict[str, Any] = {"partitions_def": partitions_def} if checks_have_partitions(partitions_def) else {}
    # Dagster's commands set filters of their own, after those of this package: partitions of checks are a preview.
    with warnings.catch_warnings(category=dg.PreviewWarning, action="ignore"):
        return dg.AssetCheckSpec(name, asset=key, description=description, blocking=True, **partitions)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of one check; of one partition, or of the whole table or run where `partition_key` is None."""

    name: str
    partition_key: str | None
    passed: bool
    summary: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """What Dagster shows of it. The run's log shows it without the partition, so a failure names it."""
        return self.summary if self.passed or self.partition_key is None else lines({self.partition_key: self.summary})


def with_targets(
    instance: dg.DagsterInstance, key: dg.AssetKey, evaluations: Iterable[Evaluation]
) -> list[dg.AssetCheckEvaluation]:
    """The evaluations as Dagster's, each with its partition's latest materialization, if there is one."""
    evaluations = list(evaluations)
    targets = _latest_materializations(
        instance, key, {made.partition_key for made in evaluations if made.partition_key is not None}
    )
    return [
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=made.name,
            passed=made.passed,
            description=made.description,
            metadata=made.metadata,
            blocking=True,
            **_partition(made.partition_key),
            target_materialization_data=targets.get(made.partition_key or ""),
        )
        for made in evaluations
    ]


def _partition(key: str | None) -> dict[str, Any]:
    return {} if key is None else {"partition": key}


def _latest_materializations(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition_keys: set[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    if not partition_keys:
        return {}
    ids = instance.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions=partition_keys
    )
    if not ids:
        return {}
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(key, storage_ids=list(ids.values())), limit=len(ids)
    ).records
    return {
        str(record.partition_key): AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for record in found
    }


def recorded(
    instance: dg.DagsterInstance, step: StepExecutionContext, key: dg.AssetKey, evaluations: Iterable[Evaluation]
) -> Iterator[dg.DagsterEvent]:
    """Store the evaluations as events of the step, and yield these events, which the step hands on.

    They are stored together where the storage can do that, and without a line in the run's console log for each: a
    year of days has a thousand.
    """
    events = [_event(step, evaluation) for evaluation in with_targets(instance, key, evaluations)]
    batch = str(uuid.uuid4()) if getattr(instance.event_log_storage, "stores_evaluations_together", False) else None
    for number, event in enumerate(events, 1):
        together = None if batch is None else DagsterEventBatchMetadata(batch, number == len(events))
        instance.report_dagster_event(event, step.run_id, logging.DEBUG, batch_metadata=together)
    yield from events


def _event(step: StepExecutionContext, evaluation: dg.AssetCheckEvaluation) -> dg.DagsterEvent:
    verdict = "passed" if evaluation.passed else "did not pass"
    asset = evaluation.asset_key.to_user_string()
    return dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
        job_name=step.job_name,
        step_handle=step.step.handle,
        node_handle=step.step.node_handle,
        step_kind_value=step.step.kind.value,
        logging_tags=step.event_tags,
        event_specific_data=evaluation,
        message=f"Asset check '{evaluation.check_name}' on '{asset}' {verdict}. Description: '{evaluation.description}'",
        pid=os.getpid(),
    )


def require_passed(table: str, evaluations: Iterable[Evaluation]) -> None:
    """Raise dg.Failure if one of them has failed; Dagster itself does that only for events that it has made."""
    failed = {f"{made.partition_key}, {made.name}": made.summary for made in evaluations if not made.passed}
    if failed:
        fail(f"{table}: {counted(len(failed), 'check')} failed\n{lines(failed)}")


def outputs_of(specs: Sequence[dg.AssetCheckSpec]) -> Iterator[dg.Output[None]]:
    """The outputs that let later steps of the run go on, for checks whose evaluations are recorded."""
    for spec in specs:
        yield dg.Output(None, output_name=spec.get_python_identifier())
