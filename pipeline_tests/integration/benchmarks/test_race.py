"""`make bench` on a few rows: the contestants whose packages the tests have, and some that must not be believed."""

import asyncio
import json
import uuid
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import polars as pl
import pytest

from benchmarks.contestants import CONTESTANTS, Contestant
from benchmarks.contestants.task import SCHEMA, SOURCE_SCHEMA
from benchmarks.datasets import DATASETS
from benchmarks.datasets.trip_rows import WIDE_ROWS_OF_SCALE_1
from benchmarks.race.__main__ import entrants, hold_race
from benchmarks.race.report import Cell, Entrant, Race

_ROWS = 1_500
_CELL = Cell(next(one for one in DATASETS if one.name == "lineitem"), "parquet")
_CHEATS = {
    "lose_a_row": "1,499 rows instead of 1,500",
    "double_for_lost": "other values in",
    "change_a_value": "other values in l_tax",
    "swap_values": "values changed places",
    "load_nothing": "0 rows instead of 1,500",
}


@pytest.fixture
def landing(open_folder: Path) -> Path:
    """A landing folder with lineitem in four row groups."""
    file = open_folder / "lineitem" / "lineitem.parquet"
    file.parent.mkdir()
    cents = pl.int_range(_ROWS, dtype=pl.Int64).cast(pl.Decimal(15, 2)) / Decimal(100)
    day = pl.lit(date(1995, 6, 17)) + pl.duration(days=pl.int_range(_ROWS) % 700)
    keys = pl.int_range(_ROWS, dtype=pl.Int64)
    pl.select(
        l_orderkey=keys // 7 + 1,
        l_partkey=keys + 1,
        l_suppkey=keys % 11 + 1,
        l_linenumber=(keys % 7 + 1).cast(pl.Int32),
        **{name: cents.cast(pl.Decimal(15, 2)) for name in ("l_quantity", "l_extendedprice", "l_discount", "l_tax")},
        l_returnflag=pl.lit("A"),
        l_linestatus=pl.lit("F"),
        **{name: day.cast(pl.Date) for name in ("l_shipdate", "l_commitdate", "l_receiptdate")},
        l_shipinstruct=pl.lit("NONE"),
        l_shipmode=pl.lit("AIR"),
        l_comment=pl.lit("furiously ") + keys.cast(pl.String),
    ).write_parquet(file, row_group_size=400)
    return open_folder


def _cheat(function: str) -> Contestant:
    return Contestant(
        formats=("parquet",),
        name=function,
        title=function,
        entry=f"pipeline_tests.support.cheating_contestants:{function}",
        packages=(),
        environment=MappingProxyType({"POLARS_MAX_THREADS": "1"}),
    )


def _race(url: str, landing: Path, *contestants: Contestant, rounds: int = 1) -> Race:
    return hold_race([Entrant(_CELL, one) for one in contestants], url, landing, rounds=rounds, scale=0)


def _schemas(url: str) -> list[str]:
    async def read() -> list[str]:
        connection = await asyncpg.connect(url)
        try:
            return [row[0] for row in await connection.fetch("select nspname from pg_namespace")]
        finally:
            await connection.close()

    return asyncio.run(read())


def _execute(url: str, statements: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()

    asyncio.run(execute())


@pytest.mark.parametrize(("name", "format_"), [(one.name, form) for one in CONTESTANTS for form in one.formats])
def test_a_contestant_loads_every_format_it_knows_and_has_all_figures(
    empty_database: str, landing: Path, name: str, format_: str
) -> None:
    """The data set has nulls and nearly all types. A table that is not equal to it is called wrong, as tests below show."""
    (entrant,) = entrants(["trips-wide"], [format_], [name])
    if reason := entrant.contestant.missing():
        pytest.skip(reason)
    entrant.cell.dataset.ensure(landing, _ROWS / WIDE_ROWS_OF_SCALE_1)

    race = hold_race([entrant], empty_database, landing, rounds=1, scale=0)

    if entrant.skipped and entrant.contestant.needs_copy_files:
        pytest.skip(entrant.skipped)  # a server of the user's choice that cannot read our files
    assert not race.failed, entrant.wrong
    assert entrant.rows == round(_ROWS * entrant.contestant.rows_share)
    (turn,) = entrant.turns
    assert turn.measured.wall_s > 0
    assert turn.measured.cpu_s > 0
    assert turn.measured.rss_first_bytes > 0
    (told,) = json.loads(json.dumps(race.as_json()))["entrants"]
    assert (told["name"], told["format"], told["rows"]) == (name, format_, entrant.rows)
    assert not {SCHEMA, SOURCE_SCHEMA} & set(_schemas(empty_database))
    assert not list((landing / "copy").glob("*"))


def test_a_table_that_is_not_the_file_is_called_wrong(empty_database: str, landing: Path) -> None:
    race = _race(empty_database, landing, *map(_cheat, _CHEATS))

    assert race.failed
    for entrant in race.entrants:
        assert not entrant.ran
        assert _CHEATS[entrant.contestant.name] in (entrant.wrong or "")


def test_a_contestant_that_fails_is_quoted_without_the_password_and_runs_no_more(
    empty_database: str, landing: Path
) -> None:
    race = _race(empty_database, landing, _cheat("fail"), rounds=2)

    (entrant,) = race.entrants
    assert race.failed
    assert len(entrant.turns) == 1
    assert (entrant.wrong or "").startswith("exit code 1: cannot reach postgresql://")
    assert empty_database not in json.dumps(race.as_json())


def test_who_is_not_installed_is_left_out_with_the_reason(empty_database: str, landing: Path) -> None:
    absent = Contestant(
        name="absent",
        title="absent",
        entry="nowhere:load",
        formats=("parquet",),
        packages=("rowledger-no-such-package",),
    )

    race = _race(empty_database, landing, absent)

    (entrant,) = race.entrants
    assert not race.failed
    assert not entrant.turns
    assert (entrant.skipped or "").startswith("not installed: rowledger-no-such-package")


def test_somebody_elses_schema_of_that_name_is_left_alone(empty_database: str, landing: Path) -> None:
    _execute(empty_database, f"create schema {SCHEMA}")

    with pytest.raises(SystemExit, match="has not made"):
        _race(empty_database, landing, _cheat("load_nothing"))

    assert SCHEMA in _schemas(empty_database)


def test_a_role_that_may_little_gets_a_race_without_checkpoints_and_ceiling(empty_database: str, landing: Path) -> None:
    parts = urlsplit(empty_database)
    role = f"rowledger_racer_{uuid.uuid4().hex[:12]}"
    _execute(
        empty_database,
        f"create role {role} login password 'racing'; grant create on database {parts.path[1:]} to {role}",
    )
    try:
        url = urlunsplit(parts._replace(netloc=f"{role}:racing@{parts.netloc.rpartition('@')[2]}"))
        race = _race(url, landing, *(one for one in CONTESTANTS if one.name in {"ceiling", "bare"}))
    finally:
        _execute(empty_database, f"drop owned by {role}; drop role {role}")

    ceiling, bare = race.entrants
    assert not race.failed
    assert (ceiling.skipped or "").startswith("the server cannot read files of this machine: ")
    assert bare.ran
    assert any("checkpoint" in note for note in race.notes)
