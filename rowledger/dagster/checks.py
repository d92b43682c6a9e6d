"""The asset checks of every load, which run inside its step."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from rowledger.counted import counted
from rowledger.dagster.check_events import Evaluation, check_spec
from rowledger.dagster.failures import without_place
from rowledger.dagster.metadata import balance_metadata, lines, verdict_metadata
from rowledger.dagster.table import DagsterTable
from rowledger.errors import DeadLetterBudgetSpent, DiscrepancyFound
from rowledger.ledger import Check, CheckName, PartitionReport
from rowledger.load import dead_letters_command

__all__ = ["check_evaluations", "check_results", "describe_verdicts", "failed_verdicts", "in_step_check_specs"]

_NOT_LOADED = "not loaded; the failure of the step says why"

DESCRIPTIONS = {
    CheckName.ROW_BALANCE: "Every enqueued row is in the table or among the dead letters, as the database counts them.",
    CheckName.FINGERPRINT: "Each column's values in the table are those that were read from the source.",
    CheckName.DEAD_LETTER_BUDGET: "No more rows were refused than the table's budget allows.",
}


def in_step_check_specs(table: DagsterTable) -> list[dg.AssetCheckSpec]:
    """The checks that a load makes before anything is published. They cannot be deselected."""
    return [check_spec(table.key, name.value, DESCRIPTIONS[name], table.partitions_def) for name in CheckName]


def check_evaluations(reports: Sequence[PartitionReport], *, some_published: bool) -> Iterator[Evaluation]:
    """The results of the checks of each of these partitions.

    A check that a load has not reached has no result: the step's failure says why. Where other partitions of the run are
    published, a partition without a verdict fails the balance. Otherwise "re-execute from failure" would leave
    it out: it skips an asset that was materialized in the run, unless one of its blocking checks has failed.
    """
    for report in reports:
        verdicts = [check for name in CheckName if (check := _verdict(report, name)) is not None]
        if some_published and _is_unjudged(report):
            verdicts = [check for check in verdicts if check.name is not CheckName.ROW_BALANCE]
            verdicts.insert(0, Check(CheckName.ROW_BALANCE, passed=False, summary=_NOT_LOADED))
        for check in verdicts:
            is_balance = check.name is CheckName.ROW_BALANCE
            yield Evaluation(
                check.name.value,
                report.partition_key,
                check.passed,
                check.summary,
                {
                    **(balance_metadata([report]) if is_balance else {}),
                    **check.details,
                    **({} if check.passed else {"command": _command(check.name, report)}),
                },
            )


def _command(name: CheckName, report: PartitionReport) -> str:
    """What to run in a terminal to see more of a failed check."""
    if name is CheckName.DEAD_LETTER_BUDGET:
        return dead_letters_command(report.table, report.partition_key)
    return f"rowledger status --table {shlex.quote(report.table)} --partition {shlex.quote(report.partition_key)}"


def check_results(key: dg.AssetKey, reports: Sequence[PartitionReport]) -> Iterator[dg.AssetCheckResult]:
    """One result for each check that was made, over all partitions of the run. It passes only if all of them have passed.

    For a table that is loaded whole, and where checks have no partitions. See `check_evaluations` for what has no result.
    """
    some_published = any(report.published for report in reports)
    for name in CheckName:
        verdicts = {report.partition_key: check for report in reports if (check := _verdict(report, name)) is not None}
        failed = failed_verdicts(verdicts)
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
            description=describe_verdicts(verdicts, failed, partitions=len(reports)),
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


def failed_verdicts(verdicts: Mapping[str, Check]) -> dict[str, str]:
    """The summaries of the checks that failed, by their partitions' keys."""
    return {key: check.summary for key, check in verdicts.items() if not check.passed}


def describe_verdicts(verdicts: Mapping[str, Check], failed: Mapping[str, str], *, partitions: int) -> str:
    """What a result over several partitions says."""
    if failed:
        return lines(failed)
    if partitions == 1:
        return next(iter(verdicts.values())).summary
    return f"{counted(len(verdicts), 'partition')} passed"
