"""Flights that left New York in 2013, a partition a day."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from rowledger import DeadLetterBudget, Integer, ParquetFiles, SmallInt, TableSpec

__all__ = ["FLIGHTS", "Flight"]

ClockTime = Annotated[SmallInt, Field(ge=1, le=2400)]  # hhmm in local time
Minutes = Annotated[SmallInt, Field(ge=-180, le=2880)]  # negative if early


class Flight(BaseModel):
    """One departure. A cancelled flight has no actual times."""

    year: Annotated[SmallInt, Field(ge=2013, le=2013)]
    month: Annotated[SmallInt, Field(ge=1, le=12)]
    day: Annotated[SmallInt, Field(ge=1, le=31)]
    dep_time: ClockTime | None
    sched_dep_time: ClockTime
    dep_delay: Minutes | None
    arr_time: ClockTime | None
    sched_arr_time: ClockTime
    arr_delay: Minutes | None
    carrier: Annotated[str, Field(pattern=r"^[A-Z0-9]{2}$")]
    flight: Annotated[Integer, Field(ge=1, le=9999)]
    tailnum: Annotated[str, Field(max_length=6)] | None
    origin: Literal["EWR", "JFK", "LGA"]
    dest: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    air_time: Annotated[SmallInt, Field(gt=0)] | None
    distance: Annotated[Integer, Field(gt=0)]
    hour: Annotated[SmallInt, Field(ge=0, le=23)]
    minute: Annotated[SmallInt, Field(ge=0, le=59)]
    time_hour: AwareDatetime  # the hour of the scheduled departure


FLIGHTS = TableSpec(
    name="flights",
    row=Flight,
    source=ParquetFiles(path="{landing}/flights/{partition_key}.parquet"),
    partition_by="time_hour",
    key=("time_hour", "carrier", "flight", "origin"),
    dead_letters=DeadLetterBudget(rows_max=50, share_max=0.02),
    upstream=("flights_landing",),
)
