"""What may be told of an error that a database has raised: nothing of a row, and no secret."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator

import asyncpg

from rowledger.errors import SourceError

__all__ = ["SYNTAX_CLASS", "QueryRefused", "without_values"]

_SPEAKABLE = re.compile(  # parts of messages that contain neither a row's values nor a secret
    r"Connection refused|authentication failed|timeout expired|could not translate host name|no pg_hba\.conf entry|"
    r"(?:database|role) \"[^\"]*\" does not exist|too many clients|division by zero|"
    r"cannot execute [A-Z ]+ in a read-only transaction|(?:canceling|terminating) [a-z]+ due to [a-z -]+|"
    r"has no equivalent in encoding \"\w+\"|invalid byte sequence for encoding \"\w+\"|unsupported XML feature"
)
_TIMEOUT = re.compile(r"due to (statement|lock|transaction|idle-in-transaction|idle-session) timeout")
_ROW_SECURITY = "row-level security"
SYNTAX_CLASS = "42"
"""SQLSTATEs of syntax, names and privileges: raised before a row is read, so the message quotes none."""


class QueryRefused(Exception):
    """The database refused a query or a connection; the message has no value and no secret."""


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Raise an error of the driver as QueryRefused, with the parts of its text that contain no row value and no secret."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001 - each driver, and pyarrow, raises its own
        told = _told(error)
    else:
        return
    raise QueryRefused(told)


def _told(error: Exception) -> str:
    text = f"ERROR: {error}" if isinstance(error, asyncpg.PostgresError) else str(error)
    if isinstance(error, sqlite3.Error):
        # These name a missing table, column or file, or a syntax error; others may quote values.
        return text if text.startswith(("no such ", "unable to open ", "near ")) else type(error).__name__
    sqlstate = getattr(error, "sqlstate", None) or ""
    if sqlstate.startswith(SYNTAX_CLASS) and (message := re.search(r"ERROR:\s*(.+)", text)):
        hint = "; row_security=True reads the rows that the policies show" if _ROW_SECURITY in message[1] else ""
        return f"{message[1]} (SQLSTATE {sqlstate}){hint}"
    if _TIMEOUT.search(text):
        return f"{_SPEAKABLE.search(text)[0]}, a setting of the server, the database or the role"  # type: ignore[index]
    if cause := _SPEAKABLE.search(text):
        return cause[0]
    return f"{type(error).__name__}, SQLSTATE {sqlstate}" if sqlstate else type(error).__name__
