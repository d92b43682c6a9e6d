"""Loads from projects of their own: where specs are made, what workers import, and what the ledger keeps of a spec."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest

from pipeline_tests.support.database import fetch, fetch_value

ROWS = """
from pydantic import BaseModel

class Reading(BaseModel):
    sensor: int
    value: float | None
"""
FACTORY = """
import rowledger

def spec_of(name, row):
    return rowledger.TableSpec(name=name, row=row, source=rowledger.ParquetFiles(path="{landing}/*.parquet"))

def load(*specs):
    for spec in specs:
        (report,) = rowledger.load(spec)
        print(f"{spec.name}: {report.written_rows} rows")
"""
DEFINITIONS = """
import dagster as dg
from rowledger.dagster import build_table_defs

tables = [build_table_defs(spec) for spec in specs]
defs = dg.Definitions.merge(dg.Definitions(executor=dg.in_process_executor), *tables)
"""
TIMEOUT_S = 180


class Project:
    """A folder with modules of a stranger's."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database
        self.environment = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ROWLEDGER_HOME")
        } | {
            "ROWLEDGER_DATABASE_URL": database,
            "ROWLEDGER_HOME": str(folder / "home"),
            "DAGSTER_HOME": str(folder / "home"),
        }
        (folder / "home" / "landing").mkdir(parents=True)
        (folder / "home" / "dagster.yaml").touch()
        _write_readings(folder / "home" / "landing")

    def write(self, path: str, *bodies: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(dedent(body) for body in bodies))
        return file

    def run(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python in the project's folder."""
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def materialize(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Dagster's program, which is a script: its folder is the first to be imported from."""
        program = Path(sys.executable).with_name("dagster")
        return self.run(program, "asset", "materialize", "--select", "*", *arguments, cwd=cwd)

    def rows(self, table: str) -> int:
        return int(fetch_value(self.database, f"select count(*) from {table}"))

    def reference(self, table: str) -> str:
        """By which the ledger keeps the table's row model."""
        return str(
            fetch_value(self.database, "select spec ->> 'row' from rowledger.table_spec where table_name = $1", table)
        )


def _write_readings(folder: Path) -> None:
    pl.DataFrame({"sensor": [1, 2, 3], "value": [0.5, None, 1.5]}).write_parquet(folder / "readings.parquet")


@pytest.fixture
def project(database: str, tmp_path: Path) -> Project:
    return Project(tmp_path / "a project: of strangers", database)


def _require(ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_row_models_specs_and_loads_may_be_in_three_modules(project: Project) -> None:
    project.write("rows.py", ROWS)
    project.write("factory.py", FACTORY)
    script = project.write(
        "jobs/run.py",
        """
        import sys
        from pathlib import Path
        sys.path.append(str(Path(__file__).parents[1]))
        from factory import load, spec_of
        from rows import Reading
        load(*(spec_of(f"made_{n}", Reading) for n in (1, 2)))
        """,
    )

    ended = project.run(script, cwd=project.folder.parent)

    _require(ended)
    assert ended.stdout.splitlines() == ["made_1: 3 rows", "made_2: 3 rows"]
    assert project.reference("made_2") == "rows:Reading"


def test_a_script_may_hold_all_of_it_if_it_guards_its_load(project: Project) -> None:
    guarded = 'if __name__ == "__main__":\n    load(spec_of("scripted", Reading))'
    script = project.write("load_it.py", ROWS, FACTORY, guarded)

    for arguments in (("load_it.py",), ("-m", "load_it")):
        _require(project.run(*arguments))

    assert project.rows("scripted") == 3
    assert project.reference("scripted") == "load_it:Reading"
    _require(project.run(script, cwd=project.folder.parent))
    assert project.reference("scripted") == f"{script}:Reading"


def test_a_script_that_loads_without_a_guard_is_told_to_have_one(project: Project) -> None:
    script = project.write("load_it.py", ROWS, FACTORY, 'load(spec_of("unguarded", Reading))')

    ended = project.run(script)

    assert ended.returncode == 1
    assert "LoadFailed" in ended.stderr
    assert f"row {script}:Reading cannot be imported: load_it.py: line " in ended.stderr
    assert 'put the call under `if __name__ == "__main__":`, in a worker process' in ended.stderr
    assert fetch_value(project.database, "select count(*) from rowledger.incident") == 0


@pytest.mark.parametrize("made", ["lambda frame: frame", "functools.partial(print, 1)"])
def test_what_workers_cannot_import_is_refused_before_anything_is_made(project: Project, made: str) -> None:
    project.write("rows.py", ROWS)
    script = project.write(
        "load_it.py",
        FACTORY,
        f"""
        import functools
        from rows import Reading
        spec = spec_of("nameless", Reading)
        load(spec.model_copy(update={{"transform": rowledger.FrameTransform(function={made})}}))
        """,
    )

    ended = project.run(script)

    assert ended.returncode == 1
    assert "SpecError: table nameless: transform.function is a " in ended.stderr
    assert "it has no name; define a function at the top level of a module and give that" in ended.stderr
    assert fetch_value(project.database, "select to_regclass('public.nameless') is null")


def test_a_module_that_a_worker_alone_cannot_import_fails_the_load_at_once(project: Project) -> None:
    project.write(
        "rows.py",
        ROWS,
        """
        import sys
        if getattr(sys.modules["__main__"].__spec__, "name", "") == "rowledger.workers.process":
            raise RuntimeError("there is no licence here")
        """,
    )
    script = project.write("load_it.py", FACTORY, "from rows import Reading\nload(spec_of('unlicensed', Reading))")

    ended = project.run(script)

    assert ended.returncode == 1
    (told,) = [line for line in ended.stderr.splitlines() if line.startswith("partition all: ")]
    assert told == (
        "partition all: row rows:Reading cannot be imported: rows.py: line 11: RuntimeError: there is no licence here, in a "
        "worker process; make the module one that can be imported by itself, then rerun"
    )
    assert fetch(project.database, "select kind from rowledger.incident") == []


def test_nothing_of_the_current_folder_hides_what_a_worker_needs(project: Project) -> None:
    project.write("rows.py", ROWS)
    script = project.write("load_it.py", FACTORY, "from rows import Reading\nload(spec_of('undisturbed', Reading))")
    for name in ("asyncpg", "rowledger", "socket", "rows"):
        project.write(f"hostile/{name}.py", "raise RuntimeError('imported from the current folder')")

    _require(project.run(script, cwd=project.folder / "hostile"))


def test_modules_of_the_run_come_before_those_of_the_same_name_elsewhere(project: Project) -> None:
    """This repository has a package `pipeline`, which tests can import; so has the project."""
    project.write("pipeline/__init__.py")
    project.write("pipeline/tables/__init__.py")
    project.write("pipeline/tables/flights.py", ROWS, FACTORY, "class Landing(Reading):\n    pass")
    definitions = (
        "from pipeline.tables.flights import Landing, Reading, spec_of",
        "specs = [spec_of('one_of_two', Reading), spec_of('other_of_two', Landing)]",
        DEFINITIONS,
    )
    project.write("pipeline/definitions.py", *definitions)

    _require(project.materialize("-m", "pipeline.definitions"))

    assert (project.rows("one_of_two"), project.rows("other_of_two")) == (3, 3)
    assert project.reference("other_of_two") == "pipeline.tables.flights:Landing"


@pytest.mark.parametrize(
    ("arguments", "starts_beside_it", "reference"),
    [
        (("-f", "some/where/defs.py"), False, "{folder}/some/where/defs.py:OfFile"),
        (("-f", "{folder}/some/where/defs.py", "-d", "{folder}"), True, "{folder}/some/where/defs.py:OfFile"),
        (("-m", "some.where.defs", "-d", "{folder}"), True, "some.where.defs:OfFile"),
    ],
    ids=["file", "file and folder", "module and folder"],
)
def test_dagster_may_be_given_a_file_or_another_working_directory(
    project: Project, arguments: tuple[str, ...], reference: str, *, starts_beside_it: bool
) -> None:
    project.write("rows.py", "from lengths import Length", ROWS, "class Measure(Reading):\n    length: Length = None")
    project.write("lengths.py", "Length = float | None")
    project.write(
        "some/where/defs.py",
        "from rows import Measure, Reading",
        FACTORY,
        "class OfFile(Reading):\n    pass",
        "specs = [spec_of('from_file', OfFile), spec_of('from_module', Measure)]",
        DEFINITIONS,
    )
    given = [argument.format(folder=project.folder) for argument in arguments]

    _require(project.materialize(*given, cwd=project.folder.parent if starts_beside_it else None))

    assert project.reference("from_file") == reference.format(folder=project.folder)
    assert project.reference("from_module") == "rows:Measure"
    assert (project.rows("from_file"), project.rows("from_module")) == (3, 3)


@pytest.fixture
def rowledger(project: Project) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command `rowledger`, as it is installed."""
    program = Path(sys.executable).with_name("rowledger")
    return lambda *arguments, cwd=None: project.run(program, *arguments, cwd=cwd)


def test_the_command_line_needs_the_ledger_and_importable_code_alone(
    project: Project, rowledger: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    project.write("rows.py", ROWS)
    script = project.write(
        "load_it.py",
        FACTORY,
        """
        from rows import Reading
        if __name__ == "__main__":
            load(spec_of("kept", Reading))
        SPEC = spec_of("kept", Reading)
        """,
    )
    _require(project.run(script))
    elsewhere = project.folder.parent

    for command in (("verify",), ("verify", "--table", "kept"), ("dead-letters", "replay", "--table", "kept")):
        _require(rowledger(*command))
        ended = rowledger(*command, cwd=elsewhere)
        assert ended.returncode == 1
        assert (
            "table kept: the spec of its latest load cannot be used: row rows:Reading cannot be imported: "
            in ended.stderr
        )
        assert "there is no module 'rows' on this process's import path; run this in the folder of" in ended.stderr
    for command in ("status", ("incidents", "--table", "kept"), ("dead-letters", "list", "--table", "kept")):
        _require(rowledger(*([command] if isinstance(command, str) else command), cwd=elsewhere))
    _require(rowledger("verify", "--spec", "load_it:SPEC"))
    _require(rowledger("verify", "--spec", "load_it.py:SPEC", "--table", "kept"))
    _require(rowledger("check", "load_it.py"))
    _require(rowledger("check", "load_it"))
    assert "load_it:Reading is not a TableSpec" in rowledger("verify", "--spec", "load_it:Reading").stderr
    ended = rowledger("forget", "--table", "kept", "--spec", "load_it.py:SPEC", "--yes")
    assert ended.stdout == "1 published load of table kept is forgotten\n"


def test_the_ledger_keeps_the_latest_spec_once_and_no_token_of_an_address(project: Project) -> None:
    project.write("rows.py", ROWS)
    project.write(
        "load_it.py",
        FACTORY,
        """
        import sys
        from rows import Reading
        spec = spec_of("kept", Reading).model_copy(update={"description": sys.argv[1]})
        if sys.argv[2:]:
            spec = spec.model_copy(update={"source": rowledger.ParquetFiles(path=sys.argv[2])})
        load(spec)
        """,
    )
    kept = (
        "select spec ->> 'description' as description, spec -> 'source' ->> 'path' as path, recorded_at "
        "from rowledger.table_spec"
    )
    _require(project.run("load_it.py", "first"))
    (first,) = fetch(project.database, kept)
    _require(project.run("load_it.py", "first"))
    assert fetch(project.database, kept) == [first]
    _require(project.run("load_it.py", "second"))
    (second,) = fetch(project.database, kept)
    assert (second["description"], second["recorded_at"] > first["recorded_at"]) == ("second", True)

    assert project.run("load_it.py", "third", "http://127.0.0.1:1/readings.parquet?token=hush").returncode == 1

    (third,) = fetch(project.database, kept)
    assert (third["description"], third["path"]) == ("third", "http://127.0.0.1:1/readings.parquet")
