"""Begin a run. Its first processes come up while it imports what it needs itself, and asks the server what it must know."""

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rowledger.load.production import needs_producer
from rowledger.settings import WriterSettings
from rowledger.spec import Partition, TableSpec
from rowledger.workers import PRODUCER, WORKER, EarlyProcesses, require_no_worker

if TYPE_CHECKING:
    from rowledger.ledger import Observer, PartitionReport, RivalRemedy

__all__ = ["run_load"]


def run_load(
    spec: TableSpec,
    partitions: Sequence[Partition | str],
    *,
    url: str | None,
    landing_dir: Path,
    writer: WriterSettings,
    run_id: str | None,
    observer: "Observer",
    rows: object = None,
    asset_key: tuple[str, ...] | None = None,
    rival_remedy: "RivalRemedy | None" = None,
) -> "list[PartitionReport]":
    """Load the partitions, each once, and return a report for each, in their order.

    `url` is that of the one server, and None for a spec that names several; then the partitions of each server are a load of
    their own there, all at the same time, and what concerns one server alone is in the reports of its partitions.

    `rows` are those of a spec whose source is GivenRows: a function that makes a partition's rows, called in a thread of this
    process; the rows of each partition by its key; or the rows of all partitions, split by the partition columns.

    `asset_key` are the parts of the key of Dagster's asset, for the ledger. `rival_remedy` says of another asset's key what to
    do where that asset may load the table again, which is refused; None if it cannot.

    The errors of one partition are in its report. Raises TypeError for a key in place of a partition that does not say which
    rows are meant, and RowledgerError for what concerns all of them: the server,
    the spec, the keys, the target's shape. An interrupt ends the workers and their backends first, and then takes its
    usual course.
    """
    require_no_worker("a load")
    with EarlyProcesses(_needed_first(spec, partitions, landing_dir)) as early:
        with _collecting_no_garbage():
            from rowledger.load.run_partitions import run_partitions  # noqa: PLC0415, once the processes are on their way

        return run_partitions(
            spec,
            partitions,
            url=url,
            landing_dir=landing_dir,
            writer=writer,
            run_id=run_id,
            observer=observer,
            rows=rows,
            asset_key=asset_key,
            rival_remedy=rival_remedy,
            early=early,
        )


@contextlib.contextmanager
def _collecting_no_garbage() -> Iterator[None]:
    """What is imported in the block is no garbage; to look for some takes a tenth of the time."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


def _needed_first(spec: TableSpec, partitions: Sequence[Partition | str], landing_dir: Path) -> list[str]:
    """The processes that any load needs. How many more it can use is known once its chunks are planned."""
    return [PRODUCER, WORKER] if needs_producer(spec, partitions, landing_dir) else [WORKER]
