"""A table is loaded from a file by the module that was inferred from it."""

import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from rowledger.infer import infer_table
from rowledger.spec.table import TableSpec

CONTENT = "Bestell-Nr.;Datum;Preis (€);PLZ\n" + "".join(
    f"{n};{n % 28 + 1}.{n % 12 + 1}.2024;{n}.{n % 900 + 100},{n % 90 + 10};{'-' if n == 250 else f'0{n + 1000}'}\n"
    for n in range(1, 300)
)


def test_an_inferred_module_loads_its_file(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes((CONTENT + "299 Zeilen\n").encode("cp1252"))
    table = infer_table(file)
    (tmp_path / "inferred_sales.py").write_text(table.module_text(), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    spec = TableSpec.from_reference("inferred_sales:SALES")
    report = load_one(database, spec, tmp_path, "all")
    sys.modules.pop("inferred_sales")
    assert report.error is None, report.error
    assert (report.counts.written_rows, report.counts.dead_lettered_rows) == (299, table.refused.rows) == (299, 1)
    (first,) = fetch(database, "select * from sales where bestell_nr = 1")
    assert (str(first["datum"]), first["preis"], first["plz"]) == (
        "2024-02-02",
        Decimal("1101.11"),
        "01001",
    )
