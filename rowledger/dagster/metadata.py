"""What Dagster shows of a load: metadata keys, and PartitionReports as metadata, check results and failures.

Figures are plain ints and floats, because the UI plots nothing else.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten
from typing import Any

import dagster as dg

from rowledger.contract import Contract
from rowledger.dagster.table import DagsterTable
from rowledger.errors import (
    DatabaseUnavailable,
    DeadLetterBudgetSpent,
    DiscrepancyFound,
    PartitionBusy,
    RowledgerError,
)
from rowledger.ledger import Check, CheckName, Incident, PartitionReport, RowCounts
from rowledger.spec import TableSpec

__all__ = [
    "DISCREPANCIES",
    "FAILED_PARTITIONS",
    "PARTITIONS",
    "Metadata",
    "check_results",
    "counts_metadata",
    "describe_error",
    "failure_of",
    "lines",
    "load_failure",
    "load_metadata",
    "named",
    "table_metadata",
]

ENQUEUED_ROWS = "enqueued_rows"
WRITTEN_ROWS = "written_rows"
DEAD_LETTERED_ROWS = "dead_lettered_rows"
FILTERED_ROWS = "filtered_rows"
ADDED_ROWS = "added_rows"
DISCARDED_VALUES = "discarded_values"
CRASHED_WORKERS = "crashed_workers"
CRASHED_PIDS = "crashed_pids"
GUARD_INCIDENTS = "guard_incidents"
GUARDS = "guards"
RETRIES = "retries"
CHUNKS = "chunks"
ROWS_PER_SECOND = "rows_per_second"
SECONDS = "seconds"
PEAK_RSS_BYTES = "peak_rss_bytes"
LOAD_ID = "load_id"
RESUMED = "resumed"
PARTITIONS = "partitions"
FAILED_PARTITIONS = "failed_partitions"
DISCREPANCIES = "discrepancies"
REFUSED_BY_REASON = "refused_by_reason"
ROW_COUNT = "dagster/row_count"
PARTITION_ROW_COUNT = "dagster/partition_row_count"
TABLE_NAME = "dagster/table_name"
COLUMN_SCHEMA = "dagster/column_schema"

LINE_LENGTH_MAX = 800  # long enough for a whole command at the end of a message
NAMED_PARTITIONS_MAX = 20  # keeps a message about 365 bad days readable
RETRYABLE = (DatabaseUnavailable, PartitionBusy)  # the step may be run again without an operator's help
_NOT_LOADED = "not loaded; the failure of the step says why"

Metadata = dict[str, Any]


def table_metadata(spec: TableSpec) -> Metadata:
    """What is known of the table before any load: its name and its columns."""
    columns = [
        dg.TableColumn(
            column.name,
            column.type.sql,
            constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=spec.key == (column.name,)),
        )
        for column in Contract.of(spec.row).columns
    ]
    return {
        TABLE_NAME: str(spec.target),
        COLUMN_SCHEMA: dg.TableSchema(columns),
    }


def load_metadata(table: DagsterTable, report: PartitionReport) -> Metadata:
    """Metadata of one published partition, for its materialization."""
    metadata: Metadata = {
        **_balance([report]),
        RETRIES: report.retries,
        CHUNKS: report.chunks,
        ROWS_PER_SECOND: round(report.rows_per_second, 1),
        SECONDS: round(report.seconds, 3),
        PEAK_RSS_BYTES: report.peak_rss_bytes,
        RESUMED: report.resumed,
        TABLE_NAME: str(table.spec.target),
        ROW_COUNT if table.is_whole else PARTITION_ROW_COUNT: report.written_rows,
    }
    return metadata if report.load_id is None else {**metadata, LOAD_ID: report.load_id}


def counts_metadata(spec: TableSpec, counts: RowCounts, *, whole: bool) -> Metadata:
    """The published counts of a partition, for the materialization of a replay, under the same keys as a load's."""
    return {
        **_counts(counts),
        TABLE_NAME: str(spec.target),
        ROW_COUNT if whole else PARTITION_ROW_COUNT: counts.written_rows,
    }


def check_results(key: dg.AssetKey, reports: Sequence[PartitionReport]) -> Iterator[dg.AssetCheckResult]:
    """One result for each check that was made, over all partitions of the run. It passes only if all of them have passed.

    A check that no partition has reached has no result: the step's failure says why. Where other partitions of the
    run are published, partitions without a verdict fail the balance. Otherwise "re-execute from failure" would leave
    them out: it skips an asset that was materialized in the run, unless one of its blocking checks has failed.
    """
    some_published = any(report.published for report in reports)
    for name in CheckName:
        verdicts = {report.partition_key: check for report in reports if (check := _verdict(report, name)) is not None}
        failed = {key: check.summary for key, check in verdicts.items() if not check.passed}
        if name is CheckName.ROW_BALANCE and some_published:
            failed |= {report.partition_key: _NOT_LOADED for report in reports if _is_unjudged(report)}
        if not verdicts and not failed:
            continue
        metadata: Metadata = {PARTITIONS: len(reports), FAILED_PARTITIONS: len(failed)}
        if name is CheckName.ROW_BALANCE:
            metadata |= _balance(reports)
        if len(reports) == 1:
            metadata |= next(iter(verdicts.values())).details
        if failed:
            metadata[DISCREPANCIES] = dg.MetadataValue.json(dict(named(failed)))
        passed_text = (
            next(iter(verdicts.values())).summary if len(reports) == 1 else f"{len(verdicts)} partitions passed"
        )
        yield dg.AssetCheckResult(
            passed=not failed,
            asset_key=key,
            check_name=name.value,
            severity=dg.AssetCheckSeverity.ERROR,
            description=lines(failed) if failed else passed_text,
            metadata=metadata,
        )


def load_failure(table: DagsterTable, reports: Sequence[PartitionReport]) -> dg.Failure:
    """The failure that names each unpublished partition, its cause, and what to do.

    Retried only if that can fix all of them.
    """
    errors = {report.partition_key: report.error for report in reports if report.error is not None}
    failed = [report for report in reports if report.error is not None]
    remedies = dict.fromkeys(_remedy(error) for error in errors.values())
    head = f"{table.spec.name}: {len(failed)} of {len(reports)} partitions not published"
    if len(reports) == 1:
        head = f"{table.spec.name}: {'not' if table.is_whole else 'partition not'} published"
    texts = {key: describe_error(error, table=table.spec.name, partition_key=key) for key, error in errors.items()}
    causes = {report.partition_key: [str(cause) for cause in report.refusals] for report in failed if report.refusals}
    return dg.Failure(
        "\n".join([head, lines(texts), *(f"What to do: {remedy}" for remedy in remedies if remedy)]),
        metadata={
            PARTITIONS: len(reports),
            FAILED_PARTITIONS: len(failed),
            **_balance(failed),
            "errors": dg.MetadataValue.json(dict(named(texts))),
            **({REFUSED_BY_REASON: dg.MetadataValue.json(causes)} if causes else {}),
        },
        allow_retries=all(isinstance(error, RETRYABLE) for error in errors.values()),
    )


def failure_of(subject: str, error: RowledgerError) -> dg.Failure:
    """An error that concerns the whole run, for Dagster: what happened, where, and the remedy, before any traceback."""
    text = f"{subject}: {describe_error(error)}"
    if remedy := _remedy(error):
        text = f"{text}\nWhat to do: {remedy}"
    return dg.Failure(text, allow_retries=isinstance(error, RETRYABLE))


def describe_error(error: Exception, *, table: str = "", partition_key: str = "") -> str:
    """The message of a Rowledger error; for any other error its type alone, because its text may quote a row.

    Table and partition are left out where the reader sees them next to the message.
    """
    if isinstance(error, RowledgerError):
        return f"{type(error).__name__}: {_without_place(str(error), table, partition_key)}"
    sqlstate = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}{f' ({sqlstate})' if sqlstate else ''}; see the run's log"


def _without_place(text: str, table: str, partition_key: str) -> str:
    place = f"table {table}, partition {partition_key}"
    return text[len(place) + 2 :] if partition_key and text.startswith((f"{place}: ", f"{place}, ")) else text


def named(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The first few partitions with their texts, and how many more there are."""
    yield from list(texts.items())[:NAMED_PARTITIONS_MAX]
    if (more := len(texts) - NAMED_PARTITIONS_MAX) > 0:
        yield "…", f"and {more} more"


def lines(texts: Mapping[str, str]) -> str:
    """The same as text, one line a partition, each cut to a readable length."""
    return "\n".join(f"{key}: {shorten(text, LINE_LENGTH_MAX, placeholder=' …')}" for key, text in named(texts))


def _remedy(error: Exception) -> str:
    """The first paragraph of an error class's docstring, which by convention says what the reader does next."""
    first = (inspect.getdoc(type(error)) or "").partition("\n\n")[0] if isinstance(error, RowledgerError) else ""
    return " ".join(first.split())  # in one line, since log readers and the UI wrap it


def _verdict(report: PartitionReport, name: CheckName) -> Check | None:
    """The verdict of this check on a partition; None where the load ended before the check."""
    for check in report.checks:
        if check.name is name:
            return check
    match report.error:
        case None:  # a load that passed without a verdict would be green for no reason
            return Check(name, passed=False, summary="no verdict was given")
        case DeadLetterBudgetSpent() if name is CheckName.DEAD_LETTER_BUDGET:
            return Check(
                name, passed=False, summary=_without_place(str(report.error), report.table, report.partition_key)
            )
        case DiscrepancyFound() if name is CheckName.ROW_BALANCE and all(check.passed for check in report.checks):
            return Check(
                name, passed=False, summary=_without_place(str(report.error), report.table, report.partition_key)
            )
        case _:
            return None


def _is_unjudged(report: PartitionReport) -> bool:
    """Whether a partition was not published for another reason than a failed check."""
    verdicts = [_verdict(report, name) for name in CheckName]
    return not report.published and all(check is None or check.passed for check in verdicts)


def _balance(reports: Sequence[PartitionReport]) -> Metadata:
    deaths = [death for report in reports for death in report.deaths]
    others = [incident for report in reports for incident in report.incidents if not incident.kind.is_death]
    discarded = sum(report.discarded_values for report in reports)
    return {
        **_counts(sum((report.counts for report in reports), RowCounts())),
        **({DISCARDED_VALUES: discarded} if discarded else {}),
        CRASHED_WORKERS: len(deaths),
        CRASHED_PIDS: dg.MetadataValue.json([_incident(death) for death in deaths]),
        GUARD_INCIDENTS: len(others),
        **({GUARDS: dg.MetadataValue.json([_incident(other) for other in others])} if others else {}),
    }


def _counts(counts: RowCounts) -> dict[str, int]:
    """The counts under their metadata keys. Those of transforms only where they are not 0, since most tables have none."""
    optional = {FILTERED_ROWS: counts.filtered_rows, ADDED_ROWS: counts.added_rows}
    return {
        ENQUEUED_ROWS: counts.enqueued_rows,
        WRITTEN_ROWS: counts.written_rows,
        DEAD_LETTERED_ROWS: counts.dead_lettered_rows,
        **{name: rows for name, rows in optional.items() if rows},
    }


def _incident(incident: Incident) -> dict[str, int | str | None]:
    return {
        "pid": incident.pid,
        "exit_code": incident.exit_code,
        "cause": incident.kind.value,
        "partition": incident.partition_key,
        "chunk": incident.chunk_no,
        "attempt": incident.attempt,
        "summary": incident.summary,
    }
