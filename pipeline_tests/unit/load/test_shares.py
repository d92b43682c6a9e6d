"""How the workers of a run are divided among servers."""

import pytest

from rowledger.load.on_servers import shares


@pytest.mark.parametrize(
    ("total", "sizes", "found"),
    [
        (2, [1, 1], [1, 1]),
        (8, [3, 1], [6, 2]),
        (4, [300, 1], [3, 1]),
        (3, [1, 1], [2, 1]),
        (2, [5, 1, 1], [1, 1, 1]),
        (5, [7], [5]),
    ],
)
def test_each_server_has_workers_in_proportion_to_its_partitions_and_one_at_least(
    total: int, sizes: list[int], found: list[int]
) -> None:
    assert shares(total, sizes) == found
