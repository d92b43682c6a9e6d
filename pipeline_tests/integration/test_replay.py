"""Dead letters are brought back: each row is in the table once, or where it was with a reason that is true."""

from pathlib import Path

from pipeline_tests.loading import assert_accounted, fetch, fetch_value, load_one
from pipeline_tests.replaying import assert_verified, edit, replay, results, states
from pipeline_tests.tables_for_tests import DAY, EVENTS, changed, events, write_source


def test_edited_rows_go_into_the_table_and_the_balance_follows(database: str, tmp_path: Path) -> None:
    rows = changed(events(250), {3: {"event_id": -5}, 120: {"name": None}, 249: {"code": "far too long"}})
    write_source(tmp_path, "events", DAY, rows)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    mended = {3: {"event_id": 3}, 120: {"name": "now it has one"}}
    edit(database, EVENTS, tmp_path, mended)
    assert states(database) == {3: "mended", 120: "mended", 249: "open"}

    report = replay(database, EVENTS)

    assert results(report) == {3: "written", 120: "written", 249: "refused"}
    assert not report.succeeded
    assert states(database) == {3: "replayed", 120: "replayed", 249: "open"}
    chunks = fetch(database, "select written_rows, dead_lettered_rows from rowledger.chunk order by chunk_no")
    assert [tuple(chunk) for chunk in chunks] == [(100, 0), (100, 0), (49, 1)]
    assert fetch_value(database, "select name from events where event_id = 120") == "now it has one"
    assert_verified(database, EVENTS)
    assert_accounted(database, EVENTS, changed(rows, mended))
