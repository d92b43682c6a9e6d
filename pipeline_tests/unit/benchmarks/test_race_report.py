"""What the figures of a race are made of."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.contestants import CONTESTANTS
from benchmarks.contestants.task import FORMATS
from benchmarks.datasets import DATASETS
from benchmarks.race.__main__ import entrants
from benchmarks.race.measure import Measured
from benchmarks.race.report import RATIOS, Cell, Entrant, Figure, Race, Turn, ratio
from benchmarks.race.tables import print_race, write_page

_LINEITEM, _TRIPS, _ = DATASETS


def _entrant(
    name: str,
    *wall_s: float,
    cpu_s: float = 1.0,
    wrong: str | None = None,
    cell: str = "parquet",
    rows: int = 1_000_000,
) -> Entrant:
    turns = [
        Turn(number, Measured(0, seconds, cpu_s, 2**20, 300 * 2**20, 2**29, ""), 1.0, wrong)
        for number, seconds in enumerate(wall_s)
    ]
    contestant = next(one for one in CONTESTANTS if one.name == name and cell in one.formats)
    return Entrant(Cell(_LINEITEM, cell), contestant, rows=rows, turns=turns)


def _race(*entered: Entrant) -> Race:
    machine = {"cpu": "a processor", "cores": 2, "python": "3.11"}
    return Race(1, 3, machine, {"duckdb": "1.5"}, {"version": "18.6", "is_local": True}, [], entered)


def _told(race: Race) -> dict[str, str]:
    return {target.figure: target.parts()[2] for target in race.targets}


def test_a_ratio_is_the_median_over_rounds_not_the_ratio_of_medians() -> None:
    own, other = _entrant("rowledger", 1, 10, 4), _entrant("bare", 2, 1, 6)

    assert ratio(own, other) == pytest.approx(1.5)


def test_a_slow_contestant_that_loads_fewer_rows_is_compared_by_its_rate() -> None:
    own = _entrant("rowledger", 2, cell="dicts")
    other = _entrant("dlt", 1, cell="dicts", rows=100_000)

    assert ratio(own, other) == pytest.approx(5)


def test_of_cpu_the_ratio_is_own_to_other() -> None:
    own, other = _entrant("rowledger", 1, cpu_s=1), _entrant("adbc", 1, cpu_s=4)

    assert ratio(own, other, Figure.CLIENT_CPU) == pytest.approx(0.25)


def test_who_was_wrong_has_no_ratio_and_no_figures() -> None:
    cheat, bare = _entrant("rowledger", 0.1, wrong="3 rows instead of 4"), _entrant("bare", 1)
    race, printed = _race(cheat, bare), io.StringIO()

    print_race(race, Console(width=132, file=printed))

    assert ratio(cheat, bare) is None
    assert race.failed
    assert not race.targets
    assert "Rowledger in full: WRONG: 3 rows instead of 4 (Parquet)" in printed.getvalue()


def test_targets_say_whether_they_were_met_and_leave_out_what_was_not_run() -> None:
    race = _race(
        _entrant("rowledger", 1.25),
        _entrant("bare", 1),
        _entrant("rowledger", 1, cell="csv"),
        _entrant("psql", 1.1, cell="csv"),
        _entrant("rowledger", 1.3, cell="frames"),
    )

    assert _told(race) == {
        "lineitem, Parquet in full / bare: polars, pgpq, asyncpg; two processes": "MISSED",
        r"lineitem, CSV in full / psql, \copy": "met",
        "lineitem, polars frames from a function in full / Parquet in full": "met",
        "supervisor, largest with Parquet of lineitem": "met",
        "worker, largest with Parquet of lineitem": "MISSED",
    }


@pytest.mark.parametrize(("rows", "word"), [(1_500_000, "met"), (6_000_000, "MISSED")])
def test_a_start_that_shows_lowers_the_target_of_few_rows(rows: int, word: str) -> None:
    race = _race(_entrant("rowledger", 1.1, rows=rows), _entrant("duckdb", 1, rows=rows))

    assert _told(race)["lineitem, Parquet in full / DuckDB's postgres extension"] == word


def test_targets_speak_of_contestants_that_there_are() -> None:
    raced = {(name, one.name) for one in CONTESTANTS for name in one.formats}

    assert {(one.format, "rowledger") for one in RATIOS} | {
        (one.other_format or one.format, one.other) for one in RATIOS
    } <= raced


def test_without_a_choice_lineitem_is_raced_in_all_formats_and_trips_in_two() -> None:
    cells = {one.cell for one in entrants([], [], [])}

    assert cells == {*(Cell(_LINEITEM, name) for name in FORMATS), Cell(_TRIPS, "parquet"), Cell(_TRIPS, "csv")}


def test_a_choice_of_data_formats_and_contestants_leaves_the_others_out() -> None:
    chosen = entrants(["trips"], ["ndjson", "csv"], ["rowledger", "psql"])

    assert [(one.cell.dataset.name, one.cell.format, one.contestant.name) for one in chosen] == [
        ("trips", "csv", "rowledger"),
        ("trips", "csv", "psql"),
        ("trips", "ndjson", "rowledger"),
    ]


def test_the_tables_of_a_page_are_written_anew_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    page.write_text(
        "before\n\n<!-- bench: written by `make bench-docs` -->\n\nold\n\n<!-- bench: end -->\n\nafter\n",
        encoding="utf-8",
    )

    write_page(_race(_entrant("rowledger", 1), _entrant("dlt", 2)), page)

    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "old" not in written
    assert "| **Rowledger in full** | 1,000 | 1.00 | 1.00 | 1.00 | 1 | 300 |" in written
    assert "| dlt | 500 | 2.00 |" in written


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    page.write_text("before\n", encoding="utf-8")

    with pytest.raises(ValueError, match="has no lines"):
        write_page(_race(_entrant("rowledger", 1)), page)

    assert page.read_text(encoding="utf-8") == "before\n"
