"""How the workers of a run are divided among servers."""

import pytest

from rowledger.load.on_servers import divided, shares
from rowledger.postgres.target_servers import TargetServer
from rowledger.settings import WriterSettings
from rowledger.spec.partition import Partition


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


_PLACED = {
    TargetServer(("EU_DATABASE_URL",)): [Partition("eu"), Partition("uk"), Partition("fr")],
    TargetServer(("US_DATABASE_URL",)): [Partition("us")],
}


def test_servers_share_the_workers_and_the_partitions_in_flight_of_a_run() -> None:
    at_once, writers = divided(WriterSettings(workers=4, partitions_in_flight=4), _PLACED)
    assert at_once == 4
    assert [(writer.workers, writer.partitions_in_flight) for writer in writers] == [(3, 3), (1, 1)]


def test_each_server_counts_on_its_share_of_the_memory_that_is_left() -> None:
    of_one = 300 * 2**20
    _, writers = divided(WriterSettings(workers=4, worker_memory_bytes=of_one), _PLACED)
    left = 4 * of_one  # for four workers in all
    assert [left // writer.worker_memory_bytes for writer in writers] == [3, 1]


def test_with_an_engine_one_server_at_a_time_has_all_hosts_which_read_its_own_variable() -> None:
    at_once, writers = divided(WriterSettings(workers=4, engine="ray"), _PLACED)
    assert at_once == 1
    assert [(writer.workers, writer.hosts_url_variable) for writer in writers] == [
        (4, "EU_DATABASE_URL"),
        (4, "US_DATABASE_URL"),
    ]
