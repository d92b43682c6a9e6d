"""How a text file is written is found: delimiter, quotes, encoding, header, and the notation of numbers and dates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline_tests.support.inferring import inferred, lines, types_of
from rowledger.errors import SourceError
from rowledger.infer import InferredTable


def settings_of(table: InferredTable) -> dict[str, Any]:
    """The source's settings that are no defaults."""
    return {name: value for name, value in table.source.model_dump(exclude_defaults=True).items() if name != "path"}


@pytest.mark.parametrize(
    ("content", "settings", "types"),
    [
        (lines("a;b", lambda n: f"{n};x,y"), {"delimiter": ";"}, "integer text"),
        (lines("a\tb", lambda n: f"{n}\t{n}"), {"delimiter": "\t"}, "integer integer"),
        (lines("a|b", lambda n: f"{n}|Last, First"), {"delimiter": "|"}, "integer text"),
        (lines("sep=;\na;b", lambda n: f"{n};{n}"), {"delimiter": ";", "skip_lines": 1}, "integer integer"),
        (lines("# by x, y\n# z\na,b", lambda n: f"{n},{n}"), {"skip_lines": 2}, "integer integer"),
        (lines("Title\n\na,b,c", lambda n: f"{n},{n},{n}"), {"skip_lines": 2}, "integer integer integer"),
        (lines("#a\tb", lambda n: f"x{n}\t{n}"), {"delimiter": "\t"}, "text integer"),
        (lines("a,b", lambda n: f'{n},"one\ntwo ""{n}"""'), {}, "integer text"),
        (lines("a,b", lambda n: f'{n},"say \\"hi\\", {n}"'), {"escape": "\\"}, "integer text"),
        (lines("a,b", lambda n: f'{n},"<a href=""x;y"">{n}</a>"'), {}, "integer text"),
        (
            lines("a,b", lambda n: f"x,{('NULL', '  ', n)[n % 3]}"),
            {"nulls": ("", "  ", "NULL")},
            "text integer null",
        ),
        (lines("a\tb", lambda n: f'{n}\tthe "X" file'), {"delimiter": "\t", "quote": None}, "integer text"),
        (lines("a;b", lambda n: f"{n};1,{n % 90 + 10}"), {"delimiter": ";", "decimal": ","}, "integer numeric(9,2)"),
        (
            lines("a;b", lambda n: f"{n};{n % 9 + 1}.{n % 900 + 100},50"),
            {"delimiter": ";", "decimal": ",", "thousands": "."},
            "integer numeric(9,2)",
        ),
        (lines("a,b", lambda n: f'{n},"{n % 9 + 1},{n % 900 + 100}"'), {"thousands": ","}, "integer integer"),
        (lines("a,b", lambda n: f"{n},{n % 9 + 1}'{n % 900 + 100}.5"), {"thousands": "'"}, "integer double"),
        (lines("a,b", lambda n: f"{n},{n % 28 + 1}.{n % 12 + 1}.2024"), {"date_formats": ("%d.%m.%Y",)}, "integer date"),
        (lines("a,b", lambda n: f"{n},{n % 12 + 1}/{n % 28 + 1}/2024"), {"date_formats": ("%m/%d/%Y",)}, "integer date"),
        (
            lines("a,b", lambda n: f"{n},{n % 28 + 1}/{n % 12 + 1}/24 1:00"),
            {"date_formats": ("%d/%m/%y %H:%M",)},
            "integer timestamp",
        ),
        (lines("a,b", lambda n: f"{n},{n % 28 + 1}-Feb-2024"), {"date_formats": ("%d-%b-%Y",)}, "integer date"),
        (lines("a,b", lambda n: f"{n},{n % 12 + 1}/{n % 11 + 1}/2024"), {}, "integer text"),
        (lines("a, b", lambda n: f"{n}, {n / 8}"), {}, "integer double"),
        ("\ufeff" + lines("a,b", lambda n: f"{n},{n}"), {}, "integer integer"),
        (lines("a\tb", lambda n: f"{n}\tÜ{n}").encode("utf-16"), {"delimiter": "\t", "encoding": "utf-16"}, "integer text"),
        (lines("a;b", lambda n: f"{n};€ü{n}").encode("cp1252"), {"delimiter": ";", "encoding": "cp1252"}, "integer text"),
    ],
)  # fmt: skip
def test_a_dialect_is_found(tmp_path: Path, content: str | bytes, settings: dict[str, Any], types: str) -> None:
    table = inferred(tmp_path, content)
    assert settings_of(table) == settings
    assert " ".join(types_of(table).values()) == types
    assert table.refused.rows == 0


def test_an_encoding_that_shows_only_beyond_the_beginning_is_found(tmp_path: Path) -> None:
    table = inferred(
        tmp_path, lines("id,name", lambda n: f"{n},{'é' if n > 149_000 else 'name'}", 150_000).encode("cp1252")
    )
    assert settings_of(table) == {"encoding": "cp1252"}
    assert table.refused.rows == 0


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("1,2024-01-01,a\n2,2024-01-02,b\n", ("column_1", "column_2", "column_3")),
        ("a,a,,b\n1,2,3,x\n4,5,6,y\n", ("a", "a_2", "column_3", "b")),
        ("a,b\n1,2,\n3,4,\n", ("a", "b", "column_3")),
        (lines("x y z", lambda n: f'"A {n}" 1 2 {n}'), ("row_name", "x", "y", "z")),
    ],
    ids=["no header", "names twice or empty", "a delimiter at the end", "row names"],
)
def test_columns_are_named_where_the_header_does_not(tmp_path: Path, content: str, names: tuple[str, ...]) -> None:
    table = inferred(tmp_path, content)
    assert tuple(column.source_name for column in table.columns) == names
    assert table.refused.rows == 0


def test_one_line_of_another_encoding_does_not_change_that_of_the_file(tmp_path: Path) -> None:
    content = lines("id,name", lambda n: f"{n},ü{n}").encode() + "300,ü\n".encode("cp1252")
    table = inferred(tmp_path, content)
    assert settings_of(table) == {}
    assert table.refused.reasons == ((None, "has bytes that are no utf-8", 1),)


def test_years_are_names_of_columns(tmp_path: Path) -> None:
    table = inferred(tmp_path, "country,2019,2020\nA,1.5,2.25\nB,3,4\n")
    assert [column.name for column in table.columns] == ["country", "c_2019", "c_2020"]


def test_a_note_below_the_rows_becomes_a_dead_letter(tmp_path: Path) -> None:
    table = inferred(tmp_path, lines("a,b,c", lambda n: f"{n},{n},{n}") + "300 rows\n")
    assert table.refused.reasons == ((None, "has 1 field, the header has 3", 1),)


def test_a_text_without_columns_is_read_as_lines(tmp_path: Path) -> None:
    story = "".join(f"word {'and, ' * (n % 7)} more {n}\n" for n in range(200))
    table = inferred(tmp_path, story, "story.txt")
    assert len(table.columns) == 1
    assert (table.rows, table.refused.rows) == (200, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "blank lines alone"),
        (b"PK\x03\x04" + b"x" * 50, "a zip archive"),
        (b"\x00\x01\x02\x03" * 50, "neither text nor"),
    ],
)
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        inferred(tmp_path, content)


_KG = ("7,125", "12,250", "3,500")
_EUR = ("1.234", "2.500", "3.125")


@pytest.mark.parametrize(
    ("delimiter", "columns", "settings", "types", "note"),
    [
        (";", {"kg": _KG}, {"decimal": ","}, "numeric(9,3)", "kg are read with a decimal comma:"),
        (
            ";",
            {"kg": _KG, "eur": _EUR},
            {"decimal": ",", "thousands": "."},
            "numeric(9,3) integer",
            "kg, eur are read with a decimal comma and points between thousands:",
        ),
        (";", {"eur": _EUR}, {}, "numeric(9,3)", "eur are read with a decimal point:"),
        (";", {"eur": _EUR, "n": ("1", "20", "300")}, {}, "numeric(9,3) integer", "eur are read with a decimal point:"),
        (
            "\t",
            {"kg": _KG, "eur": _EUR},
            {"thousands": ","},
            "integer numeric(9,3)",
            "kg, eur are read with a decimal point and commas between thousands:",
        ),
        ("|", {"kg": _KG}, {"thousands": ","}, "integer", "kg are read with a decimal point and commas between thousands:"),
        (",", {"kg": _KG}, {"thousands": ","}, "integer", "kg are read with a decimal point and commas between thousands:"),
        (",", {"eur": _EUR}, {}, "numeric(9,3)", "eur are read with a decimal point:"),
    ],
)  # fmt: skip
def test_numbers_whose_comma_or_point_could_mean_either_are_to_be_checked_by_hand(
    tmp_path: Path,
    delimiter: str,
    columns: dict[str, tuple[str, ...]],
    settings: dict[str, Any],
    types: str,
    note: str,
) -> None:
    content = _numbers(delimiter, columns)
    table = inferred(tmp_path, content)
    assert settings_of(table) == settings | ({"delimiter": delimiter} if delimiter != "," else {})
    assert " ".join(types_of(table).values()) == f"integer {types}"
    assert [text for text in table.notes if note in text] == list(table.notes)
    assert len(table.notes) == 1
    assert table.refused.rows == 0


@pytest.mark.parametrize(
    ("columns", "settings", "types"),
    [
        ({"kg": _KG, "share": ("0,5", "1,5", "0,25")}, {"decimal": ","}, "numeric(9,3) double"),
        ({"kg": _KG, "share": ("0.5", "1.5", "0.25")}, {"thousands": ","}, "integer double"),
        ({"eur": _EUR, "share": ("0,5", "1,5", "0,25")}, {"decimal": ",", "thousands": "."}, "integer double"),
        ({"eur": ("1.234", "0.500", "3.125")}, {}, "numeric(9,3)"),
        ({"eur": ("1.234", "1.234.500", "3.125")}, {"decimal": ",", "thousands": "."}, "integer"),
        ({"eur": ("1.234", "1234.500", "3.125")}, {}, "numeric(18,3)"),
    ],
)
def test_another_number_of_the_file_tells_what_comma_and_point_mean(
    tmp_path: Path, columns: dict[str, tuple[str, ...]], settings: dict[str, Any], types: str
) -> None:
    table = inferred(tmp_path, _numbers(";", columns))
    assert settings_of(table) == settings | {"delimiter": ";"}
    assert " ".join(types_of(table).values()) == f"integer {types}"
    assert (table.notes, table.refused.rows) == ((), 0)


def _numbers(delimiter: str, columns: dict[str, tuple[str, ...]]) -> str:
    """Columns with these values by turns, beside one of row numbers."""

    def line(number: int) -> str:
        texts = [values[number % len(values)] for values in columns.values()]
        return delimiter.join([str(number), *(f'"{text}"' if delimiter in text else text for text in texts)])

    return lines(delimiter.join(["id", *columns]), line)


@pytest.mark.parametrize(
    "line",
    [
        lambda n: f"Jan {n % 28 + 1:2} 10:00:{n % 60:02} host sshd[{n}]: Accepted publickey for u{n} port {n}",
        lambda n: f"{n:6}   {n * 1.5:8.2f}      {n % 7}",
    ],
    ids=["log", "columns aligned by blanks"],
)
def test_lines_that_no_delimiter_divides_are_lines_without_a_header(tmp_path: Path, line: Callable[[int], str]) -> None:
    text = "".join(f"{line(number)}\n" for number in range(1, 200))
    table = inferred(tmp_path, text, "lines.log")
    assert (table.rows, types_of(table), table.refused.rows) == (199, {"column_1": "text"}, 0)
    assert any("blanks seem to align columns" in note for note in table.notes) == line(1).startswith(" ")


def test_a_text_without_a_delimiter_has_no_row_refused_for_its_commas(tmp_path: Path) -> None:
    text = "".join(f"{'Well, ' if n % 50 == 0 else ''}this is {'a ' * (n % 7)}sentence.\n" for n in range(300))
    table = inferred(tmp_path, text, "prose.txt")
    assert (table.rows, types_of(table), table.refused.rows) == (300, {"line": "text"}, 0)
