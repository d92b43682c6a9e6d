"""The state machine, told twice: in Python and in SQL."""

import re

import pytest

from rowledger.contract.dead_letter import Stage
from rowledger.ledger.states import (
    CHUNK_TRANSITIONS,
    LETTER_TRANSITIONS,
    LOAD_TRANSITIONS,
    ChunkState,
    DeadLetterState,
    LoadState,
)
from rowledger.postgres.queries import migrations, query

_SCHEMA = "\n".join(migration.sql for migration in migrations())


def _check_of(table: str, column: str) -> set[str]:
    """The values that the CHECK of a column lists, as the last migration that speaks of it has it."""
    created = _SCHEMA.split(f"create table rowledger.{table} (", 1)[1].split("\n);", 1)[0]
    altered = re.findall(rf"alter table rowledger\.{table} add constraint [^;]*;", _SCHEMA)
    found = [
        match[1] for text in (created, *altered) if (match := re.search(rf"check \({column} in \(([^)]*)\)\)", text))
    ]
    return set(re.findall(r"'(\w+)'", found[-1]))


def test_python_and_sql_know_the_same_states() -> None:
    assert _check_of("load", "state") == set(LoadState)
    assert _check_of("chunk", "state") == set(ChunkState)
    assert _check_of("dead_letter", "stage") == set(Stage)
    assert _check_of("dead_letter", "state") == set(DeadLetterState)
    assert _check_of("letter_event", "state") == set(DeadLetterState)


def test_every_state_says_what_may_follow() -> None:
    assert set(LOAD_TRANSITIONS) == set(LoadState)
    assert set(CHUNK_TRANSITIONS) == set(ChunkState)
    assert set(LETTER_TRANSITIONS) == set(DeadLetterState)


def test_a_load_reaches_every_state_and_leaves_no_end_state() -> None:
    reached = {LoadState.LOADING}
    while more := {after for state in reached for after in LOAD_TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(LoadState)
    assert {state for state in LoadState if not LOAD_TRANSITIONS[state]} == {
        LoadState.REPLACED,
        LoadState.REJECTED,
        LoadState.ABANDONED,
        LoadState.REPEATED,
    }


def test_each_update_in_sql_is_guarded_by_the_state_that_it_leaves() -> None:
    for name, state in {
        "end_load": LoadState.LOADING,
        "take_over_load": LoadState.LOADING,
        "lock_load": LoadState.LOADING,
        "fence_load": LoadState.LOADING,
        "replace_published_load": LoadState.PUBLISHED,
        "claim_chunk": ChunkState.PENDING,
        "record_chunk_counts": ChunkState.COMMITTED,
    }.items():
        assert f"state = '{state}'" in query(name).split("where", 1)[1], name


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("correct_dead_letters", DeadLetterState.CORRECTED),
        ("reopen_dead_letters", DeadLetterState.OPEN),
        ("discard_dead_letters", DeadLetterState.DISCARDED),
        ("settle_dead_letters", DeadLetterState.REPLAYED),
    ],
)
def test_each_change_of_a_dead_letter_is_guarded_by_the_states_that_it_may_leave(
    name: str, state: DeadLetterState
) -> None:
    guard = re.search(r"letter\.state in \(([^)]*)\)", query(name))
    assert guard is not None
    # A letter may be corrected anew: that asks for another replay.
    left = {before for before, after in LETTER_TRANSITIONS.items() if state in after}
    assert set(re.findall(r"'(\w+)'", guard[1])) == left | ({state} if state is DeadLetterState.CORRECTED else set())
    if state is not DeadLetterState.REPLAYED:  # there the load's row is locked
        assert "load.state = 'published'" in query(name)
