"""Rows that are given with a load: as a function of the partition, by key, for one partition, or for several together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rowledger import contract
from rowledger.errors import SourceError, SpecError
from rowledger.spec import Partition, TableSpec, WriteMode

__all__ = ["RowsTogether", "rows_by_partition"]

_KEYS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class RowsTogether:
    """The rows of several partitions, which are split before the first of them is loaded."""

    rows: object

    def __call__(self, partition: Partition) -> object:
        raise SourceError(f"partition {partition.key} was planned before its rows were split from those of others")


def rows_by_partition(
    spec: TableSpec, partitions: Sequence[Partition], rows: object
) -> Callable[[Partition], object] | None:
    """What makes a partition's rows, from any form in which a load takes them; None where no rows are given.

    Raises SourceError if the source takes rows and there are none, SpecError for rows that cannot be those of the partitions.
    """
    source = spec.source
    if rows is None:
        if source.takes_rows:
            raise SourceError(
                f"table {spec.name}: its spec does not say where its rows are, because the program that loads it gives them; "
                "give them to rowledger.load as `rows`, or materialize the asset that returns them"
            )
        return None
    if not source.takes_rows:
        raise SpecError(
            f"table {spec.name}: rows were given, but its source is {type(source).__name__}; make the source GivenRows()"
        )
    if callable(rows):
        return rows
    keys = [partition.key for partition in partitions]
    if isinstance(rows, Mapping) and (len(keys) > 1 or [*rows] == keys):  # otherwise it is meant as a row
        if set(rows) != set(keys):
            raise SpecError(
                f"table {spec.name}: rows were given for {_named(rows)}, but the load is of {_named(keys)}; give the rows of "
                "each by its key"
            )
        by_key = dict(rows)
        return lambda partition: by_key.pop(partition.key)  # not held longer than they are needed
    if len(partitions) == 1:
        return lambda _partition: rows
    _require_splittable(spec, partitions)
    return RowsTogether(rows)


def _named(keys: Iterable[object]) -> str:
    shown = [str(key) for key in keys] or ["no"]
    return (
        f"partition{'s' if len(shown) > 1 else ''} {', '.join(shown[:_KEYS_SHOWN])}{' …' * (len(shown) > _KEYS_SHOWN)}"
    )


def _require_splittable(spec: TableSpec, partitions: Sequence[Partition]) -> None:
    """Raise SpecError unless a row's values, as the source has them, say to which of the partitions it belongs."""
    together = f"table {spec.name}: the rows of {len(partitions)} partitions are given together"
    if spec.transform is not None:
        raise SpecError(f"{together}, and its transform may change a row's partition; give the rows of each by its key")
    if spec.write_mode is WriteMode.APPEND:
        # The other partitions' rows share its frames, and decide their columns' types, on which the digest depends.
        raise SpecError(
            f"{together}, but write mode append recognizes rows that it has added before only if they are given by "
            "themselves; give the rows of each by its key"
        )
    try:
        # Through its package, which imports it only now: few loads need it.
        contract.RowPartitions(contract.Contract.of(spec.row), partitions)
    except SpecError as error:
        raise SpecError(f"{together}: {error}") from None
