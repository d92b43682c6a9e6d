"""Partitions named on a command line are those that Dagster makes of the same keys."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import click
import dagster as dg
import pytest
from click.testing import CliRunner
from pydantic import AwareDatetime, BaseModel

from rowledger.cli.partitions import NamedPartitions, names_partitions
from rowledger.cli.recorded_partitions import RecordedPartitions
from rowledger.contract.sql_types import Integer
from rowledger.dagster.partitions import partition_maker
from rowledger.errors import UnknownPartition
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.condition import Equals, Window
from rowledger.spec.partition import WHOLE, Partition
from rowledger.spec.table import TableSpec, WriteMode
from rowledger.spec.time_windows import Cadence, keys_between, window_bounds


class Sample(BaseModel):
    """A row with columns of several types that may hold a partition."""

    at: AwareDatetime
    day: date
    origin: str
    number: Integer


def _spec(partition_by: str | dict[str, str] | None, **more: Any) -> TableSpec:
    return TableSpec(name="samples", row=Sample, source=ParquetFiles(path="x"), partition_by=partition_by, **more)


NOTHING = RecordedPartitions({}, {})

ODD_ZONES = (
    "America/Havana",  # midnight comes twice, or not at all
    "America/Sao_Paulo",
    "America/New_York",
    "Asia/Beirut",
    "Pacific/Apia",  # lacks 2011-12-30
    "Australia/Lord_Howe",  # whose clock is set by half an hour
    "Africa/Casablanca",
    "Asia/Kathmandu",
)


def _definition(cadence: Cadence, zone: str, start: str, end: str) -> dg.TimeWindowPartitionsDefinition:
    match cadence:
        case Cadence.HOUR:
            return dg.HourlyPartitionsDefinition(f"{start}-00:00", f"{end}-00:00", timezone=zone)
        case Cadence.DAY:
            return dg.DailyPartitionsDefinition(start, end, timezone=zone)
        case Cadence.WEEK:
            return dg.WeeklyPartitionsDefinition(start, end_date=end, timezone=zone, day_offset=3)
        case Cadence.MONTH:
            return dg.MonthlyPartitionsDefinition(start, end_date=end, timezone=zone, day_offset=5)
        case Cadence.YEAR:
            return dg.TimeWindowPartitionsDefinition(
                cron_schedule="0 0 5 2 *", fmt="%Y-%m-%d", start=start, end=end, timezone=zone
            )


@pytest.mark.parametrize("zone", ["UTC", *ODD_ZONES])
@pytest.mark.parametrize(
    ("cadence", "start", "end"),
    [
        (Cadence.HOUR, "2013-03-08", "2013-03-12"),
        (Cadence.HOUR, "2013-10-18", "2013-10-22"),
        (Cadence.HOUR, "2013-11-02", "2013-11-05"),
        (Cadence.HOUR, "2011-12-29", "2012-01-01"),
        (Cadence.HOUR, "2013-04-06", "2013-04-08"),
        (Cadence.DAY, "2011-12-25", "2012-01-05"),
        (Cadence.DAY, "2013-03-05", "2013-04-05"),
        (Cadence.DAY, "2013-10-15", "2013-11-10"),
        (Cadence.WEEK, "2011-12-01", "2014-02-01"),
        (Cadence.MONTH, "2011-12-01", "2014-02-01"),
        (Cadence.YEAR, "2010-12-01", "2015-03-01"),
    ],
)
def test_windows_are_those_of_dagster(zone: str, cadence: Cadence, start: str, end: str) -> None:
    definition = _definition(cadence, zone, start, end)
    make, zone_info = partition_maker(_spec("at"), definition), ZoneInfo(zone)
    known = []
    for key in definition.get_partition_keys():
        try:
            (window,) = make(key).conditions
        except UnknownPartition:  # a window of which Dagster has not one key and one pair of bounds
            continue
        assert isinstance(window, Window)
        assert window_bounds(cadence, key, zone_info) == (window.lower, window.upper)
        known.append(key)
    assert set(known) <= set(keys_between(cadence, known[0], known[-1], zone_info))
    if zone == "UTC":
        assert known == definition.get_partition_keys()


def test_each_day_of_each_zone_begins_where_the_one_before_ends() -> None:
    for name in sorted(available_timezones())[::7]:
        zone, end = ZoneInfo(name), None
        for key in keys_between(Cadence.DAY, "2023-12-25", "2025-01-05", zone):
            start, after = window_bounds(Cadence.DAY, key, zone)
            assert end in (None, start)
            end = after


@pytest.mark.parametrize(
    ("cadence", "key"),
    [
        (Cadence.DAY, "2013-02-29"),
        (Cadence.DAY, "2013-1-01"),
        (Cadence.DAY, "20130101"),
        (Cadence.DAY, "2013-01-01-00:00"),
        (Cadence.DAY, "9999-12-31"),
        (Cadence.HOUR, "2013-01-01"),
        (Cadence.HOUR, "2013-03-10-02:00"),  # the clock skips it
        (Cadence.HOUR, "2013-01-01-00:00-0500"),  # which comes once, and needs no offset
        (Cadence.MONTH, "2013-01-31"),
        (Cadence.YEAR, "2013"),
    ],
)
def test_a_text_that_is_no_key_is_refused(cadence: Cadence, key: str) -> None:
    with pytest.raises(UnknownPartition, match="unknown partition"):
        window_bounds(cadence, key, ZoneInfo("America/New_York"))


def test_the_second_of_two_hours_with_one_name_has_its_offset_in_its_key() -> None:
    zone = ZoneInfo("America/New_York")
    keys = list(keys_between(Cadence.HOUR, "2013-11-03-00:00", "2013-11-03-02:00", zone))
    assert keys == ["2013-11-03-00:00", "2013-11-03-01:00", "2013-11-03-01:00-0500", "2013-11-03-02:00"]


def test_a_range_whose_last_window_is_not_reached_is_refused() -> None:
    with pytest.raises(UnknownPartition, match="week by week"):
        list(keys_between(Cadence.WEEK, "2013-01-07", "2013-01-15", ZoneInfo("UTC")))
    with pytest.raises(UnknownPartition, match="day by day"):
        list(keys_between(Cadence.DAY, "2013-01-07", "2013-01-05", ZoneInfo("UTC")))


def _named(spec: TableSpec, arguments: Sequence[str], recorded: RecordedPartitions = NOTHING) -> list[Partition] | str:
    """The partitions, or the message of a mistake that ends the command with exit code 2."""
    found: list[Partition] = []

    @click.command()
    @names_partitions
    def command(*, named: NamedPartitions) -> None:
        found.extend(named.of(spec, lambda _: recorded))

    told = CliRunner().invoke(command, list(arguments))
    if told.exception is not None and not isinstance(told.exception, SystemExit):
        raise told.exception
    assert told.exit_code in (0, 2)
    return found if told.exit_code == 0 else told.output


_TWO = {"day": "day", "origin": "origin"}
_STATIC = dg.StaticPartitionsDefinition(["EWR", "JFK"])
_DAILY = dg.DailyPartitionsDefinition("2013-01-01", "2013-02-01", timezone="America/New_York")


@pytest.mark.parametrize(
    ("spec", "definition", "arguments"),
    [
        (_spec("origin"), _STATIC, ["--partition", "EWR", "--partition", "JFK"]),
        (_spec("number"), dg.StaticPartitionsDefinition(["7"]), ["--partition", "7"]),
        (
            _spec("day"),
            dg.StaticPartitionsDefinition(["2013-01-05"]),
            ["--partition", "2013-01-05", "--by", "value"],
        ),
        (
            _spec("at"),
            _DAILY,
            ["--partition-range", "2013-01-03...2013-01-05", "--by", "day", "--timezone", "America/New_York"],
        ),
        (
            _spec(_TWO),
            dg.MultiPartitionsDefinition({"origin": _STATIC, "day": _DAILY}),
            [
                "--partition",
                "2013-01-04|JFK",
                "--partition-range",
                "2013-01-03|EWR...2013-01-05|EWR",
                "--by",
                "day=day",
                "--timezone",
                "America/New_York",
            ],
        ),
        (
            _spec({"day": "day"}, write_mode=WriteMode.APPEND),
            dg.MultiPartitionsDefinition({"origin": _STATIC, "day": _DAILY}),
            [
                "--partition",
                "2013-01-04|JFK",
                "--by",
                "day=day",
                "--by",
                "origin=value",
                "--timezone",
                "America/New_York",
            ],
        ),
        (_spec(None, write_mode=WriteMode.APPEND), _STATIC, ["--partition", "EWR"]),
        (_spec(None), None, []),
    ],
)
def test_partitions_are_those_of_dagster(
    spec: TableSpec, definition: dg.PartitionsDefinition | None, arguments: list[str]
) -> None:
    found = _named(spec, arguments)
    assert not isinstance(found, str), found
    make = partition_maker(spec, definition)
    assert found == [make(partition.key) for partition in found]
    assert found


@pytest.mark.parametrize(
    ("spec", "arguments", "said"),
    [
        (_spec("at"), ["--partition", "2013-01-01"], "give --by day"),
        (_spec(_TWO), ["--partition", "2013-01-01|EWR"], "give --by day=day"),
        (_spec("at"), [], "name partitions by --partition KEY"),
        (
            _spec("at"),
            ["--partition", "2013-01-01", "--by", "fortnight"],
            "'fortnight' is not one of hour, day, week, month, year, value",
        ),
        (_spec("at"), ["--partition", "2013-01-01", "--by", "day=day"], "have one dimension"),
        (_spec(_TWO), ["--partition", "2013-01-01|EWR", "--by", "day"], "are written day|origin"),
        (_spec(_TWO), ["--partition", "2013-01-01", "--by", "day=day"], "are written day|origin"),
        (_spec("origin"), ["--partition-range", "EWR...JFK"], "values have no order"),
        (_spec("at"), ["--partition-range", "2013-01-01", "--by", "day"], "is not FIRST...LAST"),
        (_spec("at"), ["--partition", "2013-01-01", "--by", "day", "--timezone", "Mars"], "no time zone"),
        (_spec(None), ["--partition", "EWR"], "is loaded as a whole"),
    ],
)
def test_a_mistake_is_one_of_usage(spec: TableSpec, arguments: list[str], said: str) -> None:
    told = _named(spec, arguments)
    assert isinstance(told, str)
    assert said in told


def _month(key: str = "2013-01-01") -> Partition:
    return Partition(key, (Window("at", datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC)),))


def test_a_partition_that_was_loaded_before_needs_no_unit() -> None:
    assert _named(_spec("at"), ["--partition", "2013-01-01"], RecordedPartitions({"2013-01-01": _month()}, {})) == [
        _month()
    ]
    assert _named(_spec("at"), ["--partition", "2013-01-01"], RecordedPartitions({}, {"2013-01-01": _month()})) == [
        _month()
    ]


def test_bounds_other_than_those_of_the_published_rows_are_refused() -> None:
    published = RecordedPartitions({"2013-01-01": _month()}, {})
    told = _named(_spec("at"), ["--partition", "2013-01-01", "--by", "day"], published)
    assert "at from 2013-01-01 00:00 to 2013-02-01 00:00 (UTC)" in told
    assert _named(_spec("at"), ["--partition", "2013-01-01", "--by", "month"], published) == [_month()]
    # An attempt that was not published does not fix a partition's bounds.
    assert (
        len(
            _named(
                _spec("at"), ["--partition", "2013-01-01", "--by", "day"], RecordedPartitions({}, published.published)
            )
        )
        == 1
    )


def test_a_partition_that_overlaps_another_one_is_refused() -> None:
    published = RecordedPartitions({"2013-01-01": _month()}, {})
    assert "overlaps the published partition '2013-01-01'" in _named(
        _spec("at"), ["--partition", "2013-01-31", "--by", "day"], published
    )
    assert len(_named(_spec("at"), ["--partition", "2013-02-01", "--by", "day"], published)) == 1
    values = RecordedPartitions({"JFK": Partition("JFK", (Equals("origin", "JFK"),))}, {})
    assert len(_named(_spec("origin"), ["--partition", "EWR"], values)) == 1


def test_a_table_without_partitions_is_loaded_as_a_whole() -> None:
    assert _named(_spec(None), []) == [WHOLE]
