"""Keep the server's text out of its errors, and name the statement instead: its verb and its table, without any literal.

The text may quote a row whatever the SQLSTATE is, and an exception is printed in more places than can be controlled:
tracebacks, chains of causes, event loops, logs of other libraries.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import asyncpg

__all__ = ["NamingConnection", "hush", "place_of", "said_by_server", "statement_of"]

_NAMED_MAX = 3  # of the statements of a script

_LITERALS = re.compile(r"--[^\n]*|'(?:[^']|'')*'", re.DOTALL)
_STATEMENT_ENDS = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')  # outside quoted names
_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[A-Za-z_][\w$]*)'
_NAME = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})?"
_VERBS = (
    r"insert into|delete from|(?<!for )(?<!do )update|copy|lock table|truncate|"
    r"(?:create|alter|drop)(?: or replace)?(?: temporary| unlogged| unique)*(?: table| schema| index| type)"
)
_WRITE = re.compile(rf"\b(?P<verb>{_VERBS})(?: if(?: not)? exists)?(?: only)?\s+(?P<name>{_NAME})", re.IGNORECASE)
_READ = re.compile(rf"\bfrom\s+(?:only\s+)?(?P<name>{_NAME})", re.IGNORECASE)
_FIRST_WORD = re.compile(r"[A-Za-z]+")


class NamingConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection whose errors record their statement, for `statement_of`."""

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - asyncpg's signature
        with _naming(query):
            return await super().execute(query, *args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        with _naming(query):
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        with _naming(query):
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        with _naming(query):
            return await super().fetchval(query, *args, **options)

    async def copy_to_table(self, table_name: str, **options: Any) -> Any:  # noqa: ANN401
        schema_name = options.get("schema_name")
        with _naming(f'copy "{schema_name}"."{table_name}"' if schema_name else f'copy "{table_name}"'):
            return await super().copy_to_table(table_name, **options)


@contextlib.contextmanager
def _naming(statement: str) -> Iterator[None]:
    try:
        yield
    except asyncpg.PostgresError as error:
        error.rowledger_statement = name_statement(statement)
        hush(error)
        raise


def hush(error: asyncpg.PostgresError) -> asyncpg.PostgresError:
    """Replace the error's text by its SQLSTATE, and keep the text for `said_by_server`."""
    if not hasattr(error, "rowledger_said"):
        error.rowledger_said = {
            "message": error.args[0] if error.args else "",
            "detail": error.detail,
            "hint": error.hint,
        }
        error.args = (f"SQLSTATE {error.sqlstate}",)
        error.detail = error.hint = None
    return error


def said_by_server(error: asyncpg.PostgresError) -> dict[str, str | None]:
    """The server's message, detail and hint: for a dead letter or to recognize a pooler, never for a log."""
    said: dict[str, str | None] = getattr(error, "rowledger_said", {})
    return said or {"message": error.args[0] if error.args else "", "detail": error.detail, "hint": error.hint}


def statement_of(error: BaseException) -> str | None:
    """The statement that raised the error, where it ran on a `NamingConnection`."""
    found: str | None = getattr(error, "rowledger_statement", None)
    return found


def place_of(error: asyncpg.PostgresError, row_no: int) -> None:
    """Add to the error's statement the row of the partition that it was at."""
    error.rowledger_statement = f"{statement_of(error) or 'a statement'} at row {row_no} of the partition"


def name_statement(sql: str) -> str:
    """The verb and table of a statement, such as `insert into "public"."flights"`; for a script, of its first statements."""
    statements = [text.strip() for text in _STATEMENT_ENDS.split(_LITERALS.sub(" ", sql))]
    names = list(dict.fromkeys(_name(text) for text in statements if text))
    more = ["…"] if len(names) > _NAMED_MAX else []
    return "; ".join(names[:_NAMED_MAX] + more)


def _name(statement: str) -> str:
    if written := _WRITE.search(statement):
        return f"{' '.join(written['verb'].lower().split())} {written['name']}"
    if read := _READ.search(statement):
        return f"select from {read['name']}"
    word = _FIRST_WORD.search(statement)
    return word[0].lower() if word else "a statement"
