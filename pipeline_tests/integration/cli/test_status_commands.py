"""`rowledger status`, `verify`, `incidents` and the messages of a failed load, as a person with a pager meets them."""

import asyncio
import io
import json
import shlex
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import Result
from rich.console import Console

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one, set_failpoints
from pipeline_tests.support.tables import (
    DAY,
    EVENTS,
    NEXT_DAY,
    ORDERS,
    READINGS,
    STRICT_READINGS,
    THIRD_DAY,
    changed,
    events,
    readings,
    write_source,
)
from pipeline_tests.support.tables_of_write_modes import APPENDED, sales, write_sales
from rowledger.cli import status
from rowledger.dead_letters.changes import list_dead_letters
from rowledger.errors import DeadLetterBudgetSpent, SourceError
from rowledger.ledger.dead_letter_outcomes import DeadLetterSelection
from rowledger.ledger.status import AttemptState
from rowledger.ledger.table_specs import record_spec
from rowledger.ledger.table_status import read_status
from rowledger.load.budget_explanation import dead_letters_command
from rowledger.spec.table import TableSpec

Run = Callable[..., Result]

NOT_PLANNED = f"{NEXT_DAY}.parquet"


@pytest.fixture
def run(rowledger: Run) -> Run:
    """`rowledger …` on this test's database."""
    return rowledger


def _load(database: str, landing: Path, spec: TableSpec, key: str) -> None:
    write = readings(20) if spec is READINGS else events(20, key)
    write_source(landing, "readings" if spec is READINGS else "events", key, write)
    assert load_one(database, spec, landing, key).error is None


def _keep(database: str, spec: TableSpec) -> None:
    async def keep() -> None:
        connection = await asyncpg.connect(database, timeout=30)
        await record_spec(connection, spec)
        await connection.close(timeout=10)

    asyncio.run(keep())


def _lose_row_model(database: str, spec: TableSpec) -> None:
    """As if the row model's module were in a folder that is not imported from."""
    there, lost = spec.row.__module__, "pipeline_tests.lost"
    fetch(
        database,
        "update rowledger.table_spec set spec = replace(spec::text, $1, $2)::json where table_name = $3",
        there,
        lost,
        spec.name,
    )


def test_what_readers_see_stands_beside_the_attempt_that_failed(database: str, run: Run, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, changed(events(20), {3: {"event_id": -1}}))
    assert load_one(database, EVENTS, tmp_path, DAY, run_id="first-run").error is None
    write_source(tmp_path, "events", DAY, changed(events(40), {number: {"event_id": -1} for number in range(30)}))
    load(database, EVENTS, tmp_path, [DAY, NEXT_DAY], run_id="second-run")

    day, next_day = read_status(database)

    assert day.published is not None
    assert (day.published.counts.written_rows, day.published.counts.dead_lettered_rows, day.published.run_id) == (
        19,
        1,
        "first-run",
    )
    assert (day.latest.state, day.latest.run_id, day.latest.staged_rows) == (AttemptState.REJECTED, "second-run", 0)
    assert day.latest.dead_lettered_rows == 30
    assert "30 rows were refused, the budget is 20" in day.latest.reason
    assert next_day.published is None
    assert (next_day.latest.state, next_day.latest.load_id) == (AttemptState.FAILED, None)
    assert NOT_PLANNED in next_day.latest.reason

    told = run("status", "--exit-code")
    assert told.exit_code == 1
    assert f"events {DAY}: rejected at" in told.output
    assert "readers see 19 rows of" in told.output
    assert f"events {NEXT_DAY}: failed at" in told.output
    assert "before a load was begun; readers see no rows of it" in told.output
    assert run("status").exit_code == 0
    assert run("status", "--partition", DAY).output.count(NEXT_DAY) == 0

    write_source(tmp_path, "events", DAY, events(10))
    write_source(tmp_path, "events", NEXT_DAY, events(10, NEXT_DAY))
    load(database, EVENTS, tmp_path, [DAY, NEXT_DAY], run_id="third-run")

    told = run("status", "--exit-code", "--failed")
    assert (told.exit_code, told.output) == (0, "2 partitions, all published by their latest attempt\n")
    facts = json.loads(run("status", "--json").output)
    assert [found["latest"]["state"] for found in facts["partitions"]] == ["published", "published"]
    assert (facts["totals"]["written_rows"], facts["totals"]["failed_partitions"]) == (20, 0)


def test_a_run_that_gave_up_in_the_middle_is_told_with_its_reason_until_another_takes_over(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path, "events", DAY, events(20))
    set_failpoints(monkeypatch, "before_commit=sigkill")
    assert load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=1, crash_rows_max=0).error is not None
    (found,) = read_status(database)
    assert (found.latest.state, found.published) == (AttemptState.FAILED, None)
    assert "a rerun resumes at this chunk" in found.latest.reason
    fetch(database, "update rowledger.load set epoch = epoch + 1")  # as a later run does, that was killed
    (found,) = read_status(database)
    assert found.latest.state is AttemptState.INTERRUPTED
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    (found,) = read_status(database)
    assert found.is_well


def test_what_fails_before_any_partition_is_begun_is_an_attempt_of_each(database: str, tmp_path: Path) -> None:
    fetch(database, "create table public.events (event_id text)")
    with pytest.raises(Exception, match="does not fit the row model"):
        load(database, EVENTS, tmp_path, [DAY, NEXT_DAY])
    found = read_status(database, "events")
    assert [(row.partition_key, row.latest.state) for row in found] == [
        (DAY, AttemptState.FAILED),
        (NEXT_DAY, AttemptState.FAILED),
    ]
    assert all("does not fit the row model" in row.latest.reason for row in found)


def test_loads_that_add_up_are_told_as_their_sum_and_a_repeated_one_clears_a_failure(
    database: str, tmp_path: Path
) -> None:
    write_sales(tmp_path, DAY, sales(range(20)))
    assert load_one(database, APPENDED, tmp_path, DAY).error is None
    write_sales(tmp_path, DAY, sales(range(100, 110)))
    assert load_one(database, APPENDED, tmp_path, DAY).error is None
    (tmp_path / "sales" / f"{DAY}.parquet").unlink()
    assert isinstance(load_one(database, APPENDED, tmp_path, DAY).error, SourceError)
    (found,) = read_status(database)
    assert found.published is not None
    assert (found.published.loads, found.published.counts.written_rows) == (2, 30)
    assert found.latest.state is AttemptState.FAILED
    write_sales(tmp_path, DAY, sales(range(100, 110)))
    assert load_one(database, APPENDED, tmp_path, DAY).error is None
    (found,) = read_status(database)
    assert found.is_well


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["status", "--table", "nope"], "the ledger has no table 'nope'; it knows events"),
        (["status", "--partition", "nope"], "nothing was ever loaded into partition nope"),
        (["status", "--table", "events", "--partition", "nope"], "nothing was ever loaded into partition nope"),
        (["incidents", "--table", "nope"], "the ledger has no table 'nope'"),
        (["incidents", "--table", "events", "--partition", "nope"], "nothing was ever loaded into partition nope"),
        (["verify", "--partition", "2099-01-01"], "no published load of partition 2099-01-01"),
        (["verify", "--table", "events", "--partition", "2099-01-01"], "the ledger has no published load"),
        (
            ["verify", "--table", "events", "--partition", NEXT_DAY],
            f"events {NEXT_DAY}: the ledger has no published load",
        ),
        (
            ["verify", "--table", "events", "--partition", NEXT_DAY],
            "table events: 1 of 1 partition did not pass; load what did not again\n",  # and no word of forgetting it
        ),
        (["verify", "--table", "orders"], "no published partition of public.orders, so nothing was verified"),
        (["verify", "--table", "nope"], "the ledger has no table 'nope'; it knows events"),
        (
            ["forget", "--table", "events", "--partition", NEXT_DAY, "--yes"],
            f"no published load of partition {NEXT_DAY}",
        ),
        (["forget", "--table", "orders", "--yes"], "no published load; nothing was forgotten"),
        (["dead-letters", "list", "--table", "nope"], "the ledger has no table 'nope'"),
        (["dead-letters", "list", "--table", "events", "--partition", "nope"], "into partition nope"),
        (["dead-letters", "list", "--table", "events", "--id", "77"], "has no dead letter 77"),
        (["dead-letters", "mark", "--table", "events", "--corrected", "--id", "77"], "has no dead letter 77"),
        (["dead-letters", "discard", "--table", "events", "--id", "77", "--note", "x", "--yes"], "no dead letter 77"),
        (["dead-letters", "replay", "--table", "events", "--partition", "nope"], "into partition nope"),
        (["dead-letters", "purge", "--table", "events", "--id", "77", "--yes"], "has no dead letter 77"),
        (["dead-letters", "export", "--table", "events", "--output", "never"], "no dead letters that fit; no file"),
        (["dead-letters", "import", "--table", "orders", "never"], "never cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_an_error(database: str, run: Run, command: list[str], said: str) -> None:
    fetch(
        database,
        "with load as (insert into rowledger.load (table_name, target, partition_key, state, manifest_digest, "
        "enqueued_rows, chunks, ended_at) values ('events', 'public.events', $1, 'published', '', 0, 0, now()) "
        "returning load_id) select load_id from load",
        DAY,
    )
    for spec in (EVENTS, ORDERS):
        _keep(database, spec)
    fetch(
        database,
        "create table public.events (event_id integer, at timestamptz, name text, code text, amount float8, note text)",
    )
    told = run(*command)
    assert told.exit_code == 1
    assert said in told.output
    assert not Path("never").exists()


def test_verify_of_an_empty_ledger_is_an_error(database: str, run: Run) -> None:
    for command in (["verify"], ["status"], ["verify", "--json"]):
        told = run(*command)
        assert told.exit_code == 1, command
        assert "error: " in told.output
    assert fetch_value(database, "select count(*) from rowledger.load") == 0


def test_a_table_without_a_usable_spec_is_named_and_the_others_are_verified(
    database: str, run: Run, tmp_path: Path
) -> None:
    _load(database, tmp_path, EVENTS, DAY)
    assert run("verify").exit_code == 0
    _load(database, tmp_path, READINGS, "all")
    _lose_row_model(database, READINGS)

    told = run("verify")

    assert told.exit_code == 1
    assert "table events: 1 published partition is what was loaded" in told.output
    assert (
        "table readings: the spec of its latest load cannot be used: row pipeline_tests.lost:Reading cannot be imported: there "
        "is no module 'pipeline_tests.lost' on this process's import path; run this in the folder of the table's code, or give "
        "-m MODULE, --spec MODULE:NAME"
    ) in told.output
    module = tmp_path / "tables_of_a_project.py"
    module.write_text("from pipeline_tests.support.tables import READINGS\n")
    told = run("verify", "-m", module)
    assert (told.exit_code, "table readings: 1 published partition is what was loaded" in told.output) == (0, True)
    assert "no spec of table events is at the module level" in run("verify", "-m", module, "--table", "events").output
    assert run("dead-letters", "replay", "-m", module, "--table", "readings").exit_code == 0
    facts = json.loads(run("verify", "--json").stdout)
    assert (facts["passed"], [table["passed"] for table in facts["tables"]]) == (False, [True])
    assert len(facts["problems"]) == 1
    assert "readings" in run("status").output
    assert run("incidents", "--table", "readings").exit_code == 0
    fetch(database, "update public.events set amount = amount + 1 where event_id = 3")
    told = run("verify", "--table", "events")
    assert told.exit_code == 1
    assert f"events {DAY}: values_unchanged: " in told.output
    assert f"taken out on purpose: rowledger forget --table events --partition {DAY}" in told.output


def test_all_partitions_that_differ_can_be_forgotten_by_the_command_that_verify_names(
    database: str, run: Run, tmp_path: Path
) -> None:
    for day in (DAY, NEXT_DAY, THIRD_DAY):
        _load(database, tmp_path, EVENTS, day)
    fetch(database, "delete from public.events where at < $1::date", date.fromisoformat(THIRD_DAY))

    command = run("verify").output.strip().partition("on purpose: rowledger ")[2]

    assert command == f"forget --table events --partition {DAY} --partition {NEXT_DAY}"
    named = run("verify", "--partition", DAY).output.strip()
    assert named.endswith(f"rowledger forget --table events --partition {DAY}")
    unknown = run(*command.split(), "--partition", "nope")
    assert (unknown.exit_code, "no published load of partition nope" in unknown.output) == (1, True)
    assert "?" not in unknown.output, "a command asks about what it has found"
    asked = run(*command.split(), answer="n\n")
    assert f"Forget 2 published loads of table events: partitions {DAY}, {NEXT_DAY}? " in asked.output
    assert all(row.latest.state is AttemptState.PUBLISHED for row in read_status(database))
    assert run(*command.split(), answer="y\n").output.endswith("2 published loads of table events are forgotten\n")
    assert run("verify").exit_code == 0


def test_a_spent_budget_is_an_incident_of_its_own_partition_until_a_later_load(
    database: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path, "events", DAY, events(20))
    write_source(tmp_path, "events", NEXT_DAY, changed(events(40, NEXT_DAY), {n: {"event_id": -1} for n in range(30)}))
    load(database, EVENTS, tmp_path, [DAY, NEXT_DAY], run_id="a-run-of-both-days")

    def told(*options: str) -> list[tuple[str, str, str]]:
        found = json.loads(run("incidents", *options, "--json").stdout)
        return [(incident["partition_key"], incident["kind"], incident["run_id"]) for incident in found]

    spent = (NEXT_DAY, "dead_letter_budget", "a-run-of-both-days")
    assert told() == told("--partition", NEXT_DAY) == [spent]
    assert told("--partition", DAY) == []
    facts = json.loads(run("status", "--json").stdout)["totals"]
    assert (facts["incidents"], facts["worker_deaths"]) == (1, 0)
    assert "worker deaths" not in run("status").output

    detected_at = fetch_value(database, "select detected_at from rowledger.incident")
    assert all(text in run("incidents").output for text in (f"{detected_at:%Y-%m-%d %H:%M}", "a-run-of", NEXT_DAY))
    page = io.StringIO()
    monkeypatch.setattr(status, "console", lambda: Console(file=page, width=80))
    run("incidents")
    assert max(map(len, page.getvalue().splitlines())) <= 80
    assert all(text in page.getvalue() for text in (f"{detected_at:%m-%d %H:%M}", NEXT_DAY, "dead_letter_budget"))

    _load(database, tmp_path, EVENTS, NEXT_DAY)
    assert told() == told("--partition", NEXT_DAY) == []
    assert told("--all-loads") == told("--all-loads", "--partition", NEXT_DAY) == [spent]
    assert run("incidents", "--all-loads", "--partition", DAY).output == f"partition {DAY}: no load has incidents\n"


def test_incidents_name_their_hosts_where_these_are_not_this_one(
    database: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWLEDGER_HOST_NAME", "node-1")
    write_source(tmp_path, "events", DAY, events(20))
    set_failpoints(monkeypatch, "before_commit=exit0@attempt=1")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert [found["host"] for found in json.loads(run("incidents", "--json").stdout)] == ["node-1"]
    assert "host" not in run("incidents").output.split()
    fetch(
        database,
        "insert into rowledger.incident (load_id, attempt, kind, pid, host, summary) "
        "select load_id, 1, 'host_lost', 17, 'node-3', 'x' from rowledger.load",
    )
    shown = run("incidents").output
    assert {"host", "node-1", "node-3"} <= set(shown.split())
    assert [row.latest.worker_deaths for row in read_status(database)] == [2], "a worker on a lost host is lost"


def test_incidents_are_those_of_all_tables_unless_one_is_named(
    database: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("incidents").exit_code == 1
    write_source(tmp_path, "events", DAY, events(20))
    write_source(tmp_path, "readings", "all", readings(20))
    set_failpoints(monkeypatch, "before_commit=exit0@attempt=1")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert load_one(database, READINGS, tmp_path, "all").error is None
    set_failpoints(monkeypatch, "")
    _load(database, tmp_path, EVENTS, NEXT_DAY)

    def told(*options: str) -> list[tuple[str, str]]:
        found = json.loads(run("incidents", *options, "--json").stdout)
        return [(incident["table"], incident["partition_key"]) for incident in found]

    of_events, of_readings = ("events", DAY), ("readings", "all")
    assert told() == [of_events, of_readings]
    assert told("--table", "events") == [of_events]
    assert told("--partition", "all", "--partition", NEXT_DAY) == [of_readings]
    assert all(name in run("incidents").output for name in ("table", *of_events, *of_readings))
    assert "readings" not in run("incidents", "--table", "events").output
    nothing = run("incidents", "--table", "events", "--partition", NEXT_DAY).output
    none = f"table events, partition {NEXT_DAY}: the latest loads have no incidents; --all-loads lists those of earlier ones\n"
    assert nothing == none
    unknown = run("incidents", "--partition", "nope")
    assert (unknown.exit_code, "loaded into partition nope of any table" in unknown.output) == (1, True)
    fetch(
        database,
        "insert into rowledger.incident (attempt, kind, pid, host, summary, run_id) "
        "select 0, 'free_disk', 1, 'host', 'short', run_id from rowledger.load limit 1",
    )
    assert told() == [of_events, of_readings, ("-", "-")], "a run's incident may be of any of its tables"
    assert told("--table", "events") == [of_events, ("events", "-")]


def test_dead_letters_are_shown_without_the_tables_spec_but_not_their_values(
    database: str, run: Run, tmp_path: Path
) -> None:
    write_source(tmp_path, "readings", "all", changed(readings(300), {5: {"sensor": 2**40}}))
    assert load_one(database, STRICT_READINGS, tmp_path, "all").error is None
    number = fetch_value(database, "select dead_letter_id from rowledger.dead_letter")
    assert str(2**40) in run("dead-letters", "show", number).output
    _lose_row_model(database, STRICT_READINGS)
    assert run("dead-letters", "list", "--table", "strict_readings").exit_code == 0
    for command in (["show", number], ["list", "--table", "strict_readings", "--json"]):
        told = run("dead-letters", *command)
        assert told.exit_code == 0
        assert str(2**40) not in told.output
        assert "every value is hidden, because the table's spec cannot be read" in told.output
    assert str(2**40) in run("dead-letters", "show", number, "--reveal").output


def test_a_spent_budget_is_one_sentence_with_reasons_rows_and_a_command(
    database: str, run: Run, tmp_path: Path
) -> None:
    bad = {number: {"event_id": -1} for number in range(5, 40)} | {50: {"name": None}}
    write_source(tmp_path, "events", DAY, changed(events(60), bad))
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer)
    assert isinstance(report.error, DeadLetterBudgetSpent)
    told = str(report.error)
    assert told.count(f"partition {DAY}:") == 1
    assert told.count("table events,") == 1
    assert "36 rows were refused, the budget is 30 (rows_max 200, share_max 0.5 of 60 rows): event_id: " in told
    assert f"(35 rows: rows 5, 6, 7, 8, 9, … of {DAY}.parquet); name: " in told
    command = told.rpartition("See them: rowledger ")[2]
    assert command == f"dead-letters list --table events --partition {DAY}"
    assert run(*shlex.split(command)).exit_code == 0
    assert fetch_value(database, "select verdict from rowledger.load") == told
    assert [(cause.rows, cause.column) for cause in report.refusals] == [(35, "event_id"), (1, "name")]
    assert any("refused (contract): event_id: " in line for line in observer.lines)


def test_of_duplicates_beyond_the_budget_the_first_are_kept_and_named(database: str, tmp_path: Path) -> None:
    rows = events(20) * 20
    write_source(tmp_path, "events", DAY, rows)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert "380 rows were refused, the budget is 200" in str(report.error)
    assert "380 rows repeat a key" in str(report.error)
    assert "rows 20, 21, 22, 23, 24, …" in str(report.error)
    letters, _ = list_dead_letters(database, "events", DeadLetterSelection())
    assert [letter.row_no for letter in letters] == list(range(20, 220))
    assert letters[20].reason.endswith("as row 0 of the source, which stays")
    assert fetch_value(database, "select count(*) from public.events") == 0


def test_a_name_that_the_shell_would_take_apart_is_quoted() -> None:
    command = dead_letters_command("events", "it's | north")
    assert shlex.split(command)[-1] == "it's | north"


def test_states_have_colour_on_a_terminal_alone(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _load(database, tmp_path, EVENTS, DAY)
    load(database, EVENTS, tmp_path, [NEXT_DAY])  # whose file is missing
    rows = read_status(database)

    def printed(**options: Any) -> str:
        page = io.StringIO()
        monkeypatch.setattr(status, "console", lambda: Console(file=page, width=200, **options))
        status.print_balance(rows)
        return page.getvalue()

    assert "\x1b[32mpublished" in printed(force_terminal=True, color_system="standard")
    assert "\x1b[1;31mfailed" in printed(force_terminal=True, color_system="standard")
    assert "\x1b" not in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in printed(force_terminal=True, color_system="standard")


@pytest.mark.parametrize(
    "command",
    ["status", "verify", "incidents", "dead-letters list", "dead-letters replay", "dead-letters purge", "forget --yes"],
)
def test_a_partition_that_the_ledger_does_not_know_is_a_mistake(
    database: str, run: Run, tmp_path: Path, command: str
) -> None:
    _load(database, tmp_path, EVENTS, DAY)
    told = run(*command.split(), "--table", "events", "--partition", "nope")
    assert told.exit_code == 1
    assert "nope" in told.output
