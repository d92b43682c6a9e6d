"""Whether a partition's source is read by a producer, or by the worker that plans the partition."""

import threading
from collections.abc import Sequence
from pathlib import Path

from rowledger.spec import Drift, Partition, TableSpec

__all__ = ["LOOK_S", "is_read_at_once", "needs_producer"]

LOOK_S = 0.2
"""Time to look at the sizes of files: a dead mount must not hold the run up there."""
_LOOKED_AT_MAX = 4  # partitions; the others may well be like them


def is_read_at_once(spec: TableSpec, partition: Partition, landing_dir: Path) -> bool:
    """Whether the worker that plans the partition reads it. It may be asked in a thread, and may hang or raise.

    Columns that come up row by row get the type that they have first, and values of another one are refused, like elsewhere. A
    plan of the whole partition would refuse its load.
    """
    comes_up_by_row = spec.source.columns_vary and spec.drift is Drift.EVOLVE
    return not (spec.source.takes_rows or comes_up_by_row) and spec.source.is_read_at_once(partition, landing_dir)


def needs_producer(spec: TableSpec, partitions: Sequence[Partition | str], landing_dir: Path) -> bool:
    """Whether a producer is started before anything is known of the partitions. Any partition may still start one."""
    source = spec.source
    if not source.is_streamed or source.takes_rows:
        return False
    first = [one for one in partitions[:_LOOKED_AT_MAX] if isinstance(one, Partition)]
    found: list[bool] = []

    def look() -> None:
        try:
            found.append(bool(first) and all(is_read_at_once(spec, one, landing_dir) for one in first))
        except Exception:  # noqa: BLE001 - the process that reads the source says what is wrong with it
            found.append(False)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(LOOK_S)
    return found != [True]
