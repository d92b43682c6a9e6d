"""What Dagster makes of a load's reports: colours, events, metadata and messages. The load itself is played."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from pydantic import BaseModel

from pipeline.definitions import defs
from pipeline.tables.flights import FLIGHTS
from pipeline_tests.support.definitions import dagster_table, table_defs
from pipeline_tests.support.played_loads import PlayedLoad, play_loads, published, rejected
from rowledger.contract.sql_types import Integer
from rowledger.dagster import verification
from rowledger.dagster.failures import load_failure
from rowledger.dagster.observer import LogObserver
from rowledger.dagster.resources import GuardedWriter, InvalidWriterConfig
from rowledger.dagster.verification import VERIFY_CHECK
from rowledger.errors import (
    DatabaseUnavailable,
    DeadLetterBudgetSpent,
    DiscrepancyFound,
    PartitionBusy,
    RowledgerError,
    SourceError,
)
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.reports import Check, CheckName, Incident, Progress, RefusalCause
from rowledger.ledger.row_places import RowPlace
from rowledger.publish.verify import PartitionVerification
from rowledger.settings import WriterSettings
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.partition import Partition
from rowledger.spec.table import TableSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
]

DAYS = ("2013-01-01", "2013-01-02", "2013-01-03")
KILLED = Incident(
    IncidentKind.SIGNAL,
    pid=4711,
    exit_code=-9,
    partition_key=DAYS[0],
    chunk_no=3,
    attempt=1,
    summary="x",
    host="node-3",
)
REPLACED = replace(KILLED, kind=IncidentKind.MEMORY_RECYCLE, pid=4712, exit_code=None, host="node-4")


class Whole(BaseModel):
    """A row of a table that is loaded whole."""

    id: Integer


WHOLE = TableSpec(name="whole", row=Whole, source=ParquetFiles(path="{landing}/whole.parquet"))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> PlayedLoad:
    played = PlayedLoad(instance)
    play_loads(monkeypatch, played)
    return played


def test_a_published_partition_is_materialized_with_plain_numbers(load: PlayedLoad) -> None:
    load.reports[DAYS[0]] = published(DAYS[0], incidents=(KILLED, REPLACED))

    result = load.run(days=DAYS[:1])

    assert result.success
    metadata = result.materialized[DAYS[0]]
    assert metadata["crashed_pids"] == [
        {
            "host": "node-3",
            "pid": 4711,
            "exit_code": -9,
            "cause": "signal",
            "partition": DAYS[0],
            "chunk": 3,
            "attempt": 1,
            "summary": "x",
        }
    ]
    figures = {
        "enqueued_rows": 842,
        "written_rows": 840,
        "dead_lettered_rows": 2,
        "crashed_workers": 1,
        "guard_incidents": 1,
        "retries": 1,
        "chunks": 1,
        "rows_per_second": 1680.0,
        "seconds": 0.5,
        "peak_rss_mib": 95.4,
        "dagster/partition_row_count": 840,
    }
    assert {key: metadata[key] for key in figures} == figures
    assert {type(metadata[key]) for key in figures} == {int, float}
    assert metadata["load_id"] == "7", "which the UI does not plot"
    (crash,) = metadata["crashes"].records
    assert crash.data == metadata["crashed_pids"][0]
    assert [(other["host"], other["pid"]) for other in metadata["guards"]] == [("node-4", 4712)]
    assert metadata["dead_letters_command"] == f"rowledger dead-letters list --table flights --partition {DAYS[0]}"


def test_why_rows_were_refused_is_a_table(load: PlayedLoad) -> None:
    third, seventh, other = (
        RowPlace(row, f"landing/{file}", DAYS[0])
        for row, file in ((3, "a.parquet"), (7, "a.parquet"), (7, "b.parquet"))
    )
    causes = (
        RefusalCause(4, "contract", "dep_time", None, None, "dep_time: Input should be …", (third, seventh, other)),
        RefusalCause(1, "copy", None, "flights_key", "23505", "a key that is there twice", (other,)),
    )
    load.reports[DAYS[0]] = replace(published(DAYS[0]), refusals=causes)

    result = load.run(days=DAYS[:1])

    records = result.materialized[DAYS[0]]["refused_by_reason"].records
    assert [(record.data["column"], record.data["rows"], record.data["first_rows"]) for record in records] == [
        ("dep_time", 4, "3, 7 of a.parquet, 7 of b.parquet, …"),
        ("", 1, "7 of b.parquet"),
    ]


def test_a_failed_check_has_the_command_that_shows_more(load: PlayedLoad) -> None:
    load.reports[DAYS[0]] = rejected(DAYS[0])

    commands = {
        made.check_name: made.metadata["command"].value for made in load.run(days=DAYS[:1]).checks if not made.passed
    }

    assert commands == {CheckName.ROW_BALANCE: f"rowledger status --table flights --partition {DAYS[0]}"}


def test_a_spent_budget_is_told_first_and_the_command_that_shows_the_letters_last() -> None:
    command = f"rowledger dead-letters list --table flights --partition {DAYS[0]}"
    spent = DeadLetterBudgetSpent(
        f"table flights, partition {DAYS[0]}: 25 rows were refused. See them: {command}", command=command
    )

    told = (load_failure(dagster_table(FLIGHTS), [rejected(DAYS[0], spent)]).description or "").splitlines()

    assert told[0] == f"flights: partition {DAYS[0]} not published: DeadLetterBudgetSpent: 25 rows were refused."
    assert told[1].startswith("What to do: ")
    assert told[2:] == [command]


def test_a_discrepancy_is_red_and_materializes_nothing(load: PlayedLoad) -> None:
    load.reports[DAYS[0]] = rejected(DAYS[0])

    result = load.run(days=DAYS[:1])

    assert not result.success
    assert result.materialized == {}
    verdicts = {evaluation.check_name: evaluation.passed for evaluation in result.checks}
    assert verdicts == {name.value: name is not CheckName.ROW_BALANCE for name in CheckName}
    assert result.failure.splitlines() == [
        f"flights: partition {DAYS[0]} not published: DiscrepancyFound: flights {DAYS[0]}: enqueued 842, written 841",
        f"What to do: {DiscrepancyFound.__doc__}",
    ]


def test_of_three_days_the_bad_one_fails_and_the_good_ones_are_recorded(load: PlayedLoad) -> None:
    load.reports[DAYS[1]] = rejected(DAYS[1])

    result = load.run(days=DAYS)

    assert not result.success
    assert load.calls[0].partition_keys == list(DAYS)
    assert set(result.materialized) == {DAYS[0], DAYS[2]}
    assert result.materialized[DAYS[2]]["written_rows"] == 840
    assert "1 of 3 partitions not published" in result.failure
    assert DAYS[0] not in result.failure


def test_the_figures_of_a_failure_are_those_of_unpublished_rows() -> None:
    reports = [published(DAYS[0]), rejected(DAYS[1]), published(DAYS[2])]

    metadata = {name: value.value for name, value in load_failure(dagster_table(FLIGHTS), reports).metadata.items()}

    assert (metadata["partitions"], metadata["failed_partitions"]) == (3, 1)
    assert {name: rows for name, rows in metadata.items() if name.endswith("_rows")} == {
        "unpublished_enqueued_rows": 842,
        "unpublished_staged_rows": reports[1].counts.written_rows,
        "unpublished_dead_lettered_rows": reports[1].counts.dead_lettered_rows,
    }


def test_a_range_of_good_days_has_metadata_a_day_and_each_check_once_a_day(load: PlayedLoad) -> None:
    load.reports[DAYS[0]] = published(DAYS[0], incidents=(KILLED,))

    result = load.run(days=DAYS)

    assert result.success
    assert [(day, result.materialized[day]["crashed_workers"]) for day in DAYS] == list(
        zip(DAYS, (1, 0, 0), strict=True)
    )
    assert sorted((made.check_name, made.partition) for made in result.checks) == [
        (name, day) for name in sorted(CheckName) for day in DAYS
    ]
    balances = [made for made in result.checks if made.check_name == CheckName.ROW_BALANCE]
    assert [made.metadata["enqueued_rows"].value for made in balances] == [842] * 3


@pytest.mark.parametrize(
    ("error", "red"),
    [
        (
            DeadLetterBudgetSpent(f"table flights, partition {DAYS[0]}: 25 rows were refused"),
            {CheckName.DEAD_LETTER_BUDGET},
        ),
        (DiscrepancyFound(f"table flights, partition {DAYS[0]}: 842 rows staged, 841 stored"), {CheckName.ROW_BALANCE}),
        (SourceError(f"table flights, partition {DAYS[0]}: no file"), set()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_load_that_ended_early_has_a_verdict_only_on_what_ended_it(
    load: PlayedLoad, error: RowledgerError, red: set[CheckName]
) -> None:
    load.reports[DAYS[0]] = replace(rejected(DAYS[0], error), load_id=None, checks=())

    result = load.run(days=DAYS[:1])

    assert not result.success
    assert {evaluation.check_name: evaluation.passed for evaluation in result.checks} == dict.fromkeys(red, False)
    reason = str(error).removeprefix(f"table flights, partition {DAYS[0]}: ")
    assert [e.description for e in result.checks] == [f"{DAYS[0]}: {reason}" for _ in red], "which names the place once"
    assert reason in result.failure


def test_a_day_that_was_not_loaded_beside_good_ones_is_not_accounted_for(load: PlayedLoad) -> None:
    load.reports[DAYS[1]] = replace(rejected(DAYS[1], SourceError("flights: no file")), load_id=None, checks=())

    result = load.run(days=DAYS)

    assert not result.success
    (balance,) = [evaluation for evaluation in result.checks if evaluation.partition == DAYS[1]]
    assert (balance.check_name, balance.passed) == (CheckName.ROW_BALANCE, False)
    assert balance.description == f"{DAYS[1]}: not loaded; the failure of the step says why"
    others = {(made.check_name, made.partition) for made in result.checks if made.passed}
    assert others == {(name, day) for name in CheckName for day in (DAYS[0], DAYS[2])}


def test_a_published_load_that_nothing_has_judged_fails_its_checks(load: PlayedLoad) -> None:
    load.reports[DAYS[0]] = replace(published(DAYS[0]), checks=())

    result = load.run(days=DAYS[:1])

    assert not any(evaluation.passed for evaluation in result.checks)
    assert len(result.checks) == len(CheckName)


def test_an_error_of_the_whole_run_is_told_in_its_own_words_with_the_remedy(load: PlayedLoad) -> None:
    load.error = DatabaseUnavailable("the server at db:5432 refuses connections")

    result = load.run(days=DAYS[:1])

    assert result.failure.startswith("flights: DatabaseUnavailable: the server at db:5432 refuses connections\n")
    assert "Check ROWLEDGER_DATABASE_URL" in result.failure


def test_in_step_checks_cannot_be_deselected(load: PlayedLoad) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError):
        load.run(days=DAYS[:1], selection=dg.AssetSelection.assets("flights").without_checks())


def test_a_table_without_partitions_is_loaded_whole(load: PlayedLoad) -> None:
    result = load.run(WHOLE)

    assert result.success
    assert load.calls[0].partition_keys == ["all"]
    assert result.materialized[None]["dagster/row_count"] == 840


def test_a_table_without_partitions_gets_jobs_and_a_schedule() -> None:
    repository = table_defs(WHOLE).get_repository_def()

    assert {"whole_load", "whole_verify"} <= set(repository.job_names)
    assert [schedule.name for schedule in repository.schedule_defs] == ["whole_daily"]


def test_only_what_a_retry_can_fix_is_retried() -> None:
    outage, busy, wrong = DatabaseUnavailable("x"), PartitionBusy("x"), DiscrepancyFound("x")

    assert load_failure(dagster_table(FLIGHTS), [rejected(DAYS[0], outage), rejected(DAYS[1], busy)]).allow_retries
    assert not load_failure(dagster_table(FLIGHTS), [rejected(DAYS[0], outage), rejected(DAYS[1], wrong)]).allow_retries


def test_a_failure_of_many_partitions_stays_readable() -> None:
    text = load_failure(dagster_table(FLIGHTS), [rejected(f"day {n}") for n in range(365)]).description or ""

    assert "365 of 365 partitions not published" in text
    assert "and 345 more" in text
    assert len(text.splitlines()) < 30


def test_a_foreign_error_is_named_without_its_text() -> None:
    text = load_failure(dagster_table(FLIGHTS), [rejected(DAYS[0], ValueError("row value: secret"))]).description or ""

    assert "ValueError" in text
    assert "secret" not in text


def test_the_writer_has_the_fields_of_the_writer_settings_and_no_others() -> None:
    assert set(GuardedWriter.model_fields) == set(WriterSettings.model_fields)
    assert GuardedWriter().settings == WriterSettings()


def test_the_launchpad_shows_each_field_with_its_default_its_description_and_its_bounds() -> None:
    schema = GuardedWriter.to_config_schema().as_field().config_type
    assert isinstance(schema, dg.Shape)

    for name, field in WriterSettings.model_fields.items():
        shown = schema.fields[name]
        assert shown.default_value == field.default
        assert (shown.description or "").startswith(field.description or "?")
    assert (schema.fields["workers"].description or "").endswith(" (≥ 0 and ≤ 64)")
    assert (schema.fields["connect_timeout_s"].description or "").endswith(" (> 0 and ≤ 300)")
    assert "≤" not in (WriterSettings.model_fields["workers"].description or "")


def test_a_run_can_change_the_writer(load: PlayedLoad) -> None:
    load.run(days=DAYS[:1], config={"workers": 4})

    assert load.calls[0].writer == WriterSettings(workers=4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"workers": 65}, "writer config: workers: Input should be less than or equal to 64, got 65"),
        (
            {"heartbeat_s": 20.0, "stall_timeout_s": 10.0},
            "writer config: stall_timeout_s (10.0) must be at least twice heartbeat_s (20.0)",
        ),
    ],
)
def test_a_bad_writer_setting_is_named_with_its_bound(config: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidWriterConfig) as raised:
        GuardedWriter(**config)

    assert str(raised.value) == message
    assert raised.value.__suppress_context__


def test_verification_on_demand_is_red_for_a_changed_table(
    monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    asked: list[object] = []

    def verify(
        _spec: TableSpec,
        *,
        url: str,
        partition_keys: Sequence[str] | None = None,
        partition_of: Callable[[str], Partition],
    ) -> list[PartitionVerification]:
        assert partition_of(DAYS[0]).key == DAYS[0]
        asked.append((url, partition_keys))
        changed = Check(CheckName.ROW_BALANCE, passed=False, summary="843 rows, 842 were published")
        same = Check(CheckName.ROW_BALANCE, passed=True, summary="842 rows")
        return [PartitionVerification(DAYS[0], (changed,)), PartitionVerification(DAYS[1], (same,))]

    monkeypatch.setattr(verification, "run_verify", verify)
    monkeypatch.setattr("rowledger.dagster.database.target_url", lambda: "postgresql://nowhere/db")

    result = defs.resolve_job_def("flights_verify").execute_in_process(instance=instance, raise_on_error=False)

    assert not result.success
    assert asked == [("postgresql://nowhere/db", None)]
    made = [
        (one.check_name, one.partition, one.passed, one.description) for one in result.get_asset_check_evaluations()
    ]
    problem = f"{DAYS[0]}: every_row_accounted_for: 843 rows, 842 were published"
    assert made == [
        (VERIFY_CHECK, None, False, problem),
        (VERIFY_CHECK, DAYS[0], False, problem),
        (VERIFY_CHECK, DAYS[1], True, "1 published partition is as the ledger has them"),
    ]


def test_the_load_job_lands_and_loads_and_leaves_verification_out() -> None:
    job = defs.resolve_job_def("flights_load")

    assert {node.name for node in job.nodes} == {"flights_landing", "flights"}


def test_a_log_that_takes_no_lines_holds_up_neither_the_load_nor_its_end(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stuck, release = threading.Event(), threading.Event()

    class Stuck:
        def log(self, _level: int, _message: str) -> None:
            stuck.set()
            release.wait(30)

    monkeypatch.setattr("rowledger.dagster.observer.FLUSH_TIMEOUT_S", 0.2)
    observer = LogObserver(Stuck())  # type: ignore[arg-type] # what a DagsterLogManager is when its server is away
    for number in range(10):
        observer.log(logging.INFO, f"line {number}")
    assert stuck.wait(10)
    observer.close()
    release.set()
    assert "did not take all lines" in capfd.readouterr().err


def test_a_line_that_cannot_be_logged_costs_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    taken: list[str] = []

    class Picky:
        def log(self, _level: int, message: str) -> None:
            if message == "bad":
                raise ConnectionError("the storage is away")
            taken.append(message)

    observer = LogObserver(Picky())  # type: ignore[arg-type] # as above
    for message in ("one", "bad", "two"):
        observer.log(logging.INFO, message)
    observer.close()
    assert taken == ["one", "two"]
    assert "ConnectionError" in capfd.readouterr().err


def test_progress_is_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test_progress")
    observer = LogObserver(logger)  # type: ignore[arg-type] # a DagsterLogManager is a Logger with a context

    with caplog.at_level(logging.INFO, logger.name):
        for written in range(0, 1000, 10):
            observer.progress(Progress(RowCounts(1000, written), 5000.0, 0, 2))
        for _ in range(2):
            observer.progress(Progress(RowCounts(1000, 998, 2), 5000.0, 2, 2))
        observer.close()

    assert caplog.messages == [
        "0 of 1,000 rows written, 0 dead-lettered, lag 1,000, 5,000 rows/s, 0 of 2 partitions done",
        "998 of 1,000 rows written, 2 dead-lettered, lag 0, 5,000 rows/s, 2 of 2 partitions done",
    ]
