"""A table on two servers, one of which ends in mid-load: its partition fails and is resumed, the other's is published."""

import os
import signal
import threading
from pathlib import Path

import asyncpg
import pytest

from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over
from pipeline_tests.support.database import fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one
from pipeline_tests.support.own_server import crash
from pipeline_tests.support.tables_on_servers import SALES, sales, set_servers, write_sales
from pipeline_tests.support.waiting import wait_until
from rowledger.embedded.server import EmbeddedServer
from rowledger.errors import DatabaseOutage
from rowledger.ledger.outcomes import IncidentKind

_COMMITTED = "select count(*) from rowledger.chunk where state = 'committed'"


def _committed(url: str) -> int:
    try:
        return int(fetch_value(url, _COMMITTED) or 0)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # the ledger, or the server, is not there
        return 0


def test_a_server_that_ends_in_mid_load_costs_its_own_partition_alone_which_a_rerun_resumes(
    own_server: EmbeddedServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = own_server.url()
    set_servers(monkeypatch, eu=database, us=url)
    rows = {key: write_sales(tmp_path, key, sales(key, 3000)) for key in ("us", "eu")}
    struck = threading.Event()

    def strike() -> None:
        wait_until(lambda: _committed(url) >= 3, "chunks commit", timeout_s=60)
        crash(own_server)
        struck.set()

    striking = threading.Thread(target=strike)
    striking.start()
    observer = Recorder()
    try:
        us, eu = load(
            None,
            SALES,
            tmp_path,
            ["us", "eu"],
            observer=observer,
            chunk_rows_max=20,
            workers=2,
            outage_budget_s=1.5,
        )
    finally:
        striking.join(60)
    assert struck.is_set()
    assert isinstance(us.error, DatabaseOutage)
    assert [incident.kind for incident in us.incidents] == [IncidentKind.DATABASE_OUTAGE]
    assert (eu.error, eu.incidents) == (None, ())
    assert_accounted(database, SALES, rows["eu"])
    own_server.ensure_running()
    rerun = load_one(None, SALES, tmp_path, "us", chunk_rows_max=20)
    assert (rerun.error, rerun.resumed) == (None, True)
    assert_accounted(url, SALES, rows["us"])


def test_an_interrupt_ends_the_loads_on_all_servers_and_leaves_nothing_behind(
    database: str, other_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_servers(monkeypatch, eu=database, us=other_database)
    rows = {key: write_sales(tmp_path, key, sales(key, 2000)) for key in ("us", "eu")}
    struck = threading.Event()

    def strike() -> None:
        wait_until(lambda: _committed(database) and _committed(other_database), "chunks commit", timeout_s=60)
        struck.set()
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does

    striking = threading.Thread(target=strike)
    striking.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            load(None, SALES, tmp_path, ["us", "eu"], chunk_rows_max=10, workers=2)
    finally:
        striking.join(60)
    assert struck.is_set()
    for url in (database, other_database):
        assert_nothing_left_over(url)
        assert fetch_value(url, "select count(*) from rowledger.load where state = 'loading'") == 1
    rerun = load(None, SALES, tmp_path, ["us", "eu"], chunk_rows_max=10, workers=2)
    assert [(report.error, report.resumed) for report in rerun] == [(None, True), (None, True)]
    assert_accounted(database, SALES, rows["eu"])
    assert_accounted(other_database, SALES, rows["us"])
