"""Partitions, as the core knows them: a key, and the conditions that tell its rows."""

from datetime import UTC, datetime

from pipeline_tests.support.partitions import window_of_day
from rowledger.spec.condition import Equals
from rowledger.spec.partition import WHOLE, Partition

_DAY = window_of_day("at", "2013-01-01", "America/New_York")
_OF_BOTH = Partition("EWR|2013-01-01", (Equals("airport", "EWR"), _DAY), (("airport", "EWR"), ("day", "2013-01-01")))


def test_a_table_loaded_whole_has_one_key_and_no_conditions() -> None:
    assert (WHOLE.key, WHOLE.conditions, WHOLE.columns, WHOLE.identifies_rows) == ("all", (), (), True)


def test_a_partition_has_the_window_of_the_one_condition_that_is_of_time() -> None:
    bounds = (datetime(2013, 1, 1, 5, tzinfo=UTC), datetime(2013, 1, 2, 5, tzinfo=UTC))
    assert (_OF_BOTH.lower, _OF_BOTH.upper) == bounds
    assert _OF_BOTH.timezone == "America/New_York"
    assert (WHOLE.window, WHOLE.lower, WHOLE.upper, WHOLE.timezone) == (None, None, None, "UTC")


def test_a_template_may_name_the_key_and_each_of_its_dimensions() -> None:
    assert _OF_BOTH.placeholders == {"partition_key": "EWR|2013-01-01", "airport": "EWR", "day": "2013-01-01"}
    assert WHOLE.placeholders == {"partition_key": "all"}


def test_a_partition_asks_each_of_its_columns_for_something() -> None:
    assert _OF_BOTH.columns == ("airport", "at")
    assert _OF_BOTH.conditions_on("at") == (_DAY,)
    assert _OF_BOTH.conditions_on("other") == ()
