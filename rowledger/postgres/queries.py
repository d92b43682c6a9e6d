"""The named queries and migrations of `sql/`, read once, and the one place that quotes identifiers and literals.

The folder is at the top of a checkout, and inside the package in a wheel.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rowledger.errors import TargetMismatch

__all__ = [
    "LEDGER_SCHEMA",
    "Migration",
    "as_texts",
    "migrations",
    "query",
    "quote_identifier",
    "quote_literal",
    "quoted",
    "together",
    "with_numbers",
]

LEDGER_SCHEMA = "rowledger"

_NAME_BYTES_MAX = 63
_NAME_LINE = re.compile(r"^-- name:[ \t]*(?P<name>.*?)[ \t]*$", re.MULTILINE)
_QUERY_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MIGRATION_FILE = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the ledger's schema. Versions count from 1 without gaps."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of its text with Unix line ends, as `sha256sum` prints for the file in a checkout on Linux."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def query(name: str) -> str:
    """The query of that name; raises LookupError with the known names."""
    queries = _queries()
    if name not in queries:
        raise LookupError(f"no query named {name!r} in {_sql_dir() / 'queries'}; known: {', '.join(sorted(queries))}")
    return queries[name]


def as_texts(numbers: Iterable[int]) -> list[str]:
    """Numbers for a parameter of type `text[]`, which the statement casts to an array of numbers.

    Each session that asyncpg sends another kind of array in asks the server what that is, in a query of 5 to 15 ms.
    """
    return [str(number) for number in numbers]


def with_numbers(name: str, *numbers: int) -> str:
    """The query with whole numbers in place of its parameters, for a message of several statements, which has none."""
    return re.sub(r"\$(\d+)", lambda parameter: str(int(numbers[int(parameter[1]) - 1])), query(name)).rstrip(";")


@cache
def together(*names: str) -> str:
    """One statement for several queries of the same parameters: a column of JSON for each, a list of its rows as objects."""
    columns = (
        f"(select coalesce(json_agg(found), '[]') from (\n{query(name).rstrip(';')}\n) as found) as {name}"  # noqa: S608 - our own
        for name in names
    )
    return f"select {', '.join(columns)}"


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations in order."""
    return read_migrations(_sql_dir() / "migrations")


def quote_identifier(name: str) -> str:
    """The name as a quoted SQL identifier.

    Raises TargetMismatch for an empty name, a name with NUL, and one longer than 63 bytes, which the server would truncate.
    """
    if not name or "\0" in name:
        raise TargetMismatch(f"the name {name!r} is empty or contains a NUL character; PostgreSQL has no such name")
    if (length := len(name.encode())) > _NAME_BYTES_MAX:
        raise TargetMismatch(
            f"the name {name!r} has {length} bytes, and PostgreSQL keeps {_NAME_BYTES_MAX}; choose a shorter one (a field may "
            "read its column of the source by an alias)"
        )
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """The text as a string constant, for DDL, which takes no parameters; raises TargetMismatch for a NUL.

    The constant means the same under every session setting: text with a backslash gets the escape form, because
    standard_conforming_strings may be off.
    """
    if "\0" in text:
        raise TargetMismatch(f"the text {text!r} contains a NUL character, which PostgreSQL cannot store")
    quotes_doubled = text.replace("'", "''")
    if "\\" not in text:
        return f"'{quotes_doubled}'"
    return "E'" + quotes_doubled.replace("\\", "\\\\") + "'"


def quoted(schema_name: str, table_name: str) -> str:
    """The qualified name: `"schema"."table"`."""
    return f"{quote_identifier(schema_name)}.{quote_identifier(table_name)}"


def parse_queries(paths: list[Path]) -> dict[str, str]:
    """The named blocks of SQL files: a line `-- name: x`, a line `-- description`, and SQL up to the next name.

    Raises ValueError on an invalid name, a block without description or SQL, SQL before the first name, or a name given twice.
    """
    queries: dict[str, str] = {}
    for path in paths:
        preamble, *blocks = _NAME_LINE.split(path.read_text(encoding="utf-8"))
        if any(line.strip() and not line.startswith("--") for line in preamble.splitlines()):
            raise ValueError(f"{path}: SQL stands before the first '-- name:' line")
        for name, block in zip(blocks[::2], blocks[1::2], strict=True):
            description, _, sql = block.strip().partition("\n")
            if not _QUERY_NAME.fullmatch(name):
                raise ValueError(f"{path}: query name {name!r} must be lower-case letters, digits and underscores")
            if name in queries:
                raise ValueError(f"{path}: query {name} exists already")
            if not description.startswith("-- ") or not sql.strip():
                raise ValueError(f"{path}: query {name} needs a line '-- what it does', then its SQL")
            queries[name] = sql.strip()
    return queries


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """The files `NNNN_name.sql` of a folder in order; raises ValueError on another name, a gap or a version given twice."""
    steps = []
    for path in sorted(folder.glob("*.sql")):
        match = _MIGRATION_FILE.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path}: a migration is named NNNN_name.sql")
        steps.append(Migration(int(match["version"]), match["name"], path.read_text(encoding="utf-8")))
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError(f"{folder}: versions must count from 1 without gaps, not {[step.version for step in steps]}")
    return tuple(steps)


@cache
def _queries() -> dict[str, str]:
    return parse_queries(sorted((_sql_dir() / "queries").glob("*.sql")))


def _sql_dir() -> Path:
    package = Path(__file__).parents[1]
    for folder in (package / "sql", package.parent / "sql"):
        if (folder / "queries").is_dir():
            return folder
    raise LookupError(f"no SQL files beside {package}: the installation is damaged; install rowledger again")
