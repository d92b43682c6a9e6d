"""A table inferred from a file: its columns, its key, and the module that declares it."""

from pathlib import Path
from types import ModuleType

import pytest

from rowledger import CsvFiles, TableSpec
from rowledger.errors import SourceError, SpecError
from rowledger.infer import InferredTable, infer_table


def inferred(folder: Path, text: str, name: str = "things.csv") -> InferredTable:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return infer_table(file)


def types_of(table: InferredTable) -> dict[str, str]:
    return {column.name: column.type + (" null" if column.nullable else "") for column in table.columns}


def imported(table: InferredTable) -> ModuleType:
    module = ModuleType("things")
    exec(compile(table.module_text(), "things.py", "exec"), module.__dict__)  # the module as a project would import it
    return module


def test_a_column_has_the_type_that_all_its_values_fit(tmp_path: Path) -> None:
    table = inferred(
        tmp_path,
        "id,day,at,moment,clock,price,share,ok,zip,name\n"
        "1,2024-01-01,2024-01-01 10:00:00,2024-01-01T10:00:00Z,10:00:00,1.50,0.125,yes,01234,a\n"
        "2,2024-01-02,2024-01-02 10:00:00,2024-01-02T10:00:00+02:00,11:30:00,22.00,3,no,98765,\n",
    )
    assert types_of(table) == {
        "id": "integer",
        "day": "date",
        "at": "timestamp",
        "moment": "timestamptz",
        "clock": "time",
        "price": "numeric(9,2)",
        "share": "double",
        "ok": "boolean",
        "zip": "text",
        "name": "text null",
    }
    assert table.refused.rows == 0
    assert table.key == ("id",)


def test_the_module_declares_the_model_and_the_spec(tmp_path: Path) -> None:
    table = inferred(tmp_path, "Station ID;class;Größe\n1;a;2,5\n2;b;NA\n")
    module = imported(table)
    assert isinstance(module.THINGS, TableSpec)
    assert module.THINGS.source == CsvFiles(
        path=str(tmp_path / "things.csv"), delimiter=";", nulls=("", "NA"), decimal=","
    )
    assert [(c.name, c.source_name) for c in table.columns][:2] == [("station_id", "Station ID"), ("class_", "class")]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is empty"):
        inferred(tmp_path, "")


def test_a_name_that_no_table_can_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(SpecError, match="cannot be a table's name"):
        infer_table(tmp_path / "a.csv", name="no table")
