"""Chunks on the nodes of a real Ray cluster, each in a network namespace, in good order and while hosts are lost."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import polars as pl
import pytest

from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.ray_hosts import RayHosts, finish, go_on, ray_hosts, wait_until_stopped, worker_pids_on
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from pipeline_tests.support.tables_of_producers import CONVERTED_CSV, NUMBERED
from pipeline_tests.support.tables_on_servers import SALES, sales, set_servers, write_sales
from pipeline_tests.support.waiting import wait_until
from rowledger.embedded.server import EmbeddedServer

_NUMBERS = 3_000


@pytest.fixture
def ray(own_server: EmbeddedServer) -> Iterator[RayHosts]:
    """A cluster with hosts `north` and `south`, without nodes on them so far."""
    with ray_hosts(own_server, "north", "south") as made:
        yield made


_FIRST_FOUR = ";".join(f"after_claim=sigstop@partition={DAY},chunk={number}" for number in range(4))


def test_two_hosts_commit_the_chunks_of_files_that_they_see_of_text_that_is_sent_and_of_a_function(
    ray: RayHosts, tmp_path: Path
) -> None:
    ray.begin_node("north", failpoints=_FIRST_FOUR)
    ray.begin_node("south", failpoints=_FIRST_FOUR)
    ray.wait_until_up()
    rows = events(1_500)
    write_source(tmp_path, "events", DAY, rows)
    with ray.run(EVENTS, tmp_path, [DAY]) as process:
        stopped = [*wait_until_stopped(ray["north"], 2), *wait_until_stopped(ray["south"], 2)]
        go_on(stopped)
        said = finish(process)
    assert process.returncode == 0, said
    assert ray.hosts_of_chunks(EVENTS) == {"north", "south"}, "head's node has no CPUs, so it works for nobody"
    assert_accounted(ray.url, EVENTS, rows)

    numbers = pl.DataFrame({"number": range(_NUMBERS), "pid": [1] * _NUMBERS})
    (tmp_path / "converted.csv").write_bytes(numbers.write_csv().encode("utf-16"))
    for spec, count in ((CONVERTED_CSV, _NUMBERS), (NUMBERED, 500)):
        with ray.run(spec, tmp_path, ["all"]) as process:
            said = finish(process)
        assert process.returncode == 0, said
        assert ray.hosts_of_chunks(spec) <= {"north", "south"}, spec.name
        found = fetch_value(ray.url, f"select array_agg(number order by number) from {spec.target.table}")
        assert found == list(range(count)), spec.name
    assert_nothing_left_over(ray.url, parent=ray.cluster.head.process.pid)


def test_the_chunks_of_a_host_killed_in_mid_copy_are_committed_by_another(ray: RayHosts, tmp_path: Path) -> None:
    ray.begin_node("north", failpoints="mid_copy=sigstop@attempt=1")
    ray.begin_node("south")
    ray.wait_until_up()
    rows = events(1_500)
    write_source(tmp_path, "events", DAY, rows)
    with ray.run(EVENTS, tmp_path, [DAY]) as process:
        stopped = wait_until_stopped(ray["north"], 2)
        killed = ray["north"].kill_all()
        said = finish(process)
    assert process.returncode == 0, said
    lost = ray.incidents("host_lost")
    assert {found["host"] for found in lost} == {"north"}
    # A host that dies in the moment after it has given out chunks may not have told of its workers: then its agent is named.
    assert set() < {found["pid"] for found in lost} <= set(killed)
    assert set(stopped) <= set(killed)
    assert len({found["chunk_no"] for found in lost}) == len(lost)
    assert ray.hosts_of_chunks(EVENTS) == {"south"}
    assert_accounted(ray.url, EVENTS, rows)


def test_a_host_cut_from_the_head_loses_its_chunks_and_ends_its_workers_though_it_reaches_the_database(
    ray: RayHosts, tmp_path: Path
) -> None:
    ray.begin_node("north", failpoints="before_commit=sigstop@attempt=1")
    ray.begin_node("south")
    ray.wait_until_up()
    rows = events(1_500)
    write_source(tmp_path, "events", DAY, rows)
    with ray.run(EVENTS, tmp_path, [DAY], host_silent_s=3) as process:
        wait_until_stopped(ray["north"], 2)
        ray["north"].cut(ray.head)
        said = finish(process)
        assert process.returncode == 0, said
        wait_until(lambda: not worker_pids_on(ray["north"]), "the agent that hears nothing ends its workers")
    assert {found["host"] for found in ray.incidents("host_lost")} == {"north"}
    assert "was silent for 3 s (host_silent_s)" in said
    assert ray.hosts_of_chunks(EVENTS) == {"south"}
    assert_accounted(ray.url, EVENTS, rows)


def test_hosts_load_one_server_after_the_other_and_read_the_url_of_each_from_its_own_variable(
    ray: RayHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(ray.url, "create database us")
    us, us_of_hosts = (urlunsplit(urlsplit(url)._replace(path="/us")) for url in (ray.url, ray.url_of_hosts))
    set_servers(monkeypatch, eu=ray.url_of_hosts, us=us_of_hosts)  # nodes and runs have the variables from here
    ray.add("north")
    rows = {key: write_sales(tmp_path, key, sales(key, 500)) for key in ("eu", "us")}
    with ray.run(SALES, tmp_path, ["us", "eu"]) as process:
        said = finish(process)
    assert process.returncode == 0, said
    for url, key in ((ray.url, "eu"), (us, "us")):
        hosts = fetch(url, "select distinct worker_host from rowledger.chunk")
        assert [row[0] for row in hosts] == ["north"], key
        assert_accounted(url, SALES, rows[key])
