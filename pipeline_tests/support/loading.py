"""Run loads in a test, with settings that make small loads quick."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline_tests.support.partitions import partitions_of
from rowledger.ledger.reports import PartitionReport, Progress
from rowledger.ledger.table_specs import RivalRemedy
from rowledger.load.run import run_load
from rowledger.settings import WriterSettings, settings
from rowledger.spec.table import TableSpec

FAST: dict[str, Any] = {
    "workers": 1,
    "chunk_rows_max": 100,
    "batch_rows": 32,
    "heartbeat_s": 0.1,
    "retry_initial_s": 0.02,
    "retry_max_s": 0.2,
    "retry_budget_s": 20,
    "busy_wait_s": 0,
    "lease_s": 10,
}
"""Settings for small loads: many chunks, and a short way to every limit."""


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.reports: list[PartitionReport] = []
        self.progresses: list[Progress] = []

    def log(self, level: int, message: str) -> None:
        self.lines.append(f"{level} {message}")

    def progress(self, progress: Progress) -> None:
        self.progresses.append(progress)

    def finished(self, report: PartitionReport) -> None:
        self.reports.append(report)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def load(
    database: str | None,
    spec: TableSpec,
    landing: Path,
    keys: Sequence[str],
    *,
    observer: Recorder | None = None,
    run_id: str | None = "run-of-test",
    asset_key: tuple[str, ...] | None = None,
    rival_remedy: RivalRemedy | None = None,
    **writer: object,
) -> list[PartitionReport]:
    """One run, in this process, with workers of its own; without a database where the spec names servers."""
    return run_load(
        spec,
        partitions_of(spec, keys),
        url=database,
        landing_dir=landing,
        writer=WriterSettings.model_validate({**FAST, **writer}),
        run_id=run_id,
        observer=observer or Recorder(),
        asset_key=asset_key,
        rival_remedy=rival_remedy,
    )


def load_one(database: str | None, spec: TableSpec, landing: Path, key: str, **options: Any) -> PartitionReport:
    """One run of one partition."""
    return load(database, spec, landing, [key], **options)[0]


def set_failpoints(monkeypatch: pytest.MonkeyPatch, rules: str) -> None:
    """Faults for this process and for the workers it starts; empty for none."""
    monkeypatch.setenv("ROWLEDGER_FAILPOINTS", rules)
    settings.cache_clear()
