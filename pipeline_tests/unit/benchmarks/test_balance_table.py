from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.text import Text

from rowledger.cli.status import attempt_lines, print_balance
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.status import Attempt, AttemptState, PartitionStatus, PublishedRows


def _row(state: AttemptState, published_at: datetime, table: str = "flights") -> PartitionStatus:
    published = PublishedRows(
        loads=1,
        load_id=7,
        published_at=published_at,
        run_id="a575a680-0000",
        counts=RowCounts(enqueued_rows=1_567, written_rows=1_560, dead_lettered_rows=7),
        updated_rows=0,
    )
    latest = Attempt(
        state=state,
        load_id=7,
        run_id="a575a680-0000",
        at=published_at,
        enqueued_rows=1_567,
        staged_rows=1_560,
        dead_lettered_rows=7,
        chunks=1,
        chunks_committed=1,
        incidents=1,
        reason="",
    )
    return PartitionStatus(
        table=table, target=f"public.{table}", partition_key="2013-02-01", published=published, latest=latest
    )


def _terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes it a terminal for rich
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_no_figure_and_no_state_is_cut_off_at_any_width(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _terminal(monkeypatch, columns)
    print_balance([_row(AttemptState.INTERRUPTED, datetime.now(UTC))])
    printed = Text.from_ansi(capsys.readouterr().out).plain
    for expected in ("2013-02-01", "1,567", "1,560", "interrupted", "lettered", "missing", "enqueued", "attempt"):
        assert expected in printed
    assert "…" not in printed


def test_80_columns_take_a_table_of_a_line_a_partition(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _terminal(monkeypatch, 80)
    now = datetime.now(UTC)
    print_balance([_row(AttemptState.PUBLISHED, now), _row(AttemptState.PUBLISHED, now.replace(year=2020, day=1))])
    lines = Text.from_ansi(capsys.readouterr().out).plain.splitlines()
    found = [line for line in lines if "2013-02-01" in line]
    assert len(found) == 2
    assert f"{now:%m-%d %H:%M}" in found[0]
    assert f"2020-{now:%m}-01" in found[1], "a time without its year would be taken for one of this year"
    assert all(len(line.rstrip()) <= 80 for line in found)


def test_a_forgotten_load_is_told_as_what_the_table_may_still_have() -> None:
    row = replace(_row(AttemptState.FORGOTTEN, datetime.now(UTC)), published=None)
    assert attempt_lines([row])[0] == (
        "flights 2013-02-01: forgotten: load 7 of run a575a680, 1,560 rows; rows of it that are still in the table are not "
        "accounted for until it is loaded again"
    )
