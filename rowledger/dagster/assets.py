"""Build a table's asset from its spec: one step that plans, loads, reconciles and publishes."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypedDict

import dagster as dg

from rowledger.dagster.check_events import Evaluation, checks_have_partitions, outputs_of, recorded, require_passed
from rowledger.dagster.checks import check_evaluations, check_results, in_step_check_specs
from rowledger.dagster.failures import errors_as_failures, fail_with, load_failure
from rowledger.dagster.metadata import load_metadata
from rowledger.dagster.observer import observing
from rowledger.dagster.own_table import rivals_in_project
from rowledger.dagster.private_names import DagsterEventBatchMetadata
from rowledger.dagster.run_keys import dimension_tags, partition_keys
from rowledger.dagster.table import DagsterTable
from rowledger.dagster.verification import verify_published
from rowledger.ledger import PartitionReport

__all__ = ["LoadEvents", "StepOptions", "load_events", "step_arguments", "table_asset"]

LoadEvents = Iterator[dg.AssetCheckResult | dg.MaterializeResult[None] | dg.DagsterEvent | dg.Output[None]]


class StepOptions(TypedDict, total=False):
    """What the step that loads can be given. Each option has the meaning that it has in `dg.asset`."""

    pool: str | None
    retry_policy: dg.RetryPolicy | None
    backfill_policy: dg.BackfillPolicy | None
    op_tags: Mapping[str, Any] | None


def table_asset(table: DagsterTable, options: StepOptions | None = None) -> dg.AssetsDefinition:
    """The asset of one table.

    It materializes only what the database has confirmed; otherwise the run fails.
    """
    # Without an output where Dagster would record another partition, see `_materializations`.
    asset = table.asset.replace_attributes(skippable=isinstance(table.partitions_def, dg.MultiPartitionsDefinition))

    @dg.multi_asset(
        name=table.name,
        specs=[asset],
        check_specs=in_step_check_specs(table),
        required_resource_keys=table.resource_keys,
        **step_arguments(table, options),
    )
    def load(context: dg.AssetExecutionContext) -> LoadEvents:
        yield from load_events(context, table)

    return load


def load_events(context: dg.AssetExecutionContext, table: DagsterTable, rows: object = None) -> LoadEvents:
    """Load the run's partitions, and yield what Dagster records of it; raises dg.Failure unless all are published.

    `rows` are what `rowledger.load` takes, for a table that does not say where its rows are.
    """
    reports = _load(context, table, rows)
    if not checks_have_partitions(table.partitions_def):
        yield from check_results(table.key, reports)
        yield from _materializations(context, table, reports)
        _require_published(table, reports)
        return
    published = [report for report in reports if report.published]
    # Before any materialization: a run that is killed in between must not look as if all were published.
    refused = check_evaluations([report for report in reports if not report.published], some_published=bool(published))
    yield from _recorded(context, table, refused)
    yield from _materializations(context, table, reports)
    # After them: a check counts only if it is about the latest materialization of its partition.
    made = list(check_evaluations(published, some_published=True))
    yield from _recorded(context, table, made)
    if len(published) < len(reports):
        yield from verify_published(context, table, [report.partition_key for report in published])
    _require_published(table, reports)
    require_passed(table.spec.name, made)
    yield from outputs_of(in_step_check_specs(table))


def _recorded(
    context: dg.AssetExecutionContext, table: DagsterTable, evaluations: Iterable[Evaluation]
) -> Iterator[dg.DagsterEvent]:
    return recorded(context.instance, context.get_step_execution_context(), table.key, evaluations)


def _require_published(table: DagsterTable, reports: list[PartitionReport]) -> None:
    if not all(report.published for report in reports):
        fail_with(load_failure(table, reports))


def step_arguments(table: DagsterTable, options: StepOptions | None) -> dict[str, Any]:
    """The options as arguments of Dagster's decorators. By default a run over a range is one step."""
    given = {name: value for name, value in (options or {}).items() if value is not None}
    return given if table.is_whole else {"backfill_policy": dg.BackfillPolicy.single_run(), **given}


def _load(context: dg.AssetExecutionContext, table: DagsterTable, rows: object = None) -> list[PartitionReport]:
    with errors_as_failures(table.spec.name):
        partitions = [table.partition_of(key) for key in partition_keys(context, table.partitions_def)]
        writer, url = table.writer(context.resources), table.database_url(context.resources)
        with observing(context) as observer:
            return writer.load(
                table.spec,
                partitions,
                url=url,
                run_id=context.run.run_id,
                observer=observer,
                rows=rows,
                asset_key=tuple(table.key.path),
                rival_remedy=rivals_in_project(context.get_step_execution_context()),
            )


def _record(
    context: dg.AssetExecutionContext, table: DagsterTable, reports: Iterable[PartitionReport]
) -> Iterator[dg.DagsterEvent]:
    """Record partitions that Dagster does not record by itself: those of a step that will raise, or that it does not know."""
    step, reports, batch = context.get_step_execution_context(), list(reports), str(uuid.uuid4())
    for number, report in enumerate(reports, 1):
        materialization = dg.AssetMaterialization(
            table.key,
            partition=report.partition_key,
            metadata=load_metadata(table, report),
            tags=dimension_tags(table.partition_of(report.partition_key)),
        )
        together = DagsterEventBatchMetadata(batch, number == len(reports))
        yield dg.DagsterEvent.asset_materialization(step, materialization, together)


def _materializations(
    context: dg.AssetExecutionContext, table: DagsterTable, reports: list[PartitionReport]
) -> Iterator[dg.MaterializeResult[None] | dg.DagsterEvent]:
    """Record the partitions that are published.

    Where all are, the output of the step makes the materializations of the partitions that Dagster knows. Otherwise there
    is no output, so that the partitions of this run stay failed, except those that are recorded here.

    Dagster knows only one partition where a run over a range has tags of single dimensions (see `partition_keys`).
    That partition need not be in the range: each run of a backfill from a job's page has the tags of the backfill's
    first key. In that case there is no output, since Dagster would record a partition that this run has not loaded.
    """
    published = [report for report in reports if report.published]
    if len(published) < len(reports):
        yield from _record(context, table, published)
        return
    if table.is_whole:
        yield dg.MaterializeResult(metadata=load_metadata(table, reports[0]))
        return
    known = {str(key) for key in context.partition_keys}
    for report in reports:
        if report.partition_key in known:
            context.add_asset_metadata(load_metadata(table, report), partition_key=report.partition_key)
    yield from _record(context, table, (report for report in reports if report.partition_key not in known))
    if known <= {report.partition_key for report in reports}:
        yield dg.MaterializeResult()
