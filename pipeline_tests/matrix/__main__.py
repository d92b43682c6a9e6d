"""Run the checks and the tests in each cell of the matrix, one after the other, and print what was green.

    python -m pipeline_tests.matrix                                 every cell: an hour or two
    python -m pipeline_tests.matrix --python 3.13 --server none     one Python, with all four sets of versions
    python -m pipeline_tests.matrix --versions lowest --versions dagster    the two ends of the range of Dagster
    python -m pipeline_tests.matrix --tests pipeline_tests/unit     a part of the tests everywhere

A cell is a Python, a set of versions (those of the lock file, the lowest or the newest that pyproject.toml allows, or the
newest Dagster alone) and a server (the embedded one, or another major version from npm). `uv` makes an environment for each
Python and set of versions, and the targets of the Makefile run in it. A version that cannot be had here is reported as missing;
it does not fail the matrix.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_tests.matrix.server import MAJORS, ServerUnavailable, running_server

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".rowledger" / "matrix"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
VERSIONS = {
    "lock": ("--constraint", "requirements.lock"),
    "lowest": ("--resolution", "lowest-direct"),
    "newest": ("--resolution", "highest", "--upgrade"),
    "dagster": ("--constraint", "requirements.lock"),
}
# The newest Dagster is often one that no dagster-postgres allows yet. It is installed over the locked one, and the tests of
# the Dagster face run with it, but for the warning of dagster-postgres that its version is another.
NEWEST_DAGSTER = tuple(f"dagster{part}<1.14" for part in ("", "-shared", "-pipes", "-graphql", "-webserver"))
TESTS_OF_DAGSTER = "pipeline_tests/unit/dagster pipeline_tests/integration/dagster -W 'ignore:Found version mismatch'"
EMBEDDED = "embedded"
NONE = "none"


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination. `server` is a major version, or the embedded server."""

    python: str
    versions: str
    server: str = EMBEDDED

    @property
    def name(self) -> str:
        return f"{self.python}-{self.versions}-{self.server}"

    @property
    def venv(self) -> Path:
        return FOLDER / f"{self.python}-{self.versions}"


@dataclass(frozen=True, slots=True)
class Result:
    """How a cell ended; `outcome` is green, red or missing."""

    cell: Cell
    outcome: str
    text: str
    seconds: float


def main() -> int:
    """Run the cells that were asked for; the exit code is 1 if one of them was red, or if none was run."""
    options = _options()
    interpreters = _find_pythons()
    results = []
    servers = options.server or ([NONE] if options.versions else [str(major) for major in MAJORS])
    pythons = options.python or PYTHONS
    here = [python for python in pythons if python in interpreters]
    for cell in _cells(pythons, here or pythons, options.versions or VERSIONS, servers):
        started = time.monotonic()
        outcome, text = _run_cell(cell, interpreters.get(cell.python), options.tests)
        results.append(Result(cell, outcome, text, time.monotonic() - started))
        print(_line(results[-1]), flush=True)
    print("\n" + "\n".join(map(_line, results)))
    outcomes = {result.outcome for result in results}
    return 0 if "green" in outcomes and "red" not in outcomes else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pipeline_tests.matrix", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--python", action="append", choices=PYTHONS, help="only this Python; may be given again")
    parser.add_argument(
        "--versions", action="append", choices=VERSIONS, help="only this set of versions; may be given again"
    )
    servers = [*map(str, MAJORS), NONE]
    parser.add_argument(
        "--server",
        action="append",
        choices=servers,
        help="besides the embedded one, with the locked versions; may be given again",
    )
    parser.add_argument("--tests", default="", help="only these tests, as pytest takes them")
    return parser.parse_args()


def _cells(
    pythons: Sequence[str], here: Sequence[str], versions: Collection[str], servers: Sequence[str]
) -> Iterator[Cell]:
    """Every Python as the lock file has it; the two ends of the ranges on those that are here; every server."""
    by_embedded = (
        *(Cell(python, "lock") for python in pythons),
        Cell(here[0], "lowest"),
        Cell(here[-1], "newest"),
        Cell(here[0], "dagster"),
    )
    yield from (cell for cell in by_embedded if cell.versions in versions)
    for server in servers:
        if server != NONE:
            yield Cell(here[0], "lock", server)


def _run_cell(cell: Cell, interpreter: Path | None, tests: str) -> tuple[str, str]:
    if interpreter is None:
        return "missing", f"Python {cell.python} is not installed"
    log = FOLDER / f"{cell.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:

        def run(*command: str, **environment: str) -> bool:
            done = subprocess.run(
                command, cwd=ROOT, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT, check=False
            )
            return done.returncode == 0

        if not _install(cell, interpreter, run):
            return "red", f"its versions cannot be installed; see {log.relative_to(ROOT)}"
        try:
            with _server_of(cell) as environment:
                is_whole = cell.server == EMBEDDED and cell.versions != "dagster"
                targets = ["check", "test"] if is_whole else ["test"]
                if cell.versions == "dagster":
                    tests = tests or TESTS_OF_DAGSTER
                red = [
                    target
                    for target in targets
                    if not run(
                        "make",
                        target,
                        f"VENV={cell.venv.relative_to(ROOT)}",
                        f"TESTS={tests or 'pipeline_tests'}",
                        **environment,
                    )
                ]
        except ServerUnavailable as missing:
            return "missing", str(missing).splitlines()[0]
    last = next((line for line in reversed(log.read_text(encoding="utf-8").splitlines()) if " passed" in line), "")
    return (
        ("red", f"make {' and make '.join(red)}: {last.strip('= ')}; see {log.relative_to(ROOT)}")
        if red
        else ("green", last.strip("= "))
    )


def _install(cell: Cell, interpreter: Path, run: Callable[..., bool]) -> bool:
    """Make the environment anew unless it is there already; the stamp tells the Makefile that it is."""
    stamp = cell.venv / ".installed"
    if stamp.exists() and stamp.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime:
        return True
    shutil.rmtree(cell.venv, ignore_errors=True)
    uv = str(Path(sys.executable).with_name("uv"))
    pip = (uv, "pip", "install", "--python", str(cell.venv / "bin" / "python"))
    installed = run(uv, "venv", "--python", str(interpreter), str(cell.venv))
    installed = installed and run(*pip, *VERSIONS[cell.versions], "--editable", ".[dev]")
    if cell.versions == "dagster":
        installed = installed and run(*pip, "--no-deps", "--upgrade", *NEWEST_DAGSTER)
    if installed:
        stamp.touch()
    return installed


@contextmanager
def _server_of(cell: Cell) -> Iterator[dict[str, str]]:
    if cell.server == EMBEDDED:
        yield {}
        return
    with running_server(int(cell.server)) as url:
        yield {"ROWLEDGER_TEST_DATABASE_URL": url}


def _find_pythons() -> dict[str, Path]:
    """The interpreters on the PATH, those of pyenv and those of uv, by their minor versions."""
    found: dict[str, Path] = {}
    for version in PYTHONS:
        pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        on_path = shutil.which(f"python{version}")
        for candidate in (*pyenv[-1:], *([Path(on_path)] if on_path else [])):
            if _runs(candidate, version):
                found.setdefault(version, candidate)
    return found


def _runs(interpreter: Path, version: str) -> bool:
    """Whether it is what its name says: a shim of pyenv may lead nowhere."""
    told = subprocess.run(
        [interpreter, "-c", "import json, sys; print(json.dumps(sys.version_info[:2]))"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.returncode == 0 and ".".join(map(str, json.loads(told.stdout))) == version


def _line(result: Result) -> str:
    cell = result.cell
    return f"{cell.python}  {cell.versions:7} {cell.server:9} {result.outcome:8} {result.seconds:5.0f} s  {result.text}"


if __name__ == "__main__":
    sys.exit(main())
