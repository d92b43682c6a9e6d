"""Each deliberate bug can be made in the code as it is. That the suite notices each is shown in `faults/`."""

from typing import cast

import asyncpg
import pytest

from pipeline_tests.faults.deliberate_bugs.bug import Bug, all_bugs, bug, find_bug, in_place_of, in_query
from rowledger.chunk import transaction
from rowledger.ledger import chunks, fence_load
from rowledger.postgres import query
from rowledger.spec import LoadHandle


async def _always_ours(_connection: asyncpg.Connection, _handle: LoadHandle) -> bool:
    return True


@pytest.mark.parametrize("each", all_bugs(), ids=lambda each: each.name)
def test_each_bug_can_be_made(each: Bug) -> None:
    assert find_bug(each.name) is each
    assert each.make.__doc__
    with each.made():
        pass


def test_a_wrong_function_takes_all_places_of_the_right_one_until_the_bug_is_undone() -> None:
    fence_dropped = bug(test="", noticed="")(lambda: cast("None", in_place_of(fence_load)(_always_ours)))
    with fence_dropped.made():
        assert chunks.fence_load is transaction.fence_load is _always_ours
    assert chunks.fence_load is transaction.fence_load is fence_load


def test_a_wrong_function_within_a_module_leaves_the_others_alone() -> None:
    fence_dropped = bug(test="", noticed="")(
        lambda: cast("None", in_place_of(fence_load, within=transaction)(_always_ours))
    )
    with fence_dropped.made():
        assert transaction.fence_load is _always_ours
        assert chunks.fence_load is fence_load


def test_a_bug_whose_right_function_is_not_there_cannot_be_made() -> None:
    with pytest.raises(LookupError, match="fence_load is not found in pathlib"):
        in_place_of(fence_load, within=__import__("pathlib"))(_always_ours)


def test_sql_that_is_not_found_or_does_not_change_cannot_be_replaced() -> None:
    right = query("fence_load")
    for pattern, replacement in [("no such text", ""), (" for share", " for share"), (r"\$", "")]:
        with pytest.raises(LookupError, match="fence_load"):
            in_query("fence_load", pattern, replacement)
    assert query("fence_load") == right
