"""For the tests of projects that load with Rowledger: a database for each test, loads of given rows, and the balance.

    # conftest.py
    pytest_plugins = ["rowledger.testing"]

    # test_weather.py
    from rowledger.testing import assert_balanced, load_and_report, refused_rows

    def test_a_temperature_in_words_becomes_a_dead_letter(rowledger_database: str) -> None:
        report = load_and_report(WEATHER, [{"origin": "JFK", "temp": 39.9}, {"origin": "LGA", "temp": "warm"}])
        assert_balanced(report)
        assert [(row.row_no, row.column) for row in refused_rows(report)] == [(1, "temp")]

It is no entry point of pytest, so that it costs nothing in projects that only have Rowledger installed.
"""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from rowledger.dead_letters import list_dead_letters
from rowledger.embedded import EmbeddedServer
from rowledger.errors import MissingPrivilege, RowledgerError
from rowledger.extras import missing_extra
from rowledger.ledger import DeadLetterSelection, PartitionReport, ensure_ledger
from rowledger.load import load
from rowledger.postgres import connect
from rowledger.settings import WriterSettings, settings
from rowledger.sources import GivenRows
from rowledger.spec import WHOLE, Partition, TableSpec

try:
    import pytest
except ModuleNotFoundError:
    raise missing_extra("testing") from None

__all__ = [
    "RefusedRow",
    "assert_balanced",
    "embedded_test_server",
    "load_and_report",
    "refused_rows",
    "rowledger_database",
    "rowledger_server",
    "temporary_database",
]

_TIMEOUT_S = 60
_CAUSES_SHOWN = 5
_ONE_WORKER = WriterSettings(workers=1)

_database_of_test: ContextVar[str | None] = ContextVar("database_of_test", default=None)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A dead letter: the row's number in what was loaded, from 0 on, and why it was refused."""

    row_no: int
    stage: str
    column: str | None
    reason: str


# ---- databases --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def rowledger_server() -> Iterator[str]:
    """The URL of the server on which tests create their databases: the one in ROWLEDGER_DATABASE_URL, else an embedded one.

    The embedded one is made for this session (and for each worker of xdist), and needs `rowledger[embedded]`. Define a
    fixture of the same name in a conftest.py to use another server; its role must be allowed to create databases.
    """
    if (given := settings().database_url) is not None:
        yield given.get_secret_value()
        return
    with embedded_test_server() as url:
        yield url


@pytest.fixture(scope="session")
def _rowledger_template(rowledger_server: str) -> Iterator[str]:
    """The name of a database with an empty ledger, which is cloned for each test."""
    with temporary_database(rowledger_server) as url:
        _on_server(url, ensure_ledger)
        yield _name(url)


@pytest.fixture
def rowledger_database(
    rowledger_server: str, _rowledger_template: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    """The URL of a database for this test alone, with an empty ledger; it is dropped after the test.

    During the test it is Rowledger's default: `load`, Dagster's resource RowledgerDatabase and child processes use it, and
    ROWLEDGER_HOME, the folder of landed files, is a temporary one.
    """
    with temporary_database(rowledger_server, template=_rowledger_template) as url:
        monkeypatch.setenv("ROWLEDGER_DATABASE_URL", url)
        monkeypatch.setenv("ROWLEDGER_HOME", str(tmp_path / "rowledger"))
        settings.cache_clear()
        token = _database_of_test.set(url)
        try:
            yield url
        finally:
            _database_of_test.reset(token)
            settings.cache_clear()


@contextmanager
def embedded_test_server() -> Iterator[str]:
    """A new embedded server; yields its URL, and deletes it with all its data."""
    folder = Path(tempfile.mkdtemp(prefix="rowledger-test-")).resolve()
    folder.chmod(0o755)  # the server may run as another user
    server = EmbeddedServer(folder / "postgres")
    try:
        yield server.ensure_running()
    finally:
        server.destroy()
        shutil.rmtree(folder)


@contextmanager
def temporary_database(server: str, *, template: str = "template0") -> Iterator[str]:
    """A new database on the server; yields its URL, and drops it with all sessions on it. Raises MissingPrivilege."""
    name = f"rowledger_test_{uuid.uuid4().hex[:16]}"
    try:
        _on_server(server, _statement(f"create database {name} template {template} encoding 'UTF8'"))
    except asyncpg.InsufficientPrivilegeError:
        raise MissingPrivilege(
            "the role of the tests may not create databases; as a superuser run: alter role … createdb; or have the "
            "fixture rowledger_server give another server"
        ) from None
    try:
        yield _with_database(server, name)
    finally:
        _on_server(server, _statement(f"drop database {name} with (force)"))


def _statement(sql: str) -> Callable[[asyncpg.Connection], Awaitable[object]]:
    return lambda connection: connection.execute(sql)


def _on_server(url: str, action: Callable[[asyncpg.Connection], Awaitable[object]]) -> None:
    async def run() -> None:
        session = await connect(url, application_name="rowledger testing", timeout_s=_TIMEOUT_S)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await action(session.connection)
        finally:
            await session.close()

    asyncio.run(run())


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{name}{'?' if parts.query else ''}{parts.query}"


# ---- loads ------------------------------------------------------------------------------------------------------------------


def load_and_report(
    spec: TableSpec,
    rows: object = None,
    *,
    partition: Partition | str | None = None,
    database: str | None = None,
    landing_dir: Path | str | None = None,
    writer: WriterSettings = _ONE_WORKER,
) -> PartitionReport:
    """Load rows in place of the spec's source, and report how that ended; a load that was not published has an `error`.

    `rows` has any form that `rowledger.load` takes: a list of dicts or of row models, a polars or pandas frame, an Arrow
    table. Without rows the spec's own source is read, with `landing_dir` in place of `{landing}`. `partition` is a
    Partition, or a key where that says which rows are meant; without it the table is loaded as one that has no partitions.
    The database is that of the fixture `rowledger_database`, also for a spec that names servers.

    Raises TypeError for a key that does not say which rows are meant, and RowledgerError where no load can begin: the spec
    contradicts itself, the target has another shape.
    """
    spec = spec.model_copy(update={"servers": None})
    if rows is not None:
        spec = spec.model_copy(update={"source": GivenRows()})
    if partition is None:
        spec = spec.model_copy(update={"partition_by": None})
    (report,) = load(
        spec,
        [partition or WHOLE],
        url=_database(database),
        landing_dir=landing_dir,
        writer=writer,
        rows=rows,
        check=False,
    )
    return report


def refused_rows(report: PartitionReport, *, database: str | None = None) -> list[RefusedRow]:
    """The dead letters of the load that the report is about, in the order of the source."""
    if not report.dead_lettered_rows:
        return []
    selection = DeadLetterSelection(partitions=(report.partition_key,), every_load=True)
    letters, _ = list_dead_letters(_database(database), report.table, selection)
    return [
        RefusedRow(letter.row_no, letter.stage, letter.column_name, letter.reason)
        for letter in letters
        if letter.load_id == report.load_id
    ]


def assert_balanced(report: PartitionReport) -> None:
    """Fail unless the load was published and each of its rows is accounted for.

    That is `enqueued + added = written + dead_lettered + filtered`. The message has the figures and what was refused.
    """
    counts = report.counts
    if report.error is None and counts.balances():
        return
    where = f"table {report.table}, partition {report.partition_key}"
    figures = (
        f"{where}: {counts.enqueued_rows} enqueued + {counts.added_rows} added, {counts.written_rows} written + "
        f"{counts.dead_lettered_rows} dead-lettered + {counts.filtered_rows} filtered, {counts.missing_rows} missing"
    )
    told = [figures]
    if report.error is not None:
        told.append(f"not published: {type(report.error).__name__}: {report.error}")
    told += [f"check {check.name} failed: {check.summary}" for check in report.checks if not check.passed]
    told += [f"refused: {cause}" for cause in report.refusals[:_CAUSES_SHOWN]]
    told += [f"worker {death.pid} on {death.host}: {death.summary}" for death in report.deaths[:_CAUSES_SHOWN]]
    raise AssertionError("\n  ".join(told))


def _database(given: str | None) -> str:
    """The database to use: never, by accident, the one that the project loads into."""
    found = given or _database_of_test.get()
    if found is None:
        raise RowledgerError(
            "no database for this test; let it take the fixture rowledger_database, or give `database`"
        )
    return found
