"""Rowledger as a contestant: `python -m benchmarks.incident.rowledger LANDING REPORT WORKERS`.

The URL is in ROWLEDGER_DATABASE_URL. Exit code 0 only if the load was published, which is the rule of the Dagster asset.
REPORT gets what the run noticed, as JSON.
"""

import json
import logging
import sys
from pathlib import Path

from benchmarks.datasets.lineitem import LINEITEM
from rowledger.errors import RowledgerError
from rowledger.ledger.reports import PartitionReport, Progress
from rowledger.load.run import run_load
from rowledger.postgres.server_url import target_url
from rowledger.settings import WriterSettings
from rowledger.spec.partition import WHOLE


class LogOfTheRun:
    """An observer that prints what Dagster's log would show, progress left out."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def log(self, level: int, message: str) -> None:
        print(f"{logging.getLevelName(level)} {message}", flush=True)
        if level >= logging.WARNING:
            self.warnings.append(message)

    def progress(self, progress: Progress) -> None: ...

    def finished(self, report: PartitionReport) -> None:
        if report.error is not None:
            self.log(logging.ERROR, f"not published: {report.error}")


def main() -> int:
    """Entry point of the process."""
    landing, result, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    log = LogOfTheRun()
    try:
        (report,) = run_load(
            LINEITEM,
            [WHOLE],
            url=target_url(),
            landing_dir=landing,
            writer=WriterSettings(workers=workers),
            run_id=None,
            observer=log,
        )
    except RowledgerError as error:
        log.log(logging.ERROR, str(error))
        return 1
    noticed = {
        "warnings": log.warnings,
        "retries": report.retries,
        "workers_died": len(report.incidents),
        "rows_confirmed": report.written_rows if report.published else 0,
    }
    result.write_text(json.dumps(noticed), encoding="utf-8")
    return 0 if report.published else 1


if __name__ == "__main__":
    sys.exit(main())
