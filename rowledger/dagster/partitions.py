"""Map the keys of a Dagster partitions definition to the partitions of a table."""

import itertools
import re
from collections.abc import Callable, Mapping

import dagster as dg

from rowledger import contract
from rowledger.contract import Contract, unusable_key
from rowledger.dagster.time_windows import latest_window, require_window
from rowledger.errors import SpecError, UnknownPartition
from rowledger.spec import KEY_TYPES, WHOLE, Condition, Equals, Partition, TableSpec, TypeName, Window

__all__ = ["KEY_PATTERN", "dimensions_of", "partition_maker", "require_key", "require_partitions"]

KEY_PATTERN = r"\w[\w .:+@=-]*"
"""The default pattern of keys that are added while the table lives: what a file's name may be."""

_KEYS_SHOWN = 50
_NOT_A_DIMENSION = ("landing", "partition_key")  # other placeholders of a source's path

_SINGLE = ""  # the name of the only dimension
_KeyOfDimension = tuple[str, Condition | None]  # a key, and its condition where its dimension has a column


def dimensions_of(partitions_def: dg.PartitionsDefinition) -> dict[str, dg.PartitionsDefinition]:
    """The dimensions by name, in the order in which a key names them. A single dimension has no name."""
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        return {dimension.name: dimension.partitions_def for dimension in partitions_def.partitions_defs}
    return {_SINGLE: partitions_def}


def partition_maker(
    spec: TableSpec, partitions_def: dg.PartitionsDefinition | None, *, key_pattern: str = KEY_PATTERN
) -> Callable[[str], Partition]:
    """A function that makes the partition of a key, and raises UnknownPartition for a key that the definition lacks.

    Raises SpecError where the table's `partition_by` does not fit the definition.
    """
    if partitions_def is None:
        return _whole
    columns = _columns(spec, partitions_def)
    return lambda key: _partition(require_key(partitions_def, key, columns=columns, key_pattern=key_pattern), columns)


def require_key(
    partitions_def: dg.PartitionsDefinition,
    key: str,
    *,
    columns: Mapping[str, str] | None = None,
    key_pattern: str = r"(?s).*",
) -> dict[str, _KeyOfDimension]:
    """The key's parts by dimension, with conditions on those that have a column; raises UnknownPartition for an unknown key."""
    dimensions = dimensions_of(partitions_def)
    parts = {}
    for name, own in _split(key, partitions_def).items():
        column = (columns or {}).get(name)
        try:
            parts[name] = (own, _condition(dimensions[name], own, column, key_pattern))
        except UnknownPartition as error:
            if name == _SINGLE:
                raise
            raise UnknownPartition(key, f"keys are written {'|'.join(dimensions)}; {error}") from None
    return parts


def _partition(parts: Mapping[str, _KeyOfDimension], columns: Mapping[str, str]) -> Partition:
    key = "|".join(own for own, _ in parts.values())
    conditions = tuple(condition for _, condition in parts.values() if condition is not None)
    named = () if _SINGLE in parts else tuple((name, own) for name, (own, _) in parts.items())
    return Partition(key, conditions, named, identifies_rows=len(columns) == len(parts))


def _whole(key: str) -> Partition:
    if key != WHOLE.key:
        raise UnknownPartition(key, f"this table is not partitioned; its only key is '{WHOLE.key}'")
    return WHOLE


def _split(key: str, partitions_def: dg.PartitionsDefinition) -> dict[str, str]:
    """The keys of the dimensions by name."""
    names = list(dimensions_of(partitions_def))
    if names == [_SINGLE]:
        return {_SINGLE: key}
    parts = key.split("|")
    if len(parts) != len(names):
        raise UnknownPartition(key, f"keys of two dimensions are written {'|'.join(names)}")
    return dict(zip(names, parts, strict=True))


def _condition(definition: dg.PartitionsDefinition, key: str, column: str | None, key_pattern: str) -> Condition | None:
    """The condition that the key of one dimension sets on its column; None where it has no column."""
    match definition:
        case dg.TimeWindowPartitionsDefinition():
            start, end = require_window(definition, key)
            return Window(column, start, end, definition.timezone) if column else None
        case dg.StaticPartitionsDefinition():
            if key not in (known := definition.get_partition_keys()):
                more = f" … ({len(known)} keys)" if len(known) > _KEYS_SHOWN else ""
                raise UnknownPartition(key, f"the keys are {', '.join(known[:_KEYS_SHOWN])}{more}")
        case dg.DynamicPartitionsDefinition():
            if not re.fullmatch(key_pattern, key):
                raise UnknownPartition(key, f"keys of {definition.name} match {key_pattern}")
            if reason := unusable_key(key):
                raise UnknownPartition(key, reason)
        case _:
            raise SpecError(f"partitions of kind {type(definition).__name__} are not known to Rowledger")
    return Equals(column, key) if column else None


def _columns(spec: TableSpec, partitions_def: dg.PartitionsDefinition) -> dict[str, str]:
    """The columns that hold the partition, by dimension; raises SpecError where `partition_by` names other dimensions."""
    names = list(dimensions_of(partitions_def))
    match spec.partition_by:
        case None:
            return {}
        case str(column) if names == [_SINGLE]:
            return {_SINGLE: column}
        case str(column):
            raise SpecError(
                f"table {spec.name}: partition_by is {column!r}, but its partitions have the dimensions {', '.join(names)}; "
                'give a column by the name of each dimension, as in {"' + names[0] + f'": {column!r}}}'
            )
        case columns if names == [_SINGLE]:
            raise SpecError(
                f"table {spec.name}: partition_by has the dimensions {', '.join(columns)}, but its partitions have no "
                "dimensions; give the name of one column"
            )
        case columns:
            if unknown := sorted(set(columns) - set(names)):
                raise SpecError(
                    f"table {spec.name}: partition_by names the dimensions {unknown}, but its partitions have {names}"
                )
            return {name: columns[name] for name in names if name in columns}


def require_partitions(
    spec: TableSpec, partitions_def: dg.PartitionsDefinition | None, *, key_pattern: str = KEY_PATTERN
) -> None:
    """Raise SpecError where the definition, the table's columns and its write mode do not fit together."""
    if partitions_def is None:
        if spec.partition_by is not None:
            raise SpecError(
                f"table {spec.name}: partition_by is {spec.partition_by!r}, but it has no partitions; give its definitions a "
                "partitions_def"
            )
        spec.require_placeholders(("partition_key",))
        return
    columns, dimensions = _columns(spec, partitions_def), dimensions_of(partitions_def)
    for name in dimensions:
        if name != _SINGLE and (not name.isidentifier() or name in _NOT_A_DIMENSION):
            raise SpecError(
                f"table {spec.name}: dimension {name!r} must be named by a word that a path can hold as a placeholder"
            )
    types = {column.name: column.type.name for column in Contract.of(spec.row).columns}
    try:
        samples = [_samples(own, columns.get(name), types, key_pattern) for name, own in dimensions.items()]
    except SpecError as error:
        raise SpecError(f"table {spec.name}: {error}") from None
    # Each key is seen once; pairs of two dimensions would be too many. A dimension without keys has no partitions.
    longest = max(map(len, samples)) if all(samples) else 0
    together = zip(*(itertools.islice(itertools.cycle(own), longest) for own in samples), strict=True)
    try:
        contract.require_partitions(
            spec, [_partition(dict(zip(dimensions, parts, strict=True)), columns) for parts in together]
        )
    except UnknownPartition as error:
        raise SpecError(f"table {spec.name}: partition key {error.key!r}: {error.known}") from None


def _samples(
    definition: dg.PartitionsDefinition, column: str | None, types: Mapping[str, TypeName], key_pattern: str
) -> list[_KeyOfDimension]:
    """Keys that stand for all of one dimension, each with its condition; raises SpecError for keys that cannot be used."""
    match definition:
        case dg.TimeWindowPartitionsDefinition():
            # The first windows of a zone that has set its clock for the last time do not stand for those that come.
            if (latest := latest_window(definition)) is None:
                return []
            key, start, end = latest
            return [(key, Window(column, start, end, definition.timezone) if column else None)]
        case dg.StaticPartitionsDefinition():
            return [(key, Equals(column, key) if column else None) for key in definition.get_partition_keys()]
        case dg.DynamicPartitionsDefinition():
            try:
                re.compile(key_pattern)
            except re.error as error:
                raise SpecError(f"pattern {key_pattern!r} of dynamic partitions: {error}") from None
            if column and types[column] not in KEY_TYPES:
                raise SpecError(
                    f"partition column {column!r} is {types[column]}; the keys of dynamic partitions are text or integers"
                )
            return [("0", Equals(column, "0") if column else None)]
        case _:
            raise SpecError(f"partitions of kind {type(definition).__name__} are not known to Rowledger")
