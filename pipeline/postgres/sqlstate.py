"""The one place where an error of the server or of its connection is sorted: retry, isolate the row, or stop.

Classes and codes: PostgreSQL manual, appendix A. Messages of classes 22 and 23 quote row values, so `summarize` never
passes them on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

__all__ = ["CopyLocation", "Verdict", "copy_location", "is_connection_loss", "sort_error", "sqlstate_of", "summarize"]


class Verdict(StrEnum):
    """What to do about an error."""

    RETRY = "retry"  # the same transaction may succeed later
    ISOLATE = "isolate"  # one row is at fault; its neighbours are not
    STOP = "stop"  # trying again cannot help


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

# What some input functions say of the text of a value (tsvector, jsonpath, hstore; regclass; PostGIS), and what a domain's
# check may raise. Outside a value, the same codes mean that a statement is wrong.
_CODES_OF_A_VALUE = frozenset({"42601", "42602", "42704", "42883", "42P01", "P0001", "XX000"})

# The classes that PostgreSQL has. A code of any other is the invention of a trigger or of a function in a CHECK, as are those
# of PL/pgSQL: raise_exception, assert_failure, and a query that finds no row or too many.
_CLASSES = (
    "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 "
    "F0 HV XX"
)

# Classes whose messages hold no row values: they speak of connections, rights, objects, resources, transactions.
_VALUELESS_CLASSES = ("08", "25", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58")

# What the server runs short of, and what its operator does about it.
_REMEDIES = {
    "53100": "make room on the server's disk",
    "53200": "give the server more memory, or its sessions less work_mem",
    "53300": "end idle sessions, or raise the limit of connections (server, database or role)",
}

# `COPY staging_7, line 778, column v`, in the server's language: only COPY, the commas and the digits are fixed.
_COPY_CONTEXT = re.compile(r"\bCOPY\b[^,\n]*,\D*(?P<line>\d+)(?:,\s*\S+\s(?P<column>.+))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CopyLocation:
    """Where a COPY failed: `line` is the row within the COPY, counted from 1."""

    line: int | None
    column: str | None


def sqlstate_of(error: BaseException) -> str | None:
    """The five-character SQLSTATE, where the server sent one."""
    return error.sqlstate if isinstance(error, asyncpg.PostgresError) else None


def sort_error(error: BaseException, *, writes_rows: bool = False) -> Verdict:
    """Retry, isolate or stop. Where the statement `writes_rows`, what somebody has RAISEd is about one of them.

    A lost connection surfaces under many names, masked ones too (asyncpg: InterfaceError from the transaction's exit,
    AttributeError on a closed transport), so callers that know the connection is gone treat any error as RETRY.
    """
    code = sqlstate_of(error)
    if code is None:
        return Verdict.RETRY if _is_client_side_loss(error) else Verdict.STOP
    if code in _RETRY_CODES or code.startswith("08"):
        return Verdict.RETRY
    is_raised = writes_rows and code[:2] not in _CLASSES
    return (
        Verdict.ISOLATE if is_raised or code.startswith(_ISOLATE_CLASSES) or _is_about_a_value(error) else Verdict.STOP
    )


def _is_about_a_value(error: BaseException) -> bool:
    """Whether COPY was reading the value of a column, and did not like it."""
    return (
        isinstance(error, asyncpg.PostgresError)
        and error.sqlstate in _CODES_OF_A_VALUE
        and copy_location(error).column is not None
    )


def is_connection_loss(error: BaseException) -> bool:
    """Whether the server, and not just this statement, is out of reach."""
    code = sqlstate_of(error)
    if code is None:
        return _is_client_side_loss(error)
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
    """The row and column a COPY failed at, from the error's context.

    Behind the column's name may stand a colon and the value: only `columns` tell the name apart that holds a colon itself.
    """
    match = _COPY_CONTEXT.search(getattr(error, "context", None) or "")
    if match is None:
        return CopyLocation(None, None)
    rest = match["column"]
    if rest is None:
        return CopyLocation(int(match["line"]), None)
    named = [name for name in columns if rest == name or rest.startswith((f"{name}: ", f"{name}\n"))]
    return CopyLocation(int(match["line"]), max(named, key=len, default=re.split(r"[\n:]", rest, maxsplit=1)[0]))


def summarize(error: BaseException) -> str:
    """One line that names the error, and the remedy where the server runs short; it holds no row value or secret."""
    if isinstance(error, asyncpg.PostgresError):
        parts = [f"{_condition(error)} (SQLSTATE {error.sqlstate})"]
        # The table would be a staging table, which says nothing to a reader.
        labels = ("column_name", "constraint_name")
        parts += [
            f"{label.removesuffix('_name')} {getattr(error, label)}" for label in labels if getattr(error, label, None)
        ]
        if (error.sqlstate or "").startswith(_VALUELESS_CLASSES) and not _is_about_a_value(error):
            parts.append(str(error).splitlines()[0])
        if remedy := _REMEDIES.get(error.sqlstate or ""):
            parts.append(remedy)
        return ", ".join(parts)
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _condition(error: asyncpg.PostgresError) -> str:
    """The condition's name as appendix A has it, in words: `UniqueViolationError` is `unique violation`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__.removesuffix("Error")).lower()
