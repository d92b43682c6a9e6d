"""The progress of a run, as a terminal and a log show it."""

import io
from dataclasses import replace

from rich.console import Console

from rowledger.ledger.counts import RowCounts
from rowledger.ledger.reports import Progress
from rowledger.load.progress_bar import drawing_progress
from rowledger.load.progress_lines import ProgressLines

NOTHING_YET = Progress(RowCounts(), 0.0, 0, 1)
UNDER_WAY = Progress(RowCounts(1000, 300), 100.0, 0, 1)
FILTERED = Progress(RowCounts(1000, written_rows=700, dead_lettered_rows=1, filtered_rows=299), 100.0, 1, 1)


def _drawn(*steps: Progress) -> str:
    terminal = io.StringIO()
    with drawing_progress(Console(file=terminal, force_terminal=True, width=160)) as bar:
        for step in steps:
            bar.progress(step)
    return terminal.getvalue()


def test_the_bar_names_no_total_before_the_first_rows_are_known() -> None:
    drawn = _drawn(NOTHING_YET, NOTHING_YET)
    assert "reading the source" in drawn
    assert "0/" not in drawn


def test_the_bar_is_full_when_each_row_is_accounted_for() -> None:
    assert "300/1,000 lag 700, 100 rows/s, 0 of 1 partition done" in _drawn(NOTHING_YET, UNDER_WAY)
    assert "1,000/1,000 lag 0" in _drawn(NOTHING_YET, UNDER_WAY, FILTERED)


def test_a_line_is_written_when_rows_have_come_and_not_before_the_first_are_known() -> None:
    lines: list[str] = []
    progress = ProgressLines(lines.append, interval_s=0)
    slower = replace(FILTERED, rows_per_second=90.0)
    for step in (NOTHING_YET, UNDER_WAY, UNDER_WAY, FILTERED, slower):
        progress.progress(step)
    assert lines == [
        "300 of 1,000 rows written, 0 dead-lettered, lag 700, 100 rows/s, 0 of 1 partition done",
        "700 of 1,000 rows written, 1 dead-lettered, lag 0, 100 rows/s, 1 of 1 partition done",
    ]
