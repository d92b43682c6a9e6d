"""Mistakes in what `rowledger prune` takes for needless."""

from pipeline_tests.faults.deliberate_bugs.bug import bug, in_query

_NEEDS = "pipeline_tests/integration/ledger/test_prunable_entries.py"
_STAYS = f"{_NEEDS}::test_an_ended_load_stays_while_an_answer_needs_it"
_LISTED = "assert (1,) == ()"


@bug(test=f"{_STAYS}[it ended a moment ago]", noticed=_LISTED)
def age_forgotten() -> None:
    """What is over is over."""
    in_query("prunable_loads", r"and entry\.ended_at < [^\n]*", "and $1::float8 is not null")


@bug(test=f"{_STAYS}[it is what readers see]", noticed=_LISTED)
def published_loads_listed() -> None:
    """A later load of the partition is published, so this one is not needed."""
    in_query("prunable_loads", r"'replaced', 'rejected', 'abandoned', 'repeated'", r"'published', 'replaced'")


@bug(test=f"{_STAYS}[it is the latest of its partition]", noticed=_LISTED)
def latest_load_of_the_partition_listed() -> None:
    """A later load of the table has an entry."""
    in_query("prunable_loads", r" and later\.partition_key = entry\.partition_key", "")


@bug(test=f"{_STAYS}[it alone shows that the target was in use]", noticed=_LISTED)
def last_sign_of_use_listed() -> None:
    """A rejected load says as well that the target is in use."""
    in_query("prunable_loads", r"in \('published', 'replaced', 'repeated'\)", "is not null")


@bug(test=f"{_STAYS}[a failure that is told is of it]", noticed=_LISTED)
def load_of_a_told_failure_listed() -> None:
    """A failed attempt stands for itself."""
    in_query("prunable_loads", r"where failed\.load_id = entry\.load_id", "where failed.load_id is null")


@bug(
    test="pipeline_tests/faults/test_prune_beside_runs.py"
    "::test_a_rejected_load_is_still_told_when_the_load_after_it_turns_out_to_have_nothing_to_add",
    noticed="Right contains one more item",
)
def loading_load_trusted() -> None:
    """The load at work is the partition's latest one."""
    in_query("prunable_loads", r"later\.state not in \('loading', 'repeated'\)", "later.state <> 'repeated'")


@bug(
    test="pipeline_tests/integration/ledger/test_prune.py"
    "::test_a_failure_that_is_told_stays_when_an_earlier_load_is_forgotten_after_it[interrupted]",
    noticed="assert 1 == 0",
)
def failure_outlived_by_any_load() -> None:
    """A load that has ended after the failure is told instead of it."""
    in_query("prunable_attempts", r"order by latest\.load_id desc", "order by latest.ended_at desc nulls last")


@bug(
    test=f"{_NEEDS}::test_a_load_with_an_unresolved_dead_letter_stays[corrected]", noticed="At index 0 diff: (1,) != ()"
)
def corrected_dead_letter_taken_for_resolved() -> None:
    """A letter that was corrected is done with."""
    in_query("prunable_loads", r"'open', 'corrected'", "'open'")


@bug(test=f"{_NEEDS}::test_a_list_that_has_grown_old_deletes_nothing_that_is_needed", noticed="AssertionError")
def list_trusted() -> None:
    """What was found a moment ago is still so."""
    in_query("prune_dead_letters", r"\s+and load\.state in [^\n]*", "")
