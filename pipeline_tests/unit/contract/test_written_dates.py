"""Dates in a source's own notation are read, and no other text is taken for one of them."""

from datetime import date, datetime

import polars as pl
import pytest
from pydantic import BaseModel, Field, ValidationError

from rowledger.contract.check import Contract
from rowledger.contract.written_dates import require_columns_of_dates, with_iso_dates
from rowledger.errors import SpecError
from rowledger.sources.csv import CsvFiles


class Day(BaseModel):
    day: date | None


class Moment(BaseModel):
    day: datetime | None


def read(model: type[BaseModel], formats: list[str], *texts: str | None) -> list[object]:
    """What a field reads; "refused" for a refused row."""
    contract = Contract.of(model)
    frame = pl.DataFrame({"day": texts}, schema={"day": pl.String})
    checked = contract.check(with_iso_dates(frame, contract.rules, formats))
    found: list[object] = ["refused"] * len(texts)
    numbers = range(len(texts)) if checked.good_rows is None else checked.good_rows.to_list()
    for number, value in zip(numbers, checked.good["day"].to_list(), strict=True):
        found[number] = value
    return found


@pytest.mark.parametrize(
    ("form", "text", "day"),
    [
        ("%d.%m.%Y", "31.12.2024", date(2024, 12, 31)),
        ("%d.%m.%Y", "1.2.2024", date(2024, 2, 1)),
        ("%d.%m.%Y", "2024-02-01", date(2024, 2, 1)),
        ("%d.%m.%Y", "31.02.2024", "refused"),
        ("%d.%m.%Y", "12.31.2024", "refused"),
        ("%d.%m.%Y", "1.2.24", "refused"),
        ("%d.%m.%Y", "1.2.2024 10:00", "refused"),
        ("%d.%m.%Y", "", "refused"),
        ("%d.%m.%Y", None, None),
        ("%m/%d/%Y", "12/31/2024", date(2024, 12, 31)),
        ("%d/%m/%y", "1/2/24", date(2024, 2, 1)),
        ("%d-%b-%y", "5-Jan-98", date(1998, 1, 5)),
        ("%B %d, %Y", "January 5, 2024", date(2024, 1, 5)),
    ],
)
def test_a_date_is_read_in_its_format_or_refused(form: str, text: str | None, day: object) -> None:
    assert read(Day, [form], text) == [day]


def test_a_timestamp_is_read_in_its_format() -> None:
    formats = ["%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y"]
    assert read(Moment, formats, "1/2/2024 9:05", "2/1/2024 9:05:07 PM", "31/1/2024", "31/2/2024 9:05") == [
        datetime.fromisoformat("2024-02-01T09:05:00"),
        datetime.fromisoformat("2024-02-01T21:05:07"),
        datetime.fromisoformat("2024-01-31T00:00:00"),
        "refused",
    ]


def test_the_first_format_that_fits_is_taken() -> None:
    assert read(Day, ["%d/%m/%Y", "%m/%d/%Y"], "1/2/2024", "1/31/2024") == [date(2024, 2, 1), date(2024, 1, 31)]


def test_a_text_stays_as_it_is() -> None:
    class Row(BaseModel):
        day: str

    frame = pl.DataFrame({"day": ["31.12.2024"]})
    assert with_iso_dates(frame, Contract.of(Row).rules, ["%d.%m.%Y"]).equals(frame)


def test_a_column_that_is_read_as_a_date_and_as_text_is_refused() -> None:
    class Row(BaseModel):
        day: date = Field(alias="Tag")
        text: str = Field(alias="Tag")

    with pytest.raises(SpecError, match="the fields day and text read the source's column 'Tag'"):
        require_columns_of_dates("Row", Contract.of(Row).rules)


@pytest.mark.parametrize("form", ["%d.%m", "%m/%Y", "31.12.2024", "%d.%m.%Y %Q", "%d.%m.%Y %"])
def test_a_format_that_says_no_day_or_is_not_known_is_refused(form: str) -> None:
    with pytest.raises(ValidationError, match="date_formats"):
        CsvFiles(path="a.csv", date_formats=(form,))


@pytest.mark.parametrize(
    ("model", "form", "text", "value"),
    [
        (Day, "%Y-%d-%m", "2024-05-06", date(2024, 6, 5)),
        (Day, "%Y-%d-%m", "2024-05-31", date(2024, 5, 31)),
        (Day, "%d.%m.%Y", "2024-05-06", date(2024, 5, 6)),
        (Day, "%d-%m-%Y", "2024-05-06", date(2024, 5, 6)),
        (Day, "%Y %d %m", "2024-05-06", date(2024, 5, 6)),
        (Moment, "%y%m-%d-01 %H:%M", "2412-05-01 09:30", datetime.fromisoformat("2024-12-05T09:30:00")),
        (Day, "%b %d, %Y", "2024-05-06", date(2024, 5, 6)),
        (Moment, "%Y-%m-%d %I:%M %p", "2024-05-06 09:30 PM", datetime.fromisoformat("2024-05-06T21:30:00")),
        (Moment, "%Y-%d-%m %H:%M", "2024-05-06 09:30", datetime.fromisoformat("2024-06-05T09:30:00")),
        (Moment, "%d.%m.%Y %H:%M", "2024-05-06 09:30", datetime.fromisoformat("2024-05-06T09:30:00")),
    ],
)
def test_what_a_text_means_does_not_depend_on_the_other_texts(
    model: type[BaseModel], form: str, text: str, value: object
) -> None:
    assert read(model, [form], text) == [value]
    for other in ("n/a", "2024-05-31", "31.12.2024", None):
        assert read(model, [form], text, other)[0] == value


def test_declared_formats_come_before_the_notation_of_iso() -> None:
    assert read(Day, ["%d.%m.%Y", "%Y-%d-%m"], "2024-05-06", "2024-07-08") == [date(2024, 6, 5), date(2024, 8, 7)]


@pytest.mark.parametrize("clock", ["%M", "%H", "%S", "%p", "%H:%S", "%I:%M", "%I %p", "%H:%M %p", "%H:%I:%M %p"])
def test_a_format_of_half_a_time_is_refused(clock: str) -> None:
    with pytest.raises(ValidationError, match="must have a time of day as %H and %M or as %I, %M and %p"):
        CsvFiles(path="a.csv", date_formats=(f"%d.%m.%Y {clock}",))


@pytest.mark.parametrize(
    ("clock", "text"),
    [("%H:%M", "21:30"), ("%H:%M:%S", "21:30:00"), ("%I:%M %p", "09:30 PM"), ("%I:%M:%S %p", "09:30:00 PM")],
)
def test_a_format_of_a_whole_time_is_read(clock: str, text: str) -> None:
    (form,) = CsvFiles(path="a.csv", date_formats=(f"%d.%m.%Y {clock}",)).date_formats
    assert read(Moment, [form], f"06.05.2024 {text}") == [datetime.fromisoformat("2024-05-06T21:30:00")]
