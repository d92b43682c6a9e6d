"""Connections that are cut at any byte, refused for a while, or slow: a run goes on, and no row is lost or doubled."""

import random
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.loading import Recorder, load, load_one
from pipeline_tests.support.proxy import Fate, Proxy, Request
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, events, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.reports import PartitionReport

_CUTS = 25


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_connections_cut_at_any_byte_lose_and_double_nothing(
    database: str, tmp_path: Path, proxy: Proxy, seed: int
) -> None:
    days = [DAY, NEXT_DAY]
    for day in days:
        write_source(tmp_path, "events", day, events(1000, day))
    chance = random.Random(seed)

    def bytes_before_the_cut(session: str) -> int | None:
        # Half of them early, in the talk that begins a session or a transaction, half anywhere in a chunk or two.
        if session == "rowledger setup" or proxy.cuts >= _CUTS:
            return None
        return chance.choice([chance.randint(200, 3_000), chance.randint(200, 30_000)])

    proxy.cut_after(bytes_before_the_cut)
    reports = load(proxy.url, EVENTS, tmp_path, days, workers=2, chunk_rows_max=40, retry_budget_s=60, retry_max_s=0.05)
    assert proxy.cuts >= _CUTS
    assert [report.error for report in reports] == [None, None]
    assert_accounted(database, EVENTS, [row for day in days for row in events(1000, day)])


def _is_copy(request: Request) -> bool:
    return request.session.startswith("rowledger worker") and request.text.startswith("COPY ")


def test_a_server_that_refuses_connections_for_a_while_is_waited_for(
    database: str, tmp_path: Path, proxy: Proxy
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    observer = Recorder()
    trap = proxy.trap(_is_copy, Fate.NEVER_ARRIVES)
    with ThreadPoolExecutor(1) as thread:
        run: Future[PartitionReport] = thread.submit(
            load_one, proxy.url, EVENTS, tmp_path, DAY, observer=observer, retry_budget_s=60
        )
        trap.wait()
        proxy.refuse()
        try:
            wait_until(lambda: "the database is away" in observer.text or run.done(), "the gate closes", timeout_s=60)
            assert not run.done()
        finally:
            proxy.accept()
        report = run.result()
    assert report.error is None
    assert {incident.kind for incident in report.incidents} <= {IncidentKind.DATABASE_OUTAGE}
    assert_accounted(database, EVENTS, rows)
