"""Replay of dead letters in Dagster: a job with a form in the launchpad, and a sensor that starts it for corrected ones."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing

import dagster as dg
from pydantic import Field, ValidationError

from rowledger.contract import Stage
from rowledger.dagster.check_events import checks_have_partitions, recorded
from rowledger.dagster.failures import describe_error, errors_as_failures, fail
from rowledger.dagster.metadata import lines
from rowledger.dagster.observer import LogObserver
from rowledger.dagster.replay_events import red_partitions, replay_events, replay_metadata, replay_reasons
from rowledger.dagster.table import DagsterTable
from rowledger.dagster.verification import problems_of, verification_evaluations
from rowledger.dead_letters import read_waiting, run_replay
from rowledger.errors import DatabaseUnavailable, RowledgerError, SpecError
from rowledger.ledger import Actor, DeadLetterResult, DeadLetterSelection, DeadLetterState, ReplayReport
from rowledger.postgres import servers_of
from rowledger.publish import PartitionVerification, run_verify
from rowledger.spec import TableSpec

__all__ = ["ReplayConfig", "replay_job_and_sensor"]

POLL_INTERVAL_S = 30


class ReplayConfig(dg.Config):
    """The dead letters that a run replays, as the form of the launchpad. By default all that are open or corrected."""

    partitions: list[str] = Field(default=[], description="Only these partitions.")
    stages: list[str] = Field(default=[], description=f"Only letters refused there: {', '.join(Stage)}.")
    states: list[str] = Field(default=[], description=f"Only letters in these states: {', '.join(DeadLetterState)}.")
    constraint: str = Field(default="", description="Only letters refused by this constraint of the table.")
    ids: list[int] = Field(default=[], description="Only these letters, by their numbers.")
    limit: int = Field(default=0, ge=0, description="Try no more letters than so many; 0: all.")
    server: str = Field(
        default="",
        description="Of a table on several servers the variable of the one to replay on, or give its partitions.",
    )
    note: str = Field(default="", description="Why, for the record.")

    def selection(self) -> DeadLetterSelection:
        """The selection of dead letters; raises SpecError for an unknown stage or state."""
        names = ("partitions", "stages", "states", "constraint", "ids", "limit")
        try:
            return DeadLetterSelection.model_validate({name: getattr(self, name) or None for name in names})
        except ValidationError as error:
            mistakes = (f"{'.'.join(map(str, m['loc']))}: {m['msg']}" for m in error.errors(include_url=False))
            raise SpecError(f"the form of the replay: {'; '.join(mistakes)}") from None


def replay_job_and_sensor(table: DagsterTable, *, sensor: bool, pool: str | None = None) -> dg.Definitions:
    """The job `<table>_replay` replays dead letters; the sensor `<table>_corrected` starts it for those that are corrected."""
    spec = table.spec
    op_name = f"{table.name}_replay_dead_letters"

    @dg.op(
        name=op_name,
        description=f"Write rows that were refused into {spec.target}, now that their cause is fixed.",
        required_resource_keys=table.resource_keys,
        pool=pool,  # it writes to the table as its load does
    )
    def replay_dead_letters(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        with errors_as_failures(spec.name):
            url = table.one_url(context.resources, config.server, config.partitions)
        report = _replay(context, table, config, url)
        verifications = _verify(context, table, report, url)
        red = red_partitions(url, spec.name, report)
        for event in replay_events(spec, table.key, table.partition_of, report, url, red=red):
            context.log_event(event)
        # Dagster shows only checks that come after the materialization.
        partitioned = checks_have_partitions(table.partitions_def)
        made = verification_evaluations(verifications, partitioned=partitioned, red=red)
        deque(recorded(context.instance, context.get_step_execution_context(), table.key, made), maxlen=0)
        metadata = replay_metadata(report, report.outcomes)
        if told := [*_not_written(spec, report), *_not_as_published(spec, verifications)]:
            fail("\n".join(told), metadata=metadata)
        context.add_output_metadata(metadata)

    @dg.job(
        name=f"{table.name}_replay",
        description=f"Replay dead letters of {spec.target}: each row through the current row model, once. Green if "
        "all that were selected are written, or left out by the transform; red if one was refused again, or if a partition "
        "that rows were written to is not what the ledger says.",
    )
    def replay() -> None:
        replay_dead_letters()

    @dg.sensor(
        name=f"{table.name}_corrected",
        # By its name: Dagster makes a sensor that has its job anew when it binds resources, and then warns of `owners`.
        job_name=replay.name,
        minimum_interval_seconds=POLL_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        required_resource_keys={table.database_key},
        description=f"Starts {table.name}_replay when dead letters of {spec.target} were marked as corrected.",
    )
    def corrected(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        requests = [
            dg.RunRequest(
                # The id of the newest event, so that what was corrected once starts one run, whatever a cursor remembers. Each
                # server counts its own.
                run_key="_".join(filter(None, (f"{table.name}_corrected", server, str(newest)))),
                run_config=dg.RunConfig(
                    ops={
                        op_name: ReplayConfig(
                            states=[DeadLetterState.CORRECTED],
                            server=server,
                            note=f"sensor {table.name}_corrected: {letters} letters were corrected",
                        )
                    }
                ),
            )
            for server, letters, newest in _waiting(context, table)
        ]
        if requests:
            return dg.SensorResult(run_requests=requests)
        return dg.SensorResult(skip_reason=f"no dead letter of {spec.name} was marked as corrected")

    return dg.Definitions(jobs=[replay], sensors=[corrected] if sensor else [])


def _waiting(context: dg.SensorEvaluationContext, table: DagsterTable) -> Iterator[tuple[str, int, int]]:
    """The variable of each server that has corrected dead letters, their number, and the id of the newest event of one.

    The one server of other tables has no name. Of several one that is away does not keep the others waiting.
    """
    for server in [each.variable for each in servers_of(table.spec)] or [""]:
        try:
            letters, newest = read_waiting(table.one_url(context.resources, server), table.spec.name)
        except DatabaseUnavailable as error:
            if not server:
                raise
            message = f"{table.spec.name}: dead letters on {server} are not looked at: {describe_error(error)}"
            context.log.warning(message)
            continue
        if newest is not None:
            yield server, letters, newest


def _replay(context: dg.OpExecutionContext, table: DagsterTable, config: ReplayConfig, url: str) -> ReplayReport:
    run_id = context.run.run_id
    with closing(LogObserver(context.log)) as log:
        with errors_as_failures(table.spec.name):
            report = run_replay(
                table.spec,
                config.selection(),
                url=url,
                writer=table.writer(context.resources).settings,
                actor=Actor(f"job {context.job_name}", config.note, run_id),
                log=log.log,
                partition_of=table.partition_of,
            )
        for reason, count in replay_reasons(report.outcomes):
            message = f"{count} not written: {reason}"
            log.log(logging.WARNING, message)
    return report


def _verify(
    context: dg.OpExecutionContext, table: DagsterTable, report: ReplayReport, url: str
) -> list[PartitionVerification]:
    """Compare the partitions that the replay has changed with the ledger; an empty list where that is not possible now."""
    if not report.changed_partitions:
        return []
    try:
        return run_verify(
            table.spec,
            url=url,
            partition_keys=report.changed_partitions,
            partition_of=table.partition_of,
        )
    except RowledgerError as error:
        message = f"{table.spec.name}: the partitions that were changed are not verified: {describe_error(error)}"
        context.log.warning(f"{message}; later: rowledger verify --table {table.spec.name}")  # noqa: G004 - Dagster's log
        return []


def _not_written(spec: TableSpec, report: ReplayReport) -> list[str]:
    """How many dead letters were not written, and why. Those that were written stay written."""
    if report.succeeded:
        return []
    left = report.count(DeadLetterResult.REFUSED, DeadLetterResult.SKIPPED)
    text = (
        f"{spec.name}: {left} of {len(report.outcomes)} dead letters were not written; see them by "
        f"`rowledger dead-letters list --table {spec.name}`"
    )
    return [text, *(f"{count} not written: {reason}" for reason, count in replay_reasons(report.outcomes))]


def _not_as_published(spec: TableSpec, verifications: Sequence[PartitionVerification]) -> list[str]:
    """The partitions that are not what the ledger says, though the replay has written its rows."""
    if not (problems := problems_of(verifications)):
        return []
    return [
        f"{spec.name}: {len(problems)} of {len(verifications)} partitions with replayed rows are not what the ledger says:",
        lines(problems),
        "What to do: load them again",
    ]
