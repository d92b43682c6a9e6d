"""What Dagster shows of a load: metadata keys, and PartitionReports as metadata.

Figures are plain ints and floats, because the UI plots nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from textwrap import shorten
from typing import Any

import dagster as dg

from rowledger.dagster.table import DagsterTable
from rowledger.ledger import Incident, PartitionReport, RowCounts
from rowledger.load import dead_letters_command
from rowledger.postgres import servers_named

__all__ = [
    "CRASHED_WORKERS",
    "FAILED_PARTITIONS",
    "NAMED_COMMANDS_MAX",
    "PARTITIONS",
    "REFUSED_BY_REASON",
    "SECONDS",
    "WRITTEN_ROWS",
    "Metadata",
    "Record",
    "balance_metadata",
    "counts_metadata",
    "lines",
    "load_metadata",
    "named",
    "refused_metadata",
    "table_value",
    "unpublished_metadata",
    "verdict_metadata",
]

WRITTEN_ROWS = "written_rows"
CRASHED_WORKERS = "crashed_workers"
SECONDS = "seconds"
PARTITIONS = "partitions"
FAILED_PARTITIONS = "failed_partitions"
REFUSED_BY_REASON = "refused_by_reason"

LINE_LENGTH_MAX = 800  # long enough for a whole command at the end of a message
NAMED_COMMANDS_MAX = 3
RECORDS_MAX = 100  # of a table in metadata
NAMED_PARTITIONS_MAX = 20  # keeps a message about 365 bad days readable
_MIB = 2**20

Metadata = dict[str, Any]
Record = dict[str, str | int | float | bool]


def load_metadata(table: DagsterTable, report: PartitionReport) -> Metadata:
    """Metadata of one published partition, for its materialization."""
    metadata: Metadata = {
        **balance_metadata([report]),
        "retries": report.retries,
        "chunks": report.chunks,
        "rows_per_second": round(report.rows_per_second, 1),
        SECONDS: round(report.seconds, 3),
        "peak_rss_mib": round(report.peak_rss_bytes / _MIB, 1),
        "resumed": report.resumed,
        **counts_metadata(report.counts, whole=table.is_whole),
        **refused_metadata([report]),
        **({"server": str(servers_named([report.server])[0])} if report.server else {}),
    }
    # As text, because the UI would plot a number.
    return metadata if report.load_id is None else {**metadata, "load_id": str(report.load_id)}


def counts_metadata(counts: RowCounts, *, whole: bool) -> Metadata:
    """The published counts of a partition, under the same keys for loads and replays."""
    return {
        **_counts(counts),
        "dagster/row_count" if whole else "dagster/partition_row_count": counts.written_rows,
    }


def named(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The first few partitions with their texts, and how many more there are."""
    yield from list(texts.items())[:NAMED_PARTITIONS_MAX]
    if (more := len(texts) - NAMED_PARTITIONS_MAX) > 0:
        yield "…", f"and {more} more"


def lines(texts: Mapping[str, str]) -> str:
    """The same as text, one line a partition, each cut to a readable length."""
    return "\n".join(f"{key}: {shorten(text, LINE_LENGTH_MAX, placeholder=' …')}" for key, text in named(texts))


def verdict_metadata(partitions: int, failed: Mapping[str, str]) -> Metadata:
    """How many partitions a check has looked at, and those that failed it."""
    metadata: Metadata = {PARTITIONS: partitions, FAILED_PARTITIONS: len(failed)}
    if failed:
        metadata["discrepancies"] = dg.MetadataValue.json(dict(named(failed)))
    return metadata


def balance_metadata(reports: Sequence[PartitionReport]) -> Metadata:
    """What became of the rows of these partitions, and of the workers."""
    return {**_counts(_sum(reports)), **_guards_metadata(reports)}


def unpublished_metadata(reports: Sequence[PartitionReport]) -> Metadata:
    """The same of partitions that were not published, named so that no reader takes their rows for rows in the table."""
    counts = _counts(_sum(reports))
    counts["staged_rows"] = counts.pop(WRITTEN_ROWS)
    return {**{f"unpublished_{name}": rows for name, rows in counts.items()}, **_guards_metadata(reports)}


def _sum(reports: Sequence[PartitionReport]) -> RowCounts:
    return sum((report.counts for report in reports), RowCounts())


def _guards_metadata(reports: Sequence[PartitionReport]) -> Metadata:
    deaths = [death for report in reports for death in report.deaths]
    others = [incident for report in reports for incident in report.incidents if not incident.kind.is_death]
    discarded = sum(report.discarded_values for report in reports)
    return {
        **({"discarded_values": discarded} if discarded else {}),
        CRASHED_WORKERS: len(deaths),
        **({"crashes": table_value([_crash(death) for death in deaths[:RECORDS_MAX]])} if deaths else {}),
        "crashed_pids": dg.MetadataValue.json([_incident(death) for death in deaths]),
        "guard_incidents": len(others),
        **({"guards": dg.MetadataValue.json([_incident(other) for other in others])} if others else {}),
    }


def refused_metadata(reports: Sequence[PartitionReport]) -> Metadata:
    """Why rows were refused, as a table, and the command that lists them. Reasons contain no row values."""
    refused = [(report, cause) for report in reports for cause in report.refusals]
    commands = [
        dead_letters_command(report.table, report.partition_key) for report in reports if report.dead_lettered_rows
    ]
    found: Metadata = {"dead_letters_command": "\n".join(commands[:NAMED_COMMANDS_MAX])} if commands else {}
    if not refused:
        return found
    records: list[Record] = [
        {
            "partition": report.partition_key,
            "reason": cause.reason,
            "column": cause.column or "",
            "stage": cause.stage,
            "rows": cause.rows,
            "first_rows": cause.told_rows,
        }
        for report, cause in refused[:RECORDS_MAX]
    ]
    return {**found, REFUSED_BY_REASON: table_value(records)}


def table_value(records: Sequence[Record]) -> dg.TableMetadataValue:
    """The records as a table; there must be one at least."""
    return dg.MetadataValue.table([dg.TableRecord(record) for record in records])


def _counts(counts: RowCounts) -> dict[str, int]:
    """The counts under their metadata keys. Those of transforms only where they are not 0, since most tables have none."""
    return {name: rows for name, rows in asdict(counts).items() if rows or name not in {"filtered_rows", "added_rows"}}


def _crash(death: Incident) -> Record:
    """A worker that died, as a record: Dagster's tables have no null."""
    return {name: "" if value is None else value for name, value in _incident(death).items()}


def _incident(incident: Incident) -> dict[str, int | str | None]:
    return {
        "host": incident.host,
        "pid": incident.pid,
        "exit_code": incident.exit_code,
        "cause": incident.kind.value,
        "partition": incident.partition_key,
        "chunk": incident.chunk_no,
        "attempt": incident.attempt,
        "summary": incident.summary,
    }
