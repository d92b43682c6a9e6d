"""What is found in the package of tables, and what is said of a file with a mistake."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import pipeline.tables
from pipeline.tables import all_tables, read_tables, table
from rowledger.cli.main import cli
from rowledger.errors import SpecError

HEAD = """
from datetime import date
from pydantic import BaseModel
from rowledger.spec.old_partitions import DailyPartitions
from rowledger.spec.table import TableSpec
from rowledger.sources.parquet import ParquetFiles
SOURCE = ParquetFiles(path="x.parquet")
class R(BaseModel):
    a: int
    b: int | None
"""

WriteTable = Callable[[str, str], None]


@pytest.fixture
def write_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteTable]:
    """Adds a module to an empty package of tables."""
    monkeypatch.setattr(pipeline.tables, "__path__", [str(tmp_path)])
    names: list[str] = []

    def write(name: str, body: str) -> None:
        names.append(f"pipeline.tables.{name}")
        (tmp_path / f"{name}.py").write_text(HEAD + body)

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_a_file_is_all_a_table_needs(write_table: WriteTable) -> None:
    write_table("added_here", 'SPEC = TableSpec(name="added", row=R, source=SOURCE, key=("a",))')

    assert table("added").name == "added"
    assert str(table("added").target) == "public.added"


def test_two_specs_may_share_a_row_model_of_another_module(write_table: WriteTable) -> None:
    write_table("_shared_rows", "")
    shared = "from pipeline.tables._shared_rows import R as Shared\n"
    write_table("first_shared", f'{shared}FIRST = TableSpec(name="first", row=Shared, source=SOURCE)')
    write_table("second_shared", f'{shared}SECOND = TableSpec(name="second", row=Shared, source=SOURCE)')

    assert set(all_tables()) == {"first", "second"}
    assert table("second").row is table("first").row


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('S = TableSpec(name="t", row=R, source=SOURCE, key=("c",))', r"key columns \['c'\] are not in R"),
        ('S = TableSpec(name="t", row=R, source=SOURCE, key=("b",))', r"key columns \['b'\] may be null"),
        ('S = TableSpec(name="t", row=R, source=SOURCE, keys=("a",))', "keys: Extra inputs are not permitted"),
        ('S = TableSpec(name="a.b", row=R, source=SOURCE)', "must be letters, digits and underscores"),
        ('S = TableSpec(name="t", row=R, source=ParquetFiles(path="{day}"))', "placeholders"),
        (
            'S = TableSpec(name="t", row=R, source=SOURCE, partitions=DailyPartitions(column="a", start=date(2024, 1, 1)))',
            "must be a date or a timestamp",
        ),
        ('class D(BaseModel):\n    a: complex\nS = TableSpec(name="t", row=D, source=SOURCE)', "complex"),
        ('SPECS = [TableSpec(name="t", row=R, source=SOURCE)]', "no TableSpec stands at module level"),
        ("def broken(", "SyntaxError"),
    ],
)
def test_a_mistake_is_said_in_one_line_that_names_the_file(write_table: WriteTable, body: str, said: str) -> None:
    write_table("mistaken", body)

    with pytest.raises(SpecError, match=said) as raised:
        all_tables()

    assert str(raised.value).startswith("pipeline/tables/mistaken.py: ")
    assert "pydantic.dev" not in str(raised.value)
    assert "input_value" not in str(raised.value)


def test_two_tables_cannot_have_one_target(write_table: WriteTable) -> None:
    write_table("one_target", 'S = TableSpec(name="one", row=R, source=SOURCE, target="shop.things")')
    write_table("same_target", 'S = TableSpec(name="two", row=R, source=SOURCE, target="shop.things")')

    with pytest.raises(
        SpecError, match=r"same_target.py: line 11: target shop.things is already declared in .*one_target.py"
    ):
        all_tables()


def test_an_unknown_table_is_answered_with_the_known_ones(write_table: WriteTable) -> None:
    write_table("known_one", 'S = TableSpec(name="known", row=R, source=SOURCE)')

    with pytest.raises(SpecError, match="known tables: known"):
        table("unknown")


@pytest.mark.parametrize(
    ("body", "name", "line"),
    [
        ('S = TableSpec(name="broken", row=R, source=SOURCE, keys=("a",))', "broken", 11),
        ('S = TableSpec(name="broken", row=R, source=SOURCE, key=("c",))', "broken", 11),
        ('S = TableSpec(name="broken", row=R, source=SOURCE, key=("b",))', "broken", 11),
        ('import nothing_of_this_name\nS = TableSpec(name="broken", row=R, source=SOURCE)', "broken", 11),
        ('S = TableSpec(name="broken", row=R, source=SOURCE)\nraise SystemExit(3)', "broken", 12),
        ('S = TableSpec(name="broken", row=R, source=SOURCE\n', "broken", 11),
        (
            'def late() -> None:\n    1 / 0\n\n\nS = TableSpec(name="broken", row=R, source=SOURCE)\nlate()',
            "broken",
            12,
        ),
        ("def broken(", "mistaken", 11),
    ],
)
def test_a_file_with_a_mistake_is_named_with_its_line_and_leaves_the_others_alone(
    write_table: WriteTable, body: str, name: str, line: int
) -> None:
    write_table("good", 'SPEC = TableSpec(name="good", row=R, source=SOURCE, key=("a",))')
    write_table("mistaken", body)

    tables = read_tables()

    assert set(tables.specs) == {"good"}
    (broken,) = tables.broken
    assert broken.name == name
    assert broken.message.startswith(f"pipeline/tables/mistaken.py: line {line}: ")
    assert "\n" not in broken.message
    assert table("good").name == "good"
    with pytest.raises(SpecError, match=f"mistaken.py: line {line}: "):
        table(name)


def test_of_two_tables_in_a_file_only_the_one_with_the_mistake_is_unusable(write_table: WriteTable) -> None:
    good = 'GOOD = TableSpec(name="good", row=R, source=SOURCE)'
    write_table("both", f'{good}\nBAD = TableSpec(name="bad", row=R, source=SOURCE, key=("b",))')

    tables = read_tables()

    assert (set(tables.specs), [broken.name for broken in tables.broken]) == ({"good"}, ["bad"])


def test_the_command_check_names_each_file_with_a_mistake(write_table: WriteTable) -> None:
    write_table("good", 'SPEC = TableSpec(name="good", row=R, source=SOURCE, key=("a",))')
    assert CliRunner().invoke(cli, ["check"]).exit_code == 0
    write_table("first", "import nothing_of_this_name")
    write_table("second", "def broken(")

    told = CliRunner().invoke(cli, ["check"])

    assert told.exit_code == 1
    assert "table good: its file can be used" in told.output
    assert "first.py: line 11: ModuleNotFoundError" in told.output
    assert "second.py: line 11: SyntaxError" in told.output
