"""Asset checks: those of every load, which run inside its step, and the check that reads the published rows again."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from rowledger.counted import counted
from rowledger.dagster.metadata import balance_metadata, failure_of, lines, verdict_metadata, without_place
from rowledger.dagster.run_keys import partition_keys
from rowledger.dagster.table import DagsterTable
from rowledger.errors import DeadLetterBudgetSpent, DiscrepancyFound, RowledgerError
from rowledger.ledger import Check, CheckName, PartitionReport
from rowledger.publish import PartitionVerification, run_verify

__all__ = ["VERIFY_CHECK", "check_results", "in_step_check_specs", "problems_of", "verification_events", "verify_check"]

VERIFY_CHECK = "published_rows_unchanged"

_NOT_LOADED = "not loaded; the failure of the step says why"

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


def check_results(key: dg.AssetKey, reports: Sequence[PartitionReport]) -> Iterator[dg.AssetCheckResult]:
    """One result for each check that was made, over all partitions of the run. It passes only if all of them have passed.

    A check that no partition has reached has no result: the step's failure says why. Where other partitions of the
    run are published, partitions without a verdict fail the balance. Otherwise "re-execute from failure" would leave
    them out: it skips an asset that was materialized in the run, unless one of its blocking checks has failed.
    """
    some_published = any(report.published for report in reports)
    for name in CheckName:
        verdicts = {report.partition_key: check for report in reports if (check := _verdict(report, name)) is not None}
        failed = _failed(verdicts)
        if name is CheckName.ROW_BALANCE and some_published:
            failed |= {report.partition_key: _NOT_LOADED for report in reports if _is_unjudged(report)}
        if not verdicts and not failed:
            continue
        metadata = verdict_metadata(len(reports), failed)
        if name is CheckName.ROW_BALANCE:
            metadata |= balance_metadata(reports)
        if len(reports) == 1:
            metadata |= next(iter(verdicts.values())).details
        yield dg.AssetCheckResult(
            passed=not failed,
            asset_key=key,
            check_name=name.value,
            description=_description(verdicts, failed, partitions=len(reports)),
            metadata=metadata,
        )


def _verdict(report: PartitionReport, name: CheckName) -> Check | None:
    """The verdict of this check on a partition; None where the load ended before the check."""
    for check in report.checks:
        if check.name is name:
            return check
    match report.error:
        case None:  # a load that passed without a verdict would be green for no reason
            return Check(name, passed=False, summary="no verdict was given")
        case DeadLetterBudgetSpent() if name is CheckName.DEAD_LETTER_BUDGET:
            pass
        case DiscrepancyFound() if name is CheckName.ROW_BALANCE and all(check.passed for check in report.checks):
            pass
        case _:
            return None
    return Check(name, passed=False, summary=without_place(str(report.error), report.table, report.partition_key))


def _is_unjudged(report: PartitionReport) -> bool:
    """Whether a partition was not published for another reason than a failed check."""
    verdicts = [_verdict(report, name) for name in CheckName]
    return not report.published and all(check is None or check.passed for check in verdicts)


def _failed(verdicts: Mapping[str, Check]) -> dict[str, str]:
    return {key: check.summary for key, check in verdicts.items() if not check.passed}


def _description(verdicts: Mapping[str, Check], failed: Mapping[str, str], *, partitions: int) -> str:
    if failed:
        return lines(failed)
    if partitions == 1:
        return next(iter(verdicts.values())).summary
    return f"{counted(len(verdicts), 'partition')} passed"


def verify_check(table: DagsterTable) -> dg.AssetChecksDefinition:
    """Compares what is published now with the ledger: all partitions, or those that the run has just loaded."""

    @dg.asset_check(
        name=VERIFY_CHECK,
        asset=table.key,
        blocking=True,
        required_resource_keys={table.database_key},
        description="The published rows are still those that the ledger recorded when they were published.",
    )
    def published_rows_unchanged(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        try:
            verifications = run_verify(
                table.spec,
                url=table.database_url(context.resources),
                partition_keys=_keys_of_run(context, table),
                partition_of=table.partition_of,
            )
        except RowledgerError as error:
            raise failure_of(table.spec.name, error) from None
        failed = problems_of(verifications)
        return dg.AssetCheckResult(
            passed=not failed, description=_told(verifications), metadata=verdict_metadata(len(verifications), failed)
        )

    return published_rows_unchanged


def _keys_of_run(context: dg.AssetCheckExecutionContext, table: DagsterTable) -> list[str] | None:
    """The partitions that this run has loaded; None, for all of them, where it runs for the check alone."""
    if table.is_whole or not (context.has_partition_key or context.has_partition_key_range):
        return None
    return partition_keys(context, table.partitions_def)


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
        if found:
            failed = _failed(found)
            yield _evaluation(key, name.value, len(found), failed, _description(found, failed, partitions=len(found)))
    yield _evaluation(key, VERIFY_CHECK, len(verifications), problems_of(verifications), _told(verifications))


def _evaluation(
    key: dg.AssetKey, name: str, partitions: int, failed: Mapping[str, str], description: str
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=name,
        passed=not failed,
        description=description,
        metadata=verdict_metadata(partitions, failed),
        blocking=True,
    )


def problems_of(verifications: Sequence[PartitionVerification]) -> dict[str, str]:
    """What is wrong with partitions that are no longer what the ledger has, by their keys."""
    return {found.partition_key: "; ".join(found.problems) for found in verifications if not found.passed}


def _told(verifications: Sequence[PartitionVerification]) -> str:
    if failed := problems_of(verifications):
        return lines(failed)
    count = len(verifications)
    return f"{count:,} published partition{' is' if count == 1 else 's are'} as the ledger has them"
