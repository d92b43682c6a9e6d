"""Mistakes about a run: outages, cancels, rival runs, and what Dagster is told."""

import asyncio
import contextlib
from dataclasses import replace

import dagster as dg

from pipeline_tests.faults.deliberate_bugs.bug import bug, in_place_of, in_query
from rowledger.chunk import Job
from rowledger.dagster.assets import _load
from rowledger.dagster.table import DagsterTable
from rowledger.errors import DatabaseUnavailable
from rowledger.ledger import ChunkOutcome, Lease, PartitionReport
from rowledger.load.begin import _LeaseWatch
from rowledger.postgres import ErrorAction, OutageGate, retry, sort_error
from rowledger.workers.slot import Slot

_SHARING_TESTS = "pipeline_tests/faults/test_connection_sharing.py"
_DAGSTER_TESTS = "pipeline_tests/integration/dagster/test_dagster_face.py"
_OUTAGE_TESTS = "pipeline_tests/faults/test_outages.py"
_PROCESS_TESTS = "pipeline_tests/faults/test_processes.py"
_RETRY_TESTS = "pipeline_tests/unit/postgres/test_retry.py"


@bug(test=f"{_OUTAGE_TESTS}::test_the_gate_says_once_that_all_pause", noticed="DID NOT RAISE")
def outage_over_its_budget_is_no_error() -> None:
    """The outage was logged; a worker that waits at the gate may go on."""
    right = OutageGate.passed

    @in_place_of(OutageGate.passed)
    async def passed(self: OutageGate) -> None:
        with contextlib.suppress(DatabaseUnavailable):
            await right(self)


@bug(
    test=f"{_PROCESS_TESTS}::test_an_interrupt_ends_a_worker_that_waits_for_a_lock",
    noticed="timed out after 10",
)
def cancel_swallowed() -> None:
    """Whatever ends a chunk is told to the load that waits for it, and the slot takes the next."""
    right = Slot.serve

    @in_place_of(Slot.serve)
    async def serve(self: Slot, job: Job) -> ChunkOutcome:
        try:
            return await right(self, job)
        except asyncio.CancelledError as cancelled:
            raise RuntimeError("the chunk was ended") from cancelled


@bug(
    test=f"{_RETRY_TESTS}::test_a_cancel_ends_the_work_and_is_not_taken_for_a_fault_of_the_database",
    noticed="cancelled of",
)
def cancel_retried() -> None:
    """What ends a transaction may not happen to the next."""

    @in_place_of(sort_error, within=retry)
    def sort(error: BaseException, *, writes_rows: bool = False) -> ErrorAction:
        return sort_error(error, writes_rows=writes_rows) if isinstance(error, Exception) else ErrorAction.RETRY


@bug(
    test=f"{_PROCESS_TESTS}::test_a_partition_that_another_run_is_loading_is_refused_with_its_name",
    noticed="isinstance(None, PartitionBusy)",
)
def lease_unread() -> None:
    """A load that is loading was left by a run that died."""

    @in_place_of(_LeaseWatch.is_live)
    def is_live(self: _LeaseWatch, lease: Lease) -> bool:
        return False


@bug(
    test=f"{_DAGSTER_TESTS}::test_of_three_days_the_bad_one_fails_and_the_good_ones_are_recorded",
    noticed="'2013-01-02'",
)
def failed_partition_in_a_green_run() -> None:
    """A run is good if it has published something."""

    @in_place_of(_load)
    def load(context: dg.AssetExecutionContext, table: DagsterTable, rows: object = None) -> list[PartitionReport]:
        reports = _load(context, table, rows)
        if any(report.published for report in reports):
            return [replace(report, error=None) for report in reports]
        return reports


@bug(
    test=f"{_SHARING_TESTS}::test_two_runs_that_look_at_the_same_moment_do_not_both_take_the_last_connections",
    noticed="both look: not within",
)
def connections_claimed_by_whoever_looks() -> None:
    """One statement looks and claims, so nothing can come between."""
    in_query("claim_connections", r"pg_advisory_xact_lock\(hashtext\('rowledger connections'\)\)", "hashtext('')")
