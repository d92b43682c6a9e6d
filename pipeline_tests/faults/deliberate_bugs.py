"""Mistakes an engineer might make in this code, each with the one test of the suite that is to notice it.

`test_deliberate_bugs` makes them one at a time, in a copy. Where a line that stands here is written anew, that test says so,
and its mistake is to be made anew too.
"""

from dataclasses import dataclass

__all__ = ["BUGS", "Bug"]

_CRASH_TESTS = "pipeline_tests/faults/test_crashing_rows.py"
_CHUNK_TESTS = "pipeline_tests/integration/chunk/test_chunk_transaction.py"
_DEAD_LETTER_TESTS = "pipeline_tests/integration/dead_letters/test_dead_letters.py"
_LOAD_TESTS = "pipeline_tests/integration/load/test_load.py"
_ISOLATION_TESTS = "pipeline_tests/integration/chunk/test_isolation.py"
_STREAMING_TESTS = "pipeline_tests/integration/sources/test_streaming.py"
_TRANSFORM_TESTS = "pipeline_tests/integration/chunk/test_transforms.py"
_RECONCILE_TESTS = "pipeline_tests/integration/publish/test_reconcile.py"
_OUTAGE_TESTS = "pipeline_tests/faults/test_outages.py"
_SERVER_TESTS = "pipeline_tests/faults/test_server_resources.py"
_MODE_TESTS = "pipeline_tests/integration/publish/test_write_modes.py"
_CONSTRAINT_TESTS = "pipeline_tests/integration/postgres/test_constraints.py"
_PROCESS_TESTS = "pipeline_tests/faults/test_processes.py"
_REPLAY_TESTS = "pipeline_tests/integration/dead_letters/test_replay.py"
_REPLAY_FAULT_TESTS = "pipeline_tests/faults/test_replay_faults.py"


@dataclass(frozen=True, slots=True)
class Change:
    """A piece of a file's text, found there exactly once, and what stands in its place."""

    file: str
    text: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake. `noticed` is part of what the test says about it, so that nothing else can pass for the reason."""

    name: str
    mistake: str
    changes: tuple[Change, ...]
    test: str
    noticed: str


BUGS = [
    # ---- workers ------------------------------------------------------------------------------------------------------
    Bug(
        name="exit code 0 is success",
        mistake="A worker that ended with exit code 0 must have written its chunk.",
        changes=(
            Change(
                "rowledger/workers/handle.py",
                """\
        raise self.death()
""",
                """\
        if self._exited.result() == 0 and self._job is not None:
            from rowledger.ledger import Committed, RowCounts
            return Committed(counts=RowCounts(written_rows=self._job.chunk.rows))
        raise self.death()
""",
            ),
        ),
        test=f"{_CRASH_TESTS}::test_two_such_rows_of_a_chunk_and_a_refused_one_are_all_kept",
        noticed="1 chunk is pending in the ledger though reported as committed",
    ),
    Bug(
        name="exit code ignored",
        mistake="A worker's death is logged and recorded, and its chunk counts as done.",
        changes=(
            Change(
                "rowledger/workers/slot.py",
                """\
                pid = dead.pid
            else:
""",
                """\
                from rowledger.ledger import Committed, RowCounts
                return Committed(counts=RowCounts(written_rows=job.chunk.rows))
            else:
""",
            ),
        ),
        test=f"{_DEAD_LETTER_TESTS}::test_the_first_row_stays_even_if_its_chunk_is_written_last",
        noticed="1 chunk is pending in the ledger though reported as committed",
    ),
    Bug(
        name="heartbeat taken for progress",
        mistake="A worker that beats is well, whether or not it gets on.",
        changes=(
            Change(
                "rowledger/workers/handle.py",
                """\
                if message.progress > vitals.progress:
""",
                """\
                if message.progress >= vitals.progress:
""",
            ),
        ),
        test=f"{_SERVER_TESTS}::test_a_worker_that_beats_but_does_not_get_on_is_replaced[it cannot]",
        noticed="it is missed: not within 30",
    ),
    Bug(
        name="backend ended by pid alone",
        mistake="A dead worker's session is told from others by its backend's pid.",
        changes=(
            Change(
                "sql/queries/catalogue.sql",
                "where pid = $1 and backend_start = $2;",
                "where pid = $1 and $2::timestamptz is not null;",
            ),
        ),
        test="pipeline_tests/integration/postgres/test_sessions.py::test_a_backend_that_got_a_dead_one_s_pid_is_left_alone",
        noticed="assert True is None",
    ),
    # ---- the chunk transaction ----------------------------------------------------------------------------------------
    Bug(
        name="counts reported before COMMIT",
        mistake="The counts are known before COMMIT, so they can be reported while it is on its way.",
        changes=(
            Change(
                "rowledger/chunk/transaction.py",
                """\
    await connection.execute("commit")
    failpoint(Place.AFTER_COMMIT, **job.facts)
""",
                """\
    failpoint(Place.AFTER_COMMIT, **job.facts)
""",
            ),
            Change(
                "rowledger/workers/process.py",
                """\
                    worker.send(Outcome(outcome=outcome))
""",
                """\
                    worker.send(Outcome(outcome=outcome))
                    if worker._session is not None:
                        await worker._session.connection.execute("commit")
""",
            ),
        ),
        test=f"{_SERVER_TESTS}::test_a_commit_that_the_server_refuses_is_nothing_to_report",
        noticed="assert (0, ",
    ),
    Bug(
        name="COMMIT forgotten",
        mistake="The connection will commit when it is closed.",
        changes=(
            Change(
                "rowledger/chunk/transaction.py",
                """\
    await connection.execute("commit")
    failpoint(Place.AFTER_COMMIT, **job.facts)
""",
                """\
    failpoint(Place.AFTER_COMMIT, **job.facts)
""",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_a_spent_budget_keeps_the_dead_letters_and_none_of_the_rows",
        noticed="assert (0, 2) == (98, 2)",
    ),
    Bug(
        name="fence dropped",
        mistake="Whoever has the load's number may write to it.",
        changes=(
            Change(
                "sql/queries/ledger.sql",
                "select 1 from rowledger.load where load_id = $1 and epoch = $2 and state = 'loading' for share;",
                "select 1 from rowledger.load where load_id = $1 and $2::integer > 0 and state = 'loading' for share;",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_an_earlier_holder_of_the_load_cannot_write",
        noticed="DID NOT RAISE",
    ),
    Bug(
        name="fence looked at but not held",
        mistake="That the load is ours is seen at the begin of the chunk; a lock would only cost time.",
        changes=(
            Change(
                "sql/queries/ledger.sql",
                "select 1 from rowledger.load where load_id = $1 and epoch = $2 and state = 'loading' for share;",
                "select 1 from rowledger.load where load_id = $1 and epoch = $2 and state = 'loading';",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_a_takeover_waits_for_the_chunk_that_is_being_written",
        noticed="assert not True",
    ),
    Bug(
        name="takeover keeps the epoch",
        mistake="Whoever takes a load over writes its name into it.",
        changes=(
            Change(
                "sql/queries/ledger.sql",
                """\
update rowledger.load set epoch = epoch + 1, run_id = $3, rowledger_version = $4
""",
                """\
update rowledger.load set run_id = $3, rowledger_version = $4
""",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_an_earlier_holder_of_the_load_cannot_write",
        noticed="assert 1 == (1 + 1)",
    ),
    Bug(
        name="claim by plain SELECT",
        mistake="See whether the chunk is pending, write it, then mark it as committed.",
        changes=(
            Change(
                "sql/queries/ledger.sql",
                """\
update rowledger.chunk set state = 'committed', attempt = $3, worker_pid = $4, committed_at = clock_timestamp()
where load_id = $1 and chunk_no = $2 and state = 'pending'
returning enqueued_rows;""",
                """\
select enqueued_rows from rowledger.chunk
where load_id = $1 and chunk_no = $2 and state = 'pending' and $3::integer > 0 and $4::integer > 0;""",
            ),
            Change(
                "sql/queries/ledger.sql",
                """\
update rowledger.chunk set written_rows = $3, dead_lettered_rows = $4, filtered_rows = $5, added_rows = $6,
    discarded_values = $7, fingerprint = $8::jsonb, row_types = $9
where load_id = $1 and chunk_no = $2 and state = 'committed'
    and""",
                """\
update rowledger.chunk set state = 'committed', committed_at = clock_timestamp(),
    written_rows = $3, dead_lettered_rows = $4, filtered_rows = $5, added_rows = $6, discarded_values = $7,
    fingerprint = $8::jsonb, row_types = $9
where load_id = $1 and chunk_no = $2
    and""",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_a_retry_waits_for_the_transaction_in_doubt_and_then_knows[commit]",
        noticed="UniqueViolationError",
    ),
    Bug(
        name="claim without its state",
        mistake="A chunk that was handed out is to be written, whatever the ledger says of it.",
        changes=(
            Change(
                "sql/queries/ledger.sql",
                """\
where load_id = $1 and chunk_no = $2 and state = 'pending'
returning enqueued_rows;""",
                """\
where load_id = $1 and chunk_no = $2
returning enqueued_rows;""",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_rows_dead_letters_and_counts_commit_together_and_once",
        noticed="assert Committed(",
    ),
    Bug(
        name="counts that need not add up",
        mistake="The counts are what the worker says they are.",
        changes=(
            Change(
                "sql/queries/ledger.sql",
                """\
    and enqueued_rows + $6::bigint = $3::bigint + $4::bigint + $5::bigint
""",
                "",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_a_chunk_that_does_not_add_up_is_not_committed",
        noticed="DID NOT RAISE",
    ),
    Bug(
        name="COPY's own count unread",
        mistake="COPY raised nothing, so it took every row.",
        changes=(
            Change(
                "rowledger/postgres/copy.py",
                """\
    if tag != f"COPY {encoded.rows}":
""",
                """\
    if not tag:
""",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_a_chunk_of_which_the_server_takes_fewer_rows_than_were_sent_is_not_committed",
        noticed="DID NOT RAISE",
    ),
    Bug(
        name="retry with a consumed reader",
        mistake="The rows are encoded once and sent again by the next try.",
        changes=(
            Change(
                "rowledger/postgres/copy.py",
                """\
    return EncodedRows(tuple(pieces), frame.height, "binary" if is_binary else "text")
""",
                """\
    nothing = [piece for piece, _ in encode(frame.clear(), columns, batch_rows)]
    return EncodedRows((iter(pieces), nothing), frame.height, "binary" if is_binary else "text")
""",
            ),
            Change(
                "rowledger/postgres/copy.py",
                """\
        for piece in encoded.pieces:
""",
                """\
        reader, nothing = encoded.pieces
        for piece in [*reader] or nothing:
""",
            ),
            Change(
                "rowledger/workers/process.py",
                """\
        prepared = prepare_chunk(self._spec, job, self._settings, self.advance)
""",
                """\
        if self._retries == 0:
            self._prepared = prepare_chunk(self._spec, job, self._settings, self.advance)
        prepared = self._prepared
""",
            ),
        ),
        test=f"{_SERVER_TESTS}::test_a_conflict_that_passes_costs_retries_and_no_row[40001-chunk-new.fingerprint is not null]",
        noticed="the server answered 'COPY 0'",
    ),
    # ---- dead letters -------------------------------------------------------------------------------------------------
    Bug(
        name="dead letters on a connection of their own",
        mistake="Dead letters have a connection of their own, so that they survive whatever becomes of the chunk.",
        changes=(
            Change(
                "rowledger/chunk/transaction.py",
                """\
    await record_dead_letters(connection, job.handle, job.chunk, letters, attempt=job.attempt, worker_pid=worker_pid)
    committed =""",
                """\
    (host, port), login = connection._addr, connection._params
    own = await asyncpg.connect(
        host=host, port=port, user=login.user, password=login.password, database=login.database
    )
    await record_dead_letters(own, job.handle, job.chunk, letters, attempt=job.attempt, worker_pid=worker_pid)
    await own.close()
    committed =""",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_a_failed_attempt_leaves_neither_rows_nor_dead_letters",
        noticed="assert (0, 2) == (0, 0)",
    ),
    Bug(
        name="dead letters after COMMIT",
        mistake="Good rows first; the dead letters are kept once those are safe.",
        changes=(
            Change(
                "rowledger/chunk/transaction.py",
                """\
    await record_dead_letters(connection, job.handle, job.chunk, letters, attempt=job.attempt, worker_pid=worker_pid)
    committed =""",
                "    committed =",
            ),
            Change(
                "rowledger/chunk/transaction.py",
                """\
    await connection.execute("commit")
    failpoint(Place.AFTER_COMMIT, **job.facts)
""",
                """\
    await connection.execute("commit")
    await record_dead_letters(connection, job.handle, job.chunk, letters, attempt=job.attempt, worker_pid=worker_pid)
    failpoint(Place.AFTER_COMMIT, **job.facts)
""",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_a_chunk_whose_dead_letters_cannot_be_kept_is_not_committed",
        noticed="assert (98, 0) == (0, 0)",
    ),
    Bug(
        name="dead letters of a failed try kept",
        mistake="What an earlier attempt learned of a chunk stays true.",
        changes=(
            Change(
                "rowledger/chunk/transaction.py",
                """\
    await forget_dead_letters(connection, job.handle, job.chunk.chunk_no)

    def on_sent""",
                """\

    def on_sent""",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_a_spent_budget_keeps_the_dead_letters_and_none_of_the_rows",
        noticed="UniqueViolationError",
    ),
    Bug(
        name="refused rows skipped",
        mistake="A row that the server refuses is left out.",
        changes=(
            Change(
                "rowledger/chunk/transaction.py",
                """\
    letters = [*prepared.rejected, *prepared.rows.refusals(copied.refused, copied.causes)]
""",
                """\
    letters = [*prepared.rejected]
""",
            ),
        ),
        test=f"{_DEAD_LETTER_TESTS}::test_an_existing_table_s_own_rules_hold",
        noticed="98 written, 1 dead-lettered",
    ),
    Bug(
        name="neighbours of a refused row dropped",
        mistake="COPY stopped at a row, so the rows before it are in.",
        changes=(
            Change(
                "rowledger/chunk/isolation.py",
                """\
                bad, refusal = position + line - 1, error
""",
                """\
                position = bad = position + line - 1
                refusal = error
""",
            ),
        ),
        test=f"{_ISOLATION_TESTS}::test_a_check_that_raises_leaves_the_search_to_go_row_by_row",
        noticed="rows written by the ledger: 247",
    ),
    Bug(
        name="set-aside rows forgotten",
        mistake="A row that kills its worker is left out, and its neighbours load.",
        changes=(
            Change(
                "rowledger/chunk/transaction.py",
                "PreparedChunk(rows, _crash_dead_letters(source, job), encoded, source.schema, check_s)",
                "PreparedChunk(rows, [], encoded, source.schema, check_s)",
            ),
        ),
        test=f"{_CHUNK_TESTS}::test_rows_set_aside_become_dead_letters_untried",
        noticed="97 written, 1 dead-lettered",
    ),
    # ---- resuming -----------------------------------------------------------------------------------------------------
    Bug(
        name="resumed under another plan",
        mistake="A load that was begun is gone on with.",
        changes=(
            Change(
                "rowledger/load/begin.py",
                """\
        return found.manifest_digest == self._manifest.digest and await is_plan_of(
            connection, found.handle, self._manifest
        )
""",
                """\
        return True
""",
            ),
        ),
        test=f"{_LOAD_TESTS}::test_an_unfinished_load_of_another_plan_is_abandoned[source]",
        noticed="the manifest in the ledger is not the one planned from the source",
    ),
    Bug(
        name="resumed under another contract",
        mistake="A load of the same rows is gone on with.",
        changes=(
            Change(
                "rowledger/load/begin.py",
                """\
        if not found.has_staging or found.contract_digest != self._contract_digest:
""",
                """\
        if not found.has_staging:
""",
            ),
        ),
        test=f"{_RECONCILE_TESTS}::test_a_load_that_began_without_fingerprints_is_not_resumed_with_them",
        noticed="has no fingerprint to compare with",
    ),
    Bug(
        name="source not looked at again",
        mistake="The file was looked at when it was planned.",
        changes=(
            Change(
                "rowledger/sources/file_identity.py",
                """\
    if now != planned and file_digest(file) != descriptor.file_digest:
""",
                """\
    if now.mtime_ns < planned.mtime_ns:
""",
            ),
        ),
        test="pipeline_tests/unit/sources/test_parquet_source.py::test_other_content_of_the_same_size_is_noticed",
        noticed="DID NOT RAISE",
    ),
    Bug(
        name="spooled chunks known by their size",
        mistake="A chunk with the same number and the same rows is the one that has committed.",
        changes=(
            Change(
                "sql/queries/ledger.sql",
                """\
 and enqueued_rows = $4 and digest = $5;
""",
                """\
 and enqueued_rows = $4 and $5::text is not null;
""",
            ),
            Change(
                "rowledger/ledger/loads.py",
                """\
    if not await is_plan_of(connection, handle, manifest):
        return False
""",
                "",
            ),
        ),
        test=f"{_STREAMING_TESTS}::test_a_rerun_whose_source_gives_other_chunks_loads_those[other rows]",
        noticed="AssertionError",
    ),
    Bug(
        name="filtered rows uncounted",
        mistake="What the transform filters is not wanted, so it needs no figure.",
        changes=(
            Change(
                "rowledger/chunk/preparation.py",
                """\
        self._counts += outcome.counts
""",
                "",
            ),
        ),
        test=f"{_TRANSFORM_TESTS}::test_filtered_rows_are_counted_and_rows_for_which_it_raises_are_dead_letters",
        noticed="enqueued and 0 added, but",
    ),
    Bug(
        name="source's failure taken for its end",
        mistake="A source that raises has no more rows.",
        changes=(
            Change(
                "rowledger/machine/streaming.py",
                """\
                if item.error is not None:
                    raise item.error
""",
                "",
            ),
        ),
        test=f"{_STREAMING_TESTS}::test_a_source_that_fails_publishes_nothing_and_a_rerun_goes_on_behind_what_had_committed",
        noticed="isinstance(None, SourceError)",
    ),
    # ---- judging and publishing ---------------------------------------------------------------------------------------
    Bug(
        name="ledger held against itself",
        mistake="The ledger knows how many rows were written; counting them again is slow.",
        changes=(
            Change(
                "rowledger/publish/reconcile.py",
                """\
predicate=predicate, fingerprint=fingerprint)

    figures""",
                """\
predicate=predicate, fingerprint=fingerprint)
    measured = Measured(totals.written_rows, measured.fingerprint)

    figures""",
            ),
        ),
        test=f"{_RECONCILE_TESTS}::test_a_staging_table_changed_while_fingerprints_are_off_still_has_to_add_up",
        noticed="isinstance(None, DiscrepancyFound)",
    ),
    Bug(
        name="fingerprints never compared",
        mistake="There are two fingerprints, so all is well.",
        changes=(
            Change(
                "rowledger/publish/reconcile.py",
                """\
        passed=not differences,
""",
                """\
        passed=True,
""",
            ),
        ),
        test="pipeline_tests/integration/postgres/test_targets.py::test_a_trigger_that_changes_values_is_noticed",
        noticed="assert None is not None",
    ),
    Bug(
        name="reports believed",
        mistake="Every worker has reported its chunk, so the load is complete, whatever a count may say.",
        changes=(
            Change(
                "rowledger/publish/sift.py",
                """\
        pending = await read_pending_chunks(connection, load.handle, load.manifest)
        if not pending and""",
                """\
        pending: tuple[ChunkPlan, ...] = ()
        if not pending and""",
            ),
            Change(
                "rowledger/publish/finish.py",
                """\
    if pending := await read_pending_chunks(connection, handle, load.manifest):
        return pending
""",
                "",
            ),
            Change(
                "rowledger/publish/finish.py",
                """\
    failed = [check for check in checks if not check.passed]
""",
                """\
    failed: list[Check] = []
""",
            ),
        ),
        test=f"{_RECONCILE_TESTS}::test_what_a_worker_says_does_not_decide",
        noticed="isinstance(None, DiscrepancyFound)",
    ),
    Bug(
        name="published in a transaction of its own",
        mistake="First the verdict, then, in a fresh transaction, the publication.",
        changes=(
            Change(
                "rowledger/publish/finish.py",
                """\
    await async_failpoint(Place.BEFORE_PUBLISH, **load.facts)
""",
                """\
    await connection.execute("commit; begin")
    await async_failpoint(Place.BEFORE_PUBLISH, **load.facts)
""",
            ),
        ),
        test=f"{_RECONCILE_TESTS}::test_what_was_judged_cannot_be_changed_before_it_is_published",
        noticed="assert 0 == 2",
    ),
    Bug(
        name="staging table not locked",
        mistake="Nobody else knows of the staging table.",
        changes=(
            Change(
                "rowledger/publish/finish.py",
                """\
    await connection.execute(f"lock table {staging} in share mode")
""",
                "",
            ),
        ),
        test=f"{_RECONCILE_TESTS}::test_what_was_judged_cannot_be_changed_before_it_is_published",
        noticed="assert 1 == 2",
    ),
    Bug(
        name="target emptied first",
        mistake="Make room in the target, then bring the new rows.",
        changes=(
            Change(
                "rowledger/publish/finish.py",
                """\
        await async_failpoint(Place.BEFORE_RECONCILE, **load.facts)
""",
                """\
        target = quoted(load.target.name.schema_name, load.target.name.table)
        await control.transaction(load.name, lambda connection: connection.execute(f"truncate {target}"))
        await async_failpoint(Place.BEFORE_RECONCILE, **load.facts)
""",
            ),
        ),
        test=f"{_PROCESS_TESTS}::test_a_run_killed_at_any_point_is_finished_by_the_next[before_publish]",
        noticed="assert Counter() == ",
    ),
    Bug(
        name="publication not on disk",
        mistake="synchronous_commit = off is faster everywhere.",
        changes=(
            Change(
                "rowledger/publish/finish.py",
                """\
        durable=True,
                lock_timeout_s=""",
                """\
        durable=False,
                lock_timeout_s=""",
            ),
        ),
        test=f"{_OUTAGE_TESTS}::test_what_was_published_survives_a_crash_of_the_server_right_behind_it",
        noticed="assert 'loading' == 'published'",
    ),
    # ---- write modes --------------------------------------------------------------------------------------------------
    Bug(
        name="appended again",
        mistake="Whoever loads a partition twice wants its rows twice.",
        changes=(
            Change(
                "sql/queries/publication.sql",
                "where target = $1 and partition_key = $2 and content_digest = $3 and state = 'published'",
                "where target = $1 and partition_key = $2 and content_digest = $3 and state = 'appended'",
            ),
        ),
        test=f"{_MODE_TESTS}::test_the_same_rows_are_appended_once_however_they_are_cut",
        noticed="that is in the table already",
    ),
    Bug(
        name="what was stored is not counted",
        mistake="INSERT raised nothing, so the table has the rows.",
        changes=(
            Change(
                "rowledger/publish/stored_rows.py",
                """\
    if stored.rows != totals.written_rows:
""",
                """\
    found, expected = None, None
    if stored.rows < 0:
""",
            ),
        ),
        test=f"{_CONSTRAINT_TESTS}::test_a_trigger_that_swallows_or_changes_rows_is_named_and_nothing_is_published"
        "[upsert-plain]",
        noticed="9 values against 8",
    ),
    Bug(
        name="replaced rows forgotten",
        mistake="An upsert adds what it has written.",
        changes=(
            Change(
                "rowledger/publish/write_modes.py",
                "        replaced.rows if replaced else 0,\n",
                "        0,\n",
            ),
        ),
        test=f"{_MODE_TESTS}::test_an_upsert_says_what_it_inserted_and_what_it_updated",
        noticed="50 rows in the table, 90 are what the loads add up to",
    ),
    Bug(
        name="parents not looked for",
        mistake="The server looks after foreign keys.",
        changes=(
            Change(
                "rowledger/publish/conflicts.py",
                "        if foreign_key.is_on_itself is not on_itself or not columns:\n",
                "        if columns:\n",
            ),
        ),
        test=f"{_CONSTRAINT_TESTS}::test_a_row_without_its_parent_is_a_dead_letter_and_its_neighbours_load[append-plain]",
        noticed="no row of depot.customers has",
    ),
    # ---- the run ------------------------------------------------------------------------------------------------------
    Bug(
        name="outage over its budget is no error",
        mistake="The outage was logged; whoever waits at the gate may go on.",
        changes=(
            Change(
                "rowledger/postgres/outage.py",
                """\
        if self._given_up is not None:
            raise self._given_up
""",
                "",
            ),
        ),
        test=f"{_OUTAGE_TESTS}::test_the_gate_says_once_that_all_pause",
        noticed="DID NOT RAISE",
    ),
    Bug(
        name="cancel swallowed",
        mistake="Whatever ends a chunk belongs to whoever waits for it.",
        changes=(
            Change(
                "rowledger/workers/pool.py",
                """\
            except asyncio.CancelledError:
                future.cancel()
                raise
            except Exception as error:""",
                "            except BaseException as error:",
            ),
        ),
        test=f"{_PROCESS_TESTS}::test_an_interrupt_ends_a_worker_that_waits_for_a_lock",
        noticed="timed out after 10",
    ),
    Bug(
        name="cancel retried",
        mistake="Whatever ends a transaction may not happen to the next.",
        changes=(
            Change(
                "rowledger/postgres/retry.py",
                """\
    return is_connection_loss(cause) or sort_error(cause) is Verdict.RETRY
""",
                """\
    return not isinstance(cause, Exception) or is_connection_loss(cause) or sort_error(cause) is Verdict.RETRY
""",
            ),
        ),
        test="pipeline_tests/unit/postgres/test_retry.py::test_a_cancel_ends_the_work_and_is_not_taken_for_a_fault_of_the_database",
        noticed="cancelled of",
    ),
    Bug(
        name="lease unread",
        mistake="A load that is loading was left by a run that died.",
        changes=(
            Change(
                "rowledger/load/begin.py",
                """\
            if self._watch.is_live(lease):
                return lease.holder
""",
                "",
            ),
        ),
        test=f"{_PROCESS_TESTS}::test_a_partition_that_another_run_is_loading_is_refused_with_its_name",
        noticed="isinstance(None, PartitionBusy)",
    ),
    Bug(
        name="failed partition in a green run",
        mistake="A run is good if it has published something.",
        changes=(
            Change(
                "rowledger/dagster/assets.py",
                """\
        if not all(report.published for report in reports):
""",
                """\
        if not any(report.published for report in reports):
""",
            ),
        ),
        test="pipeline_tests/integration/dagster/test_dagster_face.py::test_of_three_days_the_bad_one_fails_and_the_good_ones_are_recorded",
        noticed="'2013-01-02'",
    ),
    # ---- replay -------------------------------------------------------------------------------------------------------
    Bug(
        name="replay beside a publish",
        mistake="A load that was published a moment ago still is.",
        changes=(
            Change(
                "sql/queries/dead_letters.sql",
                """\
where load_id = $1 and state = 'published'
for update of load;
""",
                """\
where load_id = $1;
""",
            ),
        ),
        test=f"{_REPLAY_FAULT_TESTS}::test_a_replay_that_comes_while_the_partition_is_replaced_writes_nothing",
        noticed="Extra items in the right set:\nE         <DeadLetterResult.SKIPPED",
    ),
    Bug(
        name="letters of a lost attempt tried again",
        mistake="Letters are as they were read; nobody but us replays them.",
        changes=(
            Change(
                "rowledger/chunk/replay_transaction.py",
                """\
    letters = [letter for letter in letters if letter.dead_letter_id in unchanged]
""",
                "",
            ),
        ),
        test=f"{_REPLAY_FAULT_TESTS}"
        "::test_a_replay_s_commit_without_a_reply_neither_loses_nor_doubles_a_row[in_doubt-True]",
        noticed="constraint letter_event_of_replay",
    ),
    Bug(
        name="replayed letters counted",
        mistake="A dead letter stays one.",
        changes=(
            Change(
                "sql/queries/ledger.sql",
                """\
    (select count(*) from rowledger.dead_letter where load_id = $1 and state <> 'replayed') as dead_letters,
""",
                """\
    (select count(*) from rowledger.dead_letter where load_id = $1) as dead_letters,
""",
            ),
        ),
        test=f"{_REPLAY_TESTS}::test_edited_rows_go_into_the_table_and_the_balance_follows",
        noticed="3 dead letters kept, but 1 recorded",
    ),
    Bug(
        name="replayed values unread",
        mistake="What was inserted is what was sent.",
        changes=(
            Change(
                "rowledger/chunk/replay_transaction.py",
                """\
        if fingerprint_frame(rows.select(self._names), self._columns).differences(stored):
            raise _NotStored("a trigger of the table changes its values")
""",
                "",
            ),
        ),
        test=f"{_REPLAY_TESTS}::test_what_a_trigger_does_to_a_row_is_noticed"
        "[before-new.label := 'changed'; return new;-a trigger of the table changes its values]",
        noticed="{3: 'written'",
    ),
    Bug(
        name="replayed rows left out of the fingerprint",
        mistake="The counts say enough.",
        changes=(
            Change(
                "rowledger/chunk/replay_settlement.py",
                """\
            fingerprint=await _fingerprint_with(connection, job, chunk_no, rows),
""",
                """\
            fingerprint=None,
""",
            ),
        ),
        test=f"{_REPLAY_TESTS}::test_edited_rows_go_into_the_table_and_the_balance_follows",
        noticed="values against",
    ),
]
