"""Any partitions of Dagster's as a table has them: what keys there are, what each of them covers, and what is refused."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from hypothesis import assume, given, settings, strategies as st
from pydantic import AwareDatetime, BaseModel, NaiveDatetime

from rowledger.contract.sql_types import Integer
from rowledger.dagster.partitions import partition_maker, require_partitions
from rowledger.errors import SpecError, UnknownPartition
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.condition import Equals, Window
from rowledger.spec.partition import WHOLE, Partition
from rowledger.spec.table import TableSpec, WriteMode


class Flight(BaseModel):
    """A row with a column for each kind of partitions."""

    at: AwareDatetime
    local: NaiveDatetime
    day: date
    airport: str
    gate: Integer
    weight: float


def spec(partition_by: str | dict[str, str] | None = None, *, path: str = "x", **more: object) -> TableSpec:
    source = ParquetFiles(path=f"{{landing}}/{path}.parquet")
    return TableSpec.model_validate(
        {"name": "flights", "row": Flight, "source": source, "partition_by": partition_by, **more}
    )


def maker(
    definition: dg.PartitionsDefinition | None, partition_by: str | dict[str, str] | None = "at"
) -> Callable[[str], Partition]:
    return partition_maker(spec(partition_by), definition)


def windows(
    cron_schedule: str,
    start: datetime,
    end: datetime | None = None,
    *,
    timezone: str = "UTC",
    fmt: str = "%Y-%m-%d-%H:%M",
    **more: object,
) -> dg.TimeWindowPartitionsDefinition:
    return dg.TimeWindowPartitionsDefinition(
        start=start, end=end, cron_schedule=cron_schedule, timezone=timezone, fmt=fmt, **more
    )


NEW_YORK = dg.DailyPartitionsDefinition("2013-01-01", end_date="2014-01-01", timezone="America/New_York")
AIRPORTS = dg.StaticPartitionsDefinition(["EWR", "JFK", "O'Hare"])
DAY_AND_AIRPORT = dg.MultiPartitionsDefinition(
    {"day": dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-03-03"), "airport": AIRPORTS}
)
BOTH = {"day": "at", "airport": "airport"}

_ZONES = [
    "UTC",
    "America/New_York",
    "Europe/London",
    "Asia/Kathmandu",
    "America/Havana",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Africa/Cairo",
]
_CRONS = ["0 * * * *", "30 * * * *", "*/15 * * * *", "0 0 * * *", "0 8 * * *", "0 */6 * * *", "0 0 * * 1", "30 2 1 * *"]


def covered(definition: dg.PartitionsDefinition, keys: Sequence[str]) -> list[tuple[datetime, datetime]]:
    """The windows of these keys."""
    of = maker(definition)
    found = []
    for partition in map(of, keys):
        assert partition.lower is not None
        assert partition.upper is not None
        found.append((partition.lower, partition.upper))
    return found


def test_a_day_runs_from_midnight_to_midnight_of_its_zone() -> None:
    assert covered(NEW_YORK, ["2013-01-01"]) == [
        (datetime(2013, 1, 1, 5, tzinfo=UTC), datetime(2013, 1, 2, 5, tzinfo=UTC))
    ]
    assert maker(NEW_YORK)("2013-01-01").timezone == "America/New_York"


@pytest.mark.parametrize(("key", "hours"), [("2013-03-10", 23), ("2013-11-03", 25), ("2013-06-01", 24)])
def test_a_day_is_as_long_as_its_zone_says(key: str, hours: int) -> None:
    ((lower, upper),) = covered(NEW_YORK, [key])

    assert upper - lower == timedelta(hours=hours)


@settings(deadline=None, max_examples=40)
@given(
    cron_schedule=st.sampled_from(_CRONS),
    zone=st.sampled_from(_ZONES),
    start=st.datetimes(datetime(2011, 11, 1), datetime(2026, 1, 1)),  # noqa: DTZ001, local time
    days=st.integers(1, 5),
)
def test_every_key_of_dagsters_has_its_own_window_and_they_follow_each_other_without_gap_or_overlap(
    cron_schedule: str, zone: str, start: datetime, days: int
) -> None:
    end = start + timedelta(days=days * (1 if "*" in cron_schedule.split()[1] else 12))
    definition = windows(cron_schedule, start, end, timezone=zone)
    keys = definition.get_partition_keys()
    assert definition.end is not None
    first = definition.get_next_partition_window(definition.start, respect_bounds=False)
    assert first is not None
    assume(first.end <= definition.end)  # what is refused when definitions are built
    found = covered(definition, keys)

    assert len(set(keys)) == len(keys)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert found[0][0] >= definition.start
    assert found[-1][1] <= definition.end


@settings(deadline=None, max_examples=40)
@given(
    cron_schedule=st.sampled_from([*_CRONS, "0 1 * * *", "*/15 1-3 * * *", "30 1,2 * * *"]),
    zone=st.sampled_from([*_ZONES, "Pacific/Apia"]),
    day=st.sampled_from(
        [date(2011, 12, 28), date(2018, 3, 11), date(2018, 11, 3), date(2018, 10, 28), date(2018, 5, 12)]
    ),
)
def test_where_dagsters_own_windows_are_wrong_a_key_is_refused_and_none_covers_what_another_does(
    cron_schedule: str, zone: str, day: date
) -> None:
    start = datetime(day.year, day.month, day.day)  # noqa: DTZ001, local time
    definition = windows(cron_schedule, start, start + timedelta(days=4), timezone=zone)
    of = maker(definition)
    found = []
    for key in definition.get_partition_keys():
        try:
            partition = of(key)
        except UnknownPartition:
            continue
        assert partition.lower is not None
        clock = datetime.strptime(key[:16], definition.fmt).replace(tzinfo=ZoneInfo(zone))
        assert partition.lower in {clock.replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
        found.append((partition.lower, partition.upper))

    assert all(before[1] <= after[0] for before, after in pairwise(sorted(found)))  # type: ignore[operator] # both have an end


def test_the_day_that_apia_left_out_is_refused_where_dagster_would_load_the_day_after_it() -> None:
    definition = dg.DailyPartitionsDefinition("2011-12-28", end_date="2012-01-04", timezone="Pacific/Apia")

    assert "2011-12-30" in definition.get_partition_keys()
    assert definition.time_window_for_partition_key("2011-12-30").start.day == 31
    with pytest.raises(UnknownPartition, match="daily keys run from 2011-12-28"):
        maker(definition)("2011-12-30")
    ((before, end), (begin, _)) = covered(definition, ["2011-12-29", "2011-12-31"])
    assert (begin, begin - before) == (end, timedelta(hours=24))


@pytest.mark.parametrize(
    ("zone", "autumn", "twice", "spring", "skipped"),
    [
        ("America/New_York", "2024-11-03", ("01:00", "01:00-0500"), "2024-03-10", "02:00"),
        ("Europe/London", "2024-10-27", ("01:00", "01:00+0000"), "2024-03-31", "01:00"),
    ],
)
def test_an_hour_that_comes_twice_has_two_keys_and_one_that_is_skipped_has_none(
    zone: str, autumn: str, twice: tuple[str, str], spring: str, skipped: str
) -> None:
    def day(text: str) -> dg.HourlyPartitionsDefinition:
        end = f"{date.fromisoformat(text) + timedelta(days=1)}-00:00"
        return dg.HourlyPartitionsDefinition(f"{text}-00:00", end_date=end, timezone=zone)

    first, second = covered(day(autumn), [f"{autumn}-{hour}" for hour in twice])
    assert first[1] == second[0] == first[0] + timedelta(hours=1)
    assert len(day(autumn).get_partition_keys()) == 25
    assert len(day(spring).get_partition_keys()) == 23
    of = maker(day(spring))
    for key in (f"{spring}-{skipped}", f"{spring}-{twice[1]}", f"{spring}-00:30", spring):
        with pytest.raises(UnknownPartition, match=f"hourly keys run from {spring}-00:00"):
            of(key)


@pytest.mark.parametrize(
    ("definition", "key", "lower", "upper"),
    [
        (windows("*/15 * * * *", datetime(2024, 3, 1)), "2024-03-01-10:45", "2024-03-01T10:45", "2024-03-01T11:00"),  # noqa: DTZ001
        (windows("0 6,18 * * *", datetime(2024, 3, 1)), "2024-03-01-18:00", "2024-03-01T18:00", "2024-03-02T06:00"),  # noqa: DTZ001
        (dg.WeeklyPartitionsDefinition("2024-03-01", day_offset=4), "2024-03-07", "2024-03-07", "2024-03-14"),
        (dg.MonthlyPartitionsDefinition("2024-02-01"), "2024-02-01", "2024-02-01", "2024-03-01"),
        (
            dg.DailyPartitionsDefinition("2024-03-01", hour_offset=8),
            "2024-03-01",
            "2024-03-01T08:00",
            "2024-03-02T08:00",
        ),
        (dg.DailyPartitionsDefinition("20240301", fmt="%Y%m%d"), "20240302", "2024-03-02", "2024-03-03"),
        (
            dg.HourlyPartitionsDefinition("2024-03-01T00", fmt="%Y-%m-%dT%H", minute_offset=30),
            "2024-03-01T05",
            "2024-03-01T05:30",
            "2024-03-01T06:30",
        ),
    ],
    ids=[
        "quarters of an hour",
        "twice a day",
        "weeks from Thursday",
        "months",
        "days from eight",
        "custom keys",
        "half past",
    ],
)
def test_windows_of_any_cadence_are_covered(
    definition: dg.PartitionsDefinition, key: str, lower: str, upper: str
) -> None:
    expected = tuple(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (lower, upper))

    assert covered(definition, [key]) == [expected]


def test_an_end_offset_moves_the_last_key() -> None:
    today = datetime.now(UTC).date()
    keys = [str(today + timedelta(days=number)) for number in (-2, -1, 0, 1)]
    for offset, known in ((-1, keys[:1]), (0, keys[:2]), (1, keys[:3]), (2, keys)):
        of = maker(dg.DailyPartitionsDefinition("2024-03-01", end_offset=offset))
        assert [of(key).key for key in known] == known
        for key in keys[len(known) :]:
            with pytest.raises(UnknownPartition, match=f"daily keys run from 2024-03-01 to {known[-1]}"):
                of(key)


def test_excluded_windows_have_no_key() -> None:
    definition = dg.TimeWindowPartitionsDefinition(
        start="2024-03-01", end="2024-04-01", cron_schedule="0 0 * * *", fmt="%Y-%m-%d", exclusions=["0 0 * * 6,0"]
    )
    of = maker(definition)

    assert [of(key).key for key in definition.get_partition_keys()] == definition.get_partition_keys()
    assert len(definition.get_partition_keys()) == 21
    with pytest.raises(UnknownPartition):
        of("2024-03-02")


@pytest.mark.parametrize(
    "key", ["2012-12-31", "2014-01-01", "20130101", "2013-1-1", "2013-02-30", "", "../2013-01-01", "2013-W01-1"]
)
def test_a_key_that_is_no_day_of_the_table_is_refused_with_the_range(key: str) -> None:
    with pytest.raises(UnknownPartition, match="from 2013-01-01 to 2013-12-31"):
        maker(NEW_YORK)(key)


def test_before_the_first_window_is_over_there_is_no_key() -> None:
    with pytest.raises(UnknownPartition, match="monthly keys begin with the first window after 2999-01-01"):
        maker(dg.MonthlyPartitionsDefinition("2999-01-01"))("2999-01-01")


@pytest.mark.parametrize(
    "definition",
    [
        dg.HourlyPartitionsDefinition,
        dg.DailyPartitionsDefinition,
        dg.WeeklyPartitionsDefinition,
        dg.MonthlyPartitionsDefinition,
    ],
)
def test_without_an_end_the_last_window_is_over(definition: type[dg.TimeWindowPartitionsDefinition]) -> None:
    partitions = definition(start_date=datetime.now() - timedelta(days=70))  # type: ignore[call-arg] # noqa: DTZ005, any day serves
    ((_, upper),) = covered(partitions, partitions.get_partition_keys()[-1:])

    assert datetime.now(UTC) - timedelta(days=32) < upper <= datetime.now(UTC)
    with pytest.raises(UnknownPartition):
        maker(partitions)("2999-01-01")


def test_a_table_loaded_whole_has_one_key_and_no_conditions() -> None:
    of = maker(None, None)

    assert of("all") == WHOLE
    with pytest.raises(UnknownPartition, match="only key is 'all'"):
        of("2013-01-01")


def test_static_keys_are_values_of_their_column() -> None:
    of = maker(AIRPORTS, "airport")

    assert of("O'Hare") == Partition(key="O'Hare", conditions=(Equals("airport", "O'Hare"),))
    with pytest.raises(UnknownPartition, match="the keys are EWR, JFK, O'Hare"):
        of("LGA")


def test_a_key_without_a_column_only_chooses_what_is_read() -> None:
    for definition, key in (
        (AIRPORTS, "JFK"),
        (NEW_YORK, "2013-01-01"),
        (dg.DynamicPartitionsDefinition(name="x"), "a"),
    ):
        assert maker(definition, None)(key) == Partition(key=key, identifies_rows=False)


def test_dynamic_keys_are_any_that_match() -> None:
    cities = dg.DynamicPartitionsDefinition(name="cities")
    of = maker(cities, "airport")

    assert of("Zürich").conditions == (Equals("airport", "Zürich"),)
    for key in ("", "../x", "a/b", " a", "a,b", "a...b", "a|b", "a\nb"):
        with pytest.raises(UnknownPartition):
            of(key)
    with pytest.raises(SpecError, match="pattern"):
        require_partitions(spec("airport"), cities, key_pattern="(")


def test_a_key_that_no_index_could_hold_is_refused() -> None:
    of = partition_maker(spec("airport"), dg.DynamicPartitionsDefinition(name="any"), key_pattern=r".+")

    assert of("k" * 1_000).key == "k" * 1_000
    with pytest.raises(UnknownPartition, match="has 1002 bytes; at most 1000 are allowed"):
        of("é" * 501)


def test_a_key_of_two_dimensions_is_written_as_dagster_writes_it_and_asks_for_both() -> None:
    of = maker(DAY_AND_AIRPORT, BOTH)

    assert [of(str(key)).key for key in DAY_AND_AIRPORT.get_partition_keys()] == DAY_AND_AIRPORT.get_partition_keys()
    partition = of("EWR|2024-03-02")
    assert [condition.column for condition in partition.conditions] == ["airport", "at"]
    assert partition.lower == datetime(2024, 3, 2, tzinfo=UTC)
    assert partition.placeholders == {"partition_key": "EWR|2024-03-02", "airport": "EWR", "day": "2024-03-02"}
    assert partition.identifies_rows
    for key in ("2024-03-02|EWR", "EWR", "EWR|2024-03-03", "EWR|2024-03-02|x"):
        with pytest.raises(UnknownPartition, match=r"airport\|day"):
            of(key)


@pytest.mark.parametrize(
    ("dimensions", "partition_by", "key", "columns"),
    [
        (
            {"a": AIRPORTS, "b": dg.StaticPartitionsDefinition(["1", "2"])},
            {"a": "airport", "b": "gate"},
            "JFK|2",
            ["airport", "gate"],
        ),
        (
            {"b": dg.DynamicPartitionsDefinition(name="x"), "a": NEW_YORK},
            {"a": "at", "b": "airport"},
            "2013-01-01|new",
            ["at", "airport"],
        ),
        ({"a": NEW_YORK, "b": NEW_YORK}, {"a": "at", "b": "day"}, "2013-01-01|2013-01-02", ["at", "day"]),
    ],
    ids=["static and static", "dynamic and time", "time and time"],
)
def test_any_two_kinds_make_two_dimensions(
    dimensions: dict[str, dg.PartitionsDefinition], partition_by: dict[str, str], key: str, columns: list[str]
) -> None:
    definition = dg.MultiPartitionsDefinition(dimensions)
    require_partitions(spec(partition_by), definition)
    partition = maker(definition, partition_by)(key)

    assert [condition.column for condition in partition.conditions] == columns
    assert dict(partition.dimensions) == dict(zip("ab", key.split("|"), strict=True))
    assert {type(condition) for condition in partition.conditions} <= {Window, Equals}


def test_rows_are_told_apart_only_where_every_dimension_has_a_column() -> None:
    of = maker(DAY_AND_AIRPORT, {"day": "at"})

    assert not of("EWR|2024-03-02").identifies_rows
    assert [condition.column for condition in of("EWR|2024-03-02").conditions] == ["at"]
    with pytest.raises(SpecError, match="cannot be replaced"):
        require_partitions(spec({"day": "at"}), DAY_AND_AIRPORT)
    with pytest.raises(SpecError, match="cannot be replaced"):
        require_partitions(spec(), AIRPORTS)
    require_partitions(spec({"day": "at"}, write_mode=WriteMode.APPEND), DAY_AND_AIRPORT)
    require_partitions(spec(key=("gate",), write_mode=WriteMode.UPSERT), AIRPORTS)


@pytest.mark.parametrize(
    ("partition_by", "definition", "complaint"),
    [
        ("at", None, "it has no partitions"),
        ("at", DAY_AND_AIRPORT, r"has the dimensions|have the dimensions airport, day"),
        (BOTH, NEW_YORK, "have no dimensions"),
        ({"day": "at", "x": "airport"}, DAY_AND_AIRPORT, r"names the dimensions \['x'\]"),
        ("gate", NEW_YORK, "'gate' is integer; it must be a date or a timestamp"),
        ("weight", dg.DynamicPartitionsDefinition(name="x"), "'weight' is double precision; the keys of dynamic"),
        ("gate", AIRPORTS, "'EWR' is no value of column 'gate'"),
        ("day", dg.HourlyPartitionsDefinition("2024-03-01-00:00"), "a date, which has no hours"),
        ("day", dg.DailyPartitionsDefinition("2024-03-01", hour_offset=8), "do not begin at midnight"),
        ("airport", dg.StaticPartitionsDefinition([" a"]), "blank"),
        ("airport", dg.StaticPartitionsDefinition(["a,b"]), "','"),
        ("airport", dg.StaticPartitionsDefinition(["k" * 1_001]), "has 1001 bytes"),
        ("at", dg.MonthlyPartitionsDefinition("2013-01-02", end_date="2013-02-27"), "no whole window"),
        ("at", dg.DailyPartitionsDefinition("2013-01-02", end_date="2013-01-01"), "no whole window"),
        ("at", windows("0 6,18 * * *", datetime(2024, 3, 1), fmt="%Y-%m-%d"), "two windows have the key '2024-03-01'"),  # noqa: DTZ001
        (
            {"a b": "airport", "c": "at"},
            dg.MultiPartitionsDefinition({"a b": AIRPORTS, "c": NEW_YORK}),
            "placeholder",
        ),
        (
            {"landing": "airport", "c": "at"},
            dg.MultiPartitionsDefinition({"landing": AIRPORTS, "c": NEW_YORK}),
            "placeholder",
        ),
        (
            {"a": "airport", "b": "airport"},
            dg.MultiPartitionsDefinition({"a": AIRPORTS, "b": AIRPORTS}),
            "a column of its own",
        ),
    ],
)
def test_partitions_and_tables_that_do_not_go_together_are_refused(
    partition_by: str | dict[str, str] | None, definition: dg.PartitionsDefinition | None, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        require_partitions(spec(partition_by), definition)


def test_a_source_names_only_placeholders_that_its_partitions_have() -> None:
    require_partitions(spec(BOTH, path="{day}/{airport}"), DAY_AND_AIRPORT)
    with pytest.raises(SpecError, match=r"names \{day\}"):
        require_partitions(spec("at", path="{day}", write_mode=WriteMode.APPEND), NEW_YORK)


def test_a_timestamp_without_zone_needs_windows_that_its_local_clock_tells_apart() -> None:
    zoned = {"timezone": "America/New_York"}
    require_partitions(spec("local"), NEW_YORK)
    require_partitions(spec("local"), dg.DailyPartitionsDefinition("2024-03-01", hour_offset=1, **zoned))
    require_partitions(spec("local"), dg.HourlyPartitionsDefinition("2024-03-01-00:00", timezone="Asia/Tokyo"))
    require_partitions(spec("at"), dg.HourlyPartitionsDefinition("2024-03-01-00:00", **zoned))
    for cron_schedule in ("0 * * * *", "*/15 * * * *"):
        with pytest.raises(SpecError, match="an hour comes twice"):
            require_partitions(spec("local"), windows(cron_schedule, datetime(2024, 3, 1), **zoned))  # noqa: DTZ001
    with pytest.raises(SpecError, match="an hour comes twice"):  # since 2023, as before 2015
        require_partitions(spec("local"), dg.HourlyPartitionsDefinition("2018-01-01-00:00", timezone="Africa/Cairo"))
    # These zones set their clocks for the last time in the autumn before: only loads of the first months are refused.
    require_partitions(spec("local"), dg.HourlyPartitionsDefinition("2023-01-01-00:00", timezone="America/Mexico_City"))
    require_partitions(spec("local"), dg.HourlyPartitionsDefinition("2014-11-01-00:00", timezone="Europe/Moscow"))


@pytest.mark.parametrize(
    "definition",
    [
        dg.HourlyPartitionsDefinition("2025-11-02-00:00", timezone="America/New_York"),
        dg.HourlyPartitionsDefinition("2025-10-26-01:00", timezone="Europe/Berlin"),
        dg.DailyPartitionsDefinition("2011-12-28", end_date="2011-12-31", timezone="Pacific/Apia"),
    ],
)
def test_a_window_for_which_dagster_has_no_key_of_its_own_does_not_make_the_table_unusable(
    definition: dg.TimeWindowPartitionsDefinition,
) -> None:
    require_partitions(spec("at"), definition)


def test_a_dimension_may_have_no_keys_yet() -> None:
    nowhere = dg.StaticPartitionsDefinition([])

    require_partitions(spec("airport"), nowhere)
    require_partitions(spec(BOTH), dg.MultiPartitionsDefinition({"day": NEW_YORK, "airport": nowhere}))
