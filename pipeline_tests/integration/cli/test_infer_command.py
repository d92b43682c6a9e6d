"""What `rowledger infer` writes is loaded by the command that it prints."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pipeline_tests.support.database import fetch_value


@pytest.mark.parametrize(
    ("path", "next_path", "next_key", "moments"),
    [
        ("sales/2024-01-01.csv", "sales/2024-01-02.csv", "2024-01-02", ("2024-01-01", "2024-01-02")),
        ("a/sales_2024-01.csv", "a/sales_2024-02.csv", "2024-02-01", ("2024-01-31", "2024-02-01")),
        ("a/sales_2024.csv", "a/sales_2025.csv", "2025-01-01", ("2024-01-31", "2025-02-01")),
        ("sales/2024-01-01T05.csv", "sales/2024-01-01T06.csv", "2024-01-01-06:00", ("2024-01-01 05:00", "2024-01-01 06:00")),
        (
            "sales/year=2024/month=1/day=9/part.csv", "sales/year=2024/month=1/day=10/part.csv", "2024-01-10",
            ("2024-01-09", "2024-01-10"),
        ),
        ("sales.csv", None, None, ("2024-01-09",)),
    ],
)  # fmt: skip
def test_the_command_that_is_printed_loads_the_file_and_the_next_one(
    database: str, rowledger: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    path: str, next_path: str | None, next_key: str | None, moments: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name, moment in zip((path, next_path), moments, strict=False):
        (file := tmp_path / str(name)).parent.mkdir(parents=True, exist_ok=True)
        file.write_text("id,at\n" + "".join(f"{n},{moment}\n" for n in range(3)), encoding="utf-8")

    inferred = rowledger("infer", path, "--output", "sales.py")
    assert inferred.exit_code == 0, inferred.output
    [command] = re.findall(r"^to load it: rowledger (.*)$", inferred.stderr, re.MULTILINE)
    loaded = rowledger(*shlex.split(command))
    assert loaded.exit_code == 0, loaded.output
    assert fetch_value(database, "select count(*) from sales") == 3
    if next_key is not None:
        unit = command.rpartition(" ")[2]
        following = rowledger("load", "sales.py:SALES", "--partition", next_key, "--by", unit)
        assert following.exit_code == 0, following.output
        assert fetch_value(database, "select count(*) from sales") == 6


@pytest.mark.parametrize("options", [(), ("--name", "takings")])
def test_without_an_output_the_commands_that_are_printed_write_the_module_and_load_it(
    database: str, rowledger: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "the year's sales.csv"
    file.write_text("id,at\n" + "".join(f"{n},2024-01-09\n" for n in range(3)), encoding="utf-8")

    shown = rowledger("infer", file.name, *options)
    commands = re.findall(r"^to \w+ it: rowledger (.*)$", shown.stderr, re.MULTILINE)
    assert [command.partition(" ")[0] for command in commands] == ["infer", "load"]
    for command in commands:
        done = rowledger(*shlex.split(command))
        assert done.exit_code == 0, done.output
    table = "takings" if options else "the_year_s_sales"
    assert fetch_value(database, f"select count(*) from {table}") == 3
