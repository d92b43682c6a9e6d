"""Mistakes about replays of dead letters."""

from collections.abc import Sequence

import asyncpg
import polars as pl

from pipeline_tests.faults.deliberate_bugs.bug import bug, in_place_of, in_query
from rowledger.chunk import ReplayJob
from rowledger.chunk.replay_settlement import _fingerprint_with
from rowledger.contract import Fingerprint
from rowledger.ledger import DeadLetterToReplay, lock_dead_letters

_REPLAY_TESTS = "pipeline_tests/integration/dead_letters/test_replay.py"
_REPLAY_FAULT_TESTS = "pipeline_tests/faults/test_replay_faults.py"


@bug(
    test=f"{_REPLAY_FAULT_TESTS}::test_a_replay_that_comes_while_the_partition_is_replaced_writes_nothing",
    noticed="Extra items in the right set:\nE         <DeadLetterResult.SKIPPED",
)
def replay_beside_a_publish() -> None:
    """A load that was published a moment ago still is."""
    in_query("lock_published_load", r" and state = 'published'\nfor update of load", "")


@bug(
    test=f"{_REPLAY_FAULT_TESTS}"
    "::test_a_replay_s_commit_without_a_reply_neither_loses_nor_doubles_a_row[in_doubt-True]",
    noticed="constraint letter_event_of_replay",
)
def letters_of_a_lost_attempt_tried_again() -> None:
    """Letters are as they were read; no other process replays them."""

    @in_place_of(lock_dead_letters)
    async def lock(connection: asyncpg.Connection, letters: Sequence[DeadLetterToReplay]) -> set[int]:
        await lock_dead_letters(connection, letters)
        return {letter.dead_letter_id for letter in letters}


@bug(
    test=f"{_REPLAY_TESTS}::test_edited_rows_go_into_the_table_and_the_balance_follows",
    noticed="3 dead letters kept, but 1 recorded",
)
def replayed_letters_counted() -> None:
    """A dead letter stays one."""
    in_query(
        "dead_letter_totals",
        r"load_id = \$1 and state <> 'replayed'\) as dead_letters",
        "load_id = $1) as dead_letters",
    )


@bug(
    test=f"{_REPLAY_TESTS}::test_what_a_trigger_does_to_a_row_is_noticed"
    "[before-new.label := 'changed'; return new;-a trigger of the table changes its values]",
    noticed="{3: 'written'",
)
def replayed_values_unread() -> None:
    """What was inserted is what was sent."""

    @in_place_of(Fingerprint.differences)
    def find_none(self: Fingerprint, other: Fingerprint) -> list[str]:
        return []


@bug(
    test=f"{_REPLAY_TESTS}::test_edited_rows_go_into_the_table_and_the_balance_follows",
    noticed="values against",
)
def replayed_rows_left_out_of_the_fingerprint() -> None:
    """The counts say enough."""

    @in_place_of(_fingerprint_with)
    async def none(connection: asyncpg.Connection, job: ReplayJob, chunk_no: int, rows: pl.DataFrame) -> str | None:
        return None
