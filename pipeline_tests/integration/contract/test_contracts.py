"""Lists, documents and models with code of their own, all the way into the table and the dead letters."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, Field, model_validator

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.table import DeadLetterBudget, TableSpec

_SOURCE = ParquetFiles(path="{landing}/rows.parquet")
_TOLERANT = DeadLetterBudget(rows_max=100, share_max=1)


class Place(BaseModel):
    """A document within a row."""

    name: str
    floor: int = 0


class Rich(BaseModel):
    """A row of all that is no scalar."""

    number: int
    tags: list[Annotated[str, Field(max_length=3)]]
    days: list[int | None] | None
    place: Place
    places: list[Place]
    anything: Any
    either: Literal["a", 1]


class Validated(Rich):
    """The same, with code of its own."""

    @model_validator(mode="after")
    def _is_no_seventh(self) -> "Validated":
        if self.number == 7:
            raise ValueError(f"{self.number} is taken")
        return self


RICH = TableSpec(name="rich", row=Rich, source=_SOURCE, dead_letters=_TOLERANT)
VALIDATED = TableSpec(name="validated", row=Validated, source=_SOURCE, dead_letters=_TOLERANT)

ROWS: list[dict[str, Any]] = [
    {
        "number": number,
        "tags": ["a", 'é,"{}\\'[:2]][: number % 3],
        "days": None if number % 4 == 0 else [number, None],
        "place": {"name": "zqcanary" if number % 9 == 0 else 'x"\n', "floor": number},
        "places": [{"name": "b", "floor": None if number == 5 else 1}] * (number % 2),
        "anything": {"deep": [{"x": number / 3}]},
        "either": "a" if number != 11 else "b",
    }
    for number in range(150)
]
ROWS[3]["tags"] = ["long"]
SELECTED = "select number, tags, days, place::text, places::text, anything::text, either::text from {} order by number"


def _wanted(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["number"], row["tags"], row["days"], *(row[name] for name in ("place", "places", "anything", "either")))


def _found(database: str, table: str) -> list[tuple[Any, ...]]:
    return [(*row[:3], *map(json.loads, row[3:])) for row in map(tuple, fetch(database, SELECTED.format(table)))]


def test_lists_and_documents_are_in_the_table_as_they_were_and_refused_rows_are_dead_letters(
    database: str, tmp_path: Path
) -> None:
    pl.DataFrame(ROWS, infer_schema_length=None).write_parquet(tmp_path / "rows.parquet", row_group_size=50)

    for spec, refused in ((RICH, [3, 5, 11]), (VALIDATED, [3, 5, 7, 11])):
        report = load_one(database, spec, tmp_path, "all")

        assert report.error is None
        assert _found(database, spec.name) == [_wanted(row) for row in ROWS if row["number"] not in refused]
        letters = fetch(
            database,
            "select row_no, column_name, reason, payload::text from rowledger.dead_letter join rowledger.load using (load_id) "
            "where target = $1 order by row_no",
            str(spec.target),
        )
        assert [letter["row_no"] for letter in letters] == refused
        assert all(json.loads(letter["payload"])["number"] == letter["row_no"] for letter in letters)
    assert [(letter["column_name"], letter["reason"]) for letter in letters] == [
        ("tags", "tags: 0: String should have at most 3 characters [string_too_long]"),
        ("places", "places: 0.floor: Input should be a valid integer [int_type]"),
        (None, "Value error, … is taken [value_error]"),
        ("either", "either: Input should be 'a' or 1 [literal_error]"),
    ]
