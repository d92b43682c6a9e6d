"""A server that takes bytes slowly is no fault; one that dies while it takes none is noticed, whatever the sender waits for."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.proxy import Proxy
from pipeline_tests.support.server_gate import Where, gate
from pipeline_tests.support.tables import DAY, EVENTS, changed, events, wide_events, write_source
from pipeline_tests.support.tables_of_odd_shapes import SLOW
from pipeline_tests.support.waiting import wait_until
from rowledger.embedded.server import EmbeddedServer
from rowledger.errors import ChunkTimedOut, DatabaseUnavailable
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.reports import PartitionReport

_STALL_TIMEOUT_S = 4
_BYTES_PER_S = 600_000


@pytest.mark.slow
def test_a_slow_server_is_no_stall_as_long_as_bytes_move(database: str, tmp_path: Path, proxy: Proxy) -> None:
    # A small chunk first: a worker's start belongs to its first chunk, and takes what a busy machine makes of it.
    rows = [*events(1000), *wide_events(1000, first=1000)]
    write_source(tmp_path, "events", DAY, rows, row_group_rows=1000)
    proxy.throttle(lambda session: _BYTES_PER_S if session.startswith("rowledger worker") else None)
    shape = {"stall_timeout_s": _STALL_TIMEOUT_S, "chunk_rows_max": 1000, "batch_rows": 1000}
    started = time.monotonic()
    report = load_one(proxy.url, EVENTS, tmp_path, DAY, **shape)
    assert time.monotonic() - started > 4 * _STALL_TIMEOUT_S
    assert report.error is None
    assert [incident for incident in report.incidents if incident.chunk_no != 0] == []
    assert_accounted(database, EVENTS, rows)


def _terminate(database: str, backend_pid: int) -> None:
    assert fetch_value(database, "select pg_terminate_backend($1)", backend_pid)


def _kill(_database: str, backend_pid: int) -> None:
    os.kill(backend_pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [_terminate, _kill])
def test_a_copy_that_waits_for_its_socket_notices_the_end_of_its_backend(
    own_server: EmbeddedServer, tmp_path: Path, end: Callable[[str, int], None]
) -> None:
    database = own_server.url()
    rows = wide_events(1000)
    write_source(tmp_path, "events", DAY, rows, row_group_rows=1000)
    # No deadline could end the wait before this test has seen it end by itself.
    shape = {"chunk_rows_max": 1000, "batch_rows": 100, "stall_timeout_s": 100, "retry_budget_s": 100}
    with gate(database, Where.IN_COPY) as closed, ThreadPoolExecutor(1) as thread:
        run: Future[PartitionReport] = thread.submit(load_one, database, EVENTS, tmp_path, DAY, **shape)
        backend_pid = closed.wait()
        port = fetch_value(database, "select client_port from pg_stat_activity where pid = $1", backend_pid)
        wait_until(_Standstill(port).is_reached, "the worker's socket is full", timeout_s=60)
        end(database, backend_pid)
        closed.open()
        ended = time.monotonic()
        report = run.result()
    assert time.monotonic() - ended < 40
    assert report.error is None
    assert report.deaths == (), "a lost connection is no dead worker"
    assert_accounted(database, EVENTS, rows)


class _Standstill:
    """Whether the other side takes nothing any more: how much the kernel holds then, depends on its mood."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._seen: list[int] = []

    def is_reached(self) -> bool:
        self._seen = [*self._seen[-24:], _unsent_bytes(self._port)]
        return len(self._seen) == 25 and self._seen[0] > 0 and len(set(self._seen)) == 1


def _unsent_bytes(port: int) -> int:
    """What the kernel holds of what was sent from this port and not taken by the other side."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, _, queues, *_ = line.split()
        if int(local.rpartition(":")[2], 16) == port:
            return int(queues.partition(":")[0], 16)
    return 0


def test_rows_that_take_their_time_to_validate_are_no_stall_though_all_of_them_take_longer(
    database: str, tmp_path: Path
) -> None:
    pl.DataFrame({"number": range(300)}).write_parquet(tmp_path / "slow.parquet")
    report = load_one(database, SLOW, tmp_path, "all", stall_timeout_s=4, chunk_rows_max=1_000, chunk_attempts_max=1)
    assert report.error is None
    assert (report.written_rows, list(report.incidents)) == (300, [])
    assert report.seconds > 4


_ENDLESS = """
create function public.endless(event bigint) returns boolean language plpgsql as $$ begin
    if event = 57 then perform pg_sleep(600); end if; return true;
end $$
"""


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        pytest.param({"stall_timeout_s": 2, "chunk_attempts_max": 2}, ChunkTimedOut, id="no progress"),
        pytest.param({"statement_timeout_s": 1, "retry_budget_s": 0.1}, DatabaseUnavailable, id="statement timeout"),
    ],
)
@pytest.mark.parametrize("refused", [(), (52, 54)], ids=["alone", "behind refused rows"])
def test_the_row_over_which_the_server_takes_for_ever_is_named(
    database: str, tmp_path: Path, limits: dict[str, float], error: type[Exception], refused: tuple[int, ...]
) -> None:
    """None of its rows is set aside: another session's load may be the cause."""
    write_source(tmp_path, "events", DAY, events(10))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    fetch(database, _ENDLESS)
    fetch(database, "alter table events add constraint endless check (public.endless(event_id))")
    rows = changed(events(100), {row: {"amount": -1.0} for row in refused})
    fetch(database, "alter table events add constraint positive check (amount >= 0)")
    write_source(tmp_path, "events", DAY, rows)
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_rows_max=50, batch_rows=10, **limits)
    assert type(report.error) is error
    assert "chunk 1" in str(report.error)
    assert "query canceled (SQLSTATE 57014)" in str(report.error)
    assert "at row 57 of the partition" in str(report.error)
    assert {incident.kind for incident in report.incidents} <= {IncidentKind.STALL}
    assert fetch_value(database, "select count(*) from rowledger.dead_letter where row_no = 57") == 0
    fetch(database, "alter table events drop constraint endless")
    assert load_one(database, EVENTS, tmp_path, DAY, chunk_rows_max=50).error is None
    assert_accounted(database, EVENTS, rows)
