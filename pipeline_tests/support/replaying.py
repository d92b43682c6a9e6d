"""Replay dead letters in a test, and look at what became of them; or in a process: `replaying TABLE`."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict

from pipeline_tests.support import tables as tables_for_tests
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import FAST, Recorder
from pipeline_tests.support.tables import EVENTS, PARCELS, Event
from rowledger.contract.sql_types import Integer, varchar
from rowledger.dead_letters.changes import export_dead_letters, import_dead_letters
from rowledger.dead_letters.replay import run_replay
from rowledger.ledger.actor import Actor
from rowledger.ledger.dead_letter_outcomes import DeadLetterSelection, ReplayReport
from rowledger.postgres.server_url import target_url
from rowledger.publish.verify import run_verify
from rowledger.settings import WriterSettings, child_environment
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.partition import Partition
from rowledger.spec.table import TableSpec


class StrictParcel(BaseModel):
    """A row whose date is no text."""

    model_config = ConfigDict(strict=True)

    day: date
    parcel_id: Integer
    label: Annotated[str, varchar(12)]


class SecretEvent(Event):
    """An event of which nobody may see all."""


SECRET_EVENTS = TableSpec(
    name="secret_events",
    row=SecretEvent,
    source=EVENTS.source,
    partition_by="at",
    key=EVENTS.key,
    dead_letters=EVENTS.dead_letters,
    sensitive=("name", "code"),
)

STRICT_PARCELS = TableSpec(
    name="strict_parcels",
    row=StrictParcel,
    source=ParquetFiles(path="{landing}/parcels/{partition_key}.parquet"),
    partition_by="day",
    dead_letters=PARCELS.dead_letters,
)

ACTOR = Actor("a test", "corrected", "run-of-test")


def replay(
    database: str,
    spec: TableSpec,
    *,
    observer: Recorder | None = None,
    writer: Mapping[str, object] | None = None,
    partition_of: Callable[[str], Partition] | None = None,
    **of: Any,
) -> ReplayReport:
    """One replay of a table's dead letters, in this process, with a worker of its own."""
    return run_replay(
        spec,
        DeadLetterSelection.model_validate(of),
        url=database,
        writer=WriterSettings.model_validate({**FAST, **(writer or {})}),
        actor=ACTOR,
        log=(observer or Recorder()).log,
        partition_of=partition_of,
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
    export_dead_letters(database, spec, DeadLetterSelection(), file, reveal=True)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line["payload"].update(changes.get(line["row"], {}))
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    import_dead_letters(database, spec, file, ACTOR)
    file.unlink()


def assert_verified(database: str, spec: TableSpec) -> None:
    """What is in the table is what the ledger says."""
    for verification in run_verify(spec, url=database):
        assert verification.passed, [check.summary for check in verification.checks]


def start_replay(database: str, spec: TableSpec, *, failpoints: str = "") -> subprocess.Popen[str]:
    """A replay as a process of its own, for tests that kill it."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, spec.name.upper()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=child_environment(ROWLEDGER_DATABASE_URL=database, ROWLEDGER_FAILPOINTS=failpoints),
        start_new_session=True,
    )


def main() -> None:
    """Entry point of the process, which prints all that a replay says."""
    observer = Recorder()
    report = replay(target_url(), getattr(tables_for_tests, sys.argv[1]), observer=observer)
    sys.stdout.write("\n".join([*observer.lines, *map(str, report.outcomes)]))


if __name__ == "__main__":
    main()
