"""The assets that a table depends on, in YAML: their keys, each with a partition mapping where the default is not meant."""

# ruff: noqa: ANN401, YAML holds any value

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import Field, StrictStr

from rowledger.dagster.yaml_fields import Chosen, OrTemplate, OrText, Shape, chosen, telling_mistakes, validated

__all__ = ["DepsShape", "LandingShape", "read_deps", "read_landing"]


class _Identity(Shape):
    """The partition with the same key."""

    type: Literal["identity"]


class _All(Shape):
    """All partitions of the other asset."""

    type: Literal["all"]


class _Last(Shape):
    """The last partition of the other asset."""

    type: Literal["last"]


class _TimeWindow(Shape):
    """The partitions of the same window of time, moved or widened by offsets."""

    type: Literal["time_window"]
    start_offset: Annotated[int, OrTemplate()] = Field(
        default=0, description="How many windows later the other asset's begin; -1 is the window before."
    )
    end_offset: Annotated[int, OrTemplate()] = Field(default=0, description="How many windows later they end.")
    allow_nonexistent_upstream_partitions: Annotated[bool, OrTemplate()] = Field(
        default=False, description="Whether windows before the other asset's first one are left out, and no mistake."
    )


class _Specific(Shape):
    """Always the same partitions."""

    type: Literal["specific"]
    keys: Annotated[list[StrictStr], OrTemplate()] = Field(description="Their keys.")


class _Static(Shape):
    """Partitions by a list."""

    type: Literal["static"]
    keys: Annotated[dict[str, StrictStr | list[StrictStr]], OrTemplate()] = Field(
        description="For each key of the other asset the key, or keys, of this table that need it."
    )


_SINGLE: dict[str, type[Shape]] = {
    "identity": _Identity,
    "all": _All,
    "last": _Last,
    "time_window": _TimeWindow,
    "specific": _Specific,
    "static": _Static,
}
_Dimension = Annotated[dict[str, Any], Chosen("type", _SINGLE), OrTemplate()]


class _Multi(Shape):
    """A mapping for each dimension, where both sides have dimensions of these names."""

    type: Literal["multi"]
    dimensions: dict[str, _Dimension] = Field(description="The mappings by dimension; one left out needs all keys.")


_MAPPINGS: dict[str, type[Shape]] = {**_SINGLE, "multi": _Multi}


class _Dep(Shape):
    """An asset that the table depends on, and which of its partitions a partition of the table needs."""

    asset: str = Field(description="The asset's key, as raw/stations.")
    partition_mapping: Annotated[dict[str, Any], Chosen("type", _MAPPINGS), OrTemplate()] | None = Field(
        default=None, description="Which partitions are needed. By default those of the same key or window of time."
    )


DepsShape = Annotated[list[Annotated[_Dep, OrText()]], OrTemplate()]
"""The shape of `deps` in YAML: keys, or keys with a partition mapping."""
LandingShape = Annotated[list[str], OrTemplate()]
"""The shape of `landing` in YAML."""

_MAKERS: dict[str, Callable[[Any], dg.PartitionMapping]] = {
    "identity": lambda _: dg.IdentityPartitionMapping(),
    "all": lambda _: dg.AllPartitionMapping(),
    "last": lambda _: dg.LastPartitionMapping(),
    "time_window": lambda shape: dg.TimeWindowPartitionMapping(
        **shape.model_dump(exclude={"type"}, exclude_unset=True)
    ),
    "specific": lambda shape: dg.SpecificPartitionsPartitionMapping(shape.keys),
    "static": lambda shape: dg.StaticPartitionMapping(shape.keys),
}


def read_deps(context: dg.ResolutionContext, value: Any) -> list[Any] | None:
    """The dependencies of a resolved value, in which a template may have given whatever Dagster takes as one."""
    return value if value is None else [_dep(context.at_path(number), part) for number, part in enumerate(value)]


def read_landing(_context: dg.ResolutionContext, value: Any) -> list[Any] | None:
    """The keys of the landing assets, or the assets that a template gave."""
    return value if value is None else [_key(part) for part in value]


def _key(value: Any) -> Any:
    return dg.AssetKey.from_user_string(value) if isinstance(value, str) else value


def _dep(context: dg.ResolutionContext, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _key(value)
    found = validated(context, _Dep, {**value, "partition_mapping": None})
    mapping = _mapping(context.at_path("partition_mapping"), value.get("partition_mapping"))
    return dg.AssetDep(_key(found.asset), partition_mapping=mapping)


def _mapping(context: dg.ResolutionContext, value: Any) -> dg.PartitionMapping | None:
    if value is None or isinstance(value, dg.PartitionMapping):
        return value
    shape = chosen(context, _MAPPINGS, value, instead="this is not a partition mapping")
    if isinstance(shape, _Multi):
        within = context.at_path("dimensions")
        found = {name: _mapping(within.at_path(name), part) for name, part in value["dimensions"].items()}
        return dg.MultiPartitionMapping(
            {
                name: dg.DimensionPartitionMapping(name, mapping)
                for name, mapping in found.items()
                if mapping is not None
            }
        )
    made: dg.PartitionMapping = telling_mistakes(context, lambda: _MAKERS[value["type"]](shape))
    return made
