"""What a load asks of the partitions that it is given: usable keys, conditions that its table's columns can tell apart."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import AwareDatetime, BaseModel, NaiveDatetime, ValidationError

from rowledger.contract.partition_fit import as_partitions, require_partitions, require_types
from rowledger.contract.sql_types import SmallInt
from rowledger.errors import SpecError, UnknownPartition
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.condition import Condition, Equals, Window
from rowledger.spec.partition import WHOLE, Partition
from rowledger.spec.table import TableSpec, WriteMode


class Row(BaseModel):
    """A column for each kind of partition."""

    at: AwareDatetime
    local: NaiveDatetime
    day: date
    region: str
    number: SmallInt
    price: float


def _spec(
    partition_by: str | dict[str, str] | None = None, path: str = "{landing}/{partition_key}.parquet", **more: Any
) -> TableSpec:
    return TableSpec(name="rows", row=Row, source=ParquetFiles(path=path), partition_by=partition_by, **more)


def _window(column: str, begin: datetime, length: timedelta, zone: str = "UTC") -> Window:
    lower = begin.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return Window(column, lower, lower + length, zone)


_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MIDNIGHT = datetime(2024, 3, 1)  # noqa: DTZ001 - local time of the zone that is asked for
NORTH = Partition("north", (Equals("region", "north"),))


def test_partitions_that_fit_their_table_are_taken() -> None:
    require_partitions(_spec(), [WHOLE])
    require_partitions(_spec("region"), [NORTH, Partition("k" * 1_000, (Equals("region", "k" * 1_000),))])
    require_partitions(_spec("day"), [Partition("2024-03-01", (_window("day", _MIDNIGHT, _DAY),))])
    both = Partition("a|north", (Equals("number", "1"), Equals("region", "north")), (("n", "1"), ("r", "north")))
    require_partitions(_spec({"n": "number", "r": "region"}, path="{landing}/{n}/{r}.parquet"), [both])
    only_read = Partition("a", identifies_rows=False)
    require_partitions(_spec(write_mode=WriteMode.APPEND), [only_read])


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("é" * 501, "has 1002 bytes; at most 1000 are allowed"),
        ("", "must not be empty"),
        (" a", "blank"),
        ("a,b", "','"),
        ("a...b", "'...'"),
        ("a\nb", "printable"),
        ("a\0b", "printable"),
    ],
)
def test_a_key_that_cannot_be_recorded_or_written_on_a_command_line_is_refused(key: str, complaint: str) -> None:
    with pytest.raises(UnknownPartition, match=complaint):
        require_partitions(_spec("region"), [NORTH, Partition(key, (Equals("region", key),))])
    two = Partition(f"{key}|north", (Equals("number", "1"), Equals("region", "north")), (("n", key), ("r", "north")))
    with pytest.raises(UnknownPartition, match=complaint):
        require_partitions(_spec({"n": "number", "r": "region"}), [two])


def test_each_of_two_dimensions_may_have_a_long_key() -> None:
    long = "k" * 1_000
    two = Partition(f"{long}|{long}", (Equals("region", long),), (("a", long), ("b", long)), identifies_rows=False)
    require_partitions(_spec("region", write_mode=WriteMode.APPEND), [two])


@pytest.mark.parametrize(
    "partition", [WHOLE, Partition("north", identifies_rows=False), Partition("1", (Equals("number", "1"),))]
)
def test_conditions_on_other_columns_than_those_of_the_table_are_refused(partition: Partition) -> None:
    with pytest.raises(SpecError, match=r"partition_by names \['region'\]"):
        require_partitions(_spec("region", write_mode=WriteMode.APPEND), [partition])


def test_a_key_stands_for_the_partition_whose_rows_it_tells() -> None:
    assert as_partitions(_spec("region"), ["north", NORTH, "south"]) == (
        NORTH,
        Partition("south", (Equals("region", "south"),)),
    )
    assert as_partitions(_spec("number"), ["7"]) == (Partition("7", (Equals("number", "7"),)),)
    assert as_partitions(_spec(), ["all"]) == (WHOLE,)
    assert as_partitions(_spec(write_mode=WriteMode.APPEND), ["all", "a"]) == (
        WHOLE,
        Partition("a", identifies_rows=False),
    )
    with pytest.raises(SpecError, match="it is the whole table, whose key is 'all'"):
        require_partitions(_spec(), as_partitions(_spec(), ["north"]))


@pytest.mark.parametrize(
    ("partition_by", "given", "complaint"),
    [
        ("at", ["2024-01-01"], r'give Partition\("2024-01-01", \(Window\("at", lower, upper\),\)\), where lower'),
        ("day", ["2024-01-01"], r'give Partition\("2024-01-01", \(Window\("day", lower, upper\),\)\)'),
        ({"n": "number", "r": "region"}, ["1|north"], "for each of the columns number, region, and .* n, r"),
        ("region", "north", r'given as a list, even one; write \["north"\]'),
        ("region", NORTH, r'write \[Partition\("north", …\)\]'),
        ("day", [date(2024, 1, 1)], "is a Partition or a key, not of type date"),
    ],
)
def test_a_key_that_does_not_tell_its_rows_is_refused_with_what_to_give(
    partition_by: str | dict[str, str], given: Any, complaint: str
) -> None:
    with pytest.raises(TypeError, match=f"table rows: .*{complaint}"):
        as_partitions(_spec(partition_by), given)


def test_a_partition_without_conditions_is_not_taken_for_the_whole_table() -> None:
    with pytest.raises(SpecError, match="it is the whole table, whose key is 'all'"):
        require_partitions(_spec(), [Partition("2024-03-01")])


def test_rows_that_cannot_be_told_from_others_are_not_replaced() -> None:
    by_day = Partition(
        "2024-03-01|x",
        (_window("day", _MIDNIGHT, _DAY),),
        (("day", "2024-03-01"), ("file", "x")),
        identifies_rows=False,
    )
    with pytest.raises(SpecError, match="so they cannot be replaced; give its partitions a column that holds the key"):
        require_partitions(_spec("day"), [by_day])
    require_partitions(_spec("day", write_mode=WriteMode.APPEND), [by_day])


def test_a_source_names_only_what_its_partitions_have() -> None:
    by_file = _spec("region", path="{landing}/{file}.parquet", write_mode=WriteMode.APPEND)
    with pytest.raises(
        SpecError, match=r"its source names \{file\}; the placeholders are \{landing\}, \{partition_key\}"
    ):
        require_partitions(by_file, [NORTH])
    require_partitions(
        by_file,
        [
            Partition(
                "north|x", (Equals("region", "north"),), (("file", "x"), ("region", "north")), identifies_rows=False
            )
        ],
    )


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        (_window("region", _MIDNIGHT, _DAY), "'region' is text; it must be a date or a timestamp"),
        (_window("day", _MIDNIGHT, _HOUR), "'day' is a date, which has no hours"),
        (_window("day", _MIDNIGHT + _HOUR, _DAY), "'day' is a date, which has no hours"),
        (_window("local", _MIDNIGHT, _HOUR, "America/New_York"), "in America/New_York an hour comes twice a year"),
        (_window("local", _MIDNIGHT, _HOUR / 2, "Europe/Berlin"), "make it a timestamptz"),
        (Equals("number", "07"), "partition key '07' is no value of column 'number', which is smallint"),
        (Equals("number", "40000"), "'number'"),
        (Equals("price", "1.5"), "'price'"),
        (Equals("day", "20240301"), "'day'"),
    ],
)
def test_a_column_that_cannot_tell_its_partitions_apart_is_named(condition: Condition, complaint: str) -> None:
    with pytest.raises(SpecError, match=f"table rows: .*{complaint}"):
        require_types(_spec(condition.column), [Partition("key", (condition,))])


@pytest.mark.parametrize(
    "condition",
    [
        _window("at", _MIDNIGHT, _HOUR, "America/New_York"),
        _window("local", _MIDNIGHT, _HOUR, "Asia/Tokyo"),
        _window("local", _MIDNIGHT, _HOUR),
        _window("local", _MIDNIGHT, timedelta(hours=6), "America/New_York"),
        _window("local", datetime(2024, 11, 3), timedelta(hours=25), "America/New_York"),  # noqa: DTZ001
        _window("day", datetime(2024, 11, 3), timedelta(hours=25), "America/New_York"),  # noqa: DTZ001
        _window("day", datetime(2024, 9, 8, 1), timedelta(hours=23), "America/Santiago"),  # noqa: DTZ001 - no midnight
        Equals("number", "-7"),
        Equals("region", "O'Hare"),
    ],
)
def test_a_column_that_tells_its_partitions_apart_is_taken(condition: Condition) -> None:
    require_types(_spec(condition.column), [Partition("key", (condition,))])


def test_a_spec_names_the_columns_of_its_partitions_in_the_order_of_their_dimensions() -> None:
    assert _spec().partition_columns == ()
    assert _spec("day").partition_columns == ("day",)
    assert _spec({"region": "region", "day": "local"}).partition_columns == ("local", "region")


@pytest.mark.parametrize(
    ("partition_by", "complaint"),
    [
        ("dya", r"partition columns \['dya'\] are not in Row"),
        ({"a": "dya", "b": "region"}, r"partition columns \['dya'\] are not in Row"),
        ({"a": "day", "landing": "region"}, "placeholder"),
        ({"a": "day", "b c": "region"}, "placeholder"),
        ({"a": "day", "b": "day"}, "give each dimension a column of its own"),
        ("day", r"names \{file\}; the placeholders are \{landing\}, \{partition_key\}"),
        (None, r"names \{file\}; the placeholders are \{landing\}, \{partition_key\}"),
        ({}, "give each dimension a column of its own"),
        (
            {"a": "day", "b": "region"},
            r"its source names \{file\}; the placeholders are \{landing\}, \{partition_key\}, \{a\}, \{b\}",
        ),
    ],
)
def test_columns_that_make_no_sense_are_refused_when_a_spec_is_made(
    partition_by: str | dict[str, str] | None, complaint: str
) -> None:
    with pytest.raises((SpecError, ValidationError), match=complaint):
        _spec(partition_by, path="{landing}/{file}.parquet")
