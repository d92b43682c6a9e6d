"""The partition keys of a run, read from its tags."""

import itertools
from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from rowledger.dagster.failures import fail
from rowledger.dagster.partitions import dimensions_of, require_key
from rowledger.errors import UnknownPartition
from rowledger.spec import WHOLE, Partition

__all__ = ["dimension_tags", "keys_of_run", "partition_keys", "require_same_keys"]

# The tags of a run over a range. Dagster writes them, and documents them for programs that start runs by its API.
_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"
_KEY = "dagster/partition"
_DIMENSION = f"{_KEY}/"


def partition_keys(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, partitions_def: dg.PartitionsDefinition | None
) -> list[str]:
    """The keys that this run is about: those of its range where it has one, otherwise its single key.

    They are read from the run's tags, because `context.partition_keys` ignores the range of a run that also has tags
    of single dimensions. Each run of a backfill from a job's page has the tags of the backfill's first key, which may
    be a key of another run (dagster#28861, read in 1.13.27).

    Raises UnknownPartition for a key that does not exist, for a range that ends before it begins, and for tags that
    disagree.
    """
    return keys_of_run(context.run.tags, partitions_def, store=context.instance)


def keys_of_run(
    tags: Mapping[str, str], partitions_def: dg.PartitionsDefinition | None, *, store: dg.DagsterInstance
) -> list[str]:
    """The keys that a run with these tags is about; raises what `partition_keys` does."""
    if partitions_def is None:
        return [WHOLE.key]
    own = _own_key(tags, partitions_def)
    if _RANGE_START in tags:
        start, end = tags[_RANGE_START], tags.get(_RANGE_END, "")
        for key in (start, end):
            require_key(partitions_def, key)
        keys = _keys_in_range(partitions_def, start, end, store=store)
    elif own is not None:
        require_key(partitions_def, own)
        keys = [own]
    else:
        raise UnknownPartition("", "the run names none; start it for a partition or for a range of them")
    if own is not None and own not in keys and not isinstance(partitions_def, dg.MultiPartitionsDefinition):
        raise UnknownPartition(own, f"the run's tags also name the partitions {keys[0]} to {keys[-1]}")
    return keys


def require_same_keys(name: str, keys: Sequence[str], recorded: Collection[str], *, does: str) -> None:
    """Raise dg.Failure where Dagster knows of other partitions than the run is for; `does` is what it does with them."""
    if {*keys} != {*recorded}:
        fail(
            f"{name}: the run is for {len(keys)} partitions, {keys[0]} to {keys[-1]}, but Dagster {does} "
            f"{', '.join(sorted(recorded))}; nothing was loaded\nWhat to do: give the asset the backfill policy multi_run(1), "
            "so that each partition has a run of its own"
        )


def dimension_tags(partition: Partition) -> dict[str, str]:
    """The tags that name the dimensions of an event's partition; empty for a key of one dimension."""
    return {f"{_DIMENSION}{name}": key for name, key in partition.dimensions}


def _own_key(tags: Mapping[str, str], partitions_def: dg.PartitionsDefinition) -> str | None:
    """The single key that a run's tags name, whole or by its dimensions. Dagster records the run for that key."""
    key = tags.get(_KEY)
    own = {tag.removeprefix(_DIMENSION): value for tag, value in tags.items() if tag.startswith(_DIMENSION)}
    if not own:
        return key
    if isinstance(partitions_def, dg.MultiPartitionsDefinition) and set(own) != set(dimensions_of(partitions_def)):
        raise UnknownPartition("|".join(own.values()), f"the run has tags of {', '.join(own)} alone")
    by_dimension = str(dg.MultiPartitionKey(own))
    if key not in (None, by_dimension):
        raise UnknownPartition(by_dimension, f"the run's tag {_KEY} names the partition {key}")
    return by_dimension


def _keys_in_range(
    partitions_def: dg.PartitionsDefinition, start: str, end: str, *, store: dg.DagsterInstance
) -> list[str]:
    """The keys from start to end; with two dimensions, all pairs of the keys of each."""
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        first, last = map(partitions_def.get_partition_key_from_str, (start, end))
        of_each = {
            name: _keys_in_range(own, first.keys_by_dimension[name], last.keys_by_dimension[name], store=store)
            for name, own in dimensions_of(partitions_def).items()
        }
        return [
            str(dg.MultiPartitionKey(dict(zip(of_each, pair, strict=True))))
            for pair in itertools.product(*of_each.values())
        ]
    keys = partitions_def.get_partition_keys(dynamic_partitions_store=store)
    for key in (start, end):
        if key not in keys:
            raise UnknownPartition(key, f"Dagster knows {len(keys)} keys of these partitions, and not this one")
    found = keys[keys.index(start) : keys.index(end) + 1]
    if not found:
        raise UnknownPartition(f"{start}...{end}", "the range's end comes before its start")
    return [str(key) for key in found]
