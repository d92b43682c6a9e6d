"""Partitions: what keys there are, and what each of them covers; and that Dagster has the very same keys."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import assume, given, strategies as st
from pydantic import ValidationError

from rowledger.dagster.partitions import partitions_definition
from rowledger.errors import RowledgerError, SpecError, UnknownPartition
from rowledger.spec.column import TypeName
from rowledger.spec.condition import Equals, Window
from rowledger.spec.old_partitions import (
    DailyPartitions,
    DynamicPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    MultiPartitions,
    Partitions,
    StaticPartitions,
    TimeWindowPartitions,
    Unpartitioned,
    WeeklyPartitions,
)
from rowledger.spec.partition import Partition

NEW_YORK = DailyPartitions(column="at", start=date(2013, 1, 1), end=date(2013, 12, 31), timezone="America/New_York")
AIRPORTS = StaticPartitions(keys=("EWR", "JFK", "O'Hare"), column="airport")
DAY_AND_AIRPORT = MultiPartitions(
    dimensions={
        "day": DailyPartitions(column="at", start=date(2024, 3, 1), end=date(2024, 3, 2)),
        "airport": AIRPORTS,
    }
)

_ZONES = [
    "UTC",
    "America/New_York",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Europe/Berlin",
]


def test_a_year_has_a_key_for_each_day() -> None:
    keys = NEW_YORK.keys()

    assert (len(keys), keys[0], keys[-1]) == (365, "2013-01-01", "2013-12-31")


def test_a_day_runs_from_midnight_to_midnight_of_its_zone() -> None:
    day = NEW_YORK.partition("2013-01-01")

    assert (day.lower, day.upper) == (datetime(2013, 1, 1, 5, tzinfo=UTC), datetime(2013, 1, 2, 5, tzinfo=UTC))


@pytest.mark.parametrize(("key", "hours"), [("2013-03-10", 23), ("2013-11-03", 25), ("2013-06-01", 24)])
def test_a_day_is_as_long_as_its_zone_says(key: str, hours: int) -> None:
    day = NEW_YORK.partition(key)

    assert day.lower is not None
    assert day.upper is not None
    assert day.upper - day.lower == timedelta(hours=hours)


@given(
    kind=st.sampled_from([HourlyPartitions, DailyPartitions, WeeklyPartitions, MonthlyPartitions]),
    zone=st.sampled_from(_ZONES),
    start=st.dates(date(2011, 11, 1), date(2026, 1, 1)),
    days=st.integers(0, 70),
)
def test_windows_follow_each_other_without_gap_or_overlap_and_are_dagsters(
    kind: type[TimeWindowPartitions], zone: str, start: date, days: int
) -> None:
    try:
        partitions = kind(column="at", start=start, end=start + timedelta(days=days), timezone=zone)
    except ValidationError as refusal:
        partitions, reason = None, str(refusal)
    assume(partitions is not None or "no whole one" not in reason)
    if partitions is None:
        assert "parts of an hour" in reason
        return
    keys = partitions.keys()
    windows = [partitions.partition(key) for key in keys]

    # Dagster 1.13 counts the day that Apia has left out (2011-12-30), and may lose the last key for it.
    if zone != "Pacific/Apia" or start > date(2011, 12, 31):
        assert keys == partitions_definition(partitions).get_partition_keys()
    assert len(set(keys)) == len(keys)
    assert all(before.upper == after.lower for before, after in pairwise(windows))
    of_days = DailyPartitions(column="at", start=start, end=start + timedelta(days=days), timezone=zone)
    assert windows[0].lower >= of_days.partition(of_days.keys()[0]).lower
    assert windows[-1].upper <= of_days.partition(of_days.keys()[-1]).upper


@pytest.mark.parametrize("begins_on", ["monday", "thursday", "sunday"])
def test_a_week_begins_on_its_day(begins_on: str) -> None:
    weeks = WeeklyPartitions(column="at", start=date(2024, 2, 1), end=date(2024, 5, 1), begins_on=begins_on)
    keys = weeks.keys()

    assert {date.fromisoformat(key).strftime("%A").lower() for key in keys} == {begins_on}
    assert keys == partitions_definition(weeks).get_partition_keys()


def test_an_hour_that_comes_twice_has_two_keys_and_one_that_is_skipped_has_none() -> None:
    autumn = HourlyPartitions(column="at", start=date(2024, 11, 3), end=date(2024, 11, 3), timezone="America/New_York")
    spring = HourlyPartitions(column="at", start=date(2024, 3, 10), end=date(2024, 3, 10), timezone="America/New_York")

    assert autumn.keys()[:4] == ["2024-11-03-00:00", "2024-11-03-01:00", "2024-11-03-01:00-0500", "2024-11-03-02:00"]
    assert spring.keys()[:3] == ["2024-03-10-00:00", "2024-03-10-01:00", "2024-03-10-03:00"]
    for key in ("2024-03-10-02:00", "2024-03-10-01:00-0500", "2024-03-10-01:30", "2024-03-11-00:00", "2024-03-10"):
        with pytest.raises(UnknownPartition, match="hourly keys run from 2024-03-10-00:00"):
            spring.partition(key)


def test_hours_need_a_column_and_a_zone_that_tell_them_apart() -> None:
    hours = HourlyPartitions(column="at", start=date(2024, 3, 1), timezone="America/New_York")

    hours.require_types({"at": TypeName.TIMESTAMPTZ})
    with pytest.raises(SpecError, match="has no hours"):
        hours.require_types({"at": TypeName.DATE})
    with pytest.raises(SpecError, match="an hour comes twice"):
        hours.require_types({"at": TypeName.TIMESTAMP})
    hours.model_copy(update={"timezone": "Asia/Tokyo"}).require_types({"at": TypeName.TIMESTAMP})
    with pytest.raises((SpecError, ValidationError), match="parts of an hour"):
        HourlyPartitions(column="at", start=date(2024, 3, 1), timezone="Australia/Lord_Howe")


def test_bounds_come_in_the_columns_own_type() -> None:
    day = NEW_YORK.partition("2013-01-01")
    (window,) = day.conditions

    assert isinstance(window, Window)
    assert window.bounds(TypeName.TIMESTAMPTZ) == (day.lower, day.upper)
    assert window.bounds(TypeName.TIMESTAMP) == (datetime(2013, 1, 1), datetime(2013, 1, 2))  # noqa: DTZ001, local time
    assert window.bounds(TypeName.DATE) == (date(2013, 1, 1), date(2013, 1, 2))
    with pytest.raises(SpecError, match="'at' is integer"):
        window.bounds(TypeName.INTEGER)


def test_a_table_loaded_whole_has_one_key_and_no_conditions() -> None:
    assert Unpartitioned().keys() == ["all"]
    assert Unpartitioned().partition("all") == Partition(key="all")
    assert Unpartitioned().identifies_rows
    with pytest.raises(UnknownPartition, match="only key is 'all'"):
        Unpartitioned().partition("2013-01-01")


@pytest.mark.parametrize(
    "key", ["2012-12-31", "2014-01-01", "20130101", "2013-1-1", "2013-02-30", "", "../2013-01-01", "2013-W01-1"]
)
def test_a_key_that_is_no_day_of_the_table_is_refused_with_the_range(key: str) -> None:
    with pytest.raises(UnknownPartition, match="from 2013-01-01 to 2013-12-31"):
        NEW_YORK.partition(key)


def test_partitions_that_end_before_they_start_or_in_no_zone_are_refused() -> None:
    with pytest.raises((RowledgerError, ValidationError), match="before their start"):
        DailyPartitions(column="at", start=date(2013, 1, 2), end=date(2013, 1, 1))
    with pytest.raises((RowledgerError, ValidationError), match="no whole one lies between"):
        MonthlyPartitions(column="at", start=date(2013, 1, 2), end=date(2013, 2, 27))
    with pytest.raises((RowledgerError, ValidationError, LookupError)):
        DailyPartitions(column="at", start=date(2013, 1, 1), timezone="Mars/Olympus")


@pytest.mark.parametrize("kind", [HourlyPartitions, DailyPartitions, WeeklyPartitions, MonthlyPartitions])
def test_without_an_end_the_last_window_is_over(kind: type[TimeWindowPartitions]) -> None:
    partitions = kind(column="at", start=date.today() - timedelta(days=70))  # noqa: DTZ011, any day serves
    last = partitions.partition(partitions.keys()[-1])

    assert last.upper is not None
    assert datetime.now(UTC) - timedelta(days=32) < last.upper <= datetime.now(UTC)
    with pytest.raises(UnknownPartition):
        partitions.partition("2999-01-01")


def test_static_keys_are_values_of_their_column() -> None:
    assert AIRPORTS.partition("JFK") == Partition(key="JFK", conditions=(Equals("airport", "JFK"),))
    assert AIRPORTS.keys() == partitions_definition(AIRPORTS).get_partition_keys() == ["EWR", "JFK", "O'Hare"]
    with pytest.raises(UnknownPartition, match="the keys are EWR, JFK, O'Hare"):
        AIRPORTS.partition("LGA")


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ((), "at least 1"),
        (("a", "a"), "twice"),
        (("a,b",), "','"),
        (("a...b",), "'...'"),
        ((" a",), "blank"),
        (("",), "empty"),
    ],
)
def test_static_keys_that_cannot_be_written_on_a_command_line_are_refused(
    keys: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises((RowledgerError, ValidationError), match=complaint):
        StaticPartitions(keys=keys)


@pytest.mark.parametrize(
    ("text", "type_name", "value"),
    [
        ("EWR", TypeName.TEXT, "EWR"),
        ("EWR", TypeName.VARCHAR, "EWR"),
        ("-7", TypeName.SMALLINT, -7),
        ("9223372036854775807", TypeName.BIGINT, 2**63 - 1),
        ("true", TypeName.BOOLEAN, True),
        ("2024-03-01", TypeName.DATE, date(2024, 3, 1)),
        ("6f1c0f5e-0000-0000-0000-000000000001", TypeName.UUID, UUID("6f1c0f5e-0000-0000-0000-000000000001")),
    ],
)
def test_a_key_is_read_as_its_columns_type(text: str, type_name: TypeName, value: object) -> None:
    assert Equals("c", text).value(type_name) == value


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("07", TypeName.INTEGER),
        ("+7", TypeName.INTEGER),
        ("1_0", TypeName.INTEGER),
        ("40000", TypeName.SMALLINT),
        ("x", TypeName.BIGINT),
        ("True", TypeName.BOOLEAN),
        ("20240301", TypeName.DATE),
        ("6F1C0F5E-0000-0000-0000-000000000001", TypeName.UUID),
        ("1.5", TypeName.DOUBLE),
    ],
)
def test_a_key_with_two_spellings_or_none_in_its_columns_type_is_refused(text: str, type_name: TypeName) -> None:
    with pytest.raises(SpecError, match="'c'"):
        Equals("c", text).value(type_name)


def test_dynamic_keys_are_any_that_match() -> None:
    cities = DynamicPartitions(name="cities", column="city")

    assert cities.partition("Zürich").conditions == (Equals("city", "Zürich"),)
    for key in ("", "../x", "a/b", " a", "a,b", "a...b", "a|b", "a\nb"):
        with pytest.raises(UnknownPartition):
            cities.partition(key)
    with pytest.raises((RowledgerError, ValidationError), match="pattern"):
        DynamicPartitions(name="cities", pattern="(")


def test_a_key_of_two_dimensions_is_written_as_dagster_writes_it_and_asks_for_both() -> None:
    definition = partitions_definition(DAY_AND_AIRPORT)

    assert definition is not None
    assert sorted(DAY_AND_AIRPORT.keys()) == sorted(definition.get_partition_keys())
    partition = DAY_AND_AIRPORT.partition("EWR|2024-03-02")
    assert [condition.column for condition in partition.conditions] == ["airport", "at"]
    assert partition.lower == datetime(2024, 3, 2, tzinfo=UTC)
    assert partition.placeholders == {"partition_key": "EWR|2024-03-02", "airport": "EWR", "day": "2024-03-02"}
    for key in ("2024-03-02|EWR", "EWR", "EWR|2024-03-03", "EWR|2024-03-02|x"):
        with pytest.raises(UnknownPartition, match=r"airport\|day"):
            DAY_AND_AIRPORT.partition(key)


_PLAIN = StaticPartitions(keys=("a", "b"))


@pytest.mark.parametrize(
    ("dimensions", "complaint"),
    [
        ({"a": _PLAIN}, "two dimensions"),
        ({"a": _PLAIN, "b": Unpartitioned()}, "cannot be unpartitioned"),
        ({"a": _PLAIN, "landing": _PLAIN}, "placeholder"),
        ({"a": _PLAIN, "b c": _PLAIN}, "placeholder"),
        ({"a": _PLAIN, "b": StaticPartitions(keys=("x|y",))}, "stands between"),
        ({"a": AIRPORTS, "b": AIRPORTS}, "both dimensions divide by column 'airport'"),
    ],
)
def test_dimensions_that_make_no_sense_are_refused(dimensions: dict[str, Partitions], complaint: str) -> None:
    with pytest.raises((RowledgerError, ValidationError), match=complaint):
        MultiPartitions(dimensions=dimensions)


def test_rows_are_told_apart_only_where_every_dimension_has_a_column() -> None:
    assert DAY_AND_AIRPORT.identifies_rows
    assert not _PLAIN.identifies_rows
    assert not MultiPartitions(dimensions={"a": _PLAIN, "b": AIRPORTS}).identifies_rows


def test_a_key_that_no_index_could_hold_is_refused() -> None:
    keys = DynamicPartitions(name="any", column="k", pattern=r".+")
    assert keys.partition("k" * 1_000).key == "k" * 1_000
    with pytest.raises(UnknownPartition, match="has 1002 bytes; at most 1000 are allowed"):
        keys.partition("é" * 501)
