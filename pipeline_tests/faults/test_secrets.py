"""Canaries: a password and row values that nothing but the table, its staging and the dead letters' payload may hold."""

import os
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psutil
import psycopg2
import pytest
from psycopg2 import sql

from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import edit, start_replay
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, changed, events, write_source

ROOT = Path(__file__).parents[2]
END_S = 180
PASSWORD = "a@b:c/d?e#f%25[g] +&'\"ü Kx9SecretQ7"  # with every character that is special in a URL
CORE = "Kx9SecretQ7"  # what is left of it in any encoding
VALUES = ("zqcanary", "918273645")

ROWS = changed(
    [{**row, "note": "n"} for row in events(250)],
    {
        0: {"name": "zqcanary in a good row", "amount": 918273645.25},
        1: {"code": "zqcanary-too-long"},
        2: {"event_id": -918273645},
        3: {"name": None, "note": "zqcanary beside a null"},
        101: {"name": "zqcanary with a nul \0"},
        102: {"name": "zqcanary forbidden by a check"},
        103: {"note": None, "name": "zqcanary whose note the table wants"},
        104: {"name": "zqcanary in a chunk that fails"},
        201: {"at": events(1)[0]["at"], "event_id": 0, "name": "zqcanary, a key's second row"},
    },
)
FIRST = [{**row, "note": "n"} for row in events(10, NEXT_DAY)]
DOUBLES = changed(
    [{**row, "note": "n"} for row in events(50, NEXT_DAY)],
    {number: {"at": events(1, NEXT_DAY)[0]["at"], "name": "zqcanary twice"} for number in (20, 30)},
)
"""Good by their key, but not by a unique index that the target has."""

HOLD_VALUES = {
    ("dead_letter", "payload"),
    ("dead_letter", "corrected_payload"),
    ("dead_letter", "traceback"),
    ("letter_event", "traceback"),
}

RULES = (
    "alter table events add constraint not_forbidden check (name not like '%forbidden%')",
    "alter table events add constraint has_note check (note is not null)",
    "create unique index one_name on events (at, name)",
)


@pytest.fixture
def owner(server: str) -> Iterator[str]:
    """A role with that password."""
    name = f"rowledger_canary_{os.getpid()}"
    with closing(psycopg2.connect(server)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("create role {} login password %s").format(sql.Identifier(name)), [PASSWORD])
    yield name
    fetch(server, f"drop role {name}")


@pytest.fixture
def guarded(owner: str, empty_database: str) -> str:
    """The URL, with that password, of a database whose table has rules of its own."""
    parts = urlsplit(empty_database)
    fetch(empty_database, f'alter database "{parts.path[1:]}" owner to {owner}')
    fetch(empty_database, f"alter schema public owner to {owner}")
    return urlunsplit(parts._replace(netloc=f"{owner}:{quote(PASSWORD, safe='')}@{parts.netloc.rpartition('@')[2]}"))


@contextmanager
def _command_lines() -> Iterator[set[str]]:
    """Every process's command line, as anybody on the machine can read it, for as long as the block runs."""
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.1):
            for process in psutil.process_iter(["cmdline"]):
                seen.add("\0".join(process.info["cmdline"] or []))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        stop.set()
        looking.join()


def _database_texts(url: str) -> Iterator[tuple[str, str]]:
    """All that the ledger and Dagster's storage hold, table by table, but for what may hold a row's values."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select schemaname, tablename from pg_tables "
            "where schemaname in ('rowledger', 'dagster') and tablename not like 'staging%'"
        )
        for schema, table in cursor.fetchall():
            cursor.execute(sql.SQL("select * from {}").format(sql.Identifier(schema, table)))
            names = [column.name for column in cursor.description or ()]
            for row in cursor.fetchall():
                for name, value in zip(names, row, strict=True):
                    if (table, name) not in HOLD_VALUES:
                        yield f"{schema}.{table}.{name}", _plain(value)


def _plain(value: object) -> str:
    """A column's value as text; Dagster compresses some of its own."""
    if not isinstance(value, memoryview):
        return str(value)
    content = bytes(value)
    try:
        return zlib.decompress(content).decode(errors="replace")
    except zlib.error:
        return content.decode(errors="replace")


def _file_texts(folder: Path) -> Iterator[tuple[str, str]]:
    for file in folder.rglob("*"):
        if file.is_file():
            yield str(file), file.read_bytes().decode(errors="replace")


def _server_log(url: str) -> Iterator[tuple[str, str]]:
    """The embedded server's log; that of another server is its operator's affair."""
    log = Path(fetch_value(url, "show data_directory")).parent / "postgres.log"
    if log.exists():
        yield str(log), log.read_text(errors="replace")


def _assert_clean(places: Iterable[tuple[str, str]]) -> None:
    needles = (CORE, *VALUES)
    looked_at = [(place, text, [needle for needle in needles if needle in text]) for place, text in places]
    leaks = [f"{place}: {found} in …{_around(text, found[0])}…" for place, text, found in looked_at if found]
    assert not leaks, "\n".join(leaks)


def _around(text: str, needle: str) -> str:
    position = text.index(needle)
    return text[max(0, position - 300) : position + 100]


def _outputs(runs: Iterable[tuple[str, int, str]]) -> Iterator[tuple[str, str]]:
    for what, _, output in runs:
        yield f"output of {what}", output


def _plant(
    url: str, admin: str, landing: Path, load: Callable[..., tuple[int, str]], replay: Callable[[], tuple[int, str]]
) -> list[tuple[str, int, str]]:
    """Load canaries with faults of every kind, and replay what was refused; gives what each run said."""
    write_source(landing, "events", NEXT_DAY, FIRST)
    assert load_one(url, EVENTS, landing, NEXT_DAY).error is None
    for rule in RULES:
        fetch(url, rule)
    write_source(landing, "events", DAY, ROWS)
    write_source(landing, "events", NEXT_DAY, DOUBLES)
    runs = [
        ("a worker that raises what cannot be printed", *load(DAY, failpoints="mid_copy=raise_hostile@chunk=1")),
        ("a worker that dies", *load(DAY, failpoints="before_commit=sigkill@chunk=1,attempt=1")),
        ("rows that break a unique index", *load(NEXT_DAY)),
    ]
    assert [code for _, code, _ in runs] == [1, 0, 0], runs
    stages = fetch(admin, "select distinct stage from rowledger.dead_letter order by 1")
    assert [row[0] for row in stages] == ["contract", "copy", "key"]
    assert fetch_value(admin, "select count(*) from events where name like 'zqcanary%'") == 3
    assert fetch_value(admin, "select count(*) from rowledger.dead_letter where payload::text like '%zqcanary%'") == 7
    edit(url, EVENTS, landing, {1: {"code": "zqcanary still too long"}, 2: {"event_id": "zqcanary"}})
    runs.append(("a replay", *replay()))
    assert fetch_value(admin, "select count(*) from rowledger.letter_event where state = 'open'") == 8
    assert (
        fetch_value(admin, "select count(*) from rowledger.dead_letter where corrected_payload::text ~ 'zqcanary'") == 2
    )
    assert_accounted(admin, EVENTS, [*DOUBLES, *ROWS])
    return runs


def _communicated(process: subprocess.Popen[str]) -> tuple[int, str]:
    with process:
        try:
            output, _ = process.communicate(timeout=END_S)
        finally:
            process.kill()
    return process.returncode, output


def test_no_load_tells_a_password_or_a_value(guarded: str, empty_database: str, tmp_path: Path) -> None:
    def load(day: str, failpoints: str = "") -> tuple[int, str]:
        return _communicated(run_process.start(guarded, EVENTS, tmp_path, [day], failpoints=failpoints))

    with _command_lines() as command_lines:
        runs = _plant(guarded, empty_database, tmp_path, load, lambda: _communicated(start_replay(guarded, EVENTS)))
    assert runs[-1][1] == 0, runs[-1]
    assert "refused" in runs[-1][2]
    assert any("rowledger.workers.process" in line for line in command_lines), "workers have been looked at"
    _assert_clean(_outputs(runs))
    _assert_clean(_database_texts(empty_database))
    _assert_clean(("a command line", line) for line in command_lines)
    _assert_clean(_server_log(empty_database))


@pytest.mark.slow
def test_no_run_of_dagster_tells_a_password_or_a_value(guarded: str, empty_database: str, tmp_path: Path) -> None:
    """Its events, metadata, snapshots, compute logs and artifacts too."""
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ROWLEDGER_", "DAGSTER_"))}
    landing = tmp_path / "home" / "landing"

    def dagster(*command: str, failpoints: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "dagster", *command, "-m", "pipeline_tests.support.definitions"],
            cwd=tmp_path,
            env=inherited
            | {
                "PYTHONPATH": str(ROOT),
                "PYTHONWARNINGS": "ignore",
                "ROWLEDGER_DATABASE_URL": guarded,
                "ROWLEDGER_HOME": str(tmp_path / "home"),
                "ROWLEDGER_FAILPOINTS": failpoints,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=END_S,
            check=False,
        )
        return done.returncode, done.stdout

    def load(day: str, failpoints: str = "") -> tuple[int, str]:
        return dagster("asset", "materialize", "--select", "events", "--partition", day, failpoints=failpoints)

    with _command_lines() as command_lines:
        runs = _plant(guarded, empty_database, landing, load, lambda: dagster("job", "execute", "-j", "events_replay"))
    assert runs[-1][1] == 1, "a replay that is refused is a red run"
    shutil.rmtree(landing)
    _assert_clean(_outputs(runs))
    places = list(_database_texts(empty_database))
    assert "dagster.event_logs.event" in {place for place, _ in places}
    _assert_clean(places)
    files = list(_file_texts(tmp_path))
    assert any("compute_logs" in place for place, _ in files)
    _assert_clean(files)
    _assert_clean(("a command line", line) for line in command_lines)
    _assert_clean(_server_log(empty_database))
