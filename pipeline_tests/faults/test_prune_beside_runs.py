"""`rowledger prune` beside a run that stands still in mid-work: it waits for nothing, and the run then ends as if alone."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one, set_failpoints
from pipeline_tests.support.replaying import assert_verified, edit, replay, start_replay, states
from pipeline_tests.support.tables import DAY, EVENTS, changed, events, write_source
from pipeline_tests.support.tables_of_write_modes import KEYLESS_SPOOLED, sales, write_sales
from pipeline_tests.support.waiting import is_stopped, stopped_workers, wait_until
from rowledger.ledger import find_prunable, prune, read_status

Start = Callable[..., subprocess.Popen[str]]

REFUSED = {3: {"event_id": -3}, 7: {"event_id": -7}}
_END_S = 120


def _prune_all(database: str) -> dict[str, int]:
    return prune(database, find_prunable(database, older_than_s=0, table=None))


def _history(database: str, landing: Path) -> None:
    """A replaced load whose dead letters were replayed, and a published one that has open ones."""
    write_source(landing, "events", DAY, changed(events(250), REFUSED))
    assert load_one(database, EVENTS, landing, DAY).error is None
    edit(database, EVENTS, landing, {n: {"event_id": n} for n in REFUSED})
    assert replay(database, EVENTS).succeeded
    assert load_one(database, EVENTS, landing, DAY).error is None


@pytest.mark.parametrize("place", ["after_claim", "before_commit", "before_reconcile", "before_publish", "in_publish"])
def test_a_load_that_a_prune_finds_at_work_ends_in_balance(
    database: str, tmp_path: Path, start: Start, place: str
) -> None:
    _history(database, tmp_path)
    write_source(tmp_path, "events", DAY, rows := changed(events(300), {5: {"event_id": -5}}))
    patience = {"lease_s": 300, "stall_timeout_s": 300, "chunk_deadline_s": 300, "lock_timeout_s": 5}
    in_worker = place in {"after_claim", "before_commit"}
    rule = f"{place}=sigstop{'@chunk=1,attempt=1' if in_worker else ''}"
    run = start(database, EVENTS, tmp_path, [DAY], failpoints=rule, **patience)

    def stopped() -> list[int]:
        return stopped_workers(run) if in_worker else [run.pid] if is_stopped(run.pid) else []

    (pid,) = wait_until(stopped, "the run stands still", timeout_s=60)
    deleted = _prune_all(database)
    assert (deleted["loads"], deleted["dead_letters"]) == (1, 2)
    assert fetch_value(database, "select count(*) from rowledger.dead_letter where state = 'open' and load_id = 2") == 2

    os.kill(pid, signal.SIGCONT)
    output, _ = run.communicate(timeout=_END_S)
    assert run.returncode == 0, output
    assert [row[0] for row in fetch(database, "select state from rowledger.load order by load_id")] == [
        "replaced",
        "published",
    ]
    assert_verified(database, EVENTS)
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("place", ["before_replay", "in_replay", "before_replay_commit", "after_replay_commit"])
def test_a_replay_that_a_prune_finds_at_work_replays_each_row_once(database: str, tmp_path: Path, place: str) -> None:
    _history(database, tmp_path)
    edit(database, EVENTS, tmp_path, {n: {"event_id": n} for n in REFUSED})
    with start_replay(database, EVENTS, failpoints=f"{place}=sigstop@attempt=1") as replaying:
        try:
            (worker,) = wait_until(lambda: stopped_workers(replaying), "the worker stands still", timeout_s=60)
            assert _prune_all(database)["loads"] == 1
            os.kill(worker, signal.SIGCONT)
            output, _ = replaying.communicate(timeout=_END_S)
        finally:
            replaying.kill()
    assert replaying.returncode == 0, output
    assert states(database) == dict.fromkeys(REFUSED, "replayed")
    assert_verified(database, EVENTS)
    assert_accounted(database, EVENTS, events(250))
    assert _prune_all(database) == {
        "loads": 0,
        "chunks": 0,
        "dead_letters": 0,
        "incidents": 0,
        "failed_attempts": 0,
    }


def test_a_rejected_load_is_still_told_when_the_load_after_it_turns_out_to_have_nothing_to_add(
    database: str, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it loads it may become the one that is told; as a repeated load it is none."""
    write_sales(tmp_path, DAY, sales(range(10)))
    assert load_one(database, KEYLESS_SPOOLED, tmp_path, DAY).error is None
    set_failpoints(monkeypatch, "before_commit=sigkill")
    write_sales(tmp_path, DAY, sales(range(12)))
    assert load_one(database, KEYLESS_SPOOLED, tmp_path, DAY, chunk_attempts_max=1, crash_rows_max=0).error is not None
    set_failpoints(monkeypatch, "")
    fetch(database, "delete from rowledger.failed_attempt")  # as if the run itself had been killed
    write_sales(tmp_path, DAY, sales(range(10)))
    run = start(database, KEYLESS_SPOOLED, tmp_path, [DAY], failpoints="before_reconcile=sigstop", lease_s=300)
    wait_until(lambda: is_stopped(run.pid), "the run stands still", timeout_s=60)
    assert fetch(database, "select state from rowledger.load order by load_id") == [
        ("published",),
        ("abandoned",),
        ("loading",),
    ]
    _prune_all(database)
    os.kill(run.pid, signal.SIGCONT)
    output, _ = run.communicate(timeout=_END_S)
    assert run.returncode == 0, output
    assert fetch(database, "select state from rowledger.load order by load_id") == [
        ("published",),
        ("abandoned",),
        ("repeated",),
    ]
    (partition,) = read_status(database, "spooled")
    assert partition.latest.state == "abandoned"
    assert_verified(database, KEYLESS_SPOOLED)
    assert load_one(database, KEYLESS_SPOOLED, tmp_path, DAY, observer=(told := Recorder())).error is None
    assert "nothing was added" in told.text
