"""The state machine, told twice: in Python and in SQL."""

import re

from pipeline.model.report import Stage
from pipeline.model.states import CHUNK_TRANSITIONS, LOAD_TRANSITIONS, ChunkState, LoadState
from pipeline.postgres.queries import migrations, query

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


def test_every_state_says_what_may_follow() -> None:
    assert set(LOAD_TRANSITIONS) == set(LoadState)
    assert set(CHUNK_TRANSITIONS) == set(ChunkState)


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
