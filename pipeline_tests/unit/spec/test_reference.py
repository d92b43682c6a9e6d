"""Classes and functions by name: which have one, what is said of those that have none, and how a name is imported."""

import functools
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, create_model

from rowledger.errors import SpecError
from rowledger.settings import import_folders
from rowledger.spec.importing import import_path
from rowledger.spec.reference import reference_of, resolve


class Outer:
    class Inner(BaseModel):
        a: int

    def method(self) -> None: ...

    @staticmethod
    def still() -> None: ...


class _Callable:
    def __call__(self) -> None: ...


def double(number: int) -> int:
    return 2 * number


Made = create_model("Made", a=(int, ...))
Renamed = create_model("UnknownName", a=(int, ...))


class Twice(BaseModel):
    a: int


_FIRST = Twice


class Twice(BaseModel):  # type: ignore[no-redef] # as it happens in a file that was grown
    b: int


def _local() -> type:
    class Local(BaseModel):
        a: int

    return Local


@pytest.fixture(autouse=True)
def _fresh_modules() -> Iterator[None]:
    """What a test imports is forgotten after it."""
    before = set(sys.modules)
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("thing", [Outer, Outer.Inner, Outer.still, double, Made, len, Path])
def test_what_a_module_holds_by_name_is_found_again_by_it(thing: object) -> None:
    reference = reference_of(thing)

    assert reference.endswith(f":{thing.__qualname__}")  # type: ignore[attr-defined]
    assert resolve(reference) is thing


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (
            lambda _: 1,
            r"^row is a lambda of .*test_reference, which .* cannot import: it has no name; define a function at",
        ),
        (
            _local(),
            "the class Local .* is made inside of the function _local; define a class at the top level of a module",
        ),
        (functools.partial(double, 1), "a functools.partial, .*: it has no name"),
        (Outer().method, r"the bound method Outer.method, .*: it belongs to an object of this process"),
        (_Callable(), "an object of the class _Callable, .*: it has no name of its own"),
        (Renamed, "the class UnknownName .*: its module has no name UnknownName; assign it to UnknownName there"),
        (_FIRST, "the class Twice .*: that name holds another object by now; give the two different names"),
        (types.new_class("Unknown", exec_body=lambda body: body.update(__module__="nowhere")), "no module nowhere"),
    ],
)
def test_what_has_no_name_is_refused_with_field_thing_reason_and_remedy(thing: object, said: str) -> None:
    with pytest.raises(SpecError, match=said) as refused:
        reference_of(thing, "row")

    assert "\n" not in str(refused.value)


def test_a_module_that_was_made_at_run_time_is_refused() -> None:
    module = types.ModuleType("made_at_run_time")
    exec("class Row: pass", vars(module))
    sys.modules["made_at_run_time"] = module

    with pytest.raises(SpecError, match="its module was made at run time and has no file"):
        reference_of(module.Row)


@pytest.mark.parametrize("arguments", [["-c"], ["-"]])
def test_what_an_interactive_session_has_made_is_refused(arguments: list[str]) -> None:
    code = "from rowledger.spec.reference import reference_of\nclass Row: pass\nreference_of(Row)"
    given = {"input": code} if arguments == ["-"] else {}
    ended = subprocess.run(
        [sys.executable, *arguments, *([code] if arguments == ["-c"] else [])],
        capture_output=True,
        text=True,
        check=False,
        **given,
    )
    assert "it was made in an interactive session or in `python -c`; move it to a module or a script" in ended.stderr


def test_a_script_is_referred_to_by_its_file_and_a_module_that_runs_by_its_name(tmp_path: Path) -> None:
    code = "from rowledger.spec.reference import reference_of, resolve\nclass Row: pass\n"
    (tmp_path / "package").mkdir()
    for file in (tmp_path / "load.py", tmp_path / "package" / "job.py"):
        file.write_text(f"{code}reference = reference_of(Row)\nassert resolve(reference) is Row\nprint(reference)")

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert run("load.py") == f"{tmp_path / 'load.py'}:Row"
    assert run("-m", "package.job") == "package.job:Row"


def test_a_file_that_no_import_finds_is_referred_to_by_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "where"
    folder.mkdir(parents=True)
    (folder / "defs_of_a_test.py").write_text("from __future__ import annotations\nclass Row: pass\n")

    row = resolve(f"{folder}/defs_of_a_test.py:Row")

    assert row.__module__ == "defs_of_a_test"
    assert sys.modules["defs_of_a_test"].Row is row
    assert reference_of(row) == f"{folder}/defs_of_a_test.py:Row"
    assert resolve(reference_of(row)) is row
    assert str(folder) not in import_path()


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "defs_of_two.py").write_text(f"class Row:\n    folder = {name!r}\n")

    rows = [resolve(f"{tmp_path / name}/defs_of_two.py:Row") for name in ("one", "other")]

    assert [row.folder for row in rows] == ["one", "other"]
    assert [resolve(reference_of(row)) for row in rows] == rows


def test_a_folder_that_was_on_the_path_for_a_while_is_still_imported_from(tmp_path: Path) -> None:
    (tmp_path / "rows_of_a_while.py").write_text("class Row: pass\n")
    sys.path.insert(0, str(tmp_path))
    row = resolve("rows_of_a_while:Row")
    sys.path.remove(str(tmp_path))

    assert str(tmp_path) in import_path()[: -len(import_folders())]
    assert reference_of(row) == "rows_of_a_while:Row"


def test_a_package_without_a_file_of_its_own_is_still_found_too(tmp_path: Path) -> None:
    (tmp_path / "spread" / "deeper").mkdir(parents=True)
    (tmp_path / "spread" / "deeper" / "rows.py").write_text("class Row: pass\n")
    sys.path.insert(0, str(tmp_path))
    row = resolve("spread.deeper.rows:Row")
    sys.path.remove(str(tmp_path))

    assert str(tmp_path) in import_path()[: -len(import_folders())]
    assert reference_of(row) == "spread.deeper.rows:Row"


def test_a_module_that_another_one_hides_is_referred_to_by_its_path(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hidden_rows.py").write_text("class Row: pass\n")
    sys.path.append(str(tmp_path / "second"))
    row = resolve("hidden_rows:Row")
    sys.path.insert(0, str(tmp_path / "first"))

    assert reference_of(row) == f"{tmp_path / 'second' / 'hidden_rows.py'}:Row"


def test_an_empty_entry_of_the_path_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "beside", "/elsewhere"])

    assert import_path()[-3:] == [str(tmp_path), str(tmp_path / "beside"), "/elsewhere"]


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("import nothing_of_this_name", 1, "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("a = 1\ndef broken(", 2, "SyntaxError: '(' was never closed"),
        ("\n\nraise SystemExit(3)", 3, "SystemExit: 3"),
        ("def late():\n    1 / 0\n\nlate()", 2, "ZeroDivisionError: division by zero"),
        ("import pydantic\nclass R(pydantic.BaseModel):\n    a: int\nR()", 4, "a: Field required"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, line: int, said: str
) -> None:
    (tmp_path / "mistaken_rows.py").write_text(body)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    expected = f"mistaken_rows.py: line {line}: {said}"

    for reference in ("mistaken_rows:Row", f"{tmp_path / 'mistaken_rows.py'}:Row"):
        with pytest.raises(SpecError) as raised:
            resolve(reference)
        assert str(raised.value) == expected


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("no_such_module_at_all:Row", "there is no module 'no_such_module_at_all'"),
        ("rowledger.no_such:Row", "there is no module 'rowledger.no_such'"),
        ("/no/such/file.py:Row", "there is no file /no/such/file.py"),
        ("rowledger.spec.table:Nothing", "rowledger.spec.table has no Nothing"),
        ("rowledger.spec.table", "is not a reference; write module:NAME or path/to/file.py:NAME"),
    ],
)
def test_a_name_that_leads_nowhere_says_where_it_ends(reference: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        resolve(reference)
