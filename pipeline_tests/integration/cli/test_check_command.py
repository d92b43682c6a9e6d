"""`rowledger check --source --target`: what a load would find, without a load."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.roles import new_role
from rowledger.settings import settings

Run = Callable[..., Result]

MODULE = """
from datetime import date
from typing import Annotated
from pydantic import BaseModel, Field
from rowledger import CsvFiles, TableSpec

class Weather(BaseModel):
    day: date
    station: str
    celsius: Annotated[float, Field(ge=-90)]

WEATHER = TableSpec(
    name="weather", row=Weather, source=CsvFiles(path="{landing}/{partition_key}.csv"), partition_by="day",
    key=("day", "station"), dead_letters={"rows_max": 100, "share_max": 0.3},
)
"""

DAY = ("--partition", "2024-03-01", "--by", "day")
ROWS = ["2024-03-01,Oslo,-3.5", "2024-03-01,Bergen,4", "2024-03-01,Bodø,-2", "2024-03-01,Vardø,-7"]


@pytest.fixture
def check(rowledger: Run, tmp_path: Path) -> Run:
    """Write the day's file, and run `rowledger check` on a project of one table."""
    module = tmp_path / "tables_to_check.py"
    module.write_text(textwrap.dedent(MODULE))

    def run(*options: object, rows: list[str] = ROWS) -> Result:
        (tmp_path / "2024-03-01.csv").write_text("\n".join(["day,station,celsius", *rows]) + "\n")
        return rowledger("check", module, "--landing-dir", tmp_path, *options)

    return run


def _is_untouched(database: str) -> bool:
    left = fetch_value(database, "select to_regclass('public.weather') is null")
    return bool(left) and fetch_value(database, "select count(*) from rowledger.load") == 0


def test_a_missing_target_is_shown_as_a_load_would_create_it(
    database: str, check: Run, rowledger: Run, tmp_path: Path
) -> None:
    told = check("--source", "--target", *DAY)

    assert told.exit_code == 0, told.output
    assert "target: it is missing; the first load creates it:" in told.stdout
    statement = told.stdout[told.stdout.index("create table") : told.stdout.index("  source")]
    assert 'partition by range ("day")' in statement
    assert "source, partition 2024-03-01: all 4 rows read; 0 rows would be dead-lettered" in told.stdout
    assert _is_untouched(database)
    fetch(database, statement)
    assert rowledger("load", f"{tmp_path}/tables_to_check.py:WEATHER", "--landing-dir", tmp_path, *DAY).exit_code == 0
    told = check("--target", *DAY)
    assert (told.exit_code, "its columns fit, and this role may load it" in told.stdout) == (0, True)


def test_refusals_of_the_first_rows_are_told_by_reason(database: str, check: Run) -> None:
    odd = ["2024-03-01,Lakselv,-300", "2024-03-02,Oslo,1", "2024-03-01,Oslo,0", "2024-03-01,Vadsø,cold"]

    told = check("--source", *DAY, rows=[*ROWS, *odd])

    assert told.exit_code == 1
    assert "all 8 rows read; 4 rows would be dead-lettered" in told.stdout
    for reason in (
        "contract: celsius: Input should be greater than or equal to -90",
        "contract: day: belongs to another partition than 2024-03-01",
        "key: same key (day, station) as an earlier row",
    ):
        assert reason in told.stdout
    assert (
        "error: table weather, partition 2024-03-01: of all 8 rows, 4 would be dead-lettered; the budget is 2"
        in told.stderr
    )
    assert "-300" not in told.output
    told = check("--source", *DAY, "--rows", 4, rows=[*ROWS, *odd])
    assert (told.exit_code, "the first 4 rows read; 0 rows would be dead-lettered" in told.stdout) == (0, True)
    assert _is_untouched(database)


def test_what_is_wrong_with_source_and_target_is_told_at_once(database: str, check: Run, tmp_path: Path) -> None:
    fetch(database, "create table weather (day date, station text, celsius integer, note text not null)")

    told = check("--source", "--target", "--partition", "2024-03-02", "--by", "day")

    assert told.exit_code == 1
    assert "column note (text) is not null, has no default and is not in the contract" in told.stderr
    assert 'alter table "public"."weather" alter column "note" drop not null' in told.stderr
    assert str(tmp_path / "2024-03-02.csv") in told.stderr
    fetch(database, "alter table weather alter column note drop not null")
    told = check("--target", *DAY)
    assert "column 'celsius' is integer in the table, but Weather declares it as" in told.stderr


def test_columns_that_the_row_model_does_not_know_are_named(check: Run, tmp_path: Path) -> None:
    check()
    (tmp_path / "2024-03-03.csv").write_text("day,station,celsius,wind\n2024-03-03,Oslo,1,2\n")
    told = check("--source", "--partition", "2024-03-03", "--by", "day")
    assert (told.exit_code, "the source has columns that Weather does not know: ['wind']" in told.stderr) == (1, True)


def test_a_source_by_partitions_needs_one(check: Run) -> None:
    told = check("--source")
    assert (told.exit_code, "name one by --partition" in told.stderr) == (1, True)
    assert check("--source", "--partition", "2024-03-01").exit_code == 2
    assert check("--table", "nope").exit_code == 1
    assert check("--table", "weather").exit_code == 0


def test_missing_privileges_are_named_as_grants(database: str, check: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(database, "create table weather (day date, station text, celsius double precision)")
    with new_role(database) as role:
        monkeypatch.setenv("ROWLEDGER_DATABASE_URL", role.url)
        settings.cache_clear()
        told = check("--target", *DAY)
    assert told.exit_code == 1
    assert "grant select, insert, delete on table" in told.stderr.lower()
    assert role.name in told.stderr
