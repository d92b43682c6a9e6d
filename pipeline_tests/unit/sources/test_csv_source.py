"""Each record of a CSV file is a row with the very texts that stand there, or a fault with the true reason; none is lost."""

import bz2
import csv
import gzip
import io
import lzma
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from pydantic import ValidationError

from rowledger.errors import SourceError
from rowledger.sources import text_reading
from rowledger.sources.csv import CsvFiles
from rowledger.sources.csv_fields import Dialect
from rowledger.sources.csv_records import INNER_QUOTE, LONE_CR, UNCLOSED, _Quoted, split
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.partition import Partition
from rowledger.spec.source import ABSENT_PREFIX, FAULT, LINE, RESERVED_PREFIX, SourceContext

Row = dict[str, str | None]
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def chunks(folder: Path, content: bytes, name: str = "x.csv", **options: Any) -> list[ChunkDescriptor]:
    (folder / name).write_bytes(content)
    scope = SourceContext(folder, folder, options.pop("chunk_rows_max", 1000), columns=("p", "q"))
    source = CsvFiles(path=str(folder / name), **options)
    return list(source.chunks(Partition(key="all"), scope))


def read(folder: Path, content: bytes | str, name: str = "x.csv", **options: Any) -> pl.DataFrame:
    """All rows of a file with that content."""
    descriptors = chunks(folder, content.encode() if isinstance(content, str) else content, name, **options)
    source = CsvFiles(path=str(folder / name), **options)
    frames = [source.read(descriptor) for descriptor in descriptors]
    assert [_own_columns(frame) for frame in frames] == [source.frame_schema(d) for d in descriptors]
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def _own_columns(frame: pl.DataFrame) -> pl.Schema:
    return pl.Schema({name: kind for name, kind in frame.schema.items() if not name.startswith(RESERVED_PREFIX)})


def rows(folder: Path, content: bytes | str, **options: Any) -> list[Row | tuple[str, bytes]]:
    """The rows; a fault as its reason and its line."""
    return [
        (row[FAULT], row[LINE]) if row.get(FAULT) else {k: v for k, v in row.items() if k not in {FAULT, LINE}}
        for row in read(folder, content, **options).to_dicts()
    ]


# ---- values -----------------------------------------------------------------------------------------------------------------


def test_an_empty_field_is_null_and_a_quoted_one_is_empty_text(tmp_path: Path) -> None:
    assert rows(tmp_path, 'a,b\n,""\n"",\n') == [{"a": None, "b": ""}, {"a": "", "b": None}]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ['"q",', '"",', "x,", '"q",NA', '"q",""'])
def test_the_last_field_of_a_file_is_what_it_would_be_before_another_line(tmp_path: Path, last: str, end: str) -> None:
    line_end = end or "\n"
    nulls = {"nulls": ("", "NA")}
    followed = rows(tmp_path, line_end.join(["a,b", "1,1", last, "2,2", ""]), **nulls)
    assert rows(tmp_path, line_end.join(["a,b", "1,1", last]) + end, **nulls) == followed[:2]


def test_values_stay_the_text_that_they_are(tmp_path: Path) -> None:
    values = [
        "1",
        "01",
        "1e5",
        " x ",
        "true",
        "NA",
        "null",
        "NaN",
        "-0",
        "2024-01-01",
        "ünï\U0001f600",
        "\x00",
        "5' 6",
        "#",
    ]

    content = "a,b\n" + "".join(f"{value},x\n" for value in values)

    assert [row["a"] for row in read(tmp_path, content).to_dicts()] == values


def test_declared_nulls_are_null_only_without_quotes(tmp_path: Path) -> None:
    assert rows(tmp_path, 'a,b\nNA,"NA"\n-,\n', nulls=("NA", "-")) == [
        {"a": None, "b": "NA"},
        {"a": None, "b": ""},
    ]


def test_line_ends_and_delimiters_within_quotes_belong_to_the_value(tmp_path: Path) -> None:
    assert rows(tmp_path, 'a,b\n"1\n2","3,\r\n4"\n"5\r","""6"""\n') == [
        {"a": "1\n2", "b": "3,\r\n4"},
        {"a": "5\r", "b": '"6"'},
    ]


def test_a_quote_in_the_middle_of_an_unquoted_field_is_a_character(tmp_path: Path) -> None:
    assert rows(tmp_path, 'a,b\n5" pipe,6"\na"b"c,"5"" pipe"\n') == [
        {"a": '5" pipe', "b": '6"'},
        {"a": 'a"b"c', "b": '5" pipe'},
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [0, 1])
def test_every_kind_of_line_end_parts_records(tmp_path: Path, end: str, last: int) -> None:
    content = end.join(["a,b", "1,2", "", "3,4"]) + end * last

    assert rows(tmp_path, content) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_a_blank_line_is_a_null_where_there_is_one_column_and_no_row_elsewhere(tmp_path: Path) -> None:
    assert rows(tmp_path, "a\n\n1\n\n") == [{"a": None}, {"a": "1"}, {"a": None}]
    assert rows(tmp_path, "\n\na,b\n\n1,2\n\n\n") == [{"a": "1", "b": "2"}]


def test_an_escape_takes_the_meaning_from_what_stands_behind_it(tmp_path: Path) -> None:
    content = 'a\tb\nx\\\ty\t"q\\"q""q"\n\\N\t\\\\N\nz\\\n\\z\t"\\\\"\n'

    assert rows(tmp_path, content, delimiter="\t", escape="\\", nulls=("\\N",)) == [
        {"a": "x\ty", "b": 'q"q"q'},
        {"a": None, "b": "\\N"},
        {"a": "z\nz", "b": "\\"},
    ]


def test_without_quotes_a_quote_is_a_character_everywhere(tmp_path: Path) -> None:
    assert rows(tmp_path, 'a|b\n"x|"y"\n', delimiter="|", quote=None) == [{"a": '"x', "b": '"y"'}]


# ---- names ------------------------------------------------------------------------------------------------------------------


def test_names_are_taken_as_they_are(tmp_path: Path) -> None:
    names = [" a ", "Größe (m²)", "", "select", "a.b", "1", "x\ny", 'q"q', "a,b"]
    header = io.StringIO()
    csv.writer(header).writerow(names)

    assert read(tmp_path, header.getvalue() + ",".join("123456789") + "\n").columns == names


def test_a_file_without_header_has_the_declared_names_or_the_contract_s(tmp_path: Path) -> None:
    assert rows(tmp_path, "1,2\n", header=False) == [{"p": "1", "q": "2"}]
    assert rows(tmp_path, "1,2\n", header=False, columns=("y", "z")) == [{"y": "1", "z": "2"}]
    assert rows(tmp_path, "a,a\n1,2\n", columns=("y", "z")) == [{"y": "1", "z": "2"}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_before_the_header_are_skipped(tmp_path: Path, end: str) -> None:
    content = end.join(['a report of "something', "", "a,b", "1,2"])

    assert rows(tmp_path, content, skip_lines=2) == [{"a": "1", "b": "2"}]
    assert rows(tmp_path, content, skip_lines=3, header=False) == [{"p": "1", "q": "2"}]
    assert rows(tmp_path, content, skip_lines=9, header=False) == []


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("a,b,a", "columns 1 and 3 are both named 'a'"),
        ("a,rowledger fault", "no column can be named 'rowledger fault'"),
        ("a,b\0", "no column can be named 'b\\x00'"),
        ('a,"b', "the header has an opening quote without a closing one"),
        ("a,\udcff", "the header does not decode as utf-8"),
        ("", "has no header"),
        (",".join(f"c{n}" for n in range(1601)), "1,601 columns, 1,600 are allowed"),
    ],
)
def test_a_header_that_cannot_be_is_named(tmp_path: Path, header: str, reason: str) -> None:
    with pytest.raises(SourceError, match=rf"x\.csv: {re.escape(reason)}|x\.csv: .*{re.escape(reason)}"):
        read(tmp_path, header.encode("utf-8", "surrogateescape") + b"\n")


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("header", ["p{0}q", '"P"{0}"Q"', "other{0}q"])
def test_a_header_that_fits_with_another_delimiter_asks_for_it(tmp_path: Path, header: str, delimiter: str) -> None:
    header = header.format(delimiter)
    with pytest.raises(SourceError) as caught:
        rows(tmp_path, f"{header}\n1{delimiter}2\n")

    assert f"has no expected column with the delimiter ','; is the delimiter {delimiter!r}?" in str(caught.value)
    assert f"Declare CsvFiles(delimiter={delimiter!r})" in str(caught.value)
    assert len(rows(tmp_path, f"{header}\n1{delimiter}2\n", delimiter=delimiter)) == 1


def test_a_damaged_header_does_not_ask_for_the_delimiter_that_it_has(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the header has a carriage return outside of quotes that ends no line"):
        rows(tmp_path, "title\np,q\rr\n1,2\n", skip_lines=1)


def test_a_header_that_fits_no_better_with_another_delimiter_is_taken_as_it_is(tmp_path: Path) -> None:
    assert rows(tmp_path, "a;b\n1\n") == [{"a;b": "1"}]
    assert rows(tmp_path, "p,a;q\n1,2\n") == [{"p": "1", "a;q": "2"}]
    with pytest.raises(SourceError, match=r"no expected column with the delimiter ';'; is the delimiter ','\?"):
        rows(tmp_path, "p,x;y,q\n1,2\n", delimiter=";")


def test_declared_columns_that_are_not_the_header_s_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the header has 3 names, 2 columns are declared"):
        read(tmp_path, "a,b,c\n1,2,3\n", columns=("a", "b"))


def test_a_header_without_rows_is_an_empty_table(tmp_path: Path) -> None:
    assert chunks(tmp_path, b"a,b\n") == []
    assert chunks(tmp_path, b"a,b") == []


# ---- faults -----------------------------------------------------------------------------------------------------------------


def test_a_record_with_other_than_the_header_s_fields_is_a_fault(tmp_path: Path) -> None:
    assert rows(tmp_path, 'a,b\n1,2,3\n1\n1,"2\n2",3\n1,2\n') == [
        ("has 3 fields, the header has 2", b"1,2,3"),
        ("has 1 field, the header has 2", b"1"),
        ("has 3 fields, the header has 2", b'1,"2\n2",3'),
        {"a": "1", "b": "2"},
    ]
    assert rows(tmp_path, "1\n", header=False) == [("has 1 field, declared are 2", b"1")]


def test_missing_fields_at_the_end_are_filled_up_where_that_is_declared(tmp_path: Path) -> None:
    assert rows(tmp_path, "a,b,c\n1\n1,\n1,2,3\n1,2,3,4\n", ragged="fill") == [
        {"a": "1", "b": None, "c": None, f"{ABSENT_PREFIX}b": True, f"{ABSENT_PREFIX}c": True},
        {"a": "1", "b": None, "c": None, f"{ABSENT_PREFIX}b": False, f"{ABSENT_PREFIX}c": True},
        {"a": "1", "b": "2", "c": "3", f"{ABSENT_PREFIX}b": False, f"{ABSENT_PREFIX}c": False},
        ("has 4 fields, the header has 3", b"1,2,3,4"),
    ]


def test_a_carriage_return_alone_is_neither_a_line_end_nor_a_value_where_lines_end_otherwise(tmp_path: Path) -> None:
    assert rows(tmp_path, 'a,b\n1\r2,3\r\n4,5\r6\n"7\r8",9\n"7\r8"\r,9\n10,"11"\n12,13\r') == [
        (LONE_CR, b"1\r2,3"),
        (LONE_CR, b"4,5\r6"),
        {"a": "7\r8", "b": "9"},
        (LONE_CR, b'"7\r8"\r,9'),
        {"a": "10", "b": "11"},
        {"a": "12", "b": "13"},
    ]


@pytest.mark.parametrize(
    ("damaged", "faults"),
    [
        ('1,"2', [(UNCLOSED, b'1,"2')]),
        ('1,"2\n3,4\n5,"6"', [(UNCLOSED, b'1,"2'), {"a": "3", "b": "4"}, {"a": "5", "b": "6"}]),
        ('1,"2\n3,""\n5,"6"', [(UNCLOSED, b'1,"2'), {"a": "3", "b": ""}, {"a": "5", "b": "6"}]),
        ('1,"2"x', [(INNER_QUOTE, b'1,"2"x')]),
        ('1,"say "hi" now"', [(INNER_QUOTE, b'1,"say "hi" now"')]),
        ('1,"one\nsay "hi" now\nthree"', [(INNER_QUOTE, b'1,"one\nsay "hi" now\nthree"')]),
        ('"x"y,2\n"3","4"', [(INNER_QUOTE, b'"x"y,2'), {"a": "3", "b": "4"}]),
        ('1,2""', [{"a": "1", "b": '2""'}]),
        ('1,5""x\n2",3', [{"a": "1", "b": '5""x'}, {"a": '2"', "b": "3"}]),
        ('1, "2"', [{"a": "1", "b": ' "2"'}]),
    ],
)
def test_quotes_out_of_order_cost_the_record_and_not_its_neighbours(
    tmp_path: Path, damaged: str, faults: list[object]
) -> None:
    before, behind = '0,"0"\n', '\n8,"8"\n9,"nine\n"\n'

    found = rows(tmp_path, "a,b\n" + before + damaged + behind)

    assert found == [{"a": "0", "b": "0"}, *faults, {"a": "8", "b": "8"}, {"a": "9", "b": "nine\n"}]


def test_an_unclosed_quote_costs_one_line_however_much_follows(tmp_path: Path) -> None:
    content = 'a,b\n1,"2\n' + "".join(f"{n},x\n" for n in range(5000))

    found = rows(tmp_path, content, record_bytes_max=1024)

    assert found[0] == (UNCLOSED, b'1,"2')
    assert len(found) == 5001
    assert found[-1] == {"a": "4999", "b": "x"}


def test_bytes_that_do_not_decode_cost_their_record(tmp_path: Path) -> None:
    content = b'a,b\n1,2\n\xe4,"x\ny"\n3,\xff\n\xc3,\xc3\xa4\n4,\xc3\xa4\n'

    assert rows(tmp_path, content) == [
        {"a": "1", "b": "2"},
        ("has bytes that are no utf-8", b'\xe4,"x\ny"'),
        ("has bytes that are no utf-8", b"3,\xff"),
        ("has bytes that are no utf-8", b"\xc3,\xc3\xa4"),
        {"a": "4", "b": "ä"},
    ]


# ---- encodings and compression ----------------------------------------------------------------------------------------------

TEXT = 'name,"note, long"\nMüller,"zwei\nZeilen"\nSorén,\n'
ROWS = [{"name": "Müller", "note, long": "zwei\nZeilen"}, {"name": "Sorén", "note, long": None}]


@pytest.mark.parametrize(
    "encoding",
    [
        "utf-8",
        "UTF8",
        "utf-8-sig",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "latin-1",
        "cp1252",
        "mac_roman",
        "cp437",
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 7, 2**20])
def test_text_is_decoded_by_its_encoding_wherever_a_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, block_bytes: int
) -> None:
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)

    assert rows(tmp_path, TEXT.encode(encoding), encoding=encoding) == ROWS


@pytest.mark.parametrize("encoding", ["shift_jis", "gb18030", "big5", "euc_jp"])
def test_bytes_of_wide_characters_are_no_delimiters(tmp_path: Path, encoding: str) -> None:
    value = "表日本語ソ"  # in Shift JIS two of them end with the byte of a backslash
    content = f"a|b\n{value[1:4]}|x\n" if encoding == "big5" else f"a|b\n{value}|x\n"

    (row,) = read(tmp_path, content.encode(encoding, "ignore"), encoding=encoding, delimiter="|").to_dicts()

    assert row["a"] == content.encode(encoding, "ignore").decode(encoding).split("\n")[1].split("|")[0]


@pytest.mark.parametrize("mark_and_encoding", [("\ufeff", "utf-8"), ("\ufeff", "utf-16-be"), ("\ufeff", "utf-32-le")])
def test_the_mark_of_the_byte_order_is_no_part_of_a_name(tmp_path: Path, mark_and_encoding: tuple[str, str]) -> None:
    mark, encoding = mark_and_encoding

    assert rows(tmp_path, (mark + TEXT).encode(encoding), encoding=encoding) == ROWS


@pytest.mark.parametrize(
    ("encoding", "content", "line"),
    [
        ("cp1252", b"a,b\n1,\x81\n2,\x80\n", b"1,\x81"),
        ("utf-16-le", "a,b\n1,".encode("utf-16-le") + b"\x00\xd8" + "\n2,€\n".encode("utf-16-le"), b"1\x00,\x00\x00\xd8"),
        ("utf-16-be", "a,b\n1,".encode("utf-16-be") + b"\xd8\x00" + "\n2,€\n".encode("utf-16-be"), b"\x001\x00,\xd8\x00"),
        ("shift_jis", b"a,b\n1,\x81\xff\n2,\x83\x5c\n", b"1,\x81\xff"),
    ],
)  # fmt: skip
def test_a_record_that_does_not_decode_is_kept_as_the_bytes_that_the_file_has(
    tmp_path: Path, encoding: str, content: bytes, line: bytes
) -> None:
    fault, row = rows(tmp_path, content, encoding=encoding)

    assert fault == (f"has bytes that are no {encoding}", line)
    assert isinstance(row, dict)
    assert row["a"] == "2"


def test_a_ragged_record_of_another_encoding_is_kept_as_text(tmp_path: Path) -> None:
    assert rows(tmp_path, "a,b\nä\n".encode("utf-16"), encoding="utf-16") == [
        ("has 1 field, the header has 2", "ä".encode())
    ]


def test_half_a_character_at_the_end_is_a_fault(tmp_path: Path) -> None:
    assert rows(tmp_path, "a,b\n1,2\n3,x".encode("utf-16-le") + b"y", encoding="utf-16-le")[1] == (
        "has bytes that are no utf-16-le",
        "3,x".encode("utf-16-le") + b"y",
    )


def test_utf_16_that_is_not_declared_is_named_by_its_mark(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="declare encoding='utf-16'"):
        read(tmp_path, TEXT.encode("utf-16"))


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("codec", COMPRESSORS)
@pytest.mark.parametrize(
    ("name", "options"), [("x.csv.gz", {}), ("x.CSV.ZST", {}), ("x.csv", {}), ("x", {"compression": None})]
)
def test_compressed_files_are_told_by_their_ending_or_first_bytes_or_as_declared(
    tmp_path: Path, codec: str, name: str, options: dict[str, Any]
) -> None:
    if ("gz" in name and codec != "gzip") or ("ZST" in name and codec != "zstd"):
        name = "other.csv"
    options = {"compression": codec} if options else {}
    content = COMPRESSORS[codec](TEXT.encode()[:20]) + COMPRESSORS[codec](TEXT.encode()[20:])  # two members

    assert rows(tmp_path, content, name=name, **options) == ROWS


def test_a_file_packed_in_another_way_is_named(tmp_path: Path) -> None:
    for pack, kind in ((bz2.compress, "bzip2"), (lzma.compress, "xz"), (lambda c: b"PK\x03\x04" + c, "a zip archive")):
        with pytest.raises(SourceError, match=rf"x\.csv: is .*{kind}; unpack it"):
            read(tmp_path, pack(TEXT.encode()))


@pytest.mark.parametrize("codec", COMPRESSORS)
def test_a_compressed_file_that_is_cut_off_or_damaged_fails_as_a_whole(tmp_path: Path, codec: str) -> None:
    numbers = random.Random(1)
    whole = COMPRESSORS[codec](b"a,b\n" + b"".join(b"%d,x\n" % numbers.randrange(10**9) for _ in range(20_000)))
    name = {"gzip": "x.csv.gz", "zstd": "x.csv.zst"}[codec]
    for broken in [whole[:-1], whole[: len(whole) // 2], b"", whole + b"more", b"a,b\n1,2\n"]:
        with pytest.raises(SourceError, match=r"cannot be decompressed|empty"):
            read(tmp_path, broken, name=name)


def test_gzip_whose_content_is_not_that_of_its_checksum_fails_as_a_whole(tmp_path: Path) -> None:
    whole = gzip.compress(TEXT.encode())
    for place in (-5, -1):  # the last bytes of checksum and size
        damaged = bytearray(whole)
        damaged[place] ^= 1
        with pytest.raises(SourceError, match="cannot be decompressed"):
            read(tmp_path, bytes(damaged), name="x.csv.gz")


def test_a_gzip_header_without_an_end_is_damage(tmp_path: Path) -> None:
    named, name = 0x08, b"n" * 2**20
    header = bytes([0x1F, 0x8B, 0x08, named, 0, 0, 0, 0, 0, 0xFF])
    with pytest.raises(SourceError, match="cannot be decompressed"):
        read(tmp_path, header + name, name="x.csv.gz")


def test_zeros_that_fill_up_a_gzip_file_are_no_data(tmp_path: Path) -> None:
    assert rows(tmp_path, gzip.compress(TEXT.encode()) + b"\0" * 512, name="x.csv.gz") == ROWS


# ---- limits -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"a,b\n" + b"x" * 3000, b"a,b\n1," + b"x" * 3000 + b"\n2,3\n", b"\x00" * 9000])
@pytest.mark.parametrize("block_bytes", [100, 2**20])
def test_a_record_over_its_limit_is_refused_with_file_and_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, block_bytes: int
) -> None:
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)

    with pytest.raises(SourceError, match=r"x\.csv: a record of [0-9,]+ bytes or more, 2,000 are allowed"):
        read(tmp_path, content, record_bytes_max=2000)


@pytest.mark.parametrize("codec", COMPRESSORS)
def test_a_file_that_expands_without_end_is_refused_before_it_is_read(tmp_path: Path, codec: str) -> None:
    bomb = COMPRESSORS[codec](b"a,b\n" + (b"1," + b"x" * 2**16 + b"\n") * 2**9)

    with pytest.raises(SourceError, match=r"x\.csv: [0-9,]+ bytes out of [0-9,]+ compressed ones, .* may become 100"):
        read(tmp_path, bomb, expansion_max=100)


def test_a_small_file_may_expand_as_it_likes(tmp_path: Path) -> None:
    assert read(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 10_000), expansion_max=1).height == 10_000


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ",,"}, {"delimiter": "é"}, {"delimiter": "\n"}, {"quote": ","}, {"escape": '"'}, {"encoding": "rot13"},
        {"encoding": "nope"}, {"encoding": "utf-7"}, {"columns": ("a", "a")}, {"compression": "rar"}, {"record_bytes_max": 1},
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused_when_the_spec_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CsvFiles(path="x.csv", **options)


# ---- chunks -----------------------------------------------------------------------------------------------------------------


def test_chunks_name_where_their_rows_came_from_and_the_same_file_gives_the_same_digests(tmp_path: Path) -> None:
    content = b"a,b\n" + b"".join(b"%d,x\n" % n if n % 7 else b"%d\n" % n for n in range(50))

    first = chunks(tmp_path, content, chunk_rows_max=20)
    again = chunks(tmp_path, content, chunk_rows_max=20)

    assert [(d.rows, d.origin_row, d.origin) for d in first] == [
        (20, 0, str(tmp_path / "x.csv")),
        (20, 20, str(tmp_path / "x.csv")),
        (10, 40, str(tmp_path / "x.csv")),
    ]
    assert [d.file_digest for d in first] == [d.file_digest for d in again]


def test_each_file_has_its_own_header(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("b,c\n3,4\n5,6")
    source = CsvFiles(path=str(tmp_path / "?.csv"))

    found = list(source.chunks(Partition(key="all"), SourceContext(tmp_path, tmp_path, 10)))

    assert [source.read(d).to_dicts() for d in found] == [
        [{"a": "1", "b": "2"}],
        [{"b": "3", "c": "4"}, {"b": "5", "c": "6"}],
    ]
    assert [d.origin_row for d in found] == [0, 0]


def test_a_file_that_grows_while_it_is_read_fails(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n")
    source = CsvFiles(path=str(file))
    found = source.chunks(Partition(key="all"), SourceContext(tmp_path, tmp_path, 1))
    next(found)
    file.write_text("a,b\n1,2\n3,4\n")

    with pytest.raises(SourceError, match="changed while it was read"):
        list(found)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")

    with pytest.raises(SourceError, match="not a regular file"):
        list(CsvFiles(path=str(tmp_path / "x.csv")).chunks(Partition(key="all"), SourceContext(tmp_path, tmp_path, 1)))


# ---- against Python's csv module, and against all bytes ---------------------------------------------------------------------

VALUES = st.text(st.sampled_from("ab ,;\"'\\\n\r\t\x00é\U0001f600"), max_size=6)


@SETTINGS
@given(
    table=st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(VALUES, min_size=n, max_size=n), max_size=6)),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_MINIMAL]),
    escape=st.sampled_from([None, "\\"]),
    encoding=st.sampled_from(["utf-8", "utf-16", "gb18030"]),
    block_bytes=st.sampled_from([3, 50, 2**20]),
)
def test_any_table_written_by_python_comes_back_equal(
    tmp_path: Path,
    table: list[list[str]],
    delimiter: str,
    line_end: str,
    quoting: Any,
    escape: str | None,
    encoding: str,
    block_bytes: int,
) -> None:
    if line_end == "\r" or any("\r" in value for row in table for value in row):
        quoting = csv.QUOTE_ALL  # or else the writer takes care of no line end but its own
    width = len(table[0]) if table else 2
    names = tuple(f"c{n}" for n in range(width))
    written = io.StringIO(newline="")
    dialect = {"doublequote": escape is None, "escapechar": escape}
    writer = csv.writer(written, delimiter=delimiter, lineterminator=line_end, quoting=quoting, **dialect)
    writer.writerows([names, *table])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)
        frame = read(
            tmp_path,
            written.getvalue().encode(encoding),
            delimiter=delimiter,
            escape=escape,
            encoding=encoding,
            nulls=(),
        )

    assert [list(row) for row in frame.rows()] == table


DIALECT = Dialect(ord(","), ord('"'), None)
ESCAPING = Dialect(ord(","), ord('"'), ord("\\"))
LF_ALONE = Dialect(ord(","), ord('"'), None, cr_ends_lines=False)
PIECES = st.lists(
    st.sampled_from([b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b"bc", b" ", b"\\", b"\xff", b"\x00"]), max_size=24
)


@SETTINGS
@given(pieces=PIECES)
@example(pieces=[b'"a"b'])
@example(pieces=[b"a", b'""', b",", b'"'])
def test_what_python_reads_without_complaint_is_read_the_same(tmp_path: Path, pieces: list[bytes]) -> None:
    body = b"".join(piece for piece in pieces if piece not in {b"\xff", b"\\"}).decode()
    try:
        expected = [record for record in csv.reader(io.StringIO(body, newline=""), strict=True) if record]
    except csv.Error:
        return

    if "\r" in body and body.startswith("\n"):
        return  # it would end the header's line together with the CR
    found = rows(tmp_path, "a,b\r" + body if "\r" in body else "a,b\n" + body, nulls=())

    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        if isinstance(ours, tuple):
            assert ours[0] == f"has {len(theirs)} field{'s' * (len(theirs) != 1)}, the header has 2"
        else:
            assert list(ours.values()) == theirs


@SETTINGS
@given(pieces=PIECES, dialect=st.sampled_from([DIALECT, ESCAPING, LF_ALONE]))
def test_every_byte_is_in_one_record_or_ends_one(pieces: list[bytes], dialect: Dialect) -> None:
    text = b"".join(pieces)

    records = split(text, dialect, record_bytes_max=1024)

    assert records.consumed == len(text)
    begins = [*records.starts.tolist(), len(text)]
    assert begins[0] == 0
    for end, following in zip(records.ends.tolist(), begins[1:], strict=True):
        assert text[end:following] in {b"\n", b"\r\n", b"\r"} or (text[end:following] == b"" and following == len(text))
    assert all(start <= end for start, end in zip(begins, records.ends.tolist(), strict=False))


RECORDS = st.sampled_from(
    [
        "1,2\n",
        '"3","4"\n',
        '5,"6\n7"\n',
        '"8""9",\n',
        '1" pipe,2"\n',
        "ragged\n",
        '"a"b,c\n',
        'x,"open\n',
        'y,""z""\n',
        "\n",
    ]
)


@settings(SETTINGS, max_examples=300)
@given(
    content=st.one_of(
        st.text('",a\n\r', min_size=1, max_size=16),
        st.lists(RECORDS, min_size=1, max_size=9).map(lambda records: "".join(records * 12)),
    )
)
@example(content='a"b,c\n' + '5,"6\n7"\n' * 200)
def test_numpy_and_the_look_by_hand_agree(content: str) -> None:
    text = b'"' + content.encode()
    records = split(text, DIALECT, record_bytes_max=1024)
    ends = np.array([m.start() for m in re.finditer(rb"\r\n?|\n", text)], dtype=np.int64)
    nexts = np.array([m.end() for m in re.finditer(rb"\r\n?|\n", text)], dtype=np.int64)
    quoted = _Quoted(text, DIALECT, ends, nexts, final=True, record_bytes_max=1024)

    by_hand, start = [], 0
    while start < len(text):
        end, following, reason = quoted._by_hand(start) or (0, 0, None)
        by_hand.append((start, end, reason))
        start = following

    spans = zip(records.starts.tolist(), records.ends.tolist(), strict=True)
    assert [(start, end, records.damaged.get(start)) for start, end in spans] == by_hand


@SETTINGS
@given(pieces=PIECES, escape=st.sampled_from([None, "\\"]), block_bytes=st.integers(1, 9))
@example(pieces=[b"\r", b'"', b"\n", b'"', b"\n"], escape=None, block_bytes=2)
def test_where_a_block_ends_makes_no_difference(
    tmp_path: Path, pieces: list[bytes], escape: str | None, block_bytes: int
) -> None:
    content = b"a,b\n" + b"".join(pieces)
    whole = rows(tmp_path, content, escape=escape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)
        assert rows(tmp_path, content, escape=escape) == whole


@SETTINGS
@given(
    content=st.one_of(st.binary(max_size=60), PIECES.map(b"".join)),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32", "latin-1", "cp1252", "shift_jis", "gb18030", "utf-16-be"]),
    escape=st.sampled_from([None, "\\"]),
    ragged=st.sampled_from(["refuse", "fill"]),
)
def test_any_bytes_at_all_are_rows_and_faults_and_none_is_lost(
    tmp_path: Path, content: bytes, encoding: str, escape: str | None, ragged: Any
) -> None:
    try:
        frame = read(
            tmp_path, content, encoding=encoding, escape=escape, ragged=ragged, header=False, compression="none"
        )
    except SourceError:
        assert content[:2] in {b"\xff\xfe", b"\xfe\xff"}  # UTF-16 that is not declared
        return
    records = _nonblank_records(content, encoding, escape)
    assert frame.height == len(records)
    if FAULT in frame.columns:
        faulty = frame.filter(pl.col(FAULT).is_not_null())
        assert faulty.select("p", "q").null_count().row(0) == (faulty.height, faulty.height)
        assert faulty[LINE].null_count() == 0


def _nonblank_records(content: bytes, encoding: str, escape: str | None) -> list[bytes]:
    codec = text_reading._codec_of(encoding, content, text_reading.SourceFile(Path("x"), "x", "x"))
    text = b"".join(text_reading.decoded(iter([content]), codec))
    end = re.search(rb"\r\n?|\n", text)
    dialect = Dialect(
        ord(","), ord('"'), ord("\\") if escape else None, cr_ends_lines=end is not None and end[0] == b"\r"
    )
    records = split(text, dialect, record_bytes_max=1024)
    return [text[s:e] for s, e in zip(records.starts, records.ends, strict=True) if e > s]
