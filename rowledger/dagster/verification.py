"""The asset check that reads the published rows again: after a load, after a replay, and at any other time."""

from collections.abc import Container, Iterator, Sequence
from typing import Any

import dagster as dg

from rowledger.dagster.check_events import (
    Evaluation,
    check_spec,
    checks_have_partitions,
    outputs_of,
    recorded,
)
from rowledger.dagster.checks import describe_verdicts, failed_verdicts
from rowledger.dagster.failures import describe_error, errors_as_failures, fail
from rowledger.dagster.metadata import lines, verdict_metadata
from rowledger.dagster.run_keys import partition_keys
from rowledger.dagster.table import DagsterTable
from rowledger.errors import RowledgerError
from rowledger.ledger import Check, CheckName
from rowledger.publish import PartitionVerification, run_verify, run_verify_servers

__all__ = ["VERIFY_CHECK", "problems_of", "verification_evaluations", "verify_check", "verify_published"]

VERIFY_CHECK = "published_rows_unchanged"

_DESCRIPTION = "The published rows are still those that the ledger recorded when they were published."


def verify_check(table: DagsterTable) -> dg.AssetChecksDefinition:
    """Compares what is published now with the ledger: all partitions, or those that the run has just loaded."""
    spec = check_spec(table.key, VERIFY_CHECK, _DESCRIPTION, table.partitions_def)

    @dg.multi_asset_check(
        name=f"{table.name}_{VERIFY_CHECK}", specs=[spec], required_resource_keys={table.database_key}
    )
    def published_rows_unchanged(
        context: dg.AssetCheckExecutionContext,
    ) -> Iterator[dg.AssetCheckResult | dg.DagsterEvent | dg.Output[None]]:
        keys = _keys_of_run(context, table)
        with errors_as_failures(table.spec.name):
            verifications, problems = _verify(context.resources, table, keys)
        over_all = _over_all(verifications, problems)
        if not checks_have_partitions(table.partitions_def):
            if not over_all.passed:  # Dagster's own line about a check has the level DEBUG
                context.log.error("%s did not pass: %s", VERIFY_CHECK, over_all.summary)
            yield dg.AssetCheckResult(passed=over_all.passed, description=over_all.summary, metadata=over_all.metadata)
            return
        made = [_of_partition(found) for found in verifications]
        if keys is None:  # Dagster then expects a result without a partition
            made.insert(0, over_all)
        yield from recorded(context.instance, context.get_step_execution_context(), table.key, made)
        failed = problems_of(verifications)
        if failed or problems:
            differing = (
                f"{table.spec.name}: {len(failed)} of {len(verifications)} published partitions are not as the ledger has "
                f"them\n{lines(failed)}\nWhat to do: load these partitions again"
            )
            fail("\n".join([*([differing] if failed else []), *problems]), metadata=over_all.metadata)
        yield from outputs_of([spec])

    return published_rows_unchanged


def verify_published(
    context: dg.AssetExecutionContext, table: DagsterTable, partition_keys: Sequence[str]
) -> Iterator[dg.DagsterEvent]:
    """Make the check of partitions that a load has published beside others that failed, if the run has announced it.

    Dagster skips the check's own step after a step that failed, and would show the check as failed for all partitions of the
    run until each is loaded again.
    """
    key = dg.AssetCheckKey(table.key, VERIFY_CHECK)
    announced = context.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    if not partition_keys or not any(record.run_id == context.run.run_id for record in announced):
        return
    try:
        verifications, _ = _verify(
            context.resources, table, partition_keys
        )  # the load has told of a server that is away
    except RowledgerError as error:
        message = f"{table.spec.name}: the published partitions are not verified: {describe_error(error)}"
        context.log.warning(message)
        return
    made = map(_of_partition, verifications)
    yield from recorded(context.instance, context.get_step_execution_context(), table.key, made)


def _verify(
    resources: Any,  # noqa: ANN401 - Dagster makes the class of a step's resources
    table: DagsterTable,
    keys: Sequence[str] | None,
) -> tuple[list[PartitionVerification], Sequence[str]]:
    """A verdict a partition, and why servers were not verified, where the table is on several."""
    url = table.database_url(resources)
    if url is None:
        found = run_verify_servers(table.spec, partition_keys=keys, partition_of=table.partition_of)
        return found.by_partition(), found.problems
    return run_verify(table.spec, url=url, partition_keys=keys, partition_of=table.partition_of), ()


def _keys_of_run(context: dg.AssetCheckExecutionContext, table: DagsterTable) -> list[str] | None:
    """The partitions that this run has loaded; None, for all of them, where it runs for the check alone."""
    if table.is_whole or not (context.has_partition_key or context.has_partition_key_range):
        return None
    return partition_keys(context, table.partitions_def)


def verification_evaluations(
    verifications: Sequence[PartitionVerification], *, partitioned: bool, red: Container[str]
) -> Iterator[Evaluation]:
    """The results of a verification outside a load's step: those of the load's checks that it made, and its own check.

    One for each partition, or one over all of them where checks have no partitions. The verdicts of the load's checks stay
    as they are for `red` partitions, whose latest load was not published: other rows are verified than these checks judged.
    """
    if not verifications:
        return
    for name in CheckName:
        found = {
            verification.partition_key: check
            for verification in verifications
            for check in (*verification.checks, verification.budget)
            if check is not None and check.name is name and verification.partition_key not in red
        }
        if partitioned:
            yield from (_of_check(check, key) for key, check in found.items())
        elif found:
            failed = failed_verdicts(found)
            text = describe_verdicts(found, failed, partitions=len(found))
            yield Evaluation(name.value, None, not failed, text, verdict_metadata(len(found), failed))
    if partitioned:
        yield from map(_of_partition, verifications)
    else:
        yield _over_all(verifications)


def _of_check(check: Check, key: str) -> Evaluation:
    return Evaluation(check.name.value, key, check.passed, check.summary, check.details)


def _of_partition(found: PartitionVerification) -> Evaluation:
    summary = _told([found]) if found.passed else "; ".join(found.problems)
    return Evaluation(VERIFY_CHECK, found.partition_key, found.passed, summary)


def _over_all(verifications: Sequence[PartitionVerification], problems: Sequence[str] = ()) -> Evaluation:
    failed = problems_of(verifications)
    metadata = verdict_metadata(len(verifications), failed)
    told = "\n".join([*([_told(verifications)] if verifications else []), *problems])
    return Evaluation(VERIFY_CHECK, None, not (failed or problems), told, metadata)


def problems_of(verifications: Sequence[PartitionVerification]) -> dict[str, str]:
    """What is wrong with partitions that are no longer what the ledger has, by their keys."""
    return {found.partition_key: "; ".join(found.problems) for found in verifications if not found.passed}


def _told(verifications: Sequence[PartitionVerification]) -> str:
    if failed := problems_of(verifications):
        return lines(failed)
    count = len(verifications)
    return f"{count:,} published partition{' is' if count == 1 else 's are'} as the ledger has them"
