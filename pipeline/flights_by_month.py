"""The flights of 2013 as `make demo-hosts` loads them: appended, so that a load of the same files again adds nothing."""

from pipeline.tables.flights import FLIGHTS
from rowledger import WriteMode

__all__ = ["FLIGHTS_BY_MONTH"]

FLIGHTS_BY_MONTH = FLIGHTS.model_copy(update={"write_mode": WriteMode.APPEND})
