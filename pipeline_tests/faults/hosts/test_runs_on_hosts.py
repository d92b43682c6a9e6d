"""What a run is beside its chunks, where these are committed on hosts: its ledger, its dead letters, its user's code."""

import importlib
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.process_hosts import ProcessHosts
from pipeline_tests.support.proxy import Proxy
from pipeline_tests.support.replaying import assert_verified, edit, replay, results
from pipeline_tests.support.server_traps import execute, session
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, READINGS, changed, events, readings, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.errors import HostsUnavailable
from rowledger.hosts.host_pool import HostPool
from rowledger.ledger.pruning import find_prunable, prune
from rowledger.ledger.reports import PartitionReport
from rowledger.machine import available_memory_bytes
from rowledger.publish.forget import run_forget

Begin = Callable[..., "Future[PartitionReport]"]
_DONE_S = 120
_TABLE_OF_RATES = """
from decimal import Decimal

import polars as pl
from pydantic import BaseModel

from rates_of_tax import PERCENT
from rowledger import FrameTransform, ParquetFiles, TableSpec


class Price(BaseModel):
    n: int
    price: int


def with_tax(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("price") * (100 + PERCENT) // 100)


PRICES = TableSpec(
    name="prices",
    row=Price,
    source=ParquetFiles(path="{landing}/prices/{partition_key}.parquet"),
    transform=FrameTransform(function=with_tax),
)
"""


def test_a_host_with_another_module_behind_the_transform_is_refused(
    database: str,
    tmp_path: Path,
    engine: ProcessHosts,
    begin: Begin,
    url: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place, percent in (("head", 19), ("host", 20)):
        folder = tmp_path / place
        folder.mkdir()
        (folder / "prices_with_tax.py").write_text(_TABLE_OF_RATES, encoding="utf-8")
        (folder / "rates_of_tax.py").write_text(f"PERCENT = {percent}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "head")
    for name in ("prices_with_tax", "rates_of_tax"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.import_module("prices_with_tax").PRICES
    (tmp_path / "prices").mkdir()
    pl.DataFrame({"n": range(300), "price": [100] * 300}).write_parquet(tmp_path / "prices" / "all.parquet")
    engine.add("north", {**url, "PYTHONPATH": str(tmp_path / "host")})
    report = begin(spec, "all", start_timeout_s=60).result(_DONE_S)
    assert isinstance(report.error, HostsUnavailable)
    assert "host north: table prices: other code there in 1 module: rates_of_tax; have the same on all hosts" in str(
        report.error
    )
    engine.hosts.pop("north")
    engine.add("south", {**url, "PYTHONPATH": str(tmp_path / "head")})
    assert begin(spec, "all", busy_wait_s=10).result(_DONE_S).error is None
    assert fetch(database, "select price, count(*) from prices group by 1") == [(119, 300)]


def test_a_host_that_began_with_few_connections_gets_more_workers_later(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[HostPool] = []

    class WithFewConnections(HostPool):
        def __init__(self, local: Any, engine: Any, sharing: Any, limits: Any, **others: Any) -> None:
            super().__init__(local, engine, replace(sharing, connections_max=3), limits, **others)
            pools.append(self)

    monkeypatch.setattr("rowledger.hosts.HostPool", WithFewConnections)
    proxy.throttle(lambda name: 4_000 if "worker" in name else None)
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    rows = events(3_000)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY, workers=3)
    wait_until(lambda: _workers_on(database, 1) == 1, "the host has begun")
    pools[0].resize(5)
    wait_until(lambda: _workers_on(database, 1) == 3, "the host has more workers")
    assert not loading.done()
    proxy.throttle(lambda _session: None)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert_accounted(database, EVENTS, rows)


def test_a_host_that_comes_gets_a_share_of_connections_that_another_one_has(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithFiveConnections(HostPool):
        def __init__(self, local: Any, engine: Any, sharing: Any, limits: Any, **others: Any) -> None:
            super().__init__(local, engine, replace(sharing, connections_max=5), limits, **others)

        def resize(self, _workers: int) -> None:
            super().resize(5)

    monkeypatch.setattr("rowledger.hosts.HostPool", WithFiveConnections)
    proxy.throttle(lambda name: 2_000 if "worker" in name else None)
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    rows = events(3_000)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY, workers=3, lease_s=2)
    wait_until(lambda: _workers_on(database, 1) == 3, "the first host has all connections")
    engine.add("south", {"ROWLEDGER_DATABASE_URL": proxy.url})
    wait_until(lambda: (_workers_on(database, 1), _workers_on(database, 2)) == (1, 1), "both have a worker")
    proxy.throttle(lambda _session: None)
    assert loading.result(_DONE_S).error is None
    assert_accounted(database, EVENTS, rows)


def test_what_is_recorded_of_a_host_that_begins_does_not_keep_it_from_its_head(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy
) -> None:
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    rows, others = events(300), events(100, day=NEXT_DAY)
    write_source(tmp_path, "events", DAY, rows)
    write_source(tmp_path, "events", NEXT_DAY, others)
    assert begin(EVENTS, NEXT_DAY).result(_DONE_S).error is None  # there is a ledger now
    proxy.throttle(lambda name: 2_000 if "worker" in name else None)
    with session(database) as other:
        execute(other, "begin; lock table rowledger.incident in exclusive mode")
        loading = begin(EVENTS, DAY, workers=3, worker_memory_bytes=available_memory_bytes(), host_silent_s=2)
        wait_until(lambda: len(engine["north"].agents) == 2, "the host is asked")
        engine["north"].wait_for_news()
        engine["north"].wait_for_news()
        execute(other, "rollback")
    proxy.throttle(lambda _session: None)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert not report.deaths
    assert "workers_limited" in {incident.kind for incident in report.incidents}
    assert_accounted(database, EVENTS, [*rows, *others])


def test_an_agent_that_its_head_has_closed_and_not_ended_leaves(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", url)
    rows = events(300)
    write_source(tmp_path, "events", DAY, rows)
    loading = begin(EVENTS, DAY)
    engine["north"].wait_for_chunk(0)
    engine["north"].outlives_head = True
    agent = psutil.Process(engine["north"].agent_pid)
    assert loading.result(_DONE_S).error is None
    assert not psutil.wait_procs([agent], timeout=30)[1], "the agent is still there"
    assert_accounted(database, EVENTS, rows)


def test_a_row_that_kills_the_workers_of_a_host_becomes_a_dead_letter(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "while_encoding=sigsegv@row=117"})
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    report = begin(EVENTS, DAY, chunk_attempts_max=2, respawns_max=5).result(_DONE_S)
    assert report.error is None
    (letter,) = fetch(database, "select row_no, stage, worker_host, reason from rowledger.dead_letter")
    assert (letter["row_no"], letter["stage"], letter["worker_host"]) == (117, "crash", "north")
    assert "SIGSEGV" in letter["reason"]
    assert {(incident.host, incident.exit_code) for incident in report.deaths} == {("north", -signal.SIGSEGV)}
    assert_accounted(database, EVENTS, rows)


def test_the_loads_of_hosts_are_replayed_verified_pruned_and_forgotten_like_others(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, url: dict[str, str]
) -> None:
    engine.add("north", {**url, "ROWLEDGER_FAILPOINTS": "mid_copy=sigkill@chunk=1,attempt=1"})
    write_source(tmp_path, "events", DAY, changed(events(250), {40: {"code": "far too long for it"}}))
    report = begin(EVENTS, DAY, respawns_max=1).result(_DONE_S)
    assert (report.error, report.written_rows, report.dead_lettered_rows) == (None, 249, 1)
    edit(database, EVENTS, tmp_path, {40: {"code": "short"}})
    assert results(replay(database, EVENTS)) == {40: "written"}
    assert_verified(database, EVENTS)
    engine["north"].environment["ROWLEDGER_FAILPOINTS"] = ""
    rows = events(150)
    write_source(tmp_path, "events", DAY, rows)
    assert begin(EVENTS, DAY, busy_wait_s=10).result(_DONE_S).error is None
    gone = prune(database, find_prunable(database, older_than_s=0, table=None))
    assert (gone["loads"], gone["chunks"], gone["dead_letters"], gone["incidents"]) == (1, 3, 1, 1)
    assert_accounted(database, EVENTS, rows)
    assert len(run_forget(EVENTS, url=database)) == 1


def test_two_runs_at_once_have_an_agent_each_on_the_same_host(
    database: str, tmp_path: Path, engine: ProcessHosts, begin: Begin, proxy: Proxy
) -> None:
    proxy.throttle(lambda name: 2_000 if "worker" in name else None)
    engine.add("north", {"ROWLEDGER_DATABASE_URL": proxy.url})
    of_events, of_readings = events(1_500), readings(1_500)
    write_source(tmp_path, "events", DAY, of_events)
    write_source(tmp_path, "readings", "all", of_readings)
    first = begin(EVENTS, DAY, respawns_max=1)
    engine["north"].wait_for_chunk(0)
    second = begin(READINGS, "all")
    wait_until(lambda: _workers_on(database, 1) == 2, "both have a worker")
    agent = engine["north"].agents[0].process.pid
    (worker,) = psutil.Process(agent).children()
    worker.kill()  # which the other run has nothing to do with
    wait_until(
        lambda: fetch_value(database, "select count(*) from rowledger.incident where kind = 'signal'") == 1,
        "the death is noticed",
    )
    proxy.throttle(lambda _session: None)
    reports = first.result(_DONE_S), second.result(_DONE_S)
    assert [report.error for report in reports] == [None, None]
    assert [len(report.deaths) for report in reports] == [1, 0]
    assert len({agent.process.pid for agent in engine["north"].agents}) == 2
    assert_accounted(database, EVENTS, of_events)
    assert_accounted(database, READINGS, of_readings)


def _workers_on(database: str, number: int) -> int | None:
    """The sessions of workers on the host of this number, in all runs."""
    sessions = "select count(*) from pg_stat_activity where application_name like $1 and datname = current_database()"
    return fetch_value(database, sessions, f"rowledger worker {number}.%")
