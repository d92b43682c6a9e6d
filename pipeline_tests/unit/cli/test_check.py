"""`rowledger check`: which table specs of a module can be used, and what is said of one that cannot."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rowledger.cli.main import cli

HEAD = """
from pydantic import BaseModel
from rowledger.spec.table import TableSpec
from rowledger.sources.parquet import ParquetFiles
SOURCE = ParquetFiles(path="x.parquet")
class R(BaseModel):
    a: int
    b: int | None
"""

Check = Callable[..., Result]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Check]:
    """Write modules into the current folder, and run `rowledger check` on each of them, by its name or by its file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def run(*, by_file: bool = False, **bodies: str) -> Result:
        for name, body in bodies.items():
            (tmp_path / f"{name}.py").write_text(HEAD + body)
        return CliRunner().invoke(cli, ["check", *(f"{name}.py" if by_file else name for name in bodies)])

    yield run
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):  # numpy can be imported only once
            del sys.modules[name]


@pytest.mark.parametrize("by_file", [False, True])
def test_each_spec_that_can_be_used_is_named_with_its_target(check: Check, *, by_file: bool) -> None:
    told = check(
        by_file=by_file,
        good_tables="""
ONE = TableSpec(name="one", row=R, source=SOURCE, key=("a",))
SAME = ONE
MADE = [TableSpec(name=f"made_{n}", row=R, source=SOURCE, target=f"shop.made_{n}") for n in (1, 2)]
""",
    )

    assert told.exit_code == 0
    assert told.output.splitlines() == [
        "table one: it can be used; target public.one",
        "table made_1: it can be used; target shop.made_1",
        "table made_2: it can be used; target shop.made_2",
    ]


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ('S = TableSpec(name="t", row=R, source=SOURCE, key=("c",))', 9, "key columns ['c'] are not in R"),
        ('S = TableSpec(name="t", row=R, source=SOURCE, key=("b",))', None, "key columns ['b'] may be null"),
        ('S = TableSpec(name="t", row=R, source=SOURCE, keys=("a",))', 9, "keys: Extra inputs are not permitted"),
        ('S = TableSpec(name="a.b", row=R, source=SOURCE)', 9, "must be letters, digits and underscores"),
        ('S = TableSpec(name="t", row=R, source=ParquetFiles(path="{day"))', 9, "path '{day'"),
        ('S = TableSpec(name="t", row=R, source=SOURCE, partition_by="c")', 9, "partition columns ['c'] are not in R"),
        ('class D(BaseModel):\n    a: complex\nS = TableSpec(name="t", row=D, source=SOURCE)', None, "complex"),
        (
            "def make():\n    class L(R):\n        pass\n    return TableSpec(name='t', row=L, source=SOURCE)\nS = make()",
            None,
            "the class L of mistaken_tables, which worker processes cannot import: it is made inside of the function make",
        ),
        ("SPECS = {}", None, "no TableSpec is at its module level"),
        ("def broken(", 9, "SyntaxError"),
        ("import nothing_of_this_name", 9, "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def late():\n    1 / 0\nlate()", 10, "ZeroDivisionError"),
        ("raise SystemExit(3)", 9, "SystemExit: 3"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_leaves_the_other_modules_alone(
    check: Check, body: str, line: int | None, said: str
) -> None:
    told = check(mistaken_tables=body, other_tables='S = TableSpec(name="other", row=R, source=SOURCE)')

    assert told.exit_code == 1
    good, mistake = told.output.splitlines()
    assert good == "table other: it can be used; target public.other"
    where = "mistaken_tables" if line is None else f"mistaken_tables.py: line {line}"
    assert mistake.startswith(f"error: {where}: ")
    assert said in mistake
    assert "pydantic.dev" not in mistake
    assert "input_value" not in mistake


def test_of_two_specs_in_a_module_only_the_one_with_the_mistake_is_refused(check: Check) -> None:
    good = 'GOOD = TableSpec(name="good", row=R, source=SOURCE)'
    told = check(both=f'{good}\nBAD = TableSpec(name="bad", row=R, source=SOURCE, key=("b",))')

    assert told.exit_code == 1
    assert "table good: it can be used" in told.output
    assert "error: both: table bad: key columns ['b'] may be null" in told.output


@pytest.mark.parametrize(("name", "said"), [("two", "target shop.things"), ("one", "table one")])
def test_two_tables_cannot_have_one_name_or_one_target(check: Check, name: str, said: str) -> None:
    told = check(
        first_of_two='S = TableSpec(name="one", row=R, source=SOURCE, target="shop.things")',
        second_of_two=f'S = TableSpec(name="{name}", row=R, source=SOURCE, target="shop.things")',
    )

    assert told.exit_code == 1
    assert f"second_of_two: table {name}: {said} is already declared in first_of_two" in told.output


def test_what_is_not_there_is_an_error() -> None:
    told = CliRunner().invoke(cli, ["check", "no_such_module_at_all", "no/such/file.py"])

    assert told.exit_code == 1
    assert "there is no module 'no_such_module_at_all' on this process's import path" in told.output
    assert "there is no file" in told.output
