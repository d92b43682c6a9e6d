"""Mistakes about the end of a load: judging it, publishing it, the write modes."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import asyncpg

from pipeline_tests.faults.deliberate_bugs.bug import bug, in_place_of, in_query
from rowledger.contract import Fingerprint
from rowledger.ledger import Check, ChunkTotals, LedgerSide, SupervisorSessions, read_ledger_side, read_pending_chunks
from rowledger.postgres import Target, lock_staging
from rowledger.publish import finish, finish_context
from rowledger.publish.baseline import Baseline
from rowledger.publish.conflicts import Conflict, orphans
from rowledger.publish.finish_context import FinishContext
from rowledger.publish.reconcile import Measured, fingerprint_check, measure_relation, reconcile
from rowledger.publish.sift import sift_conflicts
from rowledger.publish.stored_rows import require_stored
from rowledger.publish.write_modes import _record
from rowledger.spec import ChunkPlan, Column, LoadHandle, Manifest, Partition, TableSpec

_CONSTRAINT_TESTS = "pipeline_tests/integration/postgres/test_constraints.py"
_MODE_TESTS = "pipeline_tests/integration/publish/test_write_modes.py"
_OUTAGE_TESTS = "pipeline_tests/faults/test_outages.py"
_PROCESS_TESTS = "pipeline_tests/faults/test_processes.py"
_RECONCILE_TESTS = "pipeline_tests/integration/publish/test_reconcile.py"

T = TypeVar("T")


# ---- judging ---------------------------------------------------------------------------------------------------------


@bug(
    test=f"{_RECONCILE_TESTS}::test_a_staging_table_changed_while_fingerprints_are_off_still_has_to_add_up",
    noticed="isinstance(None, DiscrepancyFound)",
)
def ledger_held_against_itself() -> None:
    """The ledger knows how many rows were written; counting them again is slow."""
    written_rows = 0

    @in_place_of(read_ledger_side)
    async def read_side(connection: asyncpg.Connection, load_id: int) -> LedgerSide:
        nonlocal written_rows
        side = await read_ledger_side(connection, load_id)
        written_rows = side.totals.counts.written_rows
        return side

    @in_place_of(measure_relation)
    async def measure(
        connection: asyncpg.Connection,
        relation: str,
        columns: Sequence[Column],
        *,
        predicate: str = "true",
        fingerprint: bool,
    ) -> Measured:
        measured = await measure_relation(connection, relation, columns, predicate=predicate, fingerprint=fingerprint)
        return Measured(written_rows, measured.fingerprint)


@bug(
    test="pipeline_tests/integration/postgres/test_targets.py::test_a_trigger_that_changes_values_is_noticed",
    noticed="assert None is not None",
)
def fingerprints_never_compared() -> None:
    """There are two fingerprints, so all is well."""

    @in_place_of(fingerprint_check)
    def check(expected: Fingerprint | None, found: Fingerprint | None) -> Check:
        return replace(fingerprint_check(expected, found), passed=True)


@bug(
    test=f"{_RECONCILE_TESTS}::test_what_a_worker_says_does_not_decide",
    noticed="isinstance(None, DiscrepancyFound)",
)
def reports_believed() -> None:
    """Every worker has reported its chunk, so the load is complete, whatever a count may say."""

    async def none_pending(
        connection: asyncpg.Connection, handle: LoadHandle, manifest: Manifest
    ) -> tuple[ChunkPlan, ...] | None:
        return ()

    in_place_of(read_pending_chunks, within=finish_context)(none_pending)

    @in_place_of(reconcile, within=finish)
    async def pass_all(
        connection: asyncpg.Connection, load: FinishContext, staging: str, *, predicate: str = "true"
    ) -> tuple[ChunkTotals, tuple[Check, ...]]:
        totals, checks = await reconcile(connection, load, staging, predicate=predicate)
        return totals, tuple(replace(check, passed=True) for check in checks)


# ---- publishing ------------------------------------------------------------------------------------------------------


@bug(
    test=f"{_RECONCILE_TESTS}::test_what_was_judged_cannot_be_changed_before_it_is_published",
    noticed="assert 0 == 2",
)
def published_in_a_transaction_of_its_own() -> None:
    """First the verdict, then, in a fresh transaction, the publication."""

    @in_place_of(reconcile, within=finish)
    async def judge_and_commit(
        connection: asyncpg.Connection, load: FinishContext, staging: str, *, predicate: str = "true"
    ) -> tuple[ChunkTotals, tuple[Check, ...]]:
        judged = await reconcile(connection, load, staging, predicate=predicate)
        await connection.execute("commit; begin")
        return judged


@bug(
    test=f"{_RECONCILE_TESTS}::test_what_was_judged_cannot_be_changed_before_it_is_published",
    noticed="assert 1 == 2",
)
def staging_table_not_locked() -> None:
    """No other session knows of the staging table."""

    @in_place_of(lock_staging)
    async def lock_nothing(connection: asyncpg.Connection, handle: LoadHandle) -> None:
        return


@bug(
    test=f"{_PROCESS_TESTS}::test_a_run_killed_at_any_point_is_finished_by_the_next[before_publish]",
    noticed="assert Counter() == ",
)
def target_emptied_first() -> None:
    """Make room in the target, then bring the new rows."""

    @in_place_of(sift_conflicts)
    async def sift_and_truncate(sessions: SupervisorSessions, load: FinishContext) -> None:
        await sift_conflicts(sessions, load)
        truncate = f"truncate {load.target.sql}"
        await sessions.transaction(load.name, lambda connection: connection.execute(truncate))


@bug(
    test=f"{_OUTAGE_TESTS}::test_what_was_published_survives_a_crash_of_the_server_right_behind_it",
    noticed="assert 'loading' == 'published'",
)
def publication_not_on_disk() -> None:
    """synchronous_commit = off is faster everywhere."""
    right = SupervisorSessions.transaction

    @in_place_of(SupervisorSessions.transaction)
    async def transaction(
        self: SupervisorSessions,
        purpose: str,
        work: Callable[[asyncpg.Connection], Awaitable[T]],
        *,
        durable: bool = False,
        lock_timeout_s: float | None = None,
        first: str = "",
    ) -> T:
        durable = durable and not purpose.endswith("reconcile and publish")
        return await right(self, purpose, work, durable=durable, lock_timeout_s=lock_timeout_s, first=first)


# ---- write modes -----------------------------------------------------------------------------------------------------


@bug(
    test=f"{_MODE_TESTS}::test_the_same_rows_are_appended_once_however_they_are_cut",
    noticed="31 rows were refused",
)
def appended_again() -> None:
    """A user who loads a partition twice wants its rows twice."""
    in_query("published_content", "state = 'published'", "state = 'appended'")


@bug(
    test=f"{_CONSTRAINT_TESTS}::test_a_trigger_that_swallows_or_changes_rows_is_named_and_nothing_is_published"
    "[upsert-plain]",
    noticed="9 values against 8",
)
def rows_stored_not_counted() -> None:
    """INSERT raised nothing, so the table has the rows."""

    @in_place_of(require_stored)
    async def require(
        connection: asyncpg.Connection, load: FinishContext, totals: ChunkTotals, stored: Measured, done: str
    ) -> None:
        counts = replace(totals.counts, written_rows=stored.rows)
        await require_stored(connection, load, replace(totals, counts=counts), stored, done)


@bug(
    test=f"{_MODE_TESTS}::test_an_upsert_says_what_it_inserted_and_what_it_updated",
    noticed="50 rows in the table, 90 are what the loads add up to",
)
def replaced_rows_forgotten() -> None:
    """An upsert adds what it has written."""

    @in_place_of(_record)
    async def record(
        connection: asyncpg.Connection,
        load: FinishContext,
        *,
        base: Baseline | None = None,
        replaced: Measured | None = None,
    ) -> None:
        none = None if replaced is None else Measured(0, replaced.fingerprint)
        await _record(connection, load, base=base, replaced=none)


@bug(
    test=f"{_CONSTRAINT_TESTS}::test_a_row_without_its_parent_is_a_dead_letter_and_its_neighbours_load[append-plain]",
    noticed="no row of depot.customers has",
)
def parents_not_looked_for() -> None:
    """The server looks after foreign keys."""

    @in_place_of(orphans)
    def find_none(
        spec: TableSpec, target: Target, handle: LoadHandle, partition: Partition, *, on_itself: bool
    ) -> list[Conflict]:
        return []
