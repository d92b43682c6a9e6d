"""Faults of a Ray cluster and its hosts that take long: the run ends with the exact rows, or red, and nothing is left of it."""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import rowledger
from pipeline.namespaces import Host
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.ray_hosts import (
    RayHosts,
    finish,
    go_on,
    ray_hosts,
    stopped_pids,
    wait_until_stopped,
    worker_pids_on,
)
from pipeline_tests.support.tables import DAY, EVENTS, Row, events, wide_events, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.embedded.server import EmbeddedServer

pytestmark = pytest.mark.slow

_STOP = "mid_copy=sigstop@attempt=1"
_COMMITTED_BY = "select count(*) from rowledger.chunk where state = 'committed' and worker_host = $1"


@pytest.fixture
def ray(own_server: EmbeddedServer) -> Iterator[RayHosts]:
    """A cluster with hosts `north` and `south`, without nodes on them so far."""
    with ray_hosts(own_server, "north", "south") as made:
        yield made


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """The rows of the day, which is landed."""
    rows = events(1_500)
    write_source(tmp_path, "events", DAY, rows)
    return rows


def _named(host: Host, name: str) -> list[psutil.Process]:
    """The processes of a host whose command begins with this name."""
    found = []
    for pid in host.pids():
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            process = psutil.Process(pid)
            if Path(process.cmdline()[0]).name.startswith(name):
                found.append(process)
    return found


def _agents_on(host: Host) -> list[psutil.Process]:
    return _named(host, "ray::_AgentActor")


def test_a_host_cut_from_the_database_is_benched_and_the_run_goes_on(
    ray: RayHosts, tmp_path: Path, rows: list[Row]
) -> None:
    ray.begin_node("north", failpoints=_STOP)
    ray.begin_node("south")
    ray.wait_until_up()
    with ray.run(EVENTS, tmp_path, [DAY], connect_timeout_s=2, retry_max_s=1) as process:
        stopped = wait_until_stopped(ray["north"], 2)
        ray["north"].cut(ray.outside)
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)  # those that take their place cannot connect
        said = finish(process)
    ray["north"].heal(ray.outside)
    assert process.returncode == 0, said
    assert {found["host"] for found in ray.incidents("host_benched")} == {"north"}, said
    assert ray.hosts_of_chunks(EVENTS) == {"south"}
    assert_accounted(ray.url, EVENTS, rows)


def test_a_host_cut_from_the_head_for_less_than_its_silence_goes_on(
    ray: RayHosts, tmp_path: Path, rows: list[Row]
) -> None:
    ray.add("north", failpoints=_STOP)
    with ray.run(EVENTS, tmp_path, [DAY], host_silent_s=120, stall_timeout_s=120) as process:
        wait_until_stopped(ray["north"], 2)
        ray["north"].cut(ray.head)
        committed = fetch_value(ray.url, _COMMITTED_BY, "north")

        def resume() -> bool:
            go_on(stopped_pids(ray["north"]))
            return bool(fetch_value(ray.url, _COMMITTED_BY, "north") >= committed + 2)

        wait_until(resume, "chunks commit that the head does not hear of")
        ray["north"].heal(ray.head)
        while process.poll() is None:
            go_on(stopped_pids(ray["north"]))
        said = finish(process)
    assert process.returncode == 0, said
    assert fetch(ray.url, "select * from rowledger.incident") == [], said
    assert_accounted(ray.url, EVENTS, rows)


def test_agents_and_workers_of_a_killed_driver_end_and_a_rerun_takes_over(
    ray: RayHosts, tmp_path: Path, rows: list[Row]
) -> None:
    ray.begin_node("north", failpoints=_STOP)
    ray.begin_node("south")
    ray.wait_until_up()
    with ray.run(EVENTS, tmp_path, [DAY]) as process:
        wait_until_stopped(ray["north"], 2)
        wait_until(lambda: fetch_value(ray.url, _COMMITTED_BY, "south"), "south commits")
        process.kill()
        process.wait(60)
    for host in (ray["north"], ray["south"]):
        wait_until(lambda host=host: not worker_pids_on(host), f"workers on {host.name} end")
        wait_until(lambda host=host: not _agents_on(host), f"the agent on {host.name} ends")
    with ray.run(EVENTS, tmp_path, [DAY], hosts=1, busy_wait_s=60) as process:
        while process.poll() is None:
            go_on(stopped_pids(ray["north"]))
        said = finish(process)
    assert process.returncode == 0, said
    assert fetch_value(ray.url, "select epoch from rowledger.load") == 2
    assert_accounted(ray.url, EVENTS, rows)


@pytest.mark.parametrize("service", ["gcs_server", "raylet"])
def test_a_run_whose_head_loses_a_service_of_ray_is_finished_or_red_and_its_rerun_green(
    ray: RayHosts, tmp_path: Path, rows: list[Row], service: str
) -> None:
    ray.begin_node("north", failpoints=_STOP)
    ray.begin_node("south")
    ray.wait_until_up()
    with ray.run(EVENTS, tmp_path, [DAY]) as process:
        stopped = wait_until_stopped(ray["north"], 2)
        (killed,) = _named(ray.head, service)
        killed.kill()
        killed.wait(60)
        go_on(stopped)
        while process.poll() is None:
            go_on(stopped_pids(ray["north"]))
        said = finish(process)
    if process.returncode == 0:
        assert_accounted(ray.url, EVENTS, rows)
    wait_until(lambda: not worker_pids_on(ray["north"]) and not worker_pids_on(ray["south"]), "workers end")
    report = load_one(ray.url, EVENTS, tmp_path, DAY, busy_wait_s=60)
    assert report.error is None, said
    assert_accounted(ray.url, EVENTS, rows)


def test_a_frozen_host_that_thaws_after_the_run_changes_nothing(ray: RayHosts, tmp_path: Path, rows: list[Row]) -> None:
    ray.begin_node("north", failpoints="before_commit=sigstop@attempt=1")
    ray.begin_node("south")
    ray.wait_until_up()
    with ray.run(EVENTS, tmp_path, [DAY], host_silent_s=3) as process:
        wait_until_stopped(ray["north"], 2)
        ray["north"].freeze()
        said = finish(process)
    assert process.returncode == 0, said
    assert {found["host"] for found in ray.incidents("host_lost")} == {"north"}
    ray["north"].thaw()
    wait_until(lambda: not worker_pids_on(ray["north"]), "the thawed workers end")
    wait_until(lambda: not _agents_on(ray["north"]), "the thawed agent ends")
    assert ray.hosts_of_chunks(EVENTS) == {"south"}
    assert_accounted(ray.url, EVENTS, rows)


def test_a_host_with_another_version_of_the_code_is_refused(ray: RayHosts, tmp_path: Path, rows: list[Row]) -> None:
    package = Path(rowledger.__file__).parent
    other = tmp_path / "other"
    shutil.copytree(package, other / "rowledger", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "rowledger" / "errors.py").open("a") as module:
        module.write("# another version\n")
    ray.begin_node("north", PYTHONPATH=os.pathsep.join([str(other), *sys.path]))
    ray.begin_node("south")
    ray.wait_until_up()
    # Ray has agents search the folder in which the run was started before all others.
    with ray.run(EVENTS, tmp_path, [DAY], cwd=tmp_path) as process:
        said = finish(process)
    assert process.returncode == 0, said
    (refused,) = ray.incidents("host_refused")
    assert refused["host"] == "north"
    assert "it runs other code than the head: rowledger" in refused["summary"]
    assert ray.hosts_of_chunks(EVENTS) == {"south"}
    assert_accounted(ray.url, EVENTS, rows)


def test_a_host_without_rowledger_is_refused_at_its_first_try(ray: RayHosts, tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "other" / "rowledger").mkdir(parents=True)
    (tmp_path / "other" / "rowledger" / "__init__.py").touch()
    ray.begin_node("north", PYTHONPATH=os.pathsep.join([str(tmp_path / "other"), *sys.path]))
    ray.begin_node("south", failpoints="after_claim=sigstop@chunk=0")
    ray.wait_until_up()
    with ray.run(EVENTS, tmp_path, [DAY], cwd=tmp_path) as process:
        stopped = wait_until_stopped(ray["south"])
        wait_until(lambda: ray.incidents("host_refused"), "north is refused")
        go_on(stopped)
        said = finish(process)
    assert process.returncode == 0, said
    (refused,) = ray.incidents("host_refused")
    assert refused["summary"].startswith("host north cannot work for this run: its agent cannot start there: ")
    assert "No module named 'rowledger.engines'" in refused["summary"]
    assert ray.incidents("host_lost") == []
    assert ray.hosts_of_chunks(EVENTS) == {"south"}
    assert_accounted(ray.url, EVENTS, rows)


def test_a_host_that_comes_in_mid_load_takes_chunks_and_one_that_goes_gives_its_back(
    ray: RayHosts, tmp_path: Path, rows: list[Row]
) -> None:
    ray.add("north", failpoints="after_claim=sigstop@chunk=0;after_claim=sigstop@chunk=1")
    with ray.run(EVENTS, tmp_path, [DAY]) as process:
        wait_until_stopped(ray["north"], 2)
        ray.add("south")
        wait_until(lambda: fetch_value(ray.url, _COMMITTED_BY, "south"), "south commits")
        ray["north"].kill_all()
        said = finish(process)
    assert process.returncode == 0, said
    assert ray.hosts_of_chunks(EVENTS) == {"south"}
    assert {found["host"] for found in ray.incidents("host_lost")} == {"north"}
    assert_accounted(ray.url, EVENTS, rows)


def test_a_slow_link_holds_the_run_for_no_longer_than_its_last_chunk(ray: RayHosts, tmp_path: Path) -> None:
    rows = wide_events(600)
    write_source(tmp_path, "events", DAY, rows, row_group_rows=20)
    ray.begin_node("north", failpoints="after_claim=sigstop@attempt=1")
    ray.begin_node("south")
    ray.wait_until_up()
    with ray.run(EVENTS, tmp_path, [DAY], chunk_rows_max=20, host_silent_s=30) as process:
        wait_until_stopped(ray["north"], 2)
        ray["north"].slow(ray.outside, delay_s=0.1, bytes_per_s=100_000)
        ray["north"].slow(ray.head, delay_s=0.1)
        while process.poll() is None:
            go_on(stopped_pids(ray["north"]))
        said = finish(process)
    assert process.returncode == 0, said
    assert fetch(ray.url, "select * from rowledger.incident") == [], said
    by_north, by_south = (fetch_value(ray.url, _COMMITTED_BY, name) for name in ("north", "south"))
    assert 0 < 3 * by_north < by_south, "it is slow"
    assert_accounted(ray.url, EVENTS, rows)
