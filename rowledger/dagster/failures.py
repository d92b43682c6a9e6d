"""How a step fails: the failure says what happened, where and what to do, and the run's log ends with it."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import dagster as dg

from rowledger.dagster.metadata import (
    FAILED_PARTITIONS,
    NAMED_COMMANDS_MAX,
    PARTITIONS,
    lines,
    named,
    refused_metadata,
    unpublished_metadata,
)
from rowledger.dagster.table import DagsterTable
from rowledger.errors import DatabaseUnavailable, DeadLetterBudgetSpent, PartitionBusy, RowledgerError
from rowledger.ledger import PartitionReport

__all__ = ["describe_error", "errors_as_failures", "fail", "fail_with", "load_failure", "without_place"]

RETRYABLE = (DatabaseUnavailable, PartitionBusy)  # the step may be run again without an operator's help


def fail_with(failure: dg.Failure) -> NoReturn:
    """Raise the failure. Dagster prints an error's cause below its traceback, so the log ends with the text of this one."""
    raise failure from RowledgerError(failure.description)


def fail(text: str, *, metadata: Mapping[str, Any] | None = None) -> NoReturn:
    """Raise dg.Failure with this text, for what a retry would find again."""
    fail_with(dg.Failure(text, metadata=metadata, allow_retries=False))


@contextmanager
def errors_as_failures(subject: str) -> Iterator[None]:
    """Raise a Rowledger error as `dg.Failure` with what happened to the subject and the remedy, which end the run's log.

    ::

        with errors_as_failures("flights_landing"):
            keys = partition_keys(context, days)
    """
    try:
        yield
    except RowledgerError as error:
        text = f"{subject}: {describe_error(error)}"
        if remedy := _remedy(error):
            text = f"{text}\nWhat to do: {remedy}"
        fail_with(dg.Failure(text, allow_retries=isinstance(error, RETRYABLE)))


def load_failure(table: DagsterTable, reports: Sequence[PartitionReport]) -> dg.Failure:
    """The failure that names each unpublished partition, its cause, and what to do.

    Retried only if that can fix all of them.
    """
    errors = {report.partition_key: report.error for report in reports if report.error is not None}
    failed = [report for report in reports if report.error is not None]
    texts = {key: describe_error(error, table=table.spec.name, partition_key=key) for key, error in errors.items()}
    commands = [
        error.command for error in errors.values() if isinstance(error, DeadLetterBudgetSpent) and error.command
    ]
    for command in commands:  # it has a line of its own below
        texts = {key: text.removesuffix(f" See them: {command}") for key, text in texts.items()}
    if len(reports) > 1:
        told = f"{table.spec.name}: {len(failed)} of {len(reports)} partitions not published\n{lines(texts)}"
    else:
        ((key, text),) = texts.items()
        told = f"{table.spec.name}:{'' if table.is_whole else f' partition {key}'} not published: {text}"
    remedies = dict.fromkeys(_remedy(error) for error in errors.values())
    return dg.Failure(
        "\n".join([told, *(f"What to do: {remedy}" for remedy in remedies if remedy), *commands[:NAMED_COMMANDS_MAX]]),
        metadata={
            PARTITIONS: len(reports),
            FAILED_PARTITIONS: len(failed),
            **unpublished_metadata(failed),
            "errors": dg.MetadataValue.json(dict(named(texts))),
            **refused_metadata(failed),
        },
        allow_retries=all(isinstance(error, RETRYABLE) for error in errors.values()),
    )


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


def _remedy(error: Exception) -> str:
    """The first paragraph of an error class's docstring, which by convention says what the reader does next."""
    first = (inspect.getdoc(type(error)) or "").partition("\n\n")[0] if isinstance(error, RowledgerError) else ""
    return " ".join(first.split())  # in one line, since log readers and the UI wrap it
