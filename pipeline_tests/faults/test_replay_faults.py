"""A fault at every place of a replay's way: each row is in the table once or its letter is open, and the balance holds."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value, sessions
from pipeline_tests.support.loading import Recorder, load, load_one, set_failpoints
from pipeline_tests.support.partitions import DAYS_OF_MARCH
from pipeline_tests.support.proxy import Fate, Proxy, is_commit
from pipeline_tests.support.replaying import ACTOR, assert_verified, edit, replay, results, start_replay, states
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, Row, changed, events, write_source
from pipeline_tests.support.tables_at_fault import LEAKY_EVENTS
from pipeline_tests.support.waiting import wait_until, worker_pids
from rowledger.dead_letters.changes import decide
from rowledger.errors import DatabaseUnavailable, PoolBroken, ReplayFailed
from rowledger.failpoints import Place
from rowledger.ledger.dead_letter_outcomes import DeadLetterResult, DeadLetterSelection, ReplayReport
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.reports import PartitionReport
from rowledger.ledger.states import DeadLetterState
from rowledger.spec.table import TableSpec

_PLACES = [Place.BEFORE_REPLAY, Place.IN_REPLAY, Place.BEFORE_REPLAY_COMMIT, Place.AFTER_REPLAY_COMMIT]
_DAYS = dict(zip(_PLACES, DAYS_OF_MARCH, strict=False))  # each place has a day of its own
_BAD = (3, 40, 41)

_REPLAY_COMMIT = is_commit("rowledger worker", "replays = letter.replays + 1")
_PUBLISH_COMMIT = is_commit("rowledger control", "set state = 'replaced'")
_INCIDENTS = "select incident.*, partition_key from rowledger.incident left join rowledger.load using (load_id)"
_WAITING = (
    "select count(*) from pg_stat_activity where datname = current_database() "
    "and application_name like 'rowledger%' and wait_event_type = 'Lock'"
)


def _plant(database: str, landing: Path, days: list[str], spec: TableSpec = EVENTS) -> list[Row]:
    """Published loads of these days whose dead letters are corrected; gives the rows that must be in the table at the end."""
    for day in days:
        write_source(landing, "events", day, changed(events(50, day), {n: {"event_id": -n} for n in _BAD}))
    assert [report.error for report in load(database, spec, landing, days)] == [None] * len(days)
    edit(database, spec, landing, {n: {"event_id": n} for n in _BAD})
    return [row for day in days for row in events(50, day)]


def _assert_replayed_once(database: str, rows: list[Row], spec: TableSpec = EVENTS) -> None:
    assert set(states(database).values()) == {"replayed"}
    assert fetch_value(database, "select count(*) from rowledger.letter_event where state = 'replayed'") == len(
        rows
    ) // 50 * len(_BAD)
    assert_verified(database, spec)
    assert_accounted(database, spec, rows)


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("sigkill", IncidentKind.SIGNAL),
        ("exit0", IncidentKind.EXIT_WITHOUT_REPORT),
        pytest.param("sigstop", IncidentKind.STALL, marks=pytest.mark.slow),
        pytest.param("sleep", IncidentKind.STALL, marks=pytest.mark.slow),
    ],
)
def test_a_worker_s_death_costs_no_row_wherever_it_dies(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, kind: IncidentKind
) -> None:
    rows = _plant(database, tmp_path, list(_DAYS.values()))
    set_failpoints(monkeypatch, ";".join(f"{p}={action}@partition={day},attempt=1" for p, day in _DAYS.items()))

    report = replay(database, EVENTS, writer={"stall_timeout_s": 4})

    assert report.succeeded
    assert report.worker_deaths >= len(_PLACES)
    assert kind in {row["kind"] for row in fetch(database, "select kind from rowledger.incident")}
    _assert_replayed_once(database, rows)


def test_the_letter_over_which_the_server_takes_for_ever_is_named(database: str, tmp_path: Path) -> None:
    rows = _plant(database, tmp_path, [DAY])
    fetch(
        database,
        "create function public.endless(event bigint) returns boolean language plpgsql as $$ begin "
        "if event = 40 then perform pg_sleep(600); end if; return true; end $$",
    )
    fetch(database, "alter table events add constraint endless check (public.endless(event_id))")
    with pytest.raises(DatabaseUnavailable, match=r"no progress for .* at row 40 of the partition.*replay again"):
        replay(database, EVENTS, writer={"stall_timeout_s": 2, "chunk_attempts_max": 2})
    assert set(states(database).values()) == {"corrected"}
    fetch(database, "alter table events drop constraint endless")

    assert replay(database, EVENTS).succeeded

    _assert_replayed_once(database, rows)


@pytest.mark.parametrize(
    ("spec", "limits", "kind", "told"),
    [
        (
            EVENTS,
            {"rss_soft_limit_bytes": 64 * 2**20},
            IncidentKind.MEMORY_RECYCLE,
            "over the soft limit of 64.0 MiB",
        ),
        (LEAKY_EVENTS, {"descriptors_max": 32}, IncidentKind.DESCRIPTORS_RECYCLE, "descriptors, over the limit of 32"),
    ],
    ids=["memory", "descriptors"],
)
def test_a_replay_s_worker_over_a_soft_limit_is_replaced_after_its_batch(
    database: str, tmp_path: Path, spec: TableSpec, limits: dict[str, int], kind: IncidentKind, told: str
) -> None:
    rows = _plant(database, tmp_path, [DAY, NEXT_DAY], spec)
    of_load = fetch_value(database, "select coalesce(max(incident_id), 0) from rowledger.incident")

    report = replay(database, spec, writer=limits)

    assert report.succeeded
    assert report.worker_deaths == 0, "a replacement is no death"
    found = fetch(database, f"{_INCIDENTS} where incident_id > $1 order by incident_id", of_load)
    assert [(row["kind"], row["partition_key"]) for row in found] == [(kind, DAY), (kind, NEXT_DAY)]
    assert all(row["summary"].startswith("while dead letters were replayed: ") for row in found)
    assert all(told in row["summary"] for row in found)
    assert found[0]["pid"] != found[1]["pid"], "each batch had a worker of its own"
    _assert_replayed_once(database, rows, spec)


def test_a_replay_whose_workers_die_in_batch_after_batch_ends_within_the_respawn_budget(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = list(_DAYS.values())
    rows = _plant(database, tmp_path, days)
    set_failpoints(monkeypatch, "in_replay=sigkill@attempt=1")

    with pytest.raises(PoolBroken, match=r"3 workers died in this replay, the respawn budget is 2.*replay again"):
        replay(database, EVENTS, writer={"respawns_max": 2})

    kept = fetch(database, f"{_INCIDENTS} order by incident_id")
    died = [(IncidentKind.SIGNAL, day) for day in days[:3]]
    assert [(row["kind"], row["partition_key"]) for row in kept] == [*died, (IncidentKind.RESPAWN_BUDGET, days[2])]
    replayed = "select distinct partition_key from rowledger.dead_letter join rowledger.load using (load_id) "
    done = fetch(database, f"{replayed} where dead_letter.state = 'replayed' order by 1")
    assert [row["partition_key"] for row in done] == days[:2], "what had committed stays"
    assert_verified(database, EVENTS)
    set_failpoints(monkeypatch, "")

    assert replay(database, EVENTS).succeeded

    _assert_replayed_once(database, rows)


def test_an_exception_ends_the_replay_and_a_second_one_goes_on_behind_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = {place: _DAYS[place] for place in (Place.IN_REPLAY, Place.AFTER_REPLAY_COMMIT)}
    rows = _plant(database, tmp_path, list(days.values()))
    set_failpoints(monkeypatch, ";".join(f"{place}=raise@partition={day}" for place, day in days.items()))
    for place, day in days.items():
        with pytest.raises(ReplayFailed, match=f"partition {day}"):
            replay(database, EVENTS, partitions=(day,))
        has_committed = place is Place.AFTER_REPLAY_COMMIT
        waiting = fetch_value(database, "select count(*) from rowledger.dead_letter where state = 'corrected'")
        assert waiting == (len(days) - has_committed) * len(_BAD)
        assert_verified(database, EVENTS)
    set_failpoints(monkeypatch, "")

    assert replay(database, EVENTS).count(DeadLetterResult.WRITTEN) == len(_BAD)

    _assert_replayed_once(database, rows)


@pytest.mark.parametrize(
    ("fate", "arrives"),
    [(Fate.NEVER_ARRIVES, False), (Fate.REPLY_LOST, True), (Fate.IN_DOUBT, False), (Fate.IN_DOUBT, True)],
)
def test_a_replay_s_commit_without_a_reply_neither_loses_nor_doubles_a_row(
    database: str, tmp_path: Path, proxy: Proxy, fate: Fate, *, arrives: bool
) -> None:
    rows = _plant(database, tmp_path, [DAY])
    trap = proxy.trap(_REPLAY_COMMIT, fate)
    with ThreadPoolExecutor(1) as thread:
        run: Future[ReplayReport] = thread.submit(replay, proxy.url, EVENTS)
        trap.wait()
        if fate is Fate.IN_DOUBT:
            wait_until(lambda: run.done() or fetch_value(database, _WAITING), "the next attempt waits")
            trap.deliver() if arrives else trap.drop()
        report = run.result()
    assert results(report) == dict.fromkeys(_BAD, "written")
    assert report.worker_deaths == 0, "a lost reply is no dead worker"
    assert set(_replays(database)) == {1}
    _assert_replayed_once(database, rows)


def _replays(database: str) -> list[int]:
    return [row["replays"] for row in fetch(database, "select replays from rowledger.dead_letter")]


@contextmanager
def _in_thread(work: Callable[[], object]) -> Iterator[Future[object]]:
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(work)


def test_a_load_that_replaces_the_partition_meanwhile_waits_for_the_replay(
    database: str, tmp_path: Path, proxy: Proxy
) -> None:
    _plant(database, tmp_path, [DAY])
    write_source(tmp_path, "events", DAY, events(60))
    trap = proxy.trap(_REPLAY_COMMIT, Fate.IN_DOUBT)
    with _in_thread(lambda: replay(proxy.url, EVENTS)) as replaying:
        trap.wait()
        with _in_thread(lambda: load_one(database, EVENTS, tmp_path, DAY)) as loading:
            wait_until(lambda: fetch_value(database, _WAITING) >= 2, "the load waits, as the next attempt does")
            trap.deliver()
            report = loading.result()
        replayed = replaying.result()
    assert isinstance(report, PartitionReport)
    assert report.error is None
    assert isinstance(replayed, ReplayReport)
    assert replayed.count(DeadLetterResult.WRITTEN) == len(_BAD)
    assert_verified(database, EVENTS)
    assert_accounted(database, EVENTS, events(60))


def test_a_replay_that_comes_while_the_partition_is_replaced_writes_nothing(
    database: str, tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    _plant(database, tmp_path, [DAY])
    write_source(tmp_path, "events", DAY, events(60))
    set_failpoints(monkeypatch, "before_replay=sigstop")
    with _in_thread(lambda: replay(database, EVENTS, writer={"stall_timeout_s": 120})) as replaying:
        worker = wait_until(_stopped_worker, "the replay has read its letters")
        trap = proxy.trap(_PUBLISH_COMMIT, Fate.IN_DOUBT)
        with _in_thread(lambda: load_one(proxy.url, EVENTS, tmp_path, DAY)) as loading:
            trap.wait()
            worker.resume()
            wait_until(lambda: fetch_value(database, _WAITING) >= 2, "the replay waits, as the next attempt does")
            trap.deliver()
            report = loading.result()
        replayed = replaying.result()
    assert isinstance(report, PartitionReport)
    assert report.error is None
    assert isinstance(replayed, ReplayReport)
    assert {outcome.result for outcome in replayed.outcomes} == {DeadLetterResult.SKIPPED}
    assert "its load is replaced" in replayed.outcomes[0].reason
    assert_verified(database, EVENTS)
    assert_accounted(database, EVENTS, events(60))


def test_a_letter_that_is_discarded_while_its_batch_is_prepared_stays_out_and_its_neighbours_go_in(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _plant(database, tmp_path, [DAY])
    set_failpoints(monkeypatch, "before_replay=sigstop")
    with _in_thread(lambda: replay(database, EVENTS, writer={"stall_timeout_s": 120})) as replaying:
        worker = wait_until(_stopped_worker, "the replay has read its letters")
        number = fetch_value(database, "select dead_letter_id from rowledger.dead_letter where row_no = $1", _BAD[1])
        decide(database, EVENTS.name, DeadLetterSelection(ids=(number,)), DeadLetterState.DISCARDED, ACTOR)
        worker.resume()
        replayed = replaying.result()
    assert isinstance(replayed, ReplayReport)
    assert results(replayed) == {_BAD[0]: "written", _BAD[1]: "skipped", _BAD[2]: "written"}
    assert states(database) == {_BAD[0]: "replayed", _BAD[1]: "discarded", _BAD[2]: "replayed"}
    assert_verified(database, EVENTS)
    assert_accounted(database, EVENTS, changed(rows, {_BAD[1]: {"event_id": -_BAD[1]}}))


def _stopped_worker() -> psutil.Process | None:
    workers = [psutil.Process(pid) for pid in worker_pids()]
    return next((worker for worker in workers if worker.status() == psutil.STATUS_STOPPED), None)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_replay_that_is_killed_leaves_its_letters_as_they_were(
    database: str, tmp_path: Path, number: signal.Signals
) -> None:
    rows = _plant(database, tmp_path, [DAY])
    with start_replay(database, EVENTS, failpoints="before_replay_commit=sleep") as process:
        try:
            _in_transaction = (
                "select 1 from pg_stat_activity where state = 'idle in transaction' and datname = current_database()"
            )
            wait_until(lambda: fetch(database, _in_transaction), "the replay is about to commit", timeout_s=60)
            process.send_signal(number)
            process.communicate(timeout=60)
        finally:
            process.kill()
    wait_until(lambda: not worker_pids() and not sessions(database), "nothing of it is left")
    assert set(states(database).values()) == {"corrected"}
    assert_verified(database, EVENTS)

    assert replay(database, EVENTS).succeeded

    _assert_replayed_once(database, rows)
    assert_nothing_left_over(database)


def test_a_server_that_is_away_for_a_moment_is_waited_for(database: str, tmp_path: Path, proxy: Proxy) -> None:
    rows = _plant(database, tmp_path, [DAY])
    trap = proxy.trap(_REPLAY_COMMIT, Fate.NEVER_ARRIVES)
    with _in_thread(lambda: replay(proxy.url, EVENTS)) as replaying:
        trap.wait()
        proxy.refuse()
        wait_until(lambda: not sessions(database), "the replay has lost all its sessions")
        proxy.accept()
        report = replaying.result()
    assert isinstance(report, ReplayReport)
    assert report.succeeded
    _assert_replayed_once(database, rows)


def test_a_replay_pauses_while_the_server_is_away_and_records_the_outage(
    database: str, tmp_path: Path, proxy: Proxy
) -> None:
    rows = _plant(database, tmp_path, [DAY, NEXT_DAY])
    trap = proxy.trap(_REPLAY_COMMIT, Fate.NEVER_ARRIVES)
    observer = Recorder()
    limits = {"retry_budget_s": 0.5, "outage_budget_s": 60}  # an outage is not charged to the retry budget
    with _in_thread(lambda: replay(proxy.url, EVENTS, observer=observer, writer=limits)) as replaying:
        trap.wait()
        proxy.refuse()
        try:
            wait_until(lambda: "all workers pause until it is back" in observer.text, "the replay pauses")
            away_since = time.monotonic()
            wait_until(lambda: time.monotonic() - away_since > 1, "the outage outlasts the retry budget")
            assert not replaying.done()
        finally:
            proxy.accept()
        report = replaying.result()
    assert isinstance(report, ReplayReport)
    assert report.succeeded
    assert report.worker_deaths == 0, "an outage is no worker's fault"
    kept = fetch(database, "select kind, summary from rowledger.incident")
    assert [row["kind"] for row in kept] == [IncidentKind.DATABASE_OUTAGE]
    assert "all workers paused and go on" in kept[0]["summary"]
    _assert_replayed_once(database, rows)
