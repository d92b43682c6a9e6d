"""The module of an inferred table declares its model and spec, in the form that ruff gives it; its names are plain."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline_tests.support.inferring import imported, inferred, lines
from rowledger.cli.main import cli
from rowledger.errors import SpecError
from rowledger.infer import infer_table
from rowledger.spec.table import TableSpec, column_names

ODD_HEADERS = (
    "Station ID;Größe (cm);class;int;json;2019;%;maxTempC;HTTPStatus;model_dump;ctid;名字;dt;a name that is far longer than "
    'the line of a module can be, so that it is broken;"say ""it"" isn\'t";a\\b;copy'
)


def test_odd_headers_become_plain_names_with_the_header_as_alias(tmp_path: Path) -> None:
    table = inferred(tmp_path, f"{ODD_HEADERS}\n" + ";".join("1" for _ in ODD_HEADERS.split(";")) + "\n")
    names = [column.name for column in table.columns]
    assert names[:13] == [
        "station_id", "groesse_cm", "class_", "int_", "json_", "c_2019", "percent", "max_temp_c", "http_status",
        "the_model_dump", "ctid_", "名字", "dt_",
    ]  # fmt: skip
    spec = imported(table)
    assert column_names(spec.row) == names
    assert [field.alias or name for name, field in spec.row.model_fields.items()] == [
        column.source_name for column in table.columns
    ]


@pytest.mark.parametrize(
    "content",
    [
        f"{ODD_HEADERS}\n" + ";".join("1.50" for _ in ODD_HEADERS.split(";")) + "\n",
        "id,day,at,uuid\n1,2024-01-01,2024-01-01T00:00:00Z,3f2504e0-4f89-11d3-9a0c-0305e82c3301\n",
        lines("a,b", lambda n: f"{'x' if n == 3 else n / 8},{n}", 150),
        ",".join(f"column number {n}" for n in range(30)) + "\n" + ",".join("1" for _ in range(30)) + "\n1\n",
    ],
    ids=["odd headers", "types", "dead letters", "many columns"],
)
def test_the_module_needs_neither_formatting_nor_corrections(tmp_path: Path, content: str) -> None:
    text = inferred(tmp_path, content).module_text()
    (module := tmp_path / "module.py").write_text(text, encoding="utf-8")
    for arguments in (["format", "--check", "--diff"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--isolated", "--no-cache", str(module)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_spec_reads_the_file_and_allows_what_it_refuses(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("id;v", lambda n: f"{n};{n},5") + "the end\n", "Last Year's Things.csv")
    spec = imported(table)
    assert (table.name, spec.name) == ("last_year_s_things", "last_year_s_things")
    assert spec.source == table.source
    assert spec.key == ("id",)
    assert spec.dead_letters.allowed_rows(table.rows) >= table.refused.rows == 1


def test_a_name_that_no_table_can_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(SpecError, match="cannot be a table's name"):
        infer_table(tmp_path / "a.csv", name="no table")


def test_the_command_prints_the_module_and_sums_up_on_stderr(tmp_path: Path) -> None:
    (file := tmp_path / "a.csv").write_text(lines("id,v", lambda n: f"{n},{'secret' if n == 3 else n / 8}"))
    done = CliRunner().invoke(cli, ["infer", str(file), "--name", "weather"])
    assert done.exit_code == 0, done.output
    assert 'class Weather(BaseModel):\n    """One row of table weather."""' in done.stdout
    assert "table weather: 300 rows, 2 columns" in done.stderr
    assert "candidate key: id" in done.stderr
    assert "dead letters: 1 of 300 rows" in done.stderr
    assert "secret" not in done.output


def test_the_command_writes_a_new_file_and_overwrites_none(tmp_path: Path) -> None:
    (file := tmp_path / "a.csv").write_text("id\n1\n")
    module = tmp_path / "things.py"
    arguments = ["infer", str(file), "--name", "things", "--output", str(module)]
    assert CliRunner().invoke(cli, arguments).stdout == ""
    assert isinstance(TableSpec.from_reference(f"{module}:THINGS"), TableSpec)
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
