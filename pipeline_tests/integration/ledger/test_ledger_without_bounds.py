"""A ledger that an earlier Rowledger wrote, before loads had the bounds of their partitions: upgraded, it goes on as it was.

`data/ledger_at_version_7.sql` is a dump of such a database: partitions by day, by hour, by list, by two dimensions, and none;
replaced, appended and upserted; with dead letters, some of them corrected, a replay, an interrupted load, and an entry that was
edited by hand.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import edited_loads, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.partitions import partition_maker
from pipeline_tests.support.replaying import replay
from pipeline_tests.support.roles import new_role
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, PARCELS, READINGS, THIRD_DAY, events, write_source
from pipeline_tests.support.tables_of_write_modes import (
    APPENDED,
    BY_DAY_AND_REGION,
    BY_REGION,
    MOVING,
    PATHS,
    TICKS,
    UPSERTED,
    sales,
    write_sales,
)
from rowledger.dead_letters.changes import read_waiting, show_dead_letter
from rowledger.embedded.server import EmbeddedServer
from rowledger.errors import UnknownPartition
from rowledger.ledger.script import ledger_script
from rowledger.ledger.states import DeadLetterState
from rowledger.ledger.upgrade import run_migrate
from rowledger.postgres.queries import migrations
from rowledger.publish.forget import run_forget
from rowledger.publish.verify import run_verify

_DATA = Path(__file__).parent / "data"
_EDITED = 5  # the load of region south in `by_region`
_UNKNOWN = "made before the ledger recorded the bounds of partitions; run the table's verify job in Dagster once"
_DIVIDED = (EVENTS, PARCELS, BY_DAY_AND_REGION, APPENDED, UPSERTED, MOVING, PATHS, TICKS)


def _psql(url: str, file: Path) -> None:
    psql = EmbeddedServer(Path("unused")).psql_path
    command = [psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={url}", f"--file={file}"]
    subprocess.run(command, capture_output=True, timeout=60, check=True)


@pytest.fixture
def dumped(empty_database: str) -> str:
    """The dump, as it was."""
    _psql(empty_database, _DATA / "ledger_at_version_7.sql")
    return empty_database


@pytest.fixture
def former(dumped: str) -> str:
    """The dump, with the ledger upgraded."""
    done = run_migrate(dumped)
    assert (done.before, done.after) == (7, migrations()[-1].version)
    return dumped


def _without_bounds(url: str) -> set[str]:
    return {row[0] for row in fetch(url, "select distinct table_name from rowledger.load where partition is null")}


def test_an_upgrade_changes_no_digest_and_an_entry_that_was_edited_still_shows(former: str) -> None:
    assert edited_loads(former) == [_EDITED]
    assert fetch_value(former, "select count(*) from rowledger.load where partition is not null") == 0


@pytest.mark.parametrize("table", ["chunk", "dead_letter"])
def test_an_upgrade_adds_the_host_beside_the_pid_without_writing_a_row(dumped: str, table: str) -> None:
    file_of_rows = f"select pg_relation_filenode('rowledger.{table}'), min(xmin::text::bigint) from rowledger.{table}"
    before = fetch(dumped, file_of_rows)
    assert run_migrate(dumped).before == 7
    if table == "chunk":  # migration 10 renames a state of dead letters
        assert fetch(dumped, file_of_rows) == before
    assert fetch(dumped, f"select distinct worker_host from rowledger.{table}") == [(None,)]


def test_loads_without_bounds_are_verified_once_their_partitions_are_given_and_then_without(former: str) -> None:
    assert all(result.passed for result in run_verify(READINGS, url=former)), "a whole table needs no bounds"
    for spec in _DIVIDED:
        before = run_verify(spec, url=former)
        assert before
        assert all(_UNKNOWN in result.why_not for result in before), spec.name
    for spec in _DIVIDED:
        assert all(result.passed for result in run_verify(spec, url=former, partition_of=partition_maker(spec))), (
            spec.name
        )
        assert all(result.passed for result in run_verify(spec, url=former)), spec.name
    assert _without_bounds(former) == {"events", "by_region"}  # the interrupted load of events has none yet
    assert edited_loads(former) == [_EDITED]


def test_the_bounds_of_an_entry_that_was_edited_are_not_recorded_and_it_does_not_pass(former: str) -> None:
    results = run_verify(BY_REGION, url=former, partition_of=partition_maker(BY_REGION))
    assert {result.partition_key: result.passed for result in results} == {"north": True, "south": False}
    assert fetch_value(former, "select partition from rowledger.load where load_id = $1", _EDITED) is None
    assert edited_loads(former) == [_EDITED]


def test_bounds_that_are_changed_by_hand_show(former: str) -> None:
    run_verify(EVENTS, url=former, partition_of=partition_maker(EVENTS))
    change = "update rowledger.load set partition = {} where table_name = 'events' and partition_key = '2024-03-01'"
    for changed in ("null", "jsonb_set(partition, '{conditions}', '[]')"):
        bounds = fetch_value(former, "select partition::text from rowledger.load where load_id = 1")
        fetch(former, change.format(changed))
        assert 1 in edited_loads(former)
        assert not all(result.passed for result in run_verify(EVENTS, url=former))
        fetch(former, change.format("$1::text::jsonb"), bounds)
        assert edited_loads(former) == [_EDITED]


def test_a_role_that_only_reads_verifies_and_records_nothing(former: str) -> None:
    with new_role(former) as reader:
        for statement in (
            f"grant usage on schema rowledger to {reader.name}",
            f"grant select on all tables in schema rowledger to {reader.name}",
            f"grant select on events to {reader.name}",
        ):
            fetch(former, statement)
        for _ in range(2):
            results = run_verify(EVENTS, url=reader.url, partition_of=partition_maker(EVENTS))
            assert [result.passed for result in results] == [True, True]
    assert "events" in _without_bounds(former)


def test_a_new_load_brings_the_bounds_of_those_before_it(former: str, tmp_path: Path) -> None:
    write_sales(tmp_path, DAY, sales(range(100, 105)))
    for spec in (APPENDED, UPSERTED, MOVING):
        assert load_one(former, spec, tmp_path, DAY).error is None
        (result,) = run_verify(spec, url=former, partition_keys=[DAY])
        assert result.passed, (spec.name, result.problems)
    write_sales(tmp_path, "a", sales(range(50), region="a"))
    assert load_one(former, PATHS, tmp_path, "a").error is None
    assert run_verify(PATHS, url=former, partition_keys=["a"])[0].passed
    assert edited_loads(former) == [_EDITED]


def test_an_append_of_the_same_rows_is_known_as_such_and_brings_the_bounds(former: str, tmp_path: Path) -> None:
    assert fetch_value(former, "select count(*) from appended") == 12 + 12 + 5
    write_sales(tmp_path, DAY, sales(range(12, 17)))
    digest = fetch_value(former, "select digest from rowledger.chunk where load_id = 14")
    report = load_one(former, APPENDED, tmp_path, DAY)
    assert report.error is None, digest
    assert fetch_value(former, "select count(*) from appended") == 12 + 12 + 5
    assert (
        fetch_value(former, "select count(*) from rowledger.load where table_name = 'appended' and partition is null")
        == 1
    )
    assert edited_loads(former) == [_EDITED]


def test_an_interrupted_load_is_finished_and_has_bounds_then(former: str, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    shutil.copy(_DATA / f"{THIRD_DAY}.parquet", tmp_path / "events")
    # The row model has moved to another module since the dump was made, which makes it another contract.
    write_source(tmp_path, "events", "2024-03-04", events(1, "2024-03-04"))
    assert load_one(former, EVENTS, tmp_path, "2024-03-04").error is None
    digest = "select contract_digest from rowledger.load where partition_key = '2024-03-04'"
    fetch(former, f"update rowledger.load set contract_digest = ({digest}) where partition_key = '{THIRD_DAY}'")
    report = load_one(former, EVENTS, tmp_path, THIRD_DAY)
    assert (report.error, report.written_rows, report.resumed) == (None, 300, True)
    assert run_verify(EVENTS, url=former, partition_keys=[THIRD_DAY])[0].passed
    assert edited_loads(former) == [_EDITED]
    good = [row for day in (DAY, NEXT_DAY) for number, row in enumerate(events(12, day)) if number not in (3, 5)]
    assert sum(table_rows(former, EVENTS).values()) == len(good) + 300 + 1


def test_dead_letters_are_replayed_once_the_partition_is_known(former: str) -> None:
    skipped = replay(former, PARCELS)
    assert [_UNKNOWN in outcome.reason for outcome in skipped.outcomes] == [True]
    assert replay(former, PARCELS, partition_of=partition_maker(PARCELS)).written_rows == 1
    assert run_verify(PARCELS, url=former)[0].passed
    assert edited_loads(former) == [_EDITED]


@pytest.mark.parametrize("by_script", [False, True])
def test_what_was_corrected_keeps_its_state_its_row_and_its_history(
    dumped: str, tmp_path: Path, *, by_script: bool
) -> None:
    if by_script:
        (tmp_path / "ledger.sql").write_text(ledger_script(), encoding="utf-8")
        _psql(dumped, tmp_path / "ledger.sql")
    else:
        run_migrate(dumped)
    letters = fetch(dumped, "select dead_letter_id, state from rowledger.dead_letter where load_id in (1, 2)")
    assert dict(map(tuple, letters)) == {1: "open", 2: "corrected", 3: "open", 4: "corrected"}
    events = fetch(dumped, "select dead_letter_id, state from rowledger.letter_event order by event_id")
    assert [tuple(event) for event in events] == [
        (5, "replayed"),
        (4, "corrected"),
        (2, "corrected"),
        (3, "corrected"),
        (3, "open"),
    ]
    shown = show_dead_letter(dumped, "events", EVENTS, 4, reveal=True)
    assert json.loads(shown.payload)["name"] is None
    assert json.loads(shown.corrected_payload or "")["name"] == "corrected, ünïcode"
    assert read_waiting(dumped, "events") == (2, 3)
    report = replay(dumped, EVENTS, states=(DeadLetterState.CORRECTED,), partition_of=partition_maker(EVENTS))
    assert [(outcome.dead_letter_id, outcome.result) for outcome in report.outcomes] == [(4, "written"), (2, "refused")]
    assert fetch_value(dumped, "select name from events where at = '2024-03-01 00:00:05+00'") == "corrected, ünïcode"
    assert all(result.passed for result in run_verify(EVENTS, url=dumped))
    assert edited_loads(dumped) == [_EDITED]


def test_loads_without_bounds_are_forgotten_where_their_rows_can_be_told(former: str) -> None:
    assert run_forget(EVENTS, url=former, partition_keys=[DAY]) == [(1, DAY)]
    with pytest.raises(UnknownPartition, match=_UNKNOWN):
        run_forget(PATHS, url=former, partition_keys=["a"])
    both = run_forget(PATHS, url=former, partition_keys=["a"], partition_of=partition_maker(PATHS))
    assert {key for _, key in both} == {"a", "b"}, "they add up together"
    assert [key for _, key in run_forget(READINGS, url=former)] == ["all"]


def test_the_ledger_has_the_bounds_of_a_new_load(database: str, tmp_path: Path) -> None:
    write_sales(tmp_path, f"north/{DAY}", sales(range(5), region="north"))
    assert load_one(database, BY_DAY_AND_REGION, tmp_path, f"{DAY}|north").error is None
    bounds = json.loads(fetch_value(database, "select partition::text from rowledger.load"))
    assert bounds == {
        "version": 1,
        "conditions": [
            {
                "kind": "window",
                "column": "day",
                "lower": "2024-03-01T00:00:00+00:00",
                "upper": "2024-03-02T00:00:00+00:00",
                "timezone": "UTC",
            },
            {"kind": "equals", "column": "region", "text": "north"},
        ],
        "dimensions": [["day", DAY], ["region", "north"]],
        "identifies_rows": True,
    }
    assert run_verify(BY_DAY_AND_REGION, url=database)[0].passed
