"""Name the statement that an error of the server belongs to: its verb and its table, without any literal.

The server's own words do not go into logs, so these say what was being done.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import asyncpg

__all__ = ["NamingConnection", "name_statement", "statement_of"]

_NAMED_MAX = 3  # of the statements of a script

_LITERALS = re.compile(r"--[^\n]*|'(?:[^']|'')*'", re.DOTALL)
_STATEMENT_ENDS = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')  # outside of quoted names
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
    """A connection whose errors know their statement: `statement_of` tells it."""

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
        raise


def statement_of(error: BaseException) -> str | None:
    """The statement that met the error, where it was one of a `NamingConnection`."""
    found: str | None = getattr(error, "rowledger_statement", None)
    return found


def name_statement(sql: str) -> str:
    """`insert into "public"."flights"` for such a statement, however long; of a script its first statements."""
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
