"""Load partitions from Python, without Dagster."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rowledger.counted import counted
from rowledger.errors import LoadFailed
from rowledger.load.progress_lines import ProgressLines
from rowledger.load.run import run_load
from rowledger.postgres import target_url
from rowledger.settings import WriterSettings, settings
from rowledger.spec import WHOLE, Partition, TableSpec
from rowledger.workers import require_no_worker

if TYPE_CHECKING:
    from rowledger.ledger import Observer, PartitionReport, Progress

__all__ = ["load"]

_PROGRESS_INTERVAL_S = 0.9  # the run reports about once a second

_log = logging.getLogger("rowledger")


def load(
    spec: TableSpec,
    partitions: Sequence[Partition | str] = (WHOLE,),
    *,
    url: str | None = None,
    landing_dir: Path | str | None = None,
    writer: WriterSettings | None = None,
    observer: "Observer | None" = None,
    rows: object = None,
    check: bool = True,
) -> "list[PartitionReport]":
    """Load partitions of a table, and return a report for each, in their order.

    A key may stand for a partition whose rows it tells: those whose partition column, which holds no times, has this value.

    `url` is that of the target database, by default `ROWLEDGER_DATABASE_URL` or the embedded server; a spec that names servers
    takes none. `landing_dir` replaces `{landing}` in the spec's paths. `observer` follows the load, by default with the logger
    `rowledger`.
    `rows` are those of a spec whose source is `GivenRows`: the rows, in any form that a function of `PythonRows` may return, of
    which each goes to the partition that its values name; or the rows of each partition by its key; or a function that makes
    the rows of a partition, called in this process.

    Raises LoadFailed, with all reports, where a partition was not published. With `check=False` it does not, and the
    caller must look at the reports. Raises TypeError for a key that does not say
    which rows are meant, and another RowledgerError for what concerns the whole load: the server, the
    spec, the target's shape.
    """
    require_no_worker("a load")
    reports = run_load(
        spec,
        partitions,
        url=target_url() if url is None and spec.servers is None else url,
        landing_dir=settings().landing_dir if landing_dir is None else Path(landing_dir),
        writer=WriterSettings() if writer is None else writer,
        run_id=None,
        observer=_LoggingObserver() if observer is None else observer,
        rows=rows,
    )
    if check and (failed := [report for report in reports if not report.published]):
        causes = "\n".join(f"partition {report.partition_key}: {report.error}" for report in failed)
        raise LoadFailed(
            f"table {spec.name}: {len(failed)} of {counted(len(reports), 'partition')} not published\n{causes}",
            reports=reports,
        )
    return reports


class _LoggingObserver:
    """Logs the progress of a load to the logger `rowledger`."""

    def __init__(self) -> None:
        self._progress = ProgressLines(lambda line: _log.info("%s", line), interval_s=_PROGRESS_INTERVAL_S)

    def log(self, level: int, message: str) -> None:
        _log.log(level, "%s", message)

    def progress(self, progress: "Progress") -> None:
        self._progress.progress(progress)

    def finished(self, report: "PartitionReport") -> None:
        if report.published:
            _log.info(
                "table %s, partition %s: %s rows written", report.table, report.partition_key, report.written_rows
            )
        else:
            _log.error("table %s, partition %s: %s", report.table, report.partition_key, report.error)
