"""Runs on several hosts, as Dagster places whole partitions: they share the server and the source folder, and nothing else.

Each host is a network namespace of its own; what befalls it, befalls all of its processes.
"""

import gzip
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from pyarrow import fs

from pipeline.namespaces import Host, Network
from pipeline_tests.support.assertions import assert_accounted, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.hosts import hosts, serve
from pipeline_tests.support.installation import Installation
from pipeline_tests.support.object_store import object_store, put, variables
from pipeline_tests.support.server_gate import Where, gate
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, SCHEMAS, Row, events, write_source
from pipeline_tests.support.waiting import is_stopped, wait_until
from rowledger.embedded.server import EmbeddedServer
from rowledger.sources.csv import CsvFiles
from rowledger.sources.json_files import JsonFiles
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.source import Source
from rowledger.spec.table import TableSpec

_END_S = 120
_BACKENDS = (
    "select pid from pg_stat_activity join rowledger.lease on application_name like '%' || replace(holder::text, '-', '') "
    "where holder_host = $1"
)
_ALIVE = "select pid from pg_stat_activity where pid = any($1::int[])"
_HOLDERS = "select holder_host from rowledger.lease order by 1"


@dataclass(frozen=True)
class Cluster:
    """Two hosts that run loads, the machine that the server is on, and the server: `near` for the test, `far` for them."""

    net: Network
    north: Host
    south: Host
    near: str
    far: str
    log: Path
    landing: Path
    start: Callable[..., "subprocess.Popen[str]"]

    def run(
        self, host: Host, key: str = DAY, *, spec: TableSpec = EVENTS, **options: object
    ) -> "subprocess.Popen[str]":
        """Start a run of one partition on a host."""
        return self.start(self.far, spec, self.landing, [key], host=host, **options)

    def backends_of(self, host: Host) -> list[int]:
        """The server's processes that work for runs on a host, while these hold their leases."""
        return [row[0] for row in fetch(self.near, _BACKENDS, host.name)]

    def write(self, key: str = DAY, *, first: int = 0) -> list[Row]:
        """A source with three chunks; the second one, of event 100, is what gates wait for."""
        rows = events(250, key, first=first)
        write_source(self.landing, "events", key, rows)
        return rows


@pytest.fixture
def cluster(
    own_server: EmbeddedServer, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> Iterator[Cluster]:
    with hosts("north", "south") as net:
        near, far = serve(own_server, net)
        landing = tmp_path / "landing"
        landing.mkdir()
        yield Cluster(net, net.hosts["north"], net.hosts["south"], near, far, own_server.log_path, landing, start)


def _end(process: "subprocess.Popen[str]", code: int) -> str:
    """What the run has said, once it has ended, and ended so."""
    try:
        output = process.communicate(timeout=_END_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"the run did not end within {_END_S} s; it said:\n{process.communicate()[0]}")
    assert process.returncode == code, output
    return output


def test_hosts_load_different_partitions_at_once(cluster: Cluster) -> None:
    rows = cluster.write(DAY) + cluster.write(NEXT_DAY)
    with gate(cluster.near, Where.IN_COPY) as closed:
        runs = [cluster.run(cluster.north, DAY), cluster.run(cluster.south, NEXT_DAY)]
        wait_until(lambda: len(closed.all_waiting()) == 2, "both are in mid-COPY")
        assert [row[0] for row in fetch(cluster.near, _HOLDERS)] == ["north", "south"]
    for run in runs:
        _end(run, 0)
    assert_accounted(cluster.near, EVENTS, rows)


def test_of_two_hosts_at_one_partition_one_waits_and_gives_up_or_loads_after_the_other(cluster: Cluster) -> None:
    rows = cluster.write()
    with gate(cluster.near, Where.IN_COPY) as closed:
        first = cluster.run(cluster.north)
        closed.wait()
        output = _end(cluster.run(cluster.south, busy_wait_s=1), 1)
        assert "PartitionBusy" in output
        assert "on north" in output
        second = cluster.run(cluster.south, busy_wait_s=_END_S)
        assert second.stdout is not None
        assert any("is being loaded by" in line for line in second.stdout), "it waits"
    _end(first, 0)
    _end(second, 0)
    states = [row[0] for row in fetch(cluster.near, "select state from rowledger.load order by load_id")]
    assert states == ["replaced", "published"]
    assert_accounted(cluster.near, EVENTS, rows)


def _kill(cluster: Cluster) -> None:
    cluster.north.kill_all()


def _cut(cluster: Cluster) -> None:
    cluster.north.cut(cluster.net.outside)


def _lose(cluster: Cluster) -> None:
    """As where a machine loses its power: nobody tells the server."""
    _cut(cluster)
    _kill(cluster)


def _freeze(cluster: Cluster) -> None:
    cluster.north.freeze()


def _suspend(cluster: Cluster) -> None:
    """As a virtual machine that is paused: its kernel answers no packet either."""
    _freeze(cluster)
    _cut(cluster)


def _restore(cluster: Cluster) -> None:
    cluster.north.heal(cluster.net.outside)
    cluster.north.thaw()


_QUICK = {(_lose, Where.IN_COPY), (_freeze, Where.IN_COMMIT)}  # one of each kind; the others run with the slow tests


@pytest.mark.parametrize(
    ("strike", "where"),
    [
        pytest.param(*case, marks=() if case in _QUICK else pytest.mark.slow)
        for case in itertools.product([_kill, _lose, _cut, _freeze, _suspend], Where)
    ],
)
def test_a_hosts_partition_is_taken_over_by_another_and_what_comes_back_is_fenced(
    cluster: Cluster, strike: Callable[[Cluster], None], where: Where
) -> None:
    rows = cluster.write()
    patience = {"lease_s": 1, "outage_budget_s": 120, "connect_timeout_s": 2, "chunk_attempts_max": 20}
    with gate(cluster.near, where) as closed:
        struck = cluster.run(cluster.north, **patience)
        closed.wait()
        orphans = cluster.backends_of(cluster.north)
        strike(cluster)
    survives = strike not in {_kill, _lose}
    if survives:
        assert struck.poll() is None
    else:
        assert struck.wait(_END_S) == -9
    if strike is not _kill:
        assert fetch(cluster.near, _ALIVE, orphans), "the server has heard nothing"

    output = _end(cluster.run(cluster.south, busy_wait_s=60, retry_budget_s=60), 0)
    load = fetch(cluster.near, "select load_id, epoch, state from rowledger.load")
    assert [(row["epoch"], row["state"]) for row in load] == [(2, "published")], output
    assert not fetch(cluster.near, _ALIVE, orphans)
    if strike is not _kill:
        ended = [line for line in cluster.log.read_text().splitlines() if "due to administrator command" in line]
        assert any(f"[{orphan}]" in line for orphan in orphans for line in ended), "the takeover has ended them"
    published = table_rows(cluster.near, EVENTS)

    _restore(cluster)
    if survives:
        assert "Fenced" in _end(struck, 1)
    assert table_rows(cluster.near, EVENTS) == published
    assert fetch_value(cluster.near, "select count(*) from rowledger.load") == 1
    assert_accounted(cluster.near, EVENTS, rows)


@pytest.mark.slow
def test_a_host_that_is_cut_off_for_a_while_goes_on_and_the_other_one_does_not_notice(cluster: Cluster) -> None:
    rows = cluster.write(DAY) + (others := cluster.write(NEXT_DAY, first=1000))
    with gate(cluster.near, Where.IN_COPY) as closed:
        cut_off = cluster.run(cluster.north, DAY, outage_budget_s=120, connect_timeout_s=2, retry_max_s=1)
        backend = closed.wait()
        _cut(cluster)
        _end(cluster.run(cluster.south, NEXT_DAY), 0)
        assert len(table_rows(cluster.near, EVENTS)) == len(others)
        wait_until(lambda: not fetch(cluster.near, _ALIVE, [backend]), "the server has given it up")
        assert cut_off.poll() is None
    _restore(cluster)
    said = _end(cut_off, 0)
    # It may hear of its own end of the connection only now, when the server can be reached again.
    assert "the database was away" in said or "the connection was lost" in said
    assert_accounted(cluster.near, EVENTS, rows)


@pytest.mark.slow
def test_a_host_that_freezes_while_it_publishes_does_not_hold_up_the_others_for_long(cluster: Cluster) -> None:
    rows = cluster.write(DAY) + cluster.write(NEXT_DAY)
    frozen = cluster.run(cluster.north, DAY, failpoints="in_publish=sigstop", lease_s=1)
    wait_until(lambda: is_stopped(frozen.pid), "it has stopped in mid-publish")
    cluster.north.freeze()
    orphans = cluster.backends_of(cluster.north)
    assert fetch(cluster.near, _ALIVE, orphans)
    _end(cluster.run(cluster.south, NEXT_DAY), 0)
    _end(cluster.run(cluster.south, DAY, busy_wait_s=60), 0)
    _restore(cluster)
    _end(frozen, 1)
    assert_accounted(cluster.near, EVENTS, rows)


_PATIENCE = {"lease_s": 1, "connect_timeout_s": 2}


def _take_over_from_a_lost_host(cluster: Cluster, source: Source, rows: Sequence[Row]) -> None:
    """North is lost in chunk 1; south goes on from there, and leaves what north has committed as it is."""
    spec = EVENTS.model_copy(update={"source": source})
    with gate(cluster.near, Where.IN_COPY) as closed:
        cluster.run(cluster.north, spec=spec, **_PATIENCE)
        closed.wait()
        first = "select xmin::text from rowledger.chunk where chunk_no = 0 and state = 'committed'"
        writer = wait_until(lambda: fetch_value(cluster.near, first), "chunk 0 is committed")
        _lose(cluster)
    output = _end(cluster.run(cluster.south, spec=spec, busy_wait_s=60, retry_budget_s=60), 0)
    load = fetch(cluster.near, "select epoch, state from rowledger.load")
    assert [tuple(row) for row in load] == [(2, "published")], output
    assert fetch_value(cluster.near, first) == writer
    assert_accounted(cluster.near, EVENTS, rows)


def test_each_host_fetches_what_it_loads_from_an_object_store(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = cluster.write()
    (file,) = cluster.landing.glob("events/*.parquet")
    with object_store(tmp_path, cluster.net.outside.address) as endpoint:
        for name, value in variables(endpoint).items():
            monkeypatch.setenv(name, value)
        store = fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True)
        store.create_dir("shop")
        put(store, f"{DAY}.parquet", file.read_bytes())
        file.unlink()
        _take_over_from_a_lost_host(cluster, ParquetFiles(path="s3://shop/{partition_key}.parquet"), rows)
    asked = (tmp_path / "output").read_text()
    for host in (cluster.north, cluster.south):
        assert re.search(rf"^{re.escape(host.address)} .*GET /shop/{DAY}.parquet", asked, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv.gz", "json"])
def test_what_a_lost_host_has_spooled_another_one_reads_from_the_source(cluster: Cluster, kind: str) -> None:
    rows = events(250)
    path = "{landing}/{partition_key}." + kind
    file = cluster.landing / f"{DAY}.{kind}"
    frame = pl.DataFrame(rows, schema=SCHEMAS["events"], orient="row")
    source: Source
    match kind:
        case "json":
            source = JsonFiles(path=path)
            file.write_text(json.dumps(rows, default=str))
        case _:
            source = CsvFiles(path=path)
            file.write_bytes(gzip.compress(frame.write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ").encode()))
    _take_over_from_a_lost_host(cluster, source, rows)
    spools = [list((cluster.landing.parent / f"home-of-{name}").glob("spool")) for name in ("north", "south")]
    assert all(spools), "each host has a spool of its own"


_EVENT = "select partition, run_id from dagster.event_logs where dagster_event_type = $1 and asset_key = '[\"events\"]'"


@pytest.mark.slow
def test_dagsters_runs_on_two_hosts_share_its_storage_and_the_survivor_takes_the_lost_ones_partition_over(
    cluster: Cluster, tmp_path: Path
) -> None:
    rows = cluster.write(DAY) + cluster.write(NEXT_DAY)

    def materialize(host: Host, key: str) -> "subprocess.Popen[str]":
        folder = tmp_path / f"dagster-on-{host.name}"
        if not folder.exists():
            folder.mkdir()
            (folder / "home").mkdir()
            (folder / "home" / "landing").symlink_to(cluster.landing)  # as a shared folder is mounted
        installation = Installation(folder, cluster.far)
        command = ["dagster", "asset", "materialize", "-m", "pipeline_tests.support.definitions", "--select", "events"]
        return host.run(
            [sys.executable, "-m", *command, "--partition", key],
            installation.environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    with gate(cluster.near, Where.IN_COPY) as closed:
        lost, other = materialize(cluster.north, DAY), materialize(cluster.south, NEXT_DAY)
        wait_until(lambda: len(closed.all_waiting()) == 2, "both are in mid-COPY", timeout_s=_END_S)
        assert [row[0] for row in fetch(cluster.near, _HOLDERS)] == ["north", "south"]
        orphans = cluster.backends_of(cluster.north)
        _kill(cluster)
    assert lost.wait(_END_S) == -9
    _end(other, 0)
    wait_until(lambda: not fetch(cluster.near, _ALIVE, orphans), "the server has noticed")
    assert [row["partition"] for row in fetch(cluster.near, _EVENT, "ASSET_MATERIALIZATION")] == [NEXT_DAY]
    _end(materialize(cluster.south, DAY), 0)
    done = fetch(cluster.near, _EVENT, "ASSET_MATERIALIZATION")
    assert sorted(row["partition"] for row in done) == [DAY, NEXT_DAY]
    planned = fetch(cluster.near, _EVENT, "ASSET_MATERIALIZATION_PLANNED")
    assert len({row["run_id"] for row in planned}) == 3, "all three runs are in one storage"
    assert fetch_value(cluster.near, "select epoch from rowledger.load where partition_key = $1", DAY) == 2
    assert_accounted(cluster.near, EVENTS, rows)
