"""Dead letters are brought back: each row is in the table once, or where it was with a reason that is true."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one, set_failpoints
from pipeline_tests.support.replaying import ACTOR, STRICT_PARCELS, assert_verified, edit, replay, results, states
from pipeline_tests.support.tables import (
    DAY,
    EVENTS,
    KEYED_READINGS,
    NEXT_DAY,
    ORDERS,
    PARCELS,
    READINGS,
    STRICT_READINGS,
    Row,
    changed,
    events,
    orders,
    parcels,
    readings,
    write_source,
)
from pipeline_tests.support.tables_with_transforms import HALVED_READINGS, REPEATED_READINGS
from rowledger.contract.dead_letter import Stage
from rowledger.errors import NothingRecorded, PoolBroken, TargetMismatch
from rowledger.ledger.dead_letter_outcomes import DeadLetterResult
from rowledger.ledger.states import DeadLetterState

_COUNTS = (
    "select sum(enqueued_rows)::int, sum(added_rows)::int, sum(written_rows)::int, sum(dead_lettered_rows)::int, "
    "sum(filtered_rows)::int from rowledger.chunk"
)


def _counts(database: str) -> tuple[int, ...]:
    """(enqueued, added, written, dead-lettered, filtered)"""
    return tuple(fetch(database, _COUNTS)[0])


def _make_parcels(database: str, *rules: str) -> None:
    """A table of parcels with rules of its own, made by somebody else."""
    fetch(database, "create schema if not exists depot")
    fetch(database, f"create table depot.parcels ({', '.join(['day date, parcel_id integer, label text', *rules])})")


def _load_parcels(database: str, landing: Path, rows: Sequence[Row]) -> None:
    write_source(landing, "parcels", DAY, rows)
    assert load_one(database, PARCELS, landing, DAY).error is None


def test_edited_rows_go_into_the_table_and_the_balance_follows(database: str, tmp_path: Path) -> None:
    rows = changed(events(250), {3: {"event_id": -5}, 120: {"name": None}, 249: {"code": "far too long"}})
    write_source(tmp_path, "events", DAY, rows)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    corrected = {3: {"event_id": 3}, 120: {"name": "now it has one"}}
    edit(database, EVENTS, tmp_path, corrected)
    assert states(database) == {3: "corrected", 120: "corrected", 249: "open"}

    report = replay(database, EVENTS)

    assert results(report) == {3: "written", 120: "written", 249: "refused"}
    assert not report.succeeded
    assert states(database) == {3: "replayed", 120: "replayed", 249: "open"}
    chunks = fetch(database, "select written_rows, dead_lettered_rows from rowledger.chunk order by chunk_no")
    assert [tuple(chunk) for chunk in chunks] == [(100, 0), (100, 0), (49, 1)]
    assert fetch_value(database, "select name from events where event_id = 120") == "now it has one"
    assert_verified(database, EVENTS)
    assert_accounted(database, EVENTS, changed(rows, corrected))


def test_a_row_is_written_once_however_often_it_is_replayed(database: str, tmp_path: Path) -> None:
    rows = changed(readings(100), {5: {"sensor": 2**40}})
    write_source(tmp_path, "readings", "all", rows)
    assert load_one(database, READINGS, tmp_path, "all").error is None
    edit(database, READINGS, tmp_path, {5: {"sensor": 5}})
    (dead_letter_id,) = (outcome.dead_letter_id for outcome in replay(database, READINGS).outcomes)

    assert replay(database, READINGS).outcomes == ()
    (again,) = replay(database, READINGS, ids=(dead_letter_id,)).outcomes

    assert (again.result, again.reason) == (DeadLetterResult.SKIPPED, "it was replayed before")
    assert _counts(database) == (100, 0, 100, 0, 0)
    assert_verified(database, READINGS)
    assert_accounted(database, READINGS, changed(rows, {5: {"sensor": 5}}))


def test_rows_whose_cause_was_fixed_in_the_table_need_no_edit(database: str, tmp_path: Path) -> None:
    _make_parcels(database, "constraint not_seven check (parcel_id % 100 <> 7)")
    rows = parcels(250)
    _load_parcels(database, tmp_path, rows)
    assert results(replay(database, PARCELS)) == {7: "refused", 107: "refused", 207: "refused"}
    fetch(database, "alter table depot.parcels drop constraint not_seven")

    report = replay(database, PARCELS, constraint="not_seven")

    assert results(report) == {7: "written", 107: "written", 207: "written"}
    assert report.succeeded
    assert_verified(database, PARCELS)
    assert_accounted(database, PARCELS, rows)


def test_what_is_refused_again_says_why_and_keeps_its_first_reason(database: str, tmp_path: Path) -> None:
    _make_parcels(
        database, "constraint not_seven check (parcel_id <> 7)", "constraint short check (length(label) < 40)"
    )
    _load_parcels(database, tmp_path, changed(parcels(20), {3: {"parcel_id": 7}}))
    edit(database, PARCELS, tmp_path, {3: {"parcel_id": 3, "label": "x" * 40}})

    report = replay(database, PARCELS)

    assert results(report) == {3: "refused", 7: "refused"}
    letter = fetch(database, "select * from rowledger.dead_letter where row_no = 3")[0]
    assert (letter["constraint_name"], letter["state"], letter["replays"]) == ("not_seven", "open", 1)
    told = fetch(
        database, "select * from rowledger.letter_event where dead_letter_id = $1 order by 1", letter["dead_letter_id"]
    )
    assert [event["state"] for event in told] == ["corrected", "open"]
    assert (told[1]["actor"], told[1]["note"], told[1]["run_id"]) == (ACTOR.name, ACTOR.note, ACTOR.run_id)
    assert (told[1]["stage"], told[1]["sqlstate"], told[1]["constraint_name"]) == ("copy", "23514", "short")
    assert "xxx" not in told[1]["reason"]
    assert_verified(database, PARCELS)


def test_refused_rows_do_not_keep_their_neighbours_out(database: str, tmp_path: Path) -> None:
    rows = changed(parcels(200), {number: {"label": None} for number in range(100)})
    fetch(database, "create schema depot")
    fetch(
        database,
        "create table depot.parcels (day date, parcel_id integer, label text, constraint no_x check (label <> 'x'))",
    )
    write_source(tmp_path, "parcels", DAY, rows)
    assert load_one(database, PARCELS, tmp_path, DAY).error is None
    bad = {0, 1, 40, 41, 42, 77, 99}
    edit(database, PARCELS, tmp_path, {n: {"label": "x" if n in bad else f"parcel {n}"} for n in range(100)})

    report = replay(database, PARCELS)

    assert results(report) == {n: "refused" if n in bad else "written" for n in range(100)}
    assert _counts(database) == (200, 0, 193, 7, 0)
    assert_verified(database, PARCELS)


@pytest.mark.parametrize("has_index", [True, False])
def test_a_key_that_the_table_has_stays_out_even_without_an_index(
    database: str, tmp_path: Path, *, has_index: bool
) -> None:
    if not has_index:
        fetch(database, "create table public.orders (order_id integer not null, day date not null, item text not null)")
    rows = orders(150)
    rows[140] = {**rows[2], "item": "again"}
    rows[141] = {**rows[3], "item": "again"}
    write_source(tmp_path, "orders", DAY, rows)
    assert load_one(database, ORDERS, tmp_path, DAY).error is None
    edit(database, ORDERS, tmp_path, {141: {"order_id": 141}})

    report = replay(database, ORDERS)

    assert results(report) == {140: "refused", 141: "written"}
    (refused,) = (outcome for outcome in report.outcomes if outcome.result is DeadLetterResult.REFUSED)
    assert (refused.stage, refused.reason) == (Stage.KEY, "a row of the table has the same key (order_id)")
    assert fetch_value(database, "select item from orders where order_id = 2") == "item 2"
    assert_verified(database, ORDERS)


def test_of_letters_with_one_key_the_first_in_source_order_goes_in(database: str, tmp_path: Path) -> None:
    rows = changed(orders(50), {n: {"item": None} for n in (10, 20, 30)})
    write_source(tmp_path, "orders", DAY, rows)
    assert load_one(database, ORDERS, tmp_path, DAY).error is None
    edit(database, ORDERS, tmp_path, {n: {"order_id": 999, "item": f"from row {n}"} for n in (10, 20, 30)})

    assert results(replay(database, ORDERS)) == {10: "written", 20: "refused", 30: "refused"}
    assert fetch_value(database, "select item from orders where order_id = 999") == "from row 10"
    assert_verified(database, ORDERS)


def test_a_unique_index_of_the_table_is_respected(database: str, tmp_path: Path) -> None:
    _make_parcels(database)
    _load_parcels(database, tmp_path, changed(parcels(20), {3: {"parcel_id": 2**40}}))
    fetch(database, "create unique index one_label on depot.parcels (label)")
    edit(database, PARCELS, tmp_path, {3: {"parcel_id": 3, "label": parcels(20)[4]["label"]}})

    (outcome,) = replay(database, PARCELS).outcomes

    assert (outcome.result, outcome.stage, outcome.constraint) == (DeadLetterResult.REFUSED, Stage.KEY, "one_label")
    assert "parcel 4" not in outcome.reason
    assert_verified(database, PARCELS)


@pytest.mark.parametrize("timing", ["", "deferrable initially deferred"])
def test_a_row_without_its_parent_is_found_among_its_neighbours(database: str, tmp_path: Path, timing: str) -> None:
    _make_parcels(database)
    _load_parcels(database, tmp_path, changed(parcels(40), {n: {"label": None} for n in range(4, 16)}))
    fetch(database, "create table depot.label (label text primary key)")
    fetch(database, "insert into depot.label select distinct label from depot.parcels union select 'known'")
    fetch(
        database, f"alter table depot.parcels add constraint known foreign key (label) references depot.label {timing}"
    )
    edit(database, PARCELS, tmp_path, {n: {"label": "unknown" if n in {7, 12} else "known"} for n in range(4, 16)})

    report = replay(database, PARCELS)

    assert {row for row, result in results(report).items() if result == "refused"} == {7, 12}
    assert {outcome.constraint for outcome in report.outcomes if outcome.reason} == {"known"}
    assert_verified(database, PARCELS)


@pytest.mark.parametrize(
    ("when", "body", "reason"),
    [
        ("before", "return null;", "a trigger of the table keeps the row out"),
        ("before", "new.label := 'changed'; return new;", "a trigger of the table changes its values"),
        ("before", "raise exception 'not %', new.label using errcode = '23514';", "check violation (SQLSTATE 23514)"),
        ("before", "raise exception 'not %', new.label;", "refused by the server: raise (SQLSTATE P0001)"),
        ("after", "delete from depot.parcels where parcel_id = 3;", "a trigger of the table keeps the row out"),
        (
            "after",
            "update depot.parcels set label = 'x' where parcel_id = 3;",
            "a trigger of the table changes its values",
        ),
    ],
)
def test_what_a_trigger_does_to_a_row_is_noticed(
    database: str, tmp_path: Path, when: str, body: str, reason: str
) -> None:
    _make_parcels(database)
    _load_parcels(database, tmp_path, changed(parcels(20), {n: {"parcel_id": 2**40} for n in (3, 9)}))
    fetch(
        database,
        "create function depot.meddle() returns trigger language plpgsql as "
        f"$$ begin if new.parcel_id = 3 then {body} end if; return new; end $$",
    )
    fetch(
        database, f"create trigger meddle {when} insert on depot.parcels for each row execute function depot.meddle()"
    )
    edit(database, PARCELS, tmp_path, {n: {"parcel_id": n} for n in (3, 9)})

    report = replay(database, PARCELS)

    assert results(report) == {3: "refused", 9: "written"}
    assert reason in report.outcomes[0].reason
    assert "parcel 3" not in report.outcomes[0].reason
    assert_verified(database, PARCELS)


def test_a_row_of_another_partition_stays_out(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, changed(events(20), {3: {"at": events(1, NEXT_DAY)[0]["at"]}}))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None

    (outcome,) = replay(database, EVENTS).outcomes

    assert outcome.result is DeadLetterResult.REFUSED
    assert f"another partition than {DAY}" in outcome.reason
    assert_verified(database, EVENTS)


def test_what_was_edited_into_no_row_is_refused_alone(database: str, tmp_path: Path) -> None:
    rows = changed(events(20), {n: {"event_id": -n} for n in (3, 4, 5, 6)})
    write_source(tmp_path, "events", DAY, rows)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    edit(database, EVENTS, tmp_path, {3: {"event_id": 3}, 4: {"event_id": 4, "nmae": "x"}, 5: {"event_id": "five"}})

    report = replay(database, EVENTS)

    assert results(report) == {3: "written", 4: "refused", 5: "refused", 6: "refused"}
    reasons = [outcome.reason for outcome in report.outcomes]
    assert "columns that the table does not have: ['nmae']" in reasons[1]
    assert "five" not in reasons[2]
    assert_verified(database, EVENTS)


def test_a_strict_model_gets_the_types_that_the_source_had(database: str, tmp_path: Path) -> None:
    write_source(
        tmp_path, "parcels", DAY, changed(parcels(20), {n: {"label": "x"} for n in range(20) if n not in {3, 4}})
    )
    assert load_one(database, STRICT_PARCELS, tmp_path, DAY).error is None
    edit(database, STRICT_PARCELS, tmp_path, {3: {"label": "short"}, 4: {"label": "short", "parcel_id": "4"}})

    report = replay(database, STRICT_PARCELS)

    assert results(report)[3] == "written"
    assert_verified(database, STRICT_PARCELS)


def test_only_a_published_load_takes_rows_back(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", changed(readings(200), {n: {"sensor": 2**40} for n in (5, 6, 7)}))
    assert load_one(database, STRICT_READINGS, tmp_path, "all").error is not None

    report = replay(database, STRICT_READINGS)

    assert {outcome.result for outcome in report.outcomes} == {DeadLetterResult.SKIPPED}
    assert "is rejected, not in the table: fix the source" in report.outcomes[0].reason
    assert set(states(database).values()) == {"open"}


def test_letters_of_a_replaced_load_stay_where_they_are(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, changed(events(20), {3: {"event_id": -3}}))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    (old,) = (outcome.dead_letter_id for outcome in replay(database, EVENTS).outcomes)
    write_source(tmp_path, "events", DAY, events(30))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None

    assert replay(database, EVENTS).outcomes == ()
    (outcome,) = replay(database, EVENTS, ids=(old,)).outcomes

    assert outcome.result is DeadLetterResult.SKIPPED
    assert "was replaced by a later one" in outcome.reason
    assert_verified(database, EVENTS)


def test_letters_of_a_load_into_another_table_stay_where_they_are(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, changed(events(20), {3: {"event_id": -3}}))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    fetch(database, "update rowledger.load set target = 'public.events_before'")  # as if the spec named another one now

    (outcome,) = replay(database, EVENTS).outcomes

    assert outcome.result is DeadLetterResult.SKIPPED
    assert "is in public.events_before, but the table spec names public.events now" in outcome.reason


def test_a_letter_that_is_not_there_is_an_error(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(20))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    with pytest.raises(NothingRecorded, match="table events has no dead letter 77"):
        replay(database, EVENTS, ids=(77,))


def test_a_table_that_cannot_take_the_rows_any_more_is_an_error(database: str, tmp_path: Path) -> None:
    _make_parcels(database)
    _load_parcels(database, tmp_path, changed(parcels(20), {3: {"parcel_id": 2**40}}))
    fetch(database, "alter table depot.parcels drop column label")
    with pytest.raises(TargetMismatch, match="column label"):
        replay(database, PARCELS)


def test_a_transform_runs_over_the_corrected_rows(database: str, tmp_path: Path) -> None:
    rows: list[Row] = [{"sensor": n, "value": None if n in {4, 6, 7, 8} else 1.0} for n in range(20)]
    write_source(tmp_path, "readings", "all", rows)
    assert load_one(database, HALVED_READINGS, tmp_path, "all").error is None
    assert _counts(database) == (20, 0, 7, 4, 9)
    edit(database, HALVED_READINGS, tmp_path, {4: {"value": 44.0}, 6: {"value": 66.0}, 7: {"value": 77.0}})

    report = replay(database, HALVED_READINGS)

    assert results(report) == {4: "written", 6: "written", 7: "filtered", 8: "refused"}
    assert report.outcomes[-1].stage is Stage.TRANSFORM
    assert "raised ValueError" in report.outcomes[-1].reason
    assert "no value in" in fetch_value(database, "select max(traceback) from rowledger.letter_event")
    assert _counts(database) == (20, 0, 9, 1, 10)
    assert fetch_value(database, "select value from halved_readings where sensor = 4") == 22.0
    assert_verified(database, HALVED_READINGS)


def test_a_letter_of_which_a_transform_makes_several_rows_goes_in_whole_or_not_at_all(
    database: str, tmp_path: Path
) -> None:
    fetch(
        database,
        "create table public.repeated_readings (sensor integer not null, "
        "value double precision constraint no_one check (value <> 1 or sensor = 4))",
    )
    write_source(tmp_path, "readings", "all", [{"sensor": n, "value": None} for n in (2, 3, 1, 1)])
    assert load_one(database, REPEATED_READINGS, tmp_path, "all").error is None
    assert _part_states(database) == {(0, 1): "open", (1, 1): "open"}
    fetch(
        database,
        "update rowledger.dead_letter set payload_of = 'source', payload = '{\"sensor\": 4, \"value\": null}' "
        "where row_no = 1",
    )
    fetch(
        database,
        "update rowledger.dead_letter set payload_of = 'source', payload = '{\"sensor\": 3, \"value\": null}' "
        "where row_no = 0",
    )

    report = replay(database, REPEATED_READINGS)

    assert results(report) == {0: "refused", 1: "written"}
    assert report.written_rows == 4
    assert_verified(database, REPEATED_READINGS)


def _part_states(database: str) -> dict[tuple[int, int], str]:
    rows = fetch(
        database,
        "select row_no, part, dead_letter.state from rowledger.dead_letter join rowledger.load using (load_id) "
        "where load.state = 'published'",
    )
    return {(row["row_no"], row["part"]): row["state"] for row in rows}


def test_a_row_that_a_transform_has_made_does_not_run_through_it_again(database: str, tmp_path: Path) -> None:
    fetch(
        database,
        "create table public.repeated_readings (sensor integer not null, "
        "value double precision constraint no_one check (value is distinct from 1))",
    )
    write_source(tmp_path, "readings", "all", [{"sensor": 3, "value": None}, {"sensor": 1, "value": None}])
    assert load_one(database, REPEATED_READINGS, tmp_path, "all").error is None
    fetch(database, "alter table repeated_readings drop constraint no_one")

    report = replay(database, REPEATED_READINGS)

    assert (results(report), report.written_rows) == ({0: "written"}, 1)
    assert _counts(database) == (2, 2, 4, 0, 0)
    assert_verified(database, REPEATED_READINGS)


def test_a_line_that_is_no_row_has_to_be_made_one(database: str, tmp_path: Path) -> None:
    rows: list[Row] = [{"sensor": 2**40 if n in {3, 4} else n, "value": None} for n in range(20)]
    write_source(tmp_path, "readings", "all", rows)
    assert load_one(database, KEYED_READINGS, tmp_path, "all").error is None
    fetch(
        database,
        "update rowledger.dead_letter set stage = 'source', payload_of = 'line', payload = '{\"line\": \"3;\"}' "
        "where row_no in (3, 4)",
    )
    fetch(
        database,
        "update rowledger.dead_letter set state = 'corrected', corrected_payload = '{\"sensor\": 99, \"value\": 1.5}' "
        "where row_no = 3",
    )

    report = replay(database, KEYED_READINGS, stages=(Stage.SOURCE,))

    assert results(report) == {3: "written", 4: "refused"}
    assert "make it a JSON object of columns" in report.outcomes[1].reason
    assert fetch_value(database, "select value from keyed_readings where sensor = 99") == 1.5
    assert_verified(database, KEYED_READINGS)


def test_a_row_that_kills_its_worker_costs_no_other(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = changed(readings(20), {n: {"sensor": 2**40} for n in (3, 4, 5)})
    write_source(tmp_path, "readings", "all", rows)
    assert load_one(database, READINGS, tmp_path, "all").error is None
    corrected = {n: {"sensor": n} for n in (3, 4, 5)}
    edit(database, READINGS, tmp_path, corrected)
    set_failpoints(monkeypatch, "while_encoding=sigsegv@row=4")
    observer = Recorder()

    report = replay(database, READINGS, observer=observer, writer={"chunk_attempts_max": 2})

    assert results(report) == {3: "written", 4: "refused", 5: "written"}
    assert report.outcomes[1].stage is Stage.CRASH
    assert "SIGSEGV" in report.outcomes[1].reason
    assert report.worker_deaths == 2 + 1 + 3, "of the batch twice, of a part of it, and of the row alone"
    assert "died" in observer.text
    assert fetch_value(database, "select count(*) from rowledger.incident where kind = 'signal'") == 6
    assert_verified(database, READINGS)
    # A letter known to kill goes alone.
    assert replay(database, READINGS).worker_deaths == 3
    set_failpoints(monkeypatch, "")
    assert results(replay(database, READINGS, stages=(Stage.CRASH,))) == {4: "written"}
    assert_accounted(database, READINGS, changed(rows, corrected))


@pytest.mark.slow
def test_more_rows_that_kill_than_one_search_finds_cost_no_other(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, killers = range(3, 7), (3, 4, 5)
    rows = changed(readings(20), {n: {"sensor": 2**40} for n in numbers})
    write_source(tmp_path, "readings", "all", rows)
    assert load_one(database, READINGS, tmp_path, "all").error is None
    edit(database, READINGS, tmp_path, {n: {"sensor": n} for n in numbers})
    set_failpoints(monkeypatch, ";".join(f"while_encoding=sigkill@row={row}" for row in killers))

    report = replay(database, READINGS, writer={"chunk_attempts_max": 1, "crash_rows_max": 1, "respawns_max": 2})

    assert results(report) == {n: "refused" if n in killers else "written" for n in numbers}
    crashed = "select count(*) from rowledger.incident where kind = 'crashing_row'"
    assert fetch_value(database, crashed) == len(killers)
    assert_verified(database, READINGS)


@pytest.mark.parametrize("numbers", [(3,), (3, 4, 5)], ids=["one", "several"])
@pytest.mark.parametrize("action", ["sigkill", "eat_memory", "exit0"])
def test_a_letter_whose_worker_is_killed_from_outside_is_tried_again(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: tuple[int, ...], action: str
) -> None:
    rows = changed(readings(20), {n: {"sensor": 2**40} for n in numbers})
    write_source(tmp_path, "readings", "all", rows)
    assert load_one(database, READINGS, tmp_path, "all").error is None
    corrected = {n: {"sensor": n} for n in numbers}
    edit(database, READINGS, tmp_path, corrected)
    kills = 2 if action == "sigkill" else 1
    limit = 500 * 2**20
    set_failpoints(monkeypatch, ";".join(f"in_replay={action}@attempt={1 + attempt}" for attempt in range(kills)))

    report = replay(database, READINGS, writer={"rss_soft_limit_bytes": limit, "rss_hard_limit_bytes": limit})

    assert results(report) == dict.fromkeys(numbers, "written")
    assert report.worker_deaths == kills
    assert_verified(database, READINGS)
    assert_accounted(database, READINGS, changed(rows, corrected))


def test_a_replay_whose_workers_keep_dying_ends(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_source(tmp_path, "readings", "all", changed(readings(20), {n: {"sensor": 2**40} for n in (3, 4, 5)}))
    assert load_one(database, READINGS, tmp_path, "all").error is None
    set_failpoints(monkeypatch, "in_replay=exit1")
    with pytest.raises(PoolBroken, match="3 workers died in this replay, the respawn budget is 2"):
        replay(database, READINGS, writer={"respawns_max": 2})
    assert list(states(database).values()) == ["open"] * 3
    assert_verified(database, READINGS)


def test_two_replays_at_once_write_each_row_once(database: str, tmp_path: Path) -> None:
    rows = changed(readings(200), {n: {"sensor": 2**40} for n in range(100)})
    write_source(tmp_path, "readings", "all", rows)
    assert load_one(database, READINGS, tmp_path, "all").error is None
    corrected = {n: {"sensor": n} for n in range(100)}
    edit(database, READINGS, tmp_path, corrected)

    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(lambda _: replay(database, READINGS), range(2)))

    assert sum(report.count(DeadLetterResult.WRITTEN) for report in reports) == 100
    assert all(report.count(DeadLetterResult.REFUSED) == 0 for report in reports)
    assert _counts(database) == (200, 0, 200, 0, 0)
    assert_verified(database, READINGS)
    assert_accounted(database, READINGS, changed(rows, corrected))


def test_a_selection_is_tried_and_no_more(database: str, tmp_path: Path) -> None:
    for day in (DAY, NEXT_DAY):
        bad = {0: {"code": "far too long"}, 1: {"event_id": -1}, 2: {"event_id": -2}}
        write_source(tmp_path, "events", day, changed(events(10, day), bad))
        assert load_one(database, EVENTS, tmp_path, day).error is None
    tried = {"states": (DeadLetterState.OPEN,), "partitions": (NEXT_DAY,), "column": "event_id", "limit": 1}
    assert [(o.partition_key, o.row_no) for o in replay(database, EVENTS, **tried).outcomes] == [(NEXT_DAY, 1)]
    assert replay(database, EVENTS, states=(DeadLetterState.CORRECTED,)).outcomes == ()
