"""What PostgreSQL and MySQL dump as text is read as the values that were dumped."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
from pydantic import ValidationError

from rowledger.sources.csv import CsvFiles
from rowledger.spec.partition import Partition
from rowledger.spec.source import FAULT, SourceContext

DUMP: dict[str, Any] = {"delimiter": "\t", "quote": None, "escape": "\\", "nulls": ("\\N",), "header": False}
TEXTS = [
    "a\tb", "line\nend", "back\\slash",
    "\b\f\r\v", "\\N", "\\.", ".", "", None, "\\t", '"quoted"', "é\x1f", "x\r\ny", "\\", "\n", "\\x41",
]  # fmt: skip


def read(folder: Path, content: bytes, **options: Any) -> pl.DataFrame:
    (folder / "dump.txt").write_bytes(content)
    source = CsvFiles(path=str(folder / "dump.txt"), **{**DUMP, **options})
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    columns = options.get("columns", ("v", "w"))
    frames = [
        source.read(chunk)
        for chunk in source.chunks(Partition(key="all"), SourceContext(folder, spool, 1_000, columns=columns))
    ]
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def dump_of(url: str, texts: list[str | None], encoding: str) -> bytes:
    """What COPY … TO STDOUT says of rows (number, text), with psql's mark of the end."""
    pieces: list[bytes] = []

    async def run() -> None:
        async def keep(data: bytes) -> None:
            pieces.append(data)

        connection = await asyncpg.connect(url, timeout=20)
        try:
            query = "select n, t from unnest($1::text[]) with ordinality as u(t, n) order by n"
            await connection.copy_from_query(query, texts, output=keep, encoding=encoding)
        finally:
            await connection.close(timeout=10)

    asyncio.run(run())
    return b"".join([*pieces, b"\\.\n"])


@pytest.mark.parametrize("escapes", ["auto", "postgresql"])
@pytest.mark.parametrize(("server_encoding", "encoding"), [("UTF8", "utf-8"), ("LATIN1", "latin-1")])
def test_what_postgresql_copies_out_is_read_back(
    server: str, tmp_path: Path, escapes: str, server_encoding: str, encoding: str
) -> None:
    frame = read(tmp_path, dump_of(server, TEXTS, server_encoding), escapes=escapes, encoding=encoding)

    assert FAULT not in frame.columns
    assert frame["w"].to_list() == TEXTS


def test_one_column_that_postgresql_copies_out_is_read_back(tmp_path: Path) -> None:
    assert read(tmp_path, b"\\\\.\n.\n\n\\N\n\\.\n", columns=("v",))["v"].to_list() == ["\\.", ".", "", None]


@pytest.mark.parametrize(
    ("field", "value"),
    [(rb"\101", "A"), (rb"\x41", "A"), (rb"\x4", "\x04"), (rb"\7", "\x07"),
     (rb"\303\251", "é"), (rb"\xc3\xa9!", "é!"), (rb"\xg", "xg"),
     (rb"\q", "q"), (b"\\\t", "\t"), (b"\\\n", "\n"), (rb"\8", "8"), (rb"a\1012", "aA2")],
)  # fmt: skip
@pytest.mark.parametrize("escapes", ["auto", "postgresql"])
def test_bytes_in_digits_are_read_as_postgresql_reads_them(
    tmp_path: Path, escapes: str, field: bytes, value: str
) -> None:
    assert read(tmp_path, b"1\t" + field + b"\n", escapes=escapes).rows() == [("1", value)]


def test_bytes_in_digits_are_of_the_file_s_encoding(tmp_path: Path) -> None:
    assert read(tmp_path, rb"1	\351" + b"\n", encoding="latin-1").rows() == [("1", "é")]
    assert read(tmp_path, rb"1	\xe9" + b"\n")[FAULT].to_list() == [
        "has bytes in octal or hexadecimal digits that are not utf-8"
    ]


@pytest.mark.parametrize("escapes", ["auto", "mysql"])
def test_what_mysql_writes_into_a_file_is_read_back(tmp_path: Path, escapes: str) -> None:
    content = b"1\ta\\\tb\\\nc\\\\d\\0e\n2\t\\N\n3\t\\Zz\n"

    assert read(tmp_path, content, escapes=escapes).rows() == [("1", "a\tb\nc\\d\0e"), ("2", None), ("3", "\x1az")]


def test_quoted_fields_of_mysql_are_read_back(tmp_path: Path) -> None:
    content = b'"a\\"b\\\nc\\0d";\\N\n"x""y";"t\\tz"\n'

    frame = read(tmp_path, content, delimiter=";", quote='"', escapes="mysql")

    assert frame.rows() == [('a"b\nc\0d', None), ('x"y', "t\tz")]


def test_what_the_two_read_differently_is_a_fault_until_the_dialect_is_declared(tmp_path: Path) -> None:
    content = b"1\t\\0123\n2\tb\n"

    assert read(tmp_path, content)[FAULT].to_list() == [
        "has \\0 before a digit, which PostgreSQL and MySQL read differently; declare `escapes`", None,
    ]  # fmt: skip
    assert read(tmp_path, content, escapes="postgresql")["w"].to_list() == ["\n3", "b"]
    assert read(tmp_path, content, escapes="mysql")["w"].to_list() == ["\x00123", "b"]


def test_rows_behind_the_mark_of_the_end_are_read_and_the_mark_is_a_fault(tmp_path: Path) -> None:
    frame = read(tmp_path, b"1\ta\n\\.\n2\tb\n")

    assert frame[FAULT].to_list() == [None, "is PostgreSQL's mark of the end of the data, and rows follow it", None]
    assert frame["w"].to_list() == ["a", None, "b"]


@pytest.mark.parametrize("options", [{"escapes": "mysql", "escape": None}, {"delimiter": "x"}])
def test_a_dialect_that_cannot_be_read_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CsvFiles(path="x.csv", **{**DUMP, **options})
