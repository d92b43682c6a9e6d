"""Asset checks: those of every load, which run inside its step, and the one that looks at the published rows again."""

import dagster as dg

from pipeline.defs.metadata import DISCREPANCIES, FAILED_PARTITIONS, PARTITIONS, Metadata, failure_of, lines, named
from pipeline.defs.partitions import partition_keys
from pipeline.errors import RowledgerError
from pipeline.model.partition import Unpartitioned
from pipeline.model.report import CheckName
from pipeline.model.table import TableSpec
from pipeline.operations.verify import run_verify
from pipeline.postgres.database import target_url

__all__ = ["VERIFY_CHECK", "in_step_check_specs", "verify_check"]

VERIFY_CHECK = "published_rows_unchanged"

DESCRIPTIONS = {
    CheckName.ROW_BALANCE: "Every enqueued row is in the table or among the dead letters, as the database counts them.",
    CheckName.FINGERPRINT: "Each column's values in the table are those that were read from the source.",
    CheckName.DEAD_LETTER_BUDGET: "No more rows were refused than the table's budget allows.",
}


def in_step_check_specs(spec: TableSpec) -> list[dg.AssetCheckSpec]:
    """The checks that the load itself makes, before anything is published; nobody can deselect them."""
    return [
        dg.AssetCheckSpec(name.value, asset=spec.name, description=DESCRIPTIONS[name], blocking=True)
        for name in CheckName
    ]


def verify_check(spec: TableSpec) -> dg.AssetChecksDefinition:
    """Compares what is published now with the ledger: all partitions, or those of a run that has just loaded some."""

    @dg.asset_check(
        name=VERIFY_CHECK,
        asset=spec.name,
        blocking=True,
        description="The published rows are still those that the ledger recorded when they were published.",
    )
    def published_rows_unchanged(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return _verify(spec, _keys_of_run(context, spec))

    return published_rows_unchanged


def _keys_of_run(context: dg.AssetCheckExecutionContext, spec: TableSpec) -> list[str] | None:
    """The partitions that this run has loaded; None, which means all, where it runs for the check alone."""
    if isinstance(spec.partitions, Unpartitioned) or not (context.has_partition_key or context.has_partition_key_range):
        return None
    return partition_keys(context, spec.partitions)


def _verify(spec: TableSpec, keys: list[str] | None) -> dg.AssetCheckResult:
    try:
        verifications = run_verify(spec, url=target_url(), partition_keys=keys)
    except RowledgerError as error:
        raise failure_of(spec.name, error) from None
    failed = {
        verification.partition_key: "; ".join(verification.problems)
        for verification in verifications
        if not verification.passed
    }
    metadata: Metadata = {PARTITIONS: len(verifications), FAILED_PARTITIONS: len(failed)}
    if failed:
        metadata[DISCREPANCIES] = dg.MetadataValue.json(dict(named(failed)))
    return dg.AssetCheckResult(
        passed=not failed,
        description=lines(failed) if failed else f"{_published(len(verifications))} as the ledger has them",
        metadata=metadata,
    )


def _published(partitions: int) -> str:
    return "1 published partition is" if partitions == 1 else f"{partitions:,} published partitions are"
