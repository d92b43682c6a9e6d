"""Partitions of all kinds in YAML: windows of time, static and dynamic keys, and two dimensions of these."""

# ruff: noqa: ANN401, YAML holds any value

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import dagster as dg
from pydantic import Field, StrictStr

from rowledger.dagster.yaml_fields import Chosen, OrTemplate, Shape, chosen, mistake_at, telling_mistakes

__all__ = ["PartitionsShape", "read_partitions"]

_Integer = Annotated[int, OrTemplate()]


class _Shape(Shape):
    # What the class of Dagster calls a field of another name.
    names: ClassVar[Mapping[str, str]] = {"start": "start_date", "end": "end_date"}


class _Windows(_Shape):
    start: str = Field(description="The first window begins here or later: 2024-01-01, or a time in the format `fmt`.")
    end: str | None = Field(default=None, description="The windows end before this.")
    timezone: str | None = Field(default=None, description="IANA name, as Europe/Berlin; UTC if not given.")
    fmt: str | None = Field(default=None, description="Format of start, end and the keys, as strftime has it.")
    end_offset: _Integer = Field(
        default=0, description="How many windows more there are than are over: 1 adds the one that has begun."
    )
    exclusions: Annotated[list[str] | None, OrTemplate()] = Field(
        default=None, description="Cron schedules; windows that begin at one of their ticks are left out."
    )


class _Minutes(_Windows):
    minute_offset: _Integer = Field(default=0, ge=0, le=59, description="Minute at which an hour begins.")


class _Hours(_Minutes):
    hour_offset: _Integer = Field(default=0, ge=0, le=23, description="Hour at which a day begins.")


class Hourly(_Minutes):
    """A partition an hour."""

    type: Literal["hourly"]


class Daily(_Hours):
    """A partition a day."""

    type: Literal["daily"]


class Weekly(_Hours):
    """A partition a week."""

    type: Literal["weekly"]
    day_offset: _Integer = Field(default=0, ge=0, le=6, description="Day on which a week begins; 0 is Sunday.")


class Monthly(_Hours):
    """A partition a month."""

    type: Literal["monthly"]
    day_offset: _Integer = Field(default=1, ge=1, le=31, description="Day on which a month begins.")


class TimeWindow(_Windows):
    """A partition for each window between two ticks of a cron schedule."""

    type: Literal["time_window"]
    cron_schedule: str = Field(description="Its ticks begin the windows, as '0 */6 * * *'.")
    fmt: str = Field(description="Format of start, end and the keys, as '%Y-%m-%d-%H:%M'.")

    names: ClassVar[Mapping[str, str]] = {}


class Static(_Shape):
    """Partitions that are named here."""

    type: Literal["static"]
    keys: Annotated[list[StrictStr], OrTemplate()] = Field(
        description="The keys, as texts: quote those that YAML reads otherwise, as '2024', 'no' or '1.0'."
    )

    names: ClassVar[Mapping[str, str]] = {"keys": "partition_keys"}


class Dynamic(_Shape):
    """Partitions that sensors or people add while the table lives."""

    type: Literal["dynamic"]
    name: str = Field(description="Name of the set of keys, by which they are added; tables may share it.")


_SINGLE: dict[str, type[_Shape]] = {
    "hourly": Hourly,
    "daily": Daily,
    "weekly": Weekly,
    "monthly": Monthly,
    "time_window": TimeWindow,
    "static": Static,
    "dynamic": Dynamic,
}
_Dimension = Annotated[dict[str, Any], Chosen("type", _SINGLE), OrTemplate()]


class Multi(_Shape):
    """Partitions of two dimensions; the keys are those of the dimensions, in alphabetical order of their names, as a|b."""

    type: Literal["multi"]
    dimensions: Annotated[dict[str, _Dimension], Field(min_length=2, max_length=2)] = Field(
        description="Two partitions by name. `partition_by` names the column of each, and paths name them as {name}."
    )


_SHAPES: dict[str, type[_Shape]] = {**_SINGLE, "multi": Multi}
PartitionsShape = Annotated[dict[str, Any], Chosen("type", _SHAPES), OrTemplate()]
"""The shape of `partitions` in YAML."""

_CLASSES: dict[str, Any] = {
    "hourly": dg.HourlyPartitionsDefinition,
    "daily": dg.DailyPartitionsDefinition,
    "weekly": dg.WeeklyPartitionsDefinition,
    "monthly": dg.MonthlyPartitionsDefinition,
    "time_window": dg.TimeWindowPartitionsDefinition,
    "static": dg.StaticPartitionsDefinition,
    "dynamic": dg.DynamicPartitionsDefinition,
    "multi": dg.MultiPartitionsDefinition,
}


def read_partitions(context: dg.ResolutionContext, value: Any) -> dg.PartitionsDefinition | None:
    """The partitions of a resolved value, which may also be a PartitionsDefinition that a template gave."""
    if value is None or isinstance(value, dg.PartitionsDefinition):
        return value
    shape = chosen(context, _SHAPES, value, instead="these are no partitions")
    fields = {shape.names.get(name, name): getattr(shape, name) for name in shape.model_fields_set - {"type"}}
    if isinstance(shape, Multi):
        within = context.at_path("dimensions")
        fields = {
            "partitions_defs": {
                name: _dimension(within.at_path(name), part) for name, part in value["dimensions"].items()
            }
        }
    definition: dg.PartitionsDefinition = telling_mistakes(context, lambda: _CLASSES[value["type"]](**fields))
    return definition


def _dimension(context: dg.ResolutionContext, value: Any) -> dg.PartitionsDefinition:
    found = read_partitions(context, value)
    if found is None:
        raise mistake_at(context, "a dimension needs partitions")
    return found
