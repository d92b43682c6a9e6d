"""A CSV file with dates in a notation of its own as a load: its dates are in the table, its dead letters show its texts."""

import json
from datetime import date, datetime
from pathlib import Path

from pydantic import BaseModel, Field

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import assert_verified, edit, replay, results
from rowledger.sources.csv import CsvFiles
from rowledger.spec.table import DeadLetterBudget, TableSpec


class Delivery(BaseModel):
    """A row of a list of deliveries."""

    day: date = Field(alias="Tag")
    arrived: datetime | None = Field(alias="Angekommen")


DELIVERIES = TableSpec(
    name="deliveries",
    row=Delivery,
    source=CsvFiles(path="{landing}/deliveries.csv", delimiter=";", date_formats=("%d.%m.%Y", "%d.%m.%Y %H:%M")),
    dead_letters=DeadLetterBudget(share_max=1),
)
CONTENT = """\
Tag;Angekommen
31.12.2024;1.1.2025 7:30
1.2.2024;
31.2.2024;1.3.2024 10:00
"""


def test_dates_are_loaded_and_a_dead_letter_is_replayed(database: str, tmp_path: Path) -> None:
    (tmp_path / "deliveries.csv").write_text(CONTENT, encoding="utf-8")
    report = load_one(database, DELIVERIES, tmp_path, "all")
    assert report.error is None, report.error

    def rows() -> list[tuple[object, ...]]:
        return [tuple(row) for row in fetch(database, "select * from deliveries order by day")]

    expected = [(date(2024, 2, 1), None), (date(2024, 12, 31), datetime.fromisoformat("2025-01-01T07:30:00"))]
    assert rows() == expected
    (letter,) = fetch(database, "select payload::text from rowledger.dead_letter")
    assert json.loads(letter["payload"]) == {"Tag": "31.2.2024", "Angekommen": "1.3.2024 10:00"}

    edit(database, DELIVERIES, tmp_path, {2: {"Tag": "28.2.2024"}})
    assert results(replay(database, DELIVERIES)) == {2: "written"}
    assert rows() == [expected[0], (date(2024, 2, 28), datetime.fromisoformat("2024-03-01T10:00:00")), expected[1]]
    assert_verified(database, DELIVERIES)
