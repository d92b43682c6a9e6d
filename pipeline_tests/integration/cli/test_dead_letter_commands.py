"""`rowledger dead-letters`, as a person with a pager meets it."""

import json
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import SECRET_EVENTS, assert_verified, states
from pipeline_tests.support.tables import (
    DAY,
    EVENTS,
    NEXT_DAY,
    STRICT_READINGS,
    changed,
    events,
    readings,
    write_source,
)
from rowledger.cli.main import cli
from rowledger.settings import settings

ROWS = changed(
    events(20),
    {3: {"event_id": -3, "name": "hush"}, 7: {"code": "far too hush"}, 11: {"name": None}, 15: {"event_id": 2}},
)

Run = Callable[..., Result]


@pytest.fixture
def run(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `rowledger dead-letters …` on this test's database, whose tables are those of the tests; no Dagster is here."""

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", database)
    settings.cache_clear()

    def invoke(*arguments: object, answer: str | None = None) -> Result:
        result = CliRunner().invoke(cli, ["dead-letters", *map(str, arguments)], input=answer)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def loaded(database: str, tmp_path: Path) -> None:
    """Twenty events, three of which were refused."""
    rows = changed(ROWS, {15: {"event_id": 15}})
    write_source(tmp_path, "events", DAY, rows)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None


def _ids(database: str) -> dict[int, int]:
    """The number of each dead letter, by its row's."""
    rows = fetch(database, "select row_no, dead_letter_id from rowledger.dead_letter")
    return {row["row_no"]: row["dead_letter_id"] for row in rows}


def _edit(file: Path, changes: dict[int, dict[str, Any]]) -> None:
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line["payload"].update(changes.get(line["row"], {}))
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


@pytest.mark.usefixtures("loaded")
def test_the_way_of_a_corrected_row(database: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "letters.ndjson"
    exported = run("export", "--table", "events", "--output", file)
    assert exported.output.startswith(
        f"3 dead letters written to {file}; edit the payloads, then: rowledger dead-letters import"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    corrected = {3: {"event_id": 3}, 7: {"code": "short"}}
    _edit(file, corrected)
    imported = run("import", "--table", "events", "--note", "ticket 12", file)
    assert imported.output.splitlines() == [
        "2 dead letters corrected, 1 line without a change",
        "then: rowledger dead-letters replay --table events --state corrected",
    ]

    replayed = run("replay", "--table", "events", "--state", "corrected", "--note", "ticket 12")

    assert replayed.exit_code == 0
    ids = _ids(database)
    lines = replayed.output.splitlines()
    assert lines[:2] == [f"{ids[3]}  {DAY} row 3  written", f"{ids[7]}  {DAY} row 7  written"]
    assert lines[2].startswith("2 dead letters: 2 written, in ")
    assert states(database) == {3: "replayed", 7: "replayed", 11: "open"}
    assert [letter["row_no"] for letter in json.loads(run("list", "--table", "events", "--json").output)] == [11]
    original = json.loads(fetch_value(database, "select payload::text from rowledger.dead_letter where row_no = 3"))
    assert original["event_id"] == -3, "what was refused is kept as it was"
    assert_verified(database, EVENTS)
    assert_accounted(
        database, EVENTS, changed(ROWS, {15: {"event_id": 15}, 3: {**ROWS[3], **corrected[3]}, 7: corrected[7]})
    )


@pytest.mark.usefixtures("loaded")
def test_a_replay_ends_with_exit_code_1_where_a_row_is_refused_again(run: Run) -> None:
    done = run("replay", "--table", "events", "--column", "name")
    assert done.exit_code == 1
    assert "row 11  refused (contract): name: is null, but the column is not nullable" in done.output
    assert "1 dead letter: 0 written, 1 refused, in " in done.output
    nothing = run("replay", "--table", "events", "--state", "corrected")
    assert (nothing.exit_code, nothing.output) == (1, "table events has no dead letters to replay that fit\n")


@pytest.mark.usefixtures("loaded")
def test_a_list_can_be_narrowed(database: str, run: Run) -> None:
    everything = run("list", "--table", "events")
    assert everything.output.startswith(f"dead letters: {DAY}, {DAY}.parquet, open")
    rows = [line.split() for line in everything.output.splitlines() if line.strip()[:1].isdigit()]
    assert [row[:4] for row in rows] == [
        [str(number), str(row_no), "contract", column]
        for (row_no, number), column in zip(sorted(_ids(database).items()), ("event_id", "code", "name"), strict=True)
    ]
    narrowed = run("list", "--table", "events", "--column", "code", "--stage", "contract", "--state", "open", "--json")
    (letter,) = json.loads(narrowed.output)
    assert (letter["dead_letter_id"], letter["row_no"], letter["payload"]["code"]) == (
        _ids(database)[7],
        7,
        "far too hush",
    )
    assert (
        run("list", "--table", "events", "--constraint", "none").output == "table events has no dead letters that fit\n"
    )
    assert run("list", "--table", "events", "--limit", 1).output.endswith("1 of 3 dead letters; --limit shows more\n")


@pytest.mark.usefixtures("loaded")
def test_a_letter_is_shown_with_its_history(database: str, run: Run) -> None:
    number = _ids(database)[7]
    run("mark", "--table", "events", "--corrected", "--id", number, "--note", "the column is wider now")
    run("replay", "--table", "events", "--id", number)
    shown = run("show", number)
    assert f"dead letter       {number}, open, revision 2" in shown.output
    assert '"code": "far too hush"' in shown.output
    assert ": the column is wider now" in shown.output
    worker = f"worker {fetch_value(database, 'select worker_pid from rowledger.dead_letter limit 1')}"
    assert f"attempt 1, {worker} on {socket.gethostname()}\n" in shown.output
    facts = json.loads(run("show", number, "--json").output)
    assert [event["state"] for event in facts["events"]] == ["corrected", "open"]
    listed = json.loads(run("list", "--table", "events", "--id", number, "--json").output)
    assert [letter["worker_host"] for letter in (*listed, facts)] == [socket.gethostname()] * 2
    fetch(database, "update rowledger.dead_letter set worker_host = null")  # as in the ledger of an earlier Rowledger
    assert f"attempt 1, {worker}\n" in run("show", number).output
    missing = run("show", 999_999)
    assert (missing.exit_code, "there is no dead letter 999999" in missing.output) == (1, True)


@pytest.mark.usefixtures("loaded")
def test_marks_and_discards_can_be_taken_back(database: str, run: Run) -> None:
    assert run("mark", "--table", "events", "--corrected").output == "3 dead letters are corrected now\n"
    assert run("mark", "--table", "events", "--open").output == "3 dead letters are open now\n"
    assert run("discard", "--table", "events", "--note", "x").exit_code == 2
    assert run("discard", "--table", "events", "--column", "name").exit_code == 2, "a note is asked for"
    asked = run("discard", "--table", "events", "--column", "name", "--note", "a test row", answer="n\n")
    assert (asked.exit_code, "Give up 1 row of table events?" in asked.output) == (1, True)
    assert set(states(database).values()) == {"open"}
    run("discard", "--table", "events", "--column", "name", "--note", "a test row", "--yes")
    assert states(database)[11] == "discarded"
    assert_verified(database, EVENTS)
    assert run("replay", "--table", "events", "--column", "name").output.startswith(
        "table events has no dead letters to replay"
    )
    skipped = run("replay", "--table", "events", "--id", _ids(database)[11])
    assert (skipped.exit_code, "it is discarded; mark it as open or as corrected first" in skipped.output) == (1, True)
    run("mark", "--table", "events", "--open", "--state", "discarded")
    assert states(database)[11] == "open"


@pytest.mark.usefixtures("loaded")
def test_what_proves_the_balance_is_not_purged(database: str, run: Run, tmp_path: Path) -> None:
    assert run("purge", "--table", "events", "--yes").exit_code == 2, "what is to be deleted has to be said"
    kept = run("purge", "--table", "events", "--older-than", 0, "--yes")
    assert kept.output.splitlines() == [
        "0 dead letters deleted",
        "3 kept: the balance of a published or unfinished load counts them",
    ]
    file = tmp_path / "letters.ndjson"
    run("export", "--table", "events", "--output", file)
    _edit(file, {3: {"event_id": 3}})
    run("import", "--table", "events", file)
    run("replay", "--table", "events")
    for age in ("1", "0.5", "12h", "1d", "2w"):
        assert run("purge", "--table", "events", "--older-than", age, "--yes").output == "0 dead letters deleted\n"
    asked = run("purge", "--table", "events", "--state", "replayed", answer="y\n")
    assert "Delete 1 dead letter of table events for good (1 replayed)?" in asked.output
    assert states(database).keys() == {7, 11}
    assert_verified(database, EVENTS)
    write_source(tmp_path, "events", DAY, events(20))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert run("purge", "--table", "events", "--state", "open", "--yes").output == "2 dead letters deleted\n"
    assert fetch_value(database, "select count(*) from rowledger.letter_event") == 0, "the history goes with its letter"


@pytest.mark.usefixtures("loaded")
def test_an_import_says_what_is_wrong_with_each_line_and_takes_none(database: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "letters.ndjson"
    run("export", "--table", "events", "--output", file)
    lines = file.read_text(encoding="utf-8").splitlines()
    run("mark", "--table", "events", "--corrected", "--id", _ids(database)[7])
    bad = [
        lines[0].replace('"event_id": -3', '"event_id": 3'),
        lines[1].replace("far too hush", "short"),
        '{"id": 999999, "payload": {"a": 1}}',
        lines[0],
        '{"id": 1}',
        '{"id": "x", "payload": {}}',
        lines[2].replace('"name": null', '"name": NaN'),
        "{",
    ]
    file.write_text("\ufeff" + "\r\n".join(bad) + "\r\n\r\n", encoding="utf-8")

    syntax = run("import", "--table", "events", file)

    ids = _ids(database)
    assert syntax.exit_code == 1
    assert syntax.output.splitlines() == [
        f"error: {file}: 5 lines cannot be taken; nothing was imported",
        f"line 4: dead letter {ids[3]} was in line 1 already",
        "line 5: has no payload",
        "line 6: has an id or a revision that is no whole number",
        "line 7: holds NaN, which JSON does not know; write it as text",
        "line 8: is no JSON: Expecting property name enclosed in double quotes at character 2",
    ]
    file.write_text("\n".join(bad[:3]), encoding="utf-8")
    assert run("import", "--table", "events", file).output.splitlines()[1:] == [
        f"line 2: dead letter {ids[7]} was changed since it was exported; export it again",
        "line 3: dead letter 999999 does not exist in table events",
    ]
    assert states(database) == {3: "open", 7: "corrected", 11: "open"}
    assert "cannot be read: No such file or directory" in run("import", "--table", "events", tmp_path / "none").output
    file.write_bytes(b'{"id": 1, "payload": {"a": "\xff"}}')
    assert "is not UTF-8: byte" in run("import", "--table", "events", file).output


@pytest.mark.usefixtures("loaded")
def test_an_import_that_is_repeated_changes_nothing(database: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "letters.ndjson"
    run("export", "--table", "events", "--output", file)
    assert "exists already; name another file" in run("export", "--table", "events", "--output", file).output
    _edit(file, {3: {"event_id": 3}})
    assert run("import", "--table", "events", file).output.startswith("1 dead letter corrected")
    assert run("import", "--table", "events", file).output == "0 dead letters corrected, 3 lines without a change\n"
    run("replay", "--table", "events")
    _edit(file, {3: {"event_id": 4}})
    assert "was replayed; its row is in the table" in run("import", "--table", "events", file).output
    assert_verified(database, EVENTS)


def test_letters_of_a_load_that_is_not_in_the_table_are_looked_at_and_no_more(
    database: str, run: Run, tmp_path: Path
) -> None:
    write_source(tmp_path, "readings", "all", changed(readings(200), {n: {"sensor": 2**40} for n in (5, 6, 7)}))
    assert load_one(database, STRICT_READINGS, tmp_path, "all").error is not None
    assert "3 dead letters written" in run("export", "--table", "strict_readings", "--output", tmp_path / "x").output
    marked = run("mark", "--table", "strict_readings", "--corrected")
    assert marked.exit_code == 1
    assert (
        "which is rejected, not in the table: fix the source or the table spec, and load the partition again"
        in marked.output
    )
    assert run("replay", "--table", "strict_readings").exit_code == 1
    assert run("purge", "--table", "strict_readings", "--state", "open", "--yes").output == "3 dead letters deleted\n"


@pytest.fixture
def secretly_loaded(database: str, tmp_path: Path) -> None:
    """The same rows, under a spec that names some columns as sensitive."""
    write_source(tmp_path, "events", DAY, changed(ROWS, {15: {"event_id": 15}}))
    assert load_one(database, SECRET_EVENTS, tmp_path, DAY).error is None


@pytest.mark.usefixtures("secretly_loaded")
def test_sensitive_columns_are_shown_to_nobody_who_does_not_ask(database: str, run: Run, tmp_path: Path) -> None:
    number = _ids(database)[7]
    file, revealed = tmp_path / "letters.ndjson", tmp_path / "revealed.ndjson"
    outputs = [
        run("list", "--table", "secret_events").output,
        run("list", "--table", "secret_events", "--json").output,
        run("show", number).output,
        run("show", number, "--json").output,
        run("export", "--table", "secret_events", "--output", file).output,
        file.read_text(encoding="utf-8"),
    ]
    for output in outputs:
        assert "hush" not in output
    assert '"code": "[redacted]"' in outputs[2]
    assert "far too hush" in run("list", "--table", "secret_events", "--json", "--reveal").output
    assert "far too hush" in run("show", number, "--reveal").output
    run("export", "--table", "secret_events", "--output", revealed, "--reveal")
    assert "far too hush" in revealed.read_text(encoding="utf-8")


@pytest.mark.usefixtures("secretly_loaded")
def test_sensitive_columns_keep_their_values_where_they_were_not_shown(database: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "letters.ndjson"
    run("export", "--table", "secret_events", "--output", file)
    _edit(file, {3: {"event_id": 3}, 7: {"code": "guessed", "note": "edited"}})
    run("import", "--table", "secret_events", file)
    assert run("replay", "--table", "secret_events", "--column", "event_id").exit_code == 0
    assert fetch_value(database, "select name from secret_events where event_id = 3") == "hush"
    edited = json.loads(
        fetch_value(database, "select corrected_payload::text from rowledger.dead_letter where row_no = 7")
    )
    assert (edited["code"], edited["note"]) == ("far too hush", "edited")
    # The mark itself never is a value, even in a line that does not say what is hidden in it.
    line = {
        "id": _ids(database)[11],
        "payload": {**edited, "code": "[redacted]", "name": "now shown", "event_id": 11},
    }
    file.write_text(json.dumps(line), encoding="utf-8")
    run("import", "--table", "secret_events", file)
    kept = json.loads(
        fetch_value(database, "select corrected_payload::text from rowledger.dead_letter where row_no = 11")
    )
    assert (kept["code"], kept["name"]) == (events(20)[11]["code"], "now shown")


def test_a_purge_says_what_it_deletes_and_what_nothing_else_has(database: str, run: Run, tmp_path: Path) -> None:
    for day in (DAY, NEXT_DAY):
        write_source(
            tmp_path, "events", day, changed(events(40, day), {number: {"event_id": -1} for number in range(30)})
        )
        assert load_one(database, EVENTS, tmp_path, day).error is not None
    write_source(tmp_path, "events", DAY, events(20))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None

    asked = run("purge", "--table", "events", "--older-than", "0m", answer="n\n")

    assert asked.exit_code == 1
    assert asked.output.startswith(
        f"30 dead letters of partition {NEXT_DAY}, which is not published, would be lost unresolved.\n"
        "Delete 60 dead letters of table events for good (60 open)? "
    )
    cured = run("purge", "--table", "events", "--partition", DAY, "--older-than", "0m", answer="y\n").output
    assert cured.startswith("Delete 30 dead letters of table events for good (30 open)? ")
    assert cured.endswith("30 dead letters deleted\n")
