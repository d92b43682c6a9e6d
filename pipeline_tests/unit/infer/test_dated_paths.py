"""A date in a file's path makes partitions, if a column has it too; the table is named after what is left of the path."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_tests.support.inferring import imported, inferred
from rowledger.infer import InferredTable, dated_path, infer_table
from rowledger.sources import CsvFiles
from rowledger.spec import SourceContext

DATED = [
    ("sales/2024-01-01.csv", "sales/{partition_key}.csv", "day", "2024-01-01", "sales"),
    ("sales/20240101.csv", "sales/{lower:%Y%m%d}.csv", "day", "2024-01-01", "sales"),
    ("data/sales.2024-01-01.csv", "data/sales.{partition_key}.csv", "day", "2024-01-01", "sales"),
    ("2024/01/03/sales.csv", "{lower:%Y}/{lower:%m}/{lower:%d}/sales.csv", "day", "2024-01-03", "sales"),
    ("2024-01-01/sales-2024-01-01.csv", "{partition_key}/sales-{partition_key}.csv", "day", "2024-01-01", "sales"),
    ("a/sales_2024-01.csv", "a/sales_{lower:%Y-%m}.csv", "month", "2024-01-01", "sales"),
    ("a/sales_2024.csv", "a/sales_{lower:%Y}.csv", "year", "2024-01-01", "sales"),
    (
        "events/year=2024/month=01/day=03/part-0.csv",
        "events/year={lower:%Y}/month={lower:%m}/day={lower:%d}/part-0.csv", "day", "2024-01-03", "events",
    ),
    (
        "events/year=2024/month=1/day=3/part-0.csv",
        "events/year={lower:%Y}/month={lower.month}/day={lower.day}/part-0.csv", "day", "2024-01-03", "events",
    ),
    ("a/events-2024-01-01T05.csv", "a/events-{lower:%Y-%m-%dT%H}.csv", "hour", "2024-01-01-05:00", "events"),
    ("e/dt=2024-01-03_hour=5/data.csv", "e/dt={lower:%Y-%m-%d}_hour={lower.hour}/data.csv", "hour", "2024-01-03-05:00", "e"),
    (
        "e/year=2024-month=1-day=3/part-0.csv",
        "e/year={lower:%Y}-month={lower.month}-day={lower.day}/part-0.csv", "day", "2024-01-03", "e",
    ),
    ("e/dt=2024-01-03/hour=05/data.csv", "e/dt={lower:%Y-%m-%d}/hour={lower:%H}/data.csv", "hour", "2024-01-03-05:00", "e"),
]  # fmt: skip


def _moments(key: str) -> list[str]:
    day, hour = (key[:10], key[11:13] or "05")
    return [f"{day} {hour}:0{minute}:00" for minute in range(3)]


def _infer(path: Path, moments: list[str]) -> InferredTable:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("id,at\n" + "".join(f"{n},{moment}\n" for n, moment in enumerate(moments)), encoding="utf-8")
    return infer_table(path)


@pytest.mark.parametrize(("path", "template", "cadence", "key", "name"), DATED, ids=[each[0] for each in DATED])
def test_a_dated_path_becomes_a_template_that_finds_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, template: str, cadence: str, key: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)

    table = _infer(Path(path), _moments(key))

    spec = imported(table)
    assert isinstance(spec.source, CsvFiles)
    assert (spec.source.path, spec.partition_by, spec.name) == (template, "at", name)
    assert table.partitions is not None
    found = table.partitions.path
    assert (found.cadence, found.key) == (cadence, key)
    [file] = spec.source.files(found.partition("at"), SourceContext(tmp_path, tmp_path, 10))
    assert file.path == tmp_path / path
    assert spec.key == ("id", "at")  # the primary key of a partitioned table has the column of the partition


@pytest.mark.parametrize(
    "path",
    [
        "eu.csv", "sales_202401.csv", "sales2024.csv", "1.2.3.csv", "2024-02-30.csv", "0119.csv", "2024-1-1.csv",
        "report_2024-01-01T05-30-00.csv", "2024-01-01_2024-01-31.csv", "12024-01-01.csv", "2024/x.csv", "region=eu/x.csv",
    ],
)  # fmt: skip
def test_what_is_no_date_makes_no_partitions(path: str) -> None:
    assert dated_path(path) is None


@pytest.mark.parametrize("moment", ["2024-01-02 00:00:00", "2023-12-31 23:59:59", ""], ids=["after", "before", "null"])
def test_a_date_that_no_column_has_in_all_rows_is_a_thing_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.chdir(tmp_path)

    table = _infer(Path("sales/2024-01-01.csv"), [*_moments("2024-01-01"), moment])

    spec = imported(table)
    assert isinstance(spec.source, CsvFiles)
    assert (spec.name, spec.source.path, spec.partition_by) == ("sales", "sales/2024-01-01.csv", None)
    assert any("The path has a date, 2024-01-01, but no column" in note for note in table.notes)


def test_a_year_that_no_column_has_stays_in_the_name(tmp_path: Path) -> None:
    table = inferred(tmp_path, "id,at\n1,2019-01-01\n", "census_2020.csv")
    assert (table.name, table.partitions) == ("census_2020", None)


def test_bounds_are_compared_with_the_values_of_each_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame({"at": ["2024-01-01T00:00:00"] * 3}).with_columns(
        pl.col("at").str.to_datetime(time_zone="UTC")
    )
    other = frame.with_columns(day=pl.col("at").dt.date(), at=pl.col("at") + timedelta(days=1))
    for folder, each, column in (("zoned", frame, "at"), ("dates", other, "day")):
        (tmp_path / folder).mkdir()
        each.write_parquet(tmp_path / folder / "2024-01-01.parquet")
        table = infer_table(Path(folder) / "2024-01-01.parquet")
        assert table.partitions is not None
        assert (table.name, table.partitions.column) == (folder, column)


@pytest.mark.parametrize(
    ("path", "declared"),
    [
        ("x/2024-01-01.csv", {"type": "daily", "start": "2024-01-01"}),
        ("x/9998-01.csv", None),
        ("x/2024-01-01T05.csv", {"type": "hourly", "start": "2024-01-01-05:00"}),
        (
            "x/s_2024.csv",
            {"type": "time_window", "cron_schedule": "0 0 1 1 *", "fmt": "%Y-%m-%d", "start": "2024-01-01"},
        ),
    ],
)
def test_partitions_are_declared_from_the_files_own_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, declared: dict[str, str] | None
) -> None:
    monkeypatch.chdir(tmp_path)
    found = dated_path(path)
    if declared is None or found is None:
        assert (found, declared) == (None, None)
        return
    table = _infer(Path(path), _moments(found.key))
    assert table.partitions is not None
    assert table.partitions.declared == declared
    assert f"partitions_def={table.partitions.definition}" in " ".join(
        table.module_text().replace("    # ", "").split()
    )
    in_python = eval(table.partitions.definition, {"dg": dg})
    assert in_python.get_first_partition_key() == found.key


@pytest.mark.parametrize(
    ("form", "step"),
    [("s_%Y", 400), ("%Y-%m", 40), ("%Y-%m", 0), ("%Y-%m", 800), ("%Y-%m-%d", 1), ("%Y-%m-%d", 3), ("%Y-%m-%dT%H", 2)],
)
def test_partitions_reach_to_that_of_a_file_that_is_not_over_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, step: int
) -> None:
    monkeypatch.chdir(tmp_path)
    moment = datetime.now(UTC) + timedelta(days=step)
    found = dated_path(f"x/{moment.strftime(form)}.csv")
    assert found is not None
    table = _infer(Path(f"x/{moment.strftime(form)}.csv"), _moments(found.key))
    assert table.partitions is not None
    in_python = eval(table.partitions.definition, {"dg": dg})
    keys = in_python.get_partition_keys()
    assert keys[0] == found.key
    assert len(keys) <= 2  # one, unless the window of now has ended meanwhile
    offset = table.partitions.declared.get("end_offset", 0)
    assert ("after now, which end_offset has room for" in table.partitions.told) == (offset > 1)
