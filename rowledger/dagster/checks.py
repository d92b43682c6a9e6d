"""Asset checks: those of every load, which run inside its step, and the check that reads the published rows again."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from rowledger.dagster.metadata import DISCREPANCIES, FAILED_PARTITIONS, PARTITIONS, Metadata, failure_of, lines, named
from rowledger.dagster.run_keys import partition_keys
from rowledger.dagster.table import DagsterTable
from rowledger.errors import RowledgerError
from rowledger.ledger import CheckName
from rowledger.postgres import target_url
from rowledger.publish import PartitionVerification, run_verify

__all__ = ["VERIFY_CHECK", "in_step_check_specs", "verification_events", "verify_check"]

VERIFY_CHECK = "published_rows_unchanged"

DESCRIPTIONS = {
    CheckName.ROW_BALANCE: "Every enqueued row is in the table or among the dead letters, as the database counts them.",
    CheckName.FINGERPRINT: "Each column's values in the table are those that were read from the source.",
    CheckName.DEAD_LETTER_BUDGET: "No more rows were refused than the table's budget allows.",
}


def in_step_check_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks that a load makes before anything is published. They cannot be deselected."""
    return [
        dg.AssetCheckSpec(name.value, asset=key, description=DESCRIPTIONS[name], blocking=True) for name in CheckName
    ]


def verify_check(table: DagsterTable) -> dg.AssetChecksDefinition:
    """Compares what is published now with the ledger: all partitions, or those that the run has just loaded."""

    @dg.asset_check(
        name=VERIFY_CHECK,
        asset=table.key,
        blocking=True,
        description="The published rows are still those that the ledger recorded when they were published.",
    )
    def published_rows_unchanged(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return _verify(context, table)

    return published_rows_unchanged


def _keys_of_run(context: dg.AssetCheckExecutionContext, table: DagsterTable) -> list[str] | None:
    """The partitions that this run has loaded; None, for all of them, where it runs for the check alone."""
    if table.is_whole or not (context.has_partition_key or context.has_partition_key_range):
        return None
    return partition_keys(context, table.partitions_def)


def _verify(context: dg.AssetCheckExecutionContext, table: DagsterTable) -> dg.AssetCheckResult:
    try:
        verifications = run_verify(
            table.spec,
            url=target_url(),
            partition_keys=_keys_of_run(context, table),
            partition_of=table.partition_of,
        )
    except RowledgerError as error:
        raise failure_of(table.spec.name, error) from None
    failed = _problems(verifications)
    return dg.AssetCheckResult(
        passed=not failed, description=_told(verifications), metadata=_metadata(len(verifications), failed)
    )


def verification_events(
    key: dg.AssetKey, verifications: Sequence[PartitionVerification]
) -> Iterator[dg.AssetCheckEvaluation]:
    """The results of a verification outside a load's step: those of the load's checks that it made, and its own check."""
    if not verifications:
        return
    for name in CheckName:
        found = {
            verification.partition_key: check
            for verification in verifications
            for check in (*verification.checks, verification.budget)
            if check is not None and check.name is name
        }
        failed = {partition: check.summary for partition, check in found.items() if not check.passed}
        if not found:
            continue
        passed_text = next(iter(found.values())).summary if len(found) == 1 else f"{len(found)} partitions passed"
        yield _evaluation(key, name.value, len(found), failed, lines(failed) if failed else passed_text)
    yield _evaluation(key, VERIFY_CHECK, len(verifications), _problems(verifications), _told(verifications))


def _evaluation(
    key: dg.AssetKey, name: str, partitions: int, failed: Mapping[str, str], description: str
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=name,
        passed=not failed,
        description=description,
        metadata=_metadata(partitions, failed),
        blocking=True,
    )


def _problems(verifications: Sequence[PartitionVerification]) -> dict[str, str]:
    return {found.partition_key: "; ".join(found.problems) for found in verifications if not found.passed}


def _told(verifications: Sequence[PartitionVerification]) -> str:
    failed = _problems(verifications)
    return lines(failed) if failed else f"{_published(len(verifications))} as the ledger has them"


def _metadata(partitions: int, failed: Mapping[str, str]) -> Metadata:
    metadata: Metadata = {PARTITIONS: partitions, FAILED_PARTITIONS: len(failed)}
    if failed:
        metadata[DISCREPANCIES] = dg.MetadataValue.json(dict(named(failed)))
    return metadata


def _published(partitions: int) -> str:
    return "1 published partition is" if partitions == 1 else f"{partitions:,} published partitions are"
