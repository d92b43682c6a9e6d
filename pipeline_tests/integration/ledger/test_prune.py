"""`rowledger prune` deletes entries of replaced and failed loads, and every other command answers as before."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one, set_failpoints
from pipeline_tests.support.replaying import assert_verified, replay
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, THIRD_DAY, changed, events, write_source
from pipeline_tests.support.tables_of_write_modes import KEYLESS_SPOOLED, UPSERTED, sales, write_sales
from rowledger.cli.main import cli
from rowledger.ledger import pruning
from rowledger.ledger.entries import read_changed_entries
from rowledger.settings import settings
from rowledger.spec.table import TableSpec

Run = Callable[..., Result]

BROKEN = {number: {"event_id": -1} for number in range(30)}


@pytest.fixture
def rowledger(database: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`rowledger …` on this test's database."""
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", database)
    settings.cache_clear()

    def run(*arguments: object) -> Result:
        told = CliRunner().invoke(cli, list(map(str, arguments)))
        if told.exception is not None and not isinstance(told.exception, SystemExit):
            raise told.exception
        return told

    return run


def _load(database: str, landing: Path, key: str, rows: list[dict[str, Any]], **options: Any) -> Exception | None:
    write_source(landing, "events", key, rows)
    return load_one(database, EVENTS, landing, key, **options).error


@pytest.fixture
def history(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger with an entry of every kind: what goes and what stays is said where it is made."""
    refused = changed(events(20), {3: {"event_id": -3}})
    # The first day: replaced after its dead letter was replayed (goes), rejected and replaced with open ones (stay),
    # abandoned (goes), published (stays).
    assert _load(database, tmp_path, DAY, refused) is None
    fetch(
        database,
        "update rowledger.dead_letter set state = 'corrected', "
        "corrected_payload = jsonb_set(payload::jsonb, '{event_id}', '3')::json",
    )
    assert replay(database, EVENTS).succeeded
    assert _load(database, tmp_path, DAY, refused) is None
    assert _load(database, tmp_path, DAY, changed(events(40), BROKEN)) is not None
    set_failpoints(monkeypatch, "before_commit=sigkill")
    assert _load(database, tmp_path, DAY, events(25), chunk_attempts_max=1, crash_rows_max=0) is not None
    set_failpoints(monkeypatch, "")
    assert _load(database, tmp_path, DAY, events(20), run_id="run-of-day") is None
    # The second day: three failed attempts before a load was begun (two go), and a load whose run died (stays).
    (tmp_path / "events" / f"{NEXT_DAY}.parquet").unlink(missing_ok=True)
    for _ in range(3):
        assert load_one(database, EVENTS, tmp_path, NEXT_DAY).error is not None
    # The third day: a load that can be resumed.
    set_failpoints(monkeypatch, "before_commit=sigkill@chunk=1")
    third = events(250, THIRD_DAY)
    assert _load(database, tmp_path, THIRD_DAY, third, chunk_attempts_max=1, crash_rows_max=0) is not None
    set_failpoints(monkeypatch, "")
    # An append, the same rows again (goes), and other rows. Upserts add to a base.
    for rows in (sales(range(10)), sales(range(10)), sales(range(12))):
        write_sales(tmp_path, DAY, rows)
        assert load_one(database, KEYLESS_SPOOLED, tmp_path, DAY).error is None
    for number in (10, 20):
        write_sales(tmp_path, DAY, sales(range(number)))
        assert load_one(database, UPSERTED, tmp_path, DAY).error is None


def _answers(database: str, rowledger: Run) -> dict[str, Any]:
    """What commands say that speak of the present."""
    commands = [["status"], ["verify"]]
    for table in ("events", "spooled", "upserted"):
        commands += [["incidents", "--table", table], ["dead-letters", "list", "--table", table]]
    answers: dict[str, Any] = {
        " ".join(command): json.loads(rowledger(*command, "--json").stdout) for command in commands
    }
    for spec in (EVENTS, KEYLESS_SPOOLED, UPSERTED):
        answers[f"edited entries of {spec.name}"] = asyncio.run(_changed_entries(database, spec))
    answers["known"] = [tuple(row) for row in fetch(database, "select table_name from rowledger.table_spec order by 1")]
    return answers


async def _changed_entries(database: str, spec: TableSpec) -> list[str]:
    connection = await asyncpg.connect(database, timeout=20)
    try:
        return list(map(str, await read_changed_entries(connection, spec)))
    finally:
        await connection.close(timeout=10)


def _states(database: str) -> list[str]:
    return [row[0] for row in fetch(database, "select state from rowledger.load order by load_id")]


@pytest.mark.usefixtures("history")
def test_a_prune_changes_no_answer(
    database: str, rowledger: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_PAGE_ENTRIES", 1)  # each page is seen
    before, states = _answers(database, rowledger), _states(database)
    assert states == [
        *("replaced", "replaced", "rejected", "abandoned", "published"),
        *("loading", "published", "repeated", "published", "published", "published"),
    ]

    told = rowledger("prune", "--older-than", "0d", "--dry-run")
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("would delete 3 loads, ")
    assert "the loads: 1 abandoned, 1 repeated, 1 replaced" in told.stdout
    assert "table events: 2 loads kept for dead letters that are not resolved" in told.stdout
    assert _states(database) == states

    prunable = json.loads(rowledger("prune", "--older-than", "0d", "--dry-run", "--json").stdout)["prunable"]
    done = json.loads(rowledger("prune", "--older-than", "0d", "--yes", "--json").stdout)
    assert done["deleted"] == prunable
    assert (prunable["loads"], prunable["dead_letters"], prunable["failed_attempts"]) == (3, 1, 4)
    assert _states(database) == [
        *("replaced", "rejected", "published"),
        *("loading", "published", "published", "published", "published"),
    ]
    assert fetch_value(database, "select count(*) from rowledger.dead_letter where state = 'open'") == 31
    assert _answers(database, rowledger) == before
    assert rowledger("prune", "--older-than", "0d", "--yes").stdout.startswith("nothing to delete")

    # A rerun resumes, an append adds nothing again, an upsert adds to its base.
    observer = Recorder()
    assert load_one(database, EVENTS, tmp_path, THIRD_DAY, observer=observer).error is None
    assert "resuming load" in observer.text
    write_sales(tmp_path, DAY, sales(range(12)))
    assert load_one(database, KEYLESS_SPOOLED, tmp_path, DAY, observer=observer).error is None
    assert "nothing was added" in observer.text
    assert load_one(database, UPSERTED, tmp_path, DAY).error is None
    for spec in (EVENTS, KEYLESS_SPOOLED, UPSERTED):
        assert_verified(database, spec)
    assert fetch_value(database, "select count(*) from events") == 270


@pytest.mark.usefixtures("history")
def test_dead_letters_that_nobody_has_resolved_go_only_by_their_own_command(database: str, rowledger: Run) -> None:
    told = rowledger("prune", "--older-than", "0m", "--table", "events", "--yes")
    command = told.stdout.splitlines()[-1].partition("these go by: rowledger ")[2]
    assert command == "dead-letters purge --table events --older-than 0m"
    assert rowledger(*command.split(), "--yes").exit_code == 0

    assert rowledger("prune", "--older-than", "0d", "--table", "events", "--yes").exit_code == 0

    left = fetch(database, "select state from rowledger.load where table_name = 'events' order by load_id")
    assert [row[0] for row in left] == ["published", "loading"]


@pytest.mark.usefixtures("history")
def test_only_what_is_old_enough_goes_and_an_edited_entry_stays(database: str, rowledger: Run) -> None:
    states = _states(database)
    assert rowledger("prune", "--older-than", "1d", "--yes").stdout.startswith("nothing to delete")
    assert _states(database) == states
    fetch(database, "update rowledger.load set enqueued_rows = 19 where state in ('replaced', 'abandoned', 'repeated')")
    before = _answers(database, rowledger)
    assert rowledger("prune", "--older-than", "0d", "--yes").exit_code == 0
    assert (_states(database), _answers(database, rowledger)) == (states, before)


@pytest.mark.parametrize("of_load", ["interrupted", "none"])
def test_a_failure_that_is_told_stays_when_an_earlier_load_is_forgotten_after_it(
    database: str, rowledger: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_load: str
) -> None:
    """Forgetting dates the end of a load anew: it is later than the failure then, and still it is the earlier load."""
    assert _load(database, tmp_path, DAY, events(20)) is None
    set_failpoints(monkeypatch, "before_commit=sigkill")
    assert _load(database, tmp_path, DAY, events(25), chunk_attempts_max=1, crash_rows_max=0) is not None
    set_failpoints(monkeypatch, "")
    if of_load == "none":
        (tmp_path / "events" / f"{DAY}.parquet").unlink()
        assert load_one(database, EVENTS, tmp_path, DAY).error is not None
    assert rowledger("forget", "--table", "events", "--yes").exit_code == 0
    before = rowledger("status", "--json").stdout
    latest = json.loads(before)["partitions"][0]["latest"]
    assert (latest["state"], latest["reason"] != "") == ("failed", True)

    done = json.loads(rowledger("prune", "--older-than", "0d", "--yes", "--json").stdout)

    assert done["prunable"]["failed_attempts"] == (1 if of_load == "none" else 0)
    assert rowledger("status", "--json").stdout == before


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ((), 2, "Missing option '--older-than'"),
        (("--older-than", "90y"), 2, "'90y' is not an age"),
        (("--older-than", "1d", "--json"), 2, "--json does not ask"),
        (("--older-than", "1d", "--table", "nope"), 1, "the ledger has no table 'nope'"),
    ],
)
def test_a_mistake_deletes_nothing(rowledger: Run, arguments: tuple[str, ...], exit_code: int, said: str) -> None:
    told = rowledger("prune", *arguments)
    assert (told.exit_code, said in told.stderr) == (exit_code, True), told.output
