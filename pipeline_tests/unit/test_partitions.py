"""Partitions: what keys there are, and what each of them covers."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import RowledgerError, SpecError, UnknownPartition
from pipeline.model.column import TypeName
from pipeline.model.partition import DailyPartitions, Partition, Unpartitioned

NEW_YORK = DailyPartitions(column="at", start=date(2013, 1, 1), end=date(2013, 12, 31), timezone="America/New_York")


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


@given(zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"]))
def test_days_follow_each_other_without_gap_or_overlap(zone: str) -> None:
    days = DailyPartitions(column="at", start=date(2011, 12, 1), end=date(2013, 1, 31), timezone=zone)
    bounds = [(day.lower, day.upper) for day in map(days.partition, days.keys())]

    assert all(before[1] == after[0] for before, after in pairwise(bounds))


def test_bounds_come_in_the_columns_own_type() -> None:
    day = NEW_YORK.partition("2013-01-01")

    assert day.bounds(TypeName.TIMESTAMPTZ) == (day.lower, day.upper)
    assert day.bounds(TypeName.TIMESTAMP) == (datetime(2013, 1, 1), datetime(2013, 1, 2))  # noqa: DTZ001, local time
    assert day.bounds(TypeName.DATE) == (date(2013, 1, 1), date(2013, 1, 2))
    with pytest.raises(SpecError, match="'at' is integer"):
        day.bounds(TypeName.INTEGER)


def test_a_table_loaded_whole_has_one_key_and_no_bounds() -> None:
    assert Unpartitioned().keys() == ["all"]
    assert Unpartitioned().partition("all") == Partition(key="all")
    assert Partition(key="all").bounds(TypeName.DATE) is None
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
    with pytest.raises((RowledgerError, ValidationError, LookupError)):
        DailyPartitions(column="at", start=date(2013, 1, 1), timezone="Mars/Olympus")


def test_without_an_end_the_last_day_is_over() -> None:
    days = DailyPartitions(column="at", start=date(2013, 1, 1))

    assert days.last < datetime.now(UTC).date() + timedelta(days=1)
    assert days.keys()[-1] == days.last.isoformat()
