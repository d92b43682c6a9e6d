"""Replay dead letters in a test, and look at what became of them."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.model.dead_letters import Actor, LetterSelection, ReplayReport
from pipeline.model.table import TableSpec
from pipeline.operations.dead_letters import export_letters, import_letters
from pipeline.operations.replay import run_replay
from pipeline.operations.verify import run_verify
from pipeline.settings import WriterSettings
from pipeline_tests.loading import FAST, Recorder, fetch

ACTOR = Actor("a test", "mended", "run-of-test")


def replay(
    database: str,
    spec: TableSpec,
    *,
    observer: Recorder | None = None,
    writer: Mapping[str, object] | None = None,
    **of: Any,
) -> ReplayReport:
    """One replay of a table's dead letters, in this process, with a worker of its own."""
    return run_replay(
        spec,
        LetterSelection.model_validate(of),
        url=database,
        writer=WriterSettings.model_validate({**FAST, **(writer or {})}),
        actor=ACTOR,
        log=(observer or Recorder()).log,
    )


def results(report: ReplayReport) -> dict[int, str]:
    """What became of each row, by its number in the source."""
    return {outcome.row_no: outcome.result.value for outcome in report.outcomes}


def states(database: str) -> dict[int, str]:
    """The state of each dead letter, by its row's number."""
    return {row["row_no"]: row["state"] for row in fetch(database, "select row_no, state from rowledger.dead_letter")}


def edit(database: str, spec: TableSpec, folder: Any, changes: Mapping[int, Mapping[str, object]]) -> None:
    """Export all dead letters, change some rows as a person would, by their number in the source, and import the file."""
    file = folder / "letters.ndjson"
    export_letters(database, spec, LetterSelection(), file, reveal=True)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line["payload"].update(changes.get(line["row"], {}))
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    import_letters(database, spec, file, ACTOR)
    file.unlink()


def assert_verified(database: str, spec: TableSpec) -> None:
    """What is in the table is what the ledger says."""
    for verification in run_verify(spec, url=database):
        assert verification.passed, [check.summary for check in verification.checks]
