"""A CSV file with decimal commas as a load: its numbers are in the table, its dead letters show the source's own texts."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import BaseModel, Field

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import assert_verified, edit, replay, results
from rowledger.contract.sql_types import Integer
from rowledger.sources.csv import CsvFiles
from rowledger.spec.table import DeadLetterBudget, TableSpec
from rowledger.spec.transform import FrameTransform

Price = Annotated[Decimal, Field(max_digits=9, decimal_places=2)]


class Article(BaseModel):
    """A row of a price list."""

    number: Annotated[Integer, Field(alias="Nr.")]
    price: Price = Field(alias="Preis (€)")
    share: float | None = Field(alias="Anteil")
    note: str = Field(alias="Bemerkung")


def doubled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("Preis (€)").str.to_decimal(scale=2) * 2)


ARTICLES = TableSpec(
    name="articles",
    row=Article,
    source=CsvFiles(path="{landing}/articles.csv", delimiter=";", decimal=",", thousands="."),
    dead_letters=DeadLetterBudget(share_max=1),
)
DOUBLED = ARTICLES.model_copy(update={"name": "doubled", "transform": FrameTransform(function=doubled)})
CONTENT = """\
Nr.;Preis (€);Anteil;Bemerkung
1;1.234,50;0,25;1.234,50
2;99,9;;a.b,c
3;1.5;0,5;point
1.000;-0,01;1e-3;text
"""


@pytest.mark.parametrize(("spec", "factor"), [(ARTICLES, 1), (DOUBLED, 2)], ids=["plain", "transformed"])
def test_a_price_list_is_loaded_exactly_and_its_dead_letter_is_replayed(
    database: str, tmp_path: Path, spec: TableSpec, factor: int
) -> None:
    (tmp_path / "articles.csv").write_text(CONTENT, encoding="utf-8")
    report = load_one(database, spec, tmp_path, "all")
    assert report.error is None, report.error

    def rows() -> list[tuple[Any, ...]]:
        return [tuple(row) for row in fetch(database, "select * from articles order by number")]

    expected = [
        (1, Decimal("1234.50") * factor, 0.25, "1.234,50"),
        (2, Decimal("99.90") * factor, None, "a.b,c"),
        (1000, Decimal("-0.01") * factor, 0.001, "text"),
    ]
    assert rows() == expected
    (letter,) = fetch(database, "select payload::text from rowledger.dead_letter")
    assert json.loads(letter["payload"]) == {"Nr.": "3", "Preis (€)": "1.5", "Anteil": "0,5", "Bemerkung": "point"}

    edit(database, spec, tmp_path, {2: {"Preis (€)": "1,5"}})
    assert results(replay(database, spec)) == {2: "written"}
    assert rows() == [*expected[:2], (3, Decimal("1.50") * factor, 0.5, "point"), expected[2]]
    assert_verified(database, spec)
