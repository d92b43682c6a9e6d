"""Mistakes in the ledger's SQL: the fence, the takeover, the claim, the counts."""

from pipeline_tests.faults.deliberate_bugs.bug import bug, in_query

_CHUNK_TESTS = "pipeline_tests/integration/chunk/test_chunk_transaction.py"


@bug(test=f"{_CHUNK_TESTS}::test_an_earlier_holder_of_the_load_cannot_write", noticed="DID NOT RAISE")
def fence_dropped() -> None:
    """A worker that has the load's number may write to it."""
    in_query("fence_load", r"epoch = \$2", "$2::integer > 0")


@bug(test=f"{_CHUNK_TESTS}::test_a_takeover_waits_for_the_chunk_that_is_being_written", noticed="assert not True")
def fence_looked_at_but_not_held() -> None:
    """That the load is ours is seen at the begin of the chunk; a lock would only cost time."""
    in_query("fence_load", r" for share\b", "")


@bug(test=f"{_CHUNK_TESTS}::test_an_earlier_holder_of_the_load_cannot_write", noticed="assert 1 == (1 + 1)")
def takeover_keeps_the_epoch() -> None:
    """A run that takes a load over writes its name into it."""
    in_query("take_over_load", r"epoch = epoch \+ 1, ", "")


@bug(
    test=f"{_CHUNK_TESTS}::test_a_retry_waits_for_the_transaction_in_doubt_and_then_knows[commit]",
    noticed="UniqueViolationError",
)
def claim_by_plain_select() -> None:
    """See whether the chunk is pending, write it, then mark it as committed."""
    in_query(
        "claim_chunk",
        r"(?s)^update .*",
        "select enqueued_rows from rowledger.chunk "
        "where load_id = $1 and chunk_no = $2 and state = 'pending' and num_nonnulls($3::integer, $4::integer, $5::text) > 0",
    )
    in_query("record_chunk_counts", r" and state = 'committed'", "")
    in_query("record_chunk_counts", r"\bset ", "set state = 'committed', committed_at = clock_timestamp(), ")


@bug(
    test=f"{_CHUNK_TESTS}::test_rows_dead_letters_and_counts_commit_together_and_once",
    noticed="assert Committed(",
)
def claim_without_its_state() -> None:
    """A chunk that was handed out is to be written, whatever the ledger says of it."""
    in_query("claim_chunk", r" and state = 'pending'", "")


@bug(test=f"{_CHUNK_TESTS}::test_a_chunk_that_does_not_add_up_is_not_committed", noticed="DID NOT RAISE")
def counts_that_need_not_add_up() -> None:
    """The counts are what the worker says they are."""
    in_query("record_chunk_counts", r"and enqueued_rows [^\n]*", "")
