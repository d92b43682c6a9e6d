"""Packets that vanish: nobody says that the other side is gone, and everything ends all the same."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.namespaces import Host, Network
from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch_value, sessions
from pipeline_tests.support.hosts import hosts, serve
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.server_gate import Where, gate
from pipeline_tests.support.tables import DAY, EVENTS, Row, events, wide_events, write_source
from pipeline_tests.support.waiting import wait_until, worker_pids
from rowledger.embedded.server import EmbeddedServer
from rowledger.settings import WriterSettings

_IDLE = "select state = 'idle' from pg_stat_activity where pid = $1"
_DETECTION_S = 15 + 10  # what a silent peer is given, and what a busy machine may add

Starter = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def net() -> Iterator[Network]:
    with hosts("client") as made:
        yield made


@pytest.fixture
def client(net: Network) -> Host:
    """Where the runs are."""
    return net.hosts["client"]


@pytest.fixture
def served(own_server: EmbeddedServer, net: Network) -> tuple[str, str]:
    """A server's URL for this test, by loopback, and for a run behind the network."""
    return serve(own_server, net)


def _patience(*, repaired: bool) -> dict[str, float]:
    """How long a run waits for its server to come back: longer, or shorter, than the network is away."""
    names = {"retry_budget_s", "outage_budget_s"} & set(WriterSettings.model_fields)
    return {"connect_timeout_s": 2, "retry_max_s": 1, **dict.fromkeys(names, 120 if repaired else 5)}


def _finish(process: subprocess.Popen[str], timeout_s: float) -> str:
    """The run's output, once it has ended."""
    try:
        return process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"the run did not end within {timeout_s} s; it said:\n{process.communicate()[0]}")


def _outlast_the_hole(
    near: str,
    net: Network,
    client: Host,
    process: subprocess.Popen[str],
    tmp_path: Path,
    rows: list[Row],
    *,
    repaired: bool,
) -> None:
    """The server's side ends by itself; the run goes on when the network does, or fails loudly, and the next one converges."""
    wait_until(lambda: not sessions(near), "the server's side of the connections is gone", timeout_s=_DETECTION_S)
    if repaired:
        client.heal(net.outside)
    output = _finish(process, timeout_s=60)
    client.heal(net.outside)
    if repaired:
        assert process.returncode == 0, output
    else:
        assert process.returncode == 1
        assert re.search(rf"^{DAY} Database(Unavailable|Outage)\(", output, re.MULTILINE), output
        assert load_one(near, EVENTS, tmp_path, DAY, busy_wait_s=30).error is None
    assert_accounted(near, EVENTS, rows)


@pytest.mark.slow
@pytest.mark.parametrize("repaired", [True, False])
def test_a_copy_into_a_black_hole_ends_on_both_sides(
    served: tuple[str, str], net: Network, client: Host, tmp_path: Path, start: Starter, *, repaired: bool
) -> None:
    near, far = served
    rows = wide_events(1000)
    write_source(tmp_path, "events", DAY, rows, row_group_rows=1000)
    with gate(near, Where.IN_COPY) as closed:
        process = start(far, EVENTS, tmp_path, [DAY], host=client, chunk_rows_max=1000, **_patience(repaired=repaired))
        closed.wait()
        client.cut(net.outside)
        wait_until(lambda: not sessions(near), "the backend in mid-COPY is gone", timeout_s=_DETECTION_S)
    _outlast_the_hole(near, net, client, process, tmp_path, rows, repaired=repaired)


@pytest.mark.slow
@pytest.mark.parametrize("repaired", [True, False])
def test_a_commit_whose_reply_vanishes_is_not_made_twice(
    served: tuple[str, str], net: Network, client: Host, tmp_path: Path, start: Starter, *, repaired: bool
) -> None:
    near, far = served
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    with gate(near, Where.IN_COMMIT) as closed:
        process = start(far, EVENTS, tmp_path, [DAY], host=client, **_patience(repaired=repaired))
        closed.wait()
        client.cut(net.outside)
    committed = "select xmin::text from rowledger.chunk where chunk_no = 1 and state = 'committed'"
    writer = wait_until(lambda: fetch_value(near, committed), "the COMMIT without a reply is done")
    _outlast_the_hole(near, net, client, process, tmp_path, rows, repaired=repaired)
    assert fetch_value(near, committed) == writer


@pytest.mark.slow
@pytest.mark.parametrize("repaired", [True, False])
def test_a_connection_that_died_while_it_was_idle_is_noticed_when_it_is_used(
    served: tuple[str, str], net: Network, client: Host, tmp_path: Path, start: Starter, *, repaired: bool
) -> None:
    near, far = served
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    with gate(near, Where.IN_COMMIT) as closed:
        process = start(far, EVENTS, tmp_path, [DAY], host=client, **_patience(repaired=repaired))
        backend_pid = closed.wait()
        (worker,) = [psutil.Process(pid) for pid in worker_pids(process.pid)]
        worker.suspend()
    wait_until(lambda: fetch_value(near, _IDLE, backend_pid), "the chunk before the last is committed")
    client.cut(net.outside)
    worker.resume()  # it finds the reply in its socket, and begins the next chunk in the hole
    _outlast_the_hole(near, net, client, process, tmp_path, rows, repaired=repaired)


def test_a_short_silence_is_waited_out(
    served: tuple[str, str], net: Network, client: Host, tmp_path: Path, start: Starter
) -> None:
    near, far = served
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    with gate(near, Where.IN_COMMIT) as closed:
        process = start(far, EVENTS, tmp_path, [DAY], host=client)
        backend_pid = closed.wait()
        client.cut(net.outside)
    wait_until(lambda: fetch_value(near, _IDLE, backend_pid), "the reply is on its way to nobody")
    client.heal(net.outside)
    output = _finish(process, timeout_s=60)
    assert process.returncode == 0, output
    assert_accounted(near, EVENTS, rows)


def test_a_run_in_a_black_hole_is_cancelled_in_time(
    served: tuple[str, str], net: Network, client: Host, tmp_path: Path, start: Starter
) -> None:
    near, far = served
    rows = wide_events(1000)
    write_source(tmp_path, "events", DAY, rows, row_group_rows=1000)
    with gate(near, Where.IN_COPY) as closed:
        process = start(far, EVENTS, tmp_path, [DAY], host=client, chunk_rows_max=1000)
        closed.wait()
        workers = [psutil.Process(pid) for pid in worker_pids(process.pid)]
        client.cut(net.outside)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output = _finish(process, timeout_s=30)
        assert time.monotonic() - started < 10, output
        assert process.returncode == run_process.INTERRUPTED, output
        assert not psutil.wait_procs(workers, timeout=1)[1]
        client.heal(net.outside)
    assert load_one(near, EVENTS, tmp_path, DAY, busy_wait_s=30).error is None
    assert_accounted(near, EVENTS, rows)
