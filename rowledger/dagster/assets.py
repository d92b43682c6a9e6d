"""From a table spec to its asset: one step that plans, loads, reconciles and publishes."""

from collections.abc import Iterable, Iterator

import dagster as dg

from rowledger.dagster.checks import in_step_check_specs
from rowledger.dagster.metadata import check_results, failure_of, load_failure, load_metadata, table_metadata
from rowledger.dagster.observer import observing
from rowledger.dagster.partitions import dimension_tags, partition_keys, partitions_definition
from rowledger.dagster.resources import GuardedWriter
from rowledger.errors import RowledgerError
from rowledger.ledger import PartitionReport
from rowledger.spec import MultiPartitions, TableSpec, Unpartitioned

__all__ = ["table_asset"]


def table_asset(spec: TableSpec) -> dg.AssetsDefinition:
    """The asset of one table. It materializes only what the database has confirmed; anything else is a red run."""

    @dg.asset(
        name=spec.name,
        description=spec.description or f"Guarded load into {spec.target}.",
        group_name="tables",
        kinds={"postgres"},
        deps=spec.upstream,
        metadata=table_metadata(spec),
        partitions_def=partitions_definition(spec.partitions),
        backfill_policy=None if isinstance(spec.partitions, Unpartitioned) else dg.BackfillPolicy.single_run(),
        check_specs=in_step_check_specs(spec),
        output_required=not isinstance(spec.partitions, MultiPartitions),  # see `_materialization`
    )
    def load(
        context: dg.AssetExecutionContext, writer: GuardedWriter
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        reports = _load(context, spec, writer)
        yield from check_results(spec, reports)
        if not all(report.published for report in reports):
            # Without a MaterializeResult the partitions of this run stay failed, except those that are recorded here.
            _record_published(context, spec, reports)
            raise load_failure(spec, reports)
        yield from _materialization(context, spec, reports)

    return load


def _load(context: dg.AssetExecutionContext, spec: TableSpec, writer: GuardedWriter) -> list[PartitionReport]:
    try:
        keys = partition_keys(context, spec.partitions)
        with observing(context) as observer:
            return writer.load(spec, keys, run_id=context.run.run_id, observer=observer)
    except RowledgerError as error:
        raise failure_of(spec.name, error) from None


def _record_published(context: dg.AssetExecutionContext, spec: TableSpec, reports: Iterable[PartitionReport]) -> None:
    """Record what Dagster does not record by itself: partitions of a step that will raise, or that it does not know of."""
    for report in reports:
        if report.published:
            context.log_event(
                dg.AssetMaterialization(
                    spec.name,
                    partition=report.partition_key,
                    metadata=load_metadata(spec, report),
                    tags=dimension_tags(spec.partitions, report.partition_key),
                )
            )


def _materialization(
    context: dg.AssetExecutionContext, spec: TableSpec, reports: list[PartitionReport]
) -> Iterator[dg.MaterializeResult[None]]:
    """The output of the step, from which Dagster makes the materializations of the partitions that it knows of.

    It knows of one alone where a run over a range has tags of single dimensions (see `partition_keys`). That one need not be in
    the range: each run of a backfill from a job's page has the tags of the backfill's first key. Then there is no output,
    since Dagster would record a partition that this run has not loaded.
    """
    if isinstance(spec.partitions, Unpartitioned):
        yield dg.MaterializeResult(metadata=load_metadata(spec, reports[0]))
        return
    known = {str(key) for key in context.partition_keys}
    for report in reports:
        if report.partition_key in known:
            context.add_asset_metadata(load_metadata(spec, report), partition_key=report.partition_key)
    _record_published(context, spec, (report for report in reports if report.partition_key not in known))
    if known <= {report.partition_key for report in reports}:
        yield dg.MaterializeResult()
