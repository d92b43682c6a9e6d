"""What Dagster shows of a load: metadata keys, and PartitionReports as metadata, check results and failures.

Figures are plain ints and floats, because the UI plots nothing else.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from textwrap import shorten
from typing import Any

import dagster as dg

from rowledger.contract import Contract
from rowledger.dagster.table import DagsterTable
from rowledger.errors import (
    DatabaseUnavailable,
    PartitionBusy,
    RowledgerError,
)
from rowledger.ledger import Incident, PartitionReport, RowCounts
from rowledger.spec import TableSpec

__all__ = [
    "CRASHED_WORKERS",
    "REFUSED_BY_REASON",
    "SECONDS",
    "WRITTEN_ROWS",
    "Metadata",
    "balance_metadata",
    "counts_metadata",
    "describe_error",
    "failure_of",
    "last_words",
    "lines",
    "load_failure",
    "load_metadata",
    "table_metadata",
    "verdict_metadata",
    "without_place",
]

WRITTEN_ROWS = "written_rows"
CRASHED_WORKERS = "crashed_workers"
SECONDS = "seconds"
PARTITIONS = "partitions"
FAILED_PARTITIONS = "failed_partitions"
REFUSED_BY_REASON = "refused_by_reason"

LINE_LENGTH_MAX = 800  # long enough for a whole command at the end of a message
NAMED_PARTITIONS_MAX = 20  # keeps a message about 365 bad days readable
RETRYABLE = (DatabaseUnavailable, PartitionBusy)  # the step may be run again without an operator's help

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
        "dagster/table_name": str(spec.target),
        "dagster/column_schema": dg.TableSchema(columns),
    }


def load_metadata(table: DagsterTable, report: PartitionReport) -> Metadata:
    """Metadata of one published partition, for its materialization."""
    metadata: Metadata = {
        **balance_metadata([report]),
        "retries": report.retries,
        "chunks": report.chunks,
        "rows_per_second": round(report.rows_per_second, 1),
        SECONDS: round(report.seconds, 3),
        "peak_rss_bytes": report.peak_rss_bytes,
        "resumed": report.resumed,
        **counts_metadata(table.spec, report.counts, whole=table.is_whole),
    }
    return metadata if report.load_id is None else {**metadata, "load_id": report.load_id}


def counts_metadata(spec: TableSpec, counts: RowCounts, *, whole: bool) -> Metadata:
    """The published counts of a partition, under the same keys for loads and replays."""
    return {
        **_counts(counts),
        "dagster/table_name": str(spec.target),
        "dagster/row_count" if whole else "dagster/partition_row_count": counts.written_rows,
    }


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
            **balance_metadata(failed),
            "errors": dg.MetadataValue.json(dict(_named(texts))),
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


def last_words(failure: dg.Failure) -> RowledgerError:
    """The failure's text once more, as the cause to raise it from: Dagster prints that after the traceback, so at the end."""
    return RowledgerError(failure.description)


def describe_error(error: Exception, *, table: str = "", partition_key: str = "") -> str:
    """The message of a Rowledger error; for any other error its type alone, because its text may quote a row.

    Table and partition are left out where the reader sees them next to the message.
    """
    if isinstance(error, RowledgerError):
        return f"{type(error).__name__}: {without_place(str(error), table, partition_key)}"
    sqlstate = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}{f' ({sqlstate})' if sqlstate else ''}; see the run's log"


def without_place(text: str, table: str, partition_key: str) -> str:
    """The message without the table and the partition that it begins with."""
    place = f"table {table}, partition {partition_key}"
    return text[len(place) + 2 :] if partition_key and text.startswith((f"{place}: ", f"{place}, ")) else text


def _named(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The first few partitions with their texts, and how many more there are."""
    yield from list(texts.items())[:NAMED_PARTITIONS_MAX]
    if (more := len(texts) - NAMED_PARTITIONS_MAX) > 0:
        yield "…", f"and {more} more"


def lines(texts: Mapping[str, str]) -> str:
    """The same as text, one line a partition, each cut to a readable length."""
    return "\n".join(f"{key}: {shorten(text, LINE_LENGTH_MAX, placeholder=' …')}" for key, text in _named(texts))


def _remedy(error: Exception) -> str:
    """The first paragraph of an error class's docstring, which by convention says what the reader does next."""
    first = (inspect.getdoc(type(error)) or "").partition("\n\n")[0] if isinstance(error, RowledgerError) else ""
    return " ".join(first.split())  # in one line, since log readers and the UI wrap it


def verdict_metadata(partitions: int, failed: Mapping[str, str]) -> Metadata:
    """How many partitions a check has looked at, and those that failed it."""
    metadata: Metadata = {PARTITIONS: partitions, FAILED_PARTITIONS: len(failed)}
    if failed:
        metadata["discrepancies"] = dg.MetadataValue.json(dict(_named(failed)))
    return metadata


def balance_metadata(reports: Sequence[PartitionReport]) -> Metadata:
    """What became of the rows of these partitions, and of the workers."""
    deaths = [death for report in reports for death in report.deaths]
    others = [incident for report in reports for incident in report.incidents if not incident.kind.is_death]
    discarded = sum(report.discarded_values for report in reports)
    return {
        **_counts(sum((report.counts for report in reports), RowCounts())),
        **({"discarded_values": discarded} if discarded else {}),
        CRASHED_WORKERS: len(deaths),
        "crashed_pids": dg.MetadataValue.json([_incident(death) for death in deaths]),
        "guard_incidents": len(others),
        **({"guards": dg.MetadataValue.json([_incident(other) for other in others])} if others else {}),
    }


def _counts(counts: RowCounts) -> dict[str, int]:
    """The counts under their metadata keys. Those of transforms only where they are not 0, since most tables have none."""
    return {name: rows for name, rows in asdict(counts).items() if rows or name not in {"filtered_rows", "added_rows"}}


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
