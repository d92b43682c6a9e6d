"""The one place that classifies errors of the server and of its connection: retry, isolate the row, or stop.

Classes and codes: PostgreSQL manual, appendix A. The server's messages may quote row values in any class, since functions of
the database raise any text, so nothing here passes the messages on to a log.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from rowledger.errors import RowledgerError
from rowledger.postgres.statements import said_by_server, statement_of

__all__ = [
    "ROWS_TO_BLAME",
    "ErrorAction",
    "copy_location",
    "explain_refusal",
    "identifiers",
    "is_about_rows_for_sure",
    "is_connection_loss",
    "is_of_its_row",
    "is_raised",
    "may_be_about_rows",
    "server_text",
    "sort_error",
    "sqlstate_of",
    "summarize",
]

ROWS_TO_BLAME = 16
"""When this many rows were refused and none accepted, an error that is not `is_of_its_row` is taken to affect every row."""

_SERVER_TEXT_CHARS_MAX = 8_000
# Exceptions whose text comes from the system or from asyncpg. asyncpg's errors that are a ValueError quote an argument.
_SPEAKING = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class ErrorAction(StrEnum):
    """What to do about an error."""

    RETRY = "retry"  # the same transaction may succeed later
    ISOLATE = "isolate"  # one row is at fault, the others are not
    STOP = "stop"  # a retry cannot help


_RETRY_CODES = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available
        "53300",  # too_many_connections
        "57014",  # query_canceled: statement_timeout, or an operator's pg_cancel_backend
        "57P01",  # admin_shutdown, pg_terminate_backend
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "25P03",  # idle_in_transaction_session_timeout
    }
)
_CONNECTION_LOSS_CODES = frozenset({"57P01", "57P02", "57P03", "53300"})
_ISOLATE_CLASSES = ("22", "23")

# Classes that no row can cause: connections, transactions, authorization, resources, operators, the system, damaged storage.
# While rows are written, a row can cause any other: too large for a page or an index (54), a value that an input function
# refuses (42, XX), an error that a function in a CHECK raises (any).
_CLASSES_OF_NO_ROW = ("08", "25", "28", "2D", "3D", "40", "53", "57", "58", "72", "F0")
_CODES_OF_NO_ROW = frozenset({"55P03", "XX001", "XX002"})
_TOO_LARGE = "54000"  # for a page, an index, a jsonb document

# The source files of procedural languages: an error that comes from one has any SQLSTATE that the function's author chose, and
# its names of columns and constraints may be values.
_LANGUAGES = frozenset({"pl_exec.c", "plpy_elog.c", "plpy_plpymodule.c", "plpy_spi.c", "plperl.c", "pltcl.c"})

# Source files of the server in which the names of columns and constraints come from the catalogue.
_NAMING_FILES = frozenset(
    {
        "domains.c",
        "execExprInterp.c",
        "execIndexing.c",
        "execMain.c",
        "execPartition.c",
        "nbtinsert.c",
        "ri_triggers.c",
        "tablecmds.c",
        "tuplesort.c",
        "tuplesortvariants.c",
    }
)

_DDL = ("create ", "alter ", "drop ")  # as `statement_of` names it

# What the operator can do. Never the server's own words, which may quote a row whatever the SQLSTATE is.
_REMEDIES = {
    "08P01": "if a connection pooler is between, it does not pass on what the URL sets at the start of a session",
    "25006": "the server is read-only: a standby, or default_transaction_read_only",
    "25P04": "reset transaction_timeout of the server, the database or the role",
    "28000": "the server does not let this role in: see pg_hba.conf, and whether the role exists and may log in",
    "28P01": "check user and password",
    "3D000": "there is no such database: create it, or name another",
    "3F000": "a schema is missing: create it, or name another",
    "42501": "grant it to the role of the database URL",
    "53100": "make room on the server's disk",
    "53200": "raise max_locks_per_transaction where one statement reads many partitions; otherwise give the server more "
    "memory, or its sessions less work_mem",
    "54011": "a table holds 1,600 columns, those that were dropped included, and a replay needs one more than its target has",
    "55P03": "another session holds a lock: see pg_locks, and sessions idle in transaction in pg_stat_activity",
    "57014": "the statement took longer than it may, or an operator cancelled it",
    "53300": "end idle sessions, or raise the limit of connections (server, database or role)",
}

# The context of a failed COPY in the languages of PostgreSQL's messages: `COPY staging_7, line 778, column v`,
# `staging_7のCOPY、行 778、列 v`, or `staging_7 복사, 778번째 줄, v 열`.
_COPY_CONTEXT = re.compile(
    r"^(?:COPY [^,\n]*,|[^,、\n]+のCOPY、|[^,\n]+ 복사,)[^\d\n]*(?P<line>\d+)(?P<rest>.*)", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class CopyLocation:
    """Where a COPY failed: `line` is the row within the COPY, counted from 1."""

    line: int | None
    column: str | None


def sqlstate_of(error: BaseException) -> str | None:
    """The five-character SQLSTATE, where the server sent one."""
    return error.sqlstate if isinstance(error, asyncpg.PostgresError) else None


def sort_error(error: BaseException, *, writes_rows: bool = False) -> ErrorAction:
    """Retry, isolate or stop. Where the statement `writes_rows`, ISOLATE means that one of the rows may be the cause.

    The caller finds out by running the same statement without rows: if it fails too, the statement is at fault. A lost
    connection appears as many errors, some of them masked (asyncpg: InterfaceError from the transaction's exit, AttributeError
    on a closed transport), so callers that know that the connection is gone treat any error as RETRY.
    """
    code = sqlstate_of(error)
    if code is None:
        return ErrorAction.RETRY if _is_client_side_loss(error) else ErrorAction.STOP
    if code.startswith(_ISOLATE_CLASSES):
        return ErrorAction.ISOLATE
    if is_raised(error) and (writes_rows or code not in _RETRY_CODES):
        return ErrorAction.ISOLATE if writes_rows else ErrorAction.STOP
    if code in _RETRY_CODES or code.startswith("08"):
        return ErrorAction.RETRY
    if writes_rows and not code.startswith(_CLASSES_OF_NO_ROW) and code not in _CODES_OF_NO_ROW:
        return ErrorAction.ISOLATE
    return ErrorAction.STOP


def is_raised(error: BaseException) -> bool:
    """Whether a function of the database has raised the error; its SQLSTATE is then the choice of the function's author."""
    return isinstance(error, asyncpg.PostgresError) and error.server_source_filename in _LANGUAGES


def is_about_rows_for_sure(error: asyncpg.PostgresError) -> bool:
    """Whether only a row can cause the error, by a value or a violated constraint."""
    return (error.sqlstate or "").startswith(_ISOLATE_CLASSES)


def may_be_about_rows(error: BaseException) -> bool:
    """Whether single rows may have caused the error of a statement that writes them."""
    return sort_error(error, writes_rows=True) is ErrorAction.ISOLATE


def is_of_its_row(error: asyncpg.PostgresError) -> bool:
    """Whether the one row that was written is at fault: a value, a constraint, its size, or an error raised by a function."""
    return is_about_rows_for_sure(error) or is_raised(error) or error.sqlstate == _TOO_LARGE


def is_connection_loss(error: BaseException) -> bool:
    """Whether the server is out of reach, and not only this statement has failed."""
    code = sqlstate_of(error)
    if code is None:
        return _is_client_side_loss(error)
    if is_raised(error):
        return False
    return code in _CONNECTION_LOSS_CODES or code.startswith("08")


def _is_client_side_loss(error: BaseException) -> bool:
    match error:
        case asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return True
        case OSError() | TimeoutError() | EOFError():  # ConnectionError is an OSError
            return True
        case _:
            return False


def copy_location(error: asyncpg.PostgresError, columns: Sequence[str] = ()) -> CopyLocation:
    """The row and column at which a COPY failed, from the error's context. This is a hint: a trigger may write any context.

    The context may quote the value after the column's name, so a column is accepted only if it is one of `columns`.
    """
    matches = list(_COPY_CONTEXT.finditer(getattr(error, "context", None) or ""))
    if not matches:
        return CopyLocation(None, None)
    line, rest = matches[-1]["line"], matches[-1]["rest"]
    named = [
        name
        for name in columns
        if re.match(rf"[^,、]*[,、]\s*(?:[^\s,]+ )?{re.escape(name)}(?: 열)?(?:\s?:|\n|$)", rest, re.DOTALL)
    ]
    return CopyLocation(int(line), max(named, key=len, default=None))


def identifiers(error: asyncpg.PostgresError, columns: Sequence[str] = ()) -> tuple[str | None, str | None]:
    """The column and the constraint that the error names, where the server took them from the catalogue.

    An error that a function has raised may name anything: its column is accepted only if it is one of `columns`.
    """
    column, constraint = error.column_name, error.constraint_name
    if error.server_source_filename in _NAMING_FILES:
        return column, constraint
    return (column if column in columns else None), None


def explain_refusal(error: asyncpg.PostgresError, columns: Sequence[str] = ()) -> str:
    """Why the server refused a row, without its values: condition, SQLSTATE, column, constraint."""
    column, constraint = identifiers(error, columns)
    # The table is left out: it would be a staging table, whose name means nothing to the reader.
    named = [f"column {column}"] if column else []
    named += [f"constraint {constraint}"] if constraint else []
    if is_raised(error) and not (error.sqlstate or "").startswith("P0"):  # the names of class P0 say it already
        named.append("raised by a function of the database")
    if error.server_source_function == "ExecFindPartition":
        named.append("the table has no partition for it")
    return ", ".join([f"{_condition(error)} (SQLSTATE {error.sqlstate})", *named])


def summarize(error: BaseException) -> str:
    """One line with the error, the statement that raised it, and the remedy.

    It contains no text of the server or of other libraries, which may quote row values or secrets.
    """
    if isinstance(error, asyncpg.PostgresError):
        statement = statement_of(error)
        parts = [f"{explain_refusal(error)}{f' in {statement}' if statement else ''}"]
        is_hidden = error.server_source_filename == "rls.c"  # with row_security off, an error instead of missing rows
        if is_hidden:
            parts.append("row security applies to this role on a table: give the role BYPASSRLS")
        elif is_raised(error) and (statement or "").startswith(_DDL):
            parts.append("raised by an event trigger, or by a function of an index or a constraint")
        elif (remedy := _REMEDIES.get(error.sqlstate or "")) and not is_raised(error):
            parts.append(remedy)
        return ", ".join(parts)
    speaks = isinstance(error, _SPEAKING) and not isinstance(error, ValueError)
    text = str(error).splitlines() if speaks or isinstance(error, RowledgerError) else []
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def server_text(error: asyncpg.PostgresError) -> str:
    """The server's whole message, which may quote any value: for the dead letter only."""
    fields = {
        **said_by_server(error),
        "context": error.context,
        "column": error.column_name,
        "constraint": error.constraint_name,
    }
    said = "\n".join(f"{name}: {text}" for name, text in fields.items() if text)
    return said.replace("\0", "")[:_SERVER_TEXT_CHARS_MAX]


def _condition(error: asyncpg.PostgresError) -> str:
    """The name of the condition in appendix A, in words: `unique violation` for `UniqueViolationError`."""
    if type(error).sqlstate is None:  # a code that appendix A does not list
        return "an error of the database's own"
    return re.sub(
        r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", type(error).__name__.removesuffix("Error")
    ).lower()
