"""Map the keys of a Dagster partitions definition to the partitions of a table."""

import re
from collections.abc import Callable, Mapping

import dagster as dg

from rowledger.contract import Contract
from rowledger.dagster.time_windows import begins_at_midnight, repeats_local_times, require_window, require_windows
from rowledger.errors import SpecError, UnknownPartition
from rowledger.spec import KEY_TYPES, WHOLE, Condition, Equals, Partition, TableSpec, TypeName, Window, WriteMode

__all__ = ["KEY_PATTERN", "dimensions_of", "partition_maker", "require_key", "require_partitions"]

KEY_PATTERN = r"\w[\w .:+@=-]*"
"""The default pattern of keys that are added while the table lives: what a file's name may be."""

_KEY_BYTES_MAX = 1_000  # an index entry of the ledger, or of Dagster, has 2,704 bytes, which two dimensions share
_KEY_SHOWN = 40
_KEYS_SHOWN = 50
_NOT_A_DIMENSION = ("landing", "partition_key")  # other placeholders of a source's path

_SINGLE = ""  # the name of the only dimension


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
    dimensions = dimensions_of(partitions_def)
    identifies_rows = len(columns) == len(dimensions)

    def partition(key: str) -> Partition:
        keys = _split(key, partitions_def)
        conditions = require_key(partitions_def, key, columns=columns, key_pattern=key_pattern)
        named = () if _SINGLE in keys else tuple(keys.items())
        return Partition(key, conditions, named, identifies_rows)

    return partition


def require_key(
    partitions_def: dg.PartitionsDefinition,
    key: str,
    *,
    columns: Mapping[str, str] | None = None,
    key_pattern: str = r"(?s).*",
) -> tuple[Condition, ...]:
    """The conditions that the key sets on `columns`, given by dimension; raises UnknownPartition for an unknown key."""
    dimensions = dimensions_of(partitions_def)
    conditions = []
    for name, own in _split(key, partitions_def).items():
        column = (columns or {}).get(name)
        try:
            condition = _condition(dimensions[name], own, column, key_pattern)
        except UnknownPartition as error:
            if name == _SINGLE:
                raise
            raise UnknownPartition(key, f"keys are written {'|'.join(dimensions)}; {error}") from None
        conditions += [condition] if condition is not None else []
    return tuple(conditions)


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
            if reason := _unusable(key):
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
    spec.require_placeholders(("partition_key", *(name for name in dimensions if name != _SINGLE)))
    if spec.write_mode is WriteMode.REPLACE and len(columns) < len(dimensions):
        raise SpecError(
            f"table {spec.name}: a partition's rows cannot be told from those of others, so they cannot be replaced; name the "
            "column that holds the partition in partition_by, or choose write mode append or upsert"
        )
    types = {column.name: column.type.name for column in Contract.of(spec.row).columns}
    for name, definition in dimensions.items():
        column = columns.get(name)
        try:
            _require_keys(definition, key_pattern)
            if column is not None:
                _require_type(definition, column, types[column])
        except SpecError as error:
            raise SpecError(f"table {spec.name}: {error}") from None


def _require_keys(definition: dg.PartitionsDefinition, key_pattern: str) -> None:
    """Raise SpecError for keys that cannot be used, as far as they are known beforehand."""
    match definition:
        case dg.TimeWindowPartitionsDefinition():
            require_windows(definition)
        case dg.StaticPartitionsDefinition():
            for key in definition.get_partition_keys():
                if reason := _unusable(key):
                    raise SpecError(reason)
        case dg.DynamicPartitionsDefinition():
            try:
                re.compile(key_pattern)
            except re.error as error:
                raise SpecError(f"pattern {key_pattern!r} of dynamic partitions: {error}") from None
        case _:
            raise SpecError(f"partitions of kind {type(definition).__name__} are not known to Rowledger")


def _require_type(definition: dg.PartitionsDefinition, column: str, type_name: TypeName) -> None:
    """Raise SpecError where values of the column's type do not distinguish the partitions."""
    match definition:
        case dg.TimeWindowPartitionsDefinition():
            Window(column, definition.start, definition.start, definition.timezone).bounds(type_name)
            if type_name is TypeName.DATE and not begins_at_midnight(definition):
                raise SpecError(
                    f"partition column {column!r} is a date, which has no hours; the windows of the cron schedule "
                    f"'{definition.cron_schedule}' do not begin at midnight"
                )
            if type_name is TypeName.TIMESTAMP and repeats_local_times(definition):
                raise SpecError(
                    f"partition column {column!r} is a timestamp without zone, and in {definition.timezone} an hour comes "
                    "twice a year; make it a timestamptz, or let the windows be those of UTC"
                )
        case dg.StaticPartitionsDefinition():
            for key in definition.get_partition_keys():
                Equals(column, key).value(type_name)
        case _:
            if type_name not in KEY_TYPES:
                raise SpecError(
                    f"partition column {column!r} is {type_name}; the keys of dynamic partitions are text or integers"
                )


def _unusable(key: str) -> str:
    """Why a key cannot be used: Dagster's command line cannot take it, a reader cannot see it, or an index cannot hold it."""
    if (length := len(key.encode(errors="replace"))) > _KEY_BYTES_MAX:
        return f"partition key {key[:_KEY_SHOWN]!r}… has {length} bytes; at most {_KEY_BYTES_MAX} are allowed"
    if not key or key != key.strip() or not key.isprintable() or "..." in key or "," in key:
        return f"partition key {key!r} must not be empty, hold ',' or '...', or begin or end with a blank"
    return ""
