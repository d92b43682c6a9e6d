"""Chunks on other hosts: each is committed once, whatever becomes of the hosts that were given it."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder
from pipeline_tests.support.process_hosts import ProcessHosts
from pipeline_tests.support.proxy import Proxy
from pipeline_tests.support.server_traps import execute, session
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from pipeline_tests.support.waiting import is_stopped, wait_until
from rowledger.errors import HostsUnavailable, PoolBroken
from rowledger.hosts.host_pool import HostPool
from rowledger.hosts.versions import code_versions
from rowledger.ledger.reports import PartitionReport

Begin = Callable[..., "Future[PartitionReport]"]
_COMMITTED = "select count(*) from rowledger.chunk where state = 'committed'"
_DONE_S = 120


def _hosts_of_chunks(database: str) -> dict[int, str]:
    return {row[0]: row[1] for row in fetch(database, "select chunk_no, worker_host from rowledger.chunk order by 1")}


def test_all_hosts_commit_chunks_and_the_ledger_names_them(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", url)
    engine.add("south", url)
    rows = events(3_000)
    write_source(tmp_path, "events", DAY, rows)
    report = begin(EVENTS, DAY, workers=2).result(_DONE_S)
    assert report.error is None
    assert report.peak_rss_bytes > 2**20
    assert set(_hosts_of_chunks(database).values()) == {"north", "south"}
    assert_accounted(database, EVENTS, rows)


def test_the_chunks_of_a_killed_host_are_committed_by_another(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "mid_copy=sleep@chunk=0;mid_copy=sleep@chunk=1"})
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY, workers=2, host_silent_s=60)
    engine["north"].wait_for_chunk(1)
    _wait_for_sessions(database, "rowledger worker 1.%", 2)
    engine["north"].wait_for_news()  # that both workers have their chunks
    pids = engine["north"].kill()
    engine.hosts.pop("north")
    engine.add("south", url)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert set(_hosts_of_chunks(database).values()) == {"south"}
    lost = [incident for incident in report.deaths if incident.kind == "host_lost"]
    assert {incident.host for incident in lost} == {"north"}
    assert {incident.pid for incident in lost} < set(pids)
    assert sorted(incident.chunk_no for incident in lost if incident.chunk_no is not None) == [0, 1]
    assert (
        fetch_value(database, "select count(*) from rowledger.incident where kind = 'host_lost' and host = 'north'")
        == 2
    )
    assert_accounted(database, EVENTS, rows)


def test_a_host_that_head_and_host_cannot_talk_to_loses_its_chunks_and_ends_itself(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "mid_copy=sleep@chunk=0"})
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY)
    engine["north"].wait_for_chunk(0)
    processes = engine["north"].processes()
    engine["north"].cut()
    engine.hosts.pop("north")
    engine.add("south", url)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert any("was silent for 5 s (host_silent_s)" in incident.summary for incident in report.deaths)
    assert not psutil.wait_procs(processes, timeout=20)[1], "the host goes on, though it hears nothing"
    assert_accounted(database, EVENTS, rows)


def test_a_frozen_host_that_thaws_writes_nothing(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "before_commit=sigstop@chunk=0"})
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY)
    engine["north"].wait_for_chunk(0)
    wait_until(lambda: any(is_stopped(one.pid) for one in engine["north"].processes()), "the worker has stopped")
    north = engine.hosts.pop("north")
    processes = north.processes()
    north.freeze()
    north.is_cut = True  # a frozen host cannot be ended from afar
    engine.add("south", url)
    report = loading.result(_DONE_S)
    assert report.error is None
    for process in processes:
        process.resume()
    assert not psutil.wait_procs(processes, timeout=20)[1], "the thawed host goes on"
    assert set(_hosts_of_chunks(database).values()) == {"south"}
    assert_accounted(database, EVENTS, rows)


def test_a_host_that_cannot_reach_the_database_is_benched_and_comes_back(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy
) -> None:
    observer = Recorder()
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    proxy.throttle(lambda session: 2_000 if "worker" in session else None)
    loading = begin(EVENTS, DAY, observer=observer)
    engine["north"].wait_for_chunk(0)
    _wait_for_sessions(database, "rowledger worker 1.%", 1)
    proxy.refuse()
    wait_until(lambda: "cannot reach the database" in observer.text, "the host is benched")
    assert fetch_value(database, _COMMITTED) == 0
    proxy.throttle(lambda _session: None)
    proxy.accept()
    wait_until(lambda: "reaches the database again" in observer.text, "the host gets chunks again")
    report = loading.result(_DONE_S)
    assert report.error is None
    assert {"host_benched"} <= {incident.kind for incident in report.incidents}
    assert not report.deaths
    assert_accounted(database, EVENTS, rows)


def test_while_one_host_is_benched_the_others_go_on(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str], proxy: Proxy
) -> None:
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    proxy.throttle(lambda session: 2_000 if "worker" in session else None)
    loading = begin(EVENTS, DAY)
    engine["north"].wait_for_chunk(0)
    proxy.refuse()
    engine.add("south", url)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert set(_hosts_of_chunks(database).values()) == {"south"}
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("what", ["code", "contract", "database", "no URL"])
def test_a_host_that_is_not_like_the_head_is_refused_with_the_reason(
    database: str,
    tmp_path: Path,
    engine: ProcessHosts,
    begin: Begin,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    said = {
        "code": "it runs other code than the head: polars",
        "contract": "table events: its row model or transform is another one there",
        "database": "its ROWLEDGER_DATABASE_URL leads to another server or database than the head's",
        "no URL": "ROWLEDGER_DATABASE_URL is not set there",
    }[what]
    if what == "code":
        monkeypatch.setattr("rowledger.hosts.code_versions", lambda: {**code_versions(), "polars": "1.0"})
    if what == "contract":
        monkeypatch.setattr("rowledger.hosts.contract_digest", lambda _spec: "another")
    parts = urlsplit(database)
    elsewhere = {"database": urlunsplit(parts._replace(path="/postgres")), "no URL": ""}
    engine.add("north", {"ROWLEDGER_DATABASE_URL": elsewhere.get(what, database)})
    write_source(tmp_path, "events", DAY, events(100))
    report = begin(EVENTS, DAY, start_timeout_s=60).result(_DONE_S)  # which it need not wait for
    assert isinstance(report.error, HostsUnavailable)
    assert f"host north: {said}" in str(report.error)
    assert fetch_value(database, "select count(*) from rowledger.incident where kind = 'host_refused'") == 1


def test_a_run_that_loses_more_hosts_than_it_may_fails_and_a_rerun_goes_on(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "mid_copy=sleep@chunk=3"})
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY, hosts_lost_max=0)
    wait_until(lambda: (fetch_value(database, _COMMITTED) or 0) >= 3, "chunks commit")
    engine["north"].wait_for_chunk(3)
    engine["north"].kill()
    report = loading.result(_DONE_S)
    assert isinstance(report.error, HostsUnavailable)
    assert "1 host lost in this run, hosts_lost_max is 0" in str(report.error)
    engine.hosts.pop("north")
    engine.add("south", url)
    report = begin(EVENTS, DAY, busy_wait_s=10).result(_DONE_S)
    assert report.error is None
    assert report.resumed
    assert_accounted(database, EVENTS, rows)


def test_a_run_without_any_host_fails_with_what_to_do(tmp_path: Path, engine: ProcessHosts, begin: Begin) -> None:
    assert not engine.hosts
    write_source(tmp_path, "events", DAY, events(100))
    report = begin(EVENTS, DAY, start_timeout_s=8).result(_DONE_S)
    assert isinstance(report.error, HostsUnavailable)
    assert "the engine had no host for 8 s (start_timeout_s)" in str(report.error)


def test_a_worker_s_death_is_the_host_s_own_matter_and_counts_for_the_run(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "mid_copy=sigkill@chunk=2,attempt=1"})
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    report = begin(EVENTS, DAY, respawns_max=1).result(_DONE_S)
    assert report.error is None
    (death,) = report.deaths
    assert (death.kind, death.host, death.chunk_no, death.exit_code) == ("signal", "north", 2, -9)
    assert_accounted(database, EVENTS, rows)


def test_the_deaths_of_all_hosts_together_are_held_against_the_respawn_budget(
    tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    killing = {**url, "ROWLEDGER_FAILPOINTS": "mid_copy=sigkill@attempt=1"}
    engine.add("north", killing)
    engine.add("south", killing)
    write_source(tmp_path, "events", DAY, events(3_000))
    report = begin(EVENTS, DAY, respawns_max=5, workers=2).result(_DONE_S)
    assert isinstance(report.error, PoolBroken)
    assert "respawn budget is 5" in str(report.error)


def test_a_host_that_comes_later_gets_chunks_and_one_that_goes_loses_them(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy
) -> None:
    slow = {"ROWLEDGER_DATABASE_URL": proxy.url}
    proxy.throttle(lambda session: 20_000 if "worker" in session else None)
    engine.add("north", slow)
    rows = events(3_000)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY)
    engine["north"].wait_for_chunk(1)
    engine.add("south", slow)
    wait_until(lambda: "south" in _hosts_of_chunks(database).values(), "the new host commits a chunk")
    engine.remove("north")
    proxy.throttle(lambda _session: None)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert set(_hosts_of_chunks(database).values()) == {"north", "south"}
    assert_accounted(database, EVENTS, rows)


def test_a_host_with_fewer_connections_than_before_stops_workers_and_loses_no_row(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kept(HostPool):
        async def __aenter__(self) -> Self:
            pools.append(self)
            return await super().__aenter__()

        def resize(self, _workers: int) -> None:
            """As often as the run looks at what the server has left, this is the test's own matter."""

        def have(self, workers: int) -> None:
            super().resize(workers)

    pools: list[Kept] = []
    monkeypatch.setattr("rowledger.hosts.HostPool", Kept)
    proxy.throttle(lambda session: 4_000 if "worker" in session else None)
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    rows = events(3_000)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY, workers=3)
    _wait_for_sessions(database, "rowledger worker 1.%", 3)
    pools[0].have(3)  # the local worker's, the agent's and one more
    wait_until(lambda: len(_sessions_like(database, "rowledger worker 1.%")) == 1, "two workers have ended")
    assert not loading.done()
    proxy.throttle(lambda _session: None)
    pools[0].have(5)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert not report.deaths
    assert_accounted(database, EVENTS, rows)


def test_no_process_is_left_when_a_run_fails_while_hosts_are_at_work(
    tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "before_commit=raise@chunk=3;mid_copy=sleep@chunk=2"})
    write_source(tmp_path, "events", DAY, events(600))
    loading = begin(EVENTS, DAY, workers=2)
    engine["north"].wait_for_chunk(3)
    processes = engine["north"].processes()
    assert "chunk 3: on host north: " in str(loading.result(_DONE_S).error)
    assert not psutil.wait_procs(processes, timeout=10)[1]


def _sessions_like(database: str, pattern: str) -> list[int]:
    """The server processes of this test's sessions with such names; tests beside it have others."""
    found = fetch(
        database,
        "select pid from pg_stat_activity where application_name like $1 and datname = current_database()",
        pattern,
    )
    return [row[0] for row in found]


def _wait_for_sessions(database: str, pattern: str, count: int) -> None:
    wait_until(lambda: len(_sessions_like(database, pattern)) >= count, f"{count} sessions like {pattern}")


def test_the_dead_workers_of_a_lost_host_count_once_while_its_loss_is_recorded(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str], proxy: Proxy
) -> None:
    dying = "mid_copy=sigkill@chunk=0,attempt=1;mid_copy=sigkill@chunk=0,attempt=2;mid_copy=sleep@chunk=0"
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": dying})
    rows = events(100)
    write_source(tmp_path, "events", DAY, rows)
    proxy.throttle(lambda session: 2_000 if "worker" in session else None)
    loading = begin(EVENTS, DAY, respawns_max=3, workers=1)
    wait_until(
        lambda: fetch_value(database, "select count(*) from rowledger.incident where kind = 'signal'") == 2,
        "two workers have died",
    )
    engine["north"].wait_for_news()
    engine.add("south", {"ROWLEDGER_DATABASE_URL": proxy.url})
    wait_until(lambda: bool(engine["south"].calls), "south is asked")
    engine["south"].wait_for_news()
    with session(database) as other:
        execute(other, "lock table rowledger.incident in exclusive mode")  # so that recording the loss takes a while
        engine["north"].kill()
        engine.hosts.pop("north")
        engine["south"].wait_for_chunk(0)
        engine["south"].wait_for_news()
    proxy.throttle(lambda _session: None)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert_accounted(database, EVENTS, rows)


def test_a_run_that_ends_meanwhile_waits_until_the_loss_of_a_host_is_recorded(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    observer = Recorder()
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "mid_copy=sleep@chunk=0"})
    write_source(tmp_path, "events", DAY, events(100))
    loading = begin(EVENTS, DAY, workers=1, observer=observer, host_silent_s=60)
    engine["north"].wait_for_chunk(0)
    _wait_for_sessions(database, "rowledger worker 1.%", 1)
    engine.add("south", {**url, "ROWLEDGER_FAILPOINTS": "before_commit=raise@chunk=0"})
    _wait_for_sessions(database, "rowledger worker 2.%", 1)
    engine["south"].wait_for_news()
    with session(database) as other:
        execute(other, "lock table rowledger.incident in exclusive mode")
        engine["north"].kill()
        engine.hosts.pop("north")
        wait_until(lambda: observer.reports, "the load has failed")
    assert "failpoint" in str(loading.result(_DONE_S).error)
    assert fetch_value(database, "select count(*) from rowledger.incident where kind = 'host_lost'") == 1


def test_a_host_that_the_database_does_not_answer_at_first_works_once_it_does(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy
) -> None:
    observer = Recorder()
    proxy.refuse()
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    rows = events(300)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY, observer=observer, host_silent_s=3, hosts_lost_max=0)
    wait_until(lambda: "host north cannot work for this run yet: cannot connect" in observer.text, "it has no database")
    wait_until(lambda: len(engine["north"].agents) > 2, "it is asked again")
    proxy.accept()
    report = loading.result(_DONE_S)
    assert report.error is None
    assert [incident.kind for incident in report.incidents] == ["host_refused"]
    assert set(_hosts_of_chunks(database).values()) == {"north"}
    assert_accounted(database, EVENTS, rows)


def test_a_run_whose_only_host_the_database_never_answers_fails_with_the_reason(
    tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy
) -> None:
    proxy.refuse()
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    write_source(tmp_path, "events", DAY, events(100))
    report = begin(EVENTS, DAY, host_silent_s=3, outage_budget_s=4).result(_DONE_S)
    assert isinstance(report.error, HostsUnavailable)
    assert "no host can work for this run: host north: cannot connect" in str(report.error)


def test_a_host_that_has_not_yet_seen_the_server_come_back_is_not_benched(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy
) -> None:
    observer = Recorder()
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    rows = events(300)
    write_source(tmp_path, "events", DAY, rows)
    proxy.throttle(lambda session: 2_000 if "worker" in session else None)
    loading = begin(
        EVENTS, DAY, observer=observer, retry_max_s=60
    )  # what a try may wait for, not what the first ones do
    engine["north"].wait_for_chunk(0)
    _wait_for_sessions(database, "rowledger worker 1.%", 1)
    proxy.refuse()
    wait_until(lambda: "host north: the database is away" in observer.text, "the host has no database")
    engine["north"].wait_for_news()
    proxy.throttle(lambda _session: None)
    proxy.accept()
    report = loading.result(_DONE_S)
    assert report.error is None
    assert "cannot reach the database" not in observer.text
    assert "host_benched" not in {incident.kind for incident in report.incidents}
    assert_accounted(database, EVENTS, rows)


def test_a_host_that_can_start_no_worker_is_lost_and_the_run_goes_on(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "mid_copy=sleep@chunk=0"})
    rows = events(300)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY, respawns_max=3, host_silent_s=60)
    engine["north"].wait_for_chunk(0)
    _wait_for_sessions(database, "rowledger worker 1.%", 1)
    agent, *workers = engine["north"].processes()
    descriptors = agent.num_fds()
    agent.rlimit(psutil.RLIMIT_NOFILE, (descriptors, descriptors))
    for worker in workers:
        worker.kill()
    psutil.wait_procs([agent], timeout=_DONE_S)
    engine.hosts.pop("north")
    engine.add("south", url)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert any("a worker could not be started" in incident.summary for incident in report.incidents)
    assert set(_hosts_of_chunks(database).values()) == {"south"}
    assert_accounted(database, EVENTS, rows)
