"""Each line of a file of JSON objects is a row with exactly the values that stand there, or a fault with the true reason."""

import gzip
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from rowledger.contract.decimal_texts import python_cells
from rowledger.errors import SourceError
from rowledger.sources import text_chunks, text_reading
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.marked_types import DECIMAL_TEXT, DYNAMIC, holds_decimal_texts
from rowledger.spec.partition import Partition
from rowledger.spec.source import ABSENT_PREFIX, FAULT, LINE, RESERVED_PREFIX, SourceContext

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
[JSON] = [field.name for field in DYNAMIC.fields]


def chunks(
    folder: Path,
    content: bytes,
    *,
    exact: bool = True,
    columns: tuple[str, ...] = (),
    rows_max: int = 1000,
    **options: Any,
) -> list[ChunkDescriptor]:
    (folder / "x.json").write_bytes(content)
    source = NdjsonFiles(path=str(folder / "x.json"), **options)
    scope = SourceContext(folder, folder, rows_max, columns=columns, exact_numbers=exact)
    return list(source.chunks(Partition(key="all"), scope))


def frames(folder: Path, content: bytes | str, **options: Any) -> list[pl.DataFrame]:
    descriptors = chunks(folder, content.encode() if isinstance(content, str) else content, **options)
    source = NdjsonFiles(
        path="x", **{name: options[name] for name in options.keys() & NdjsonFiles.model_fields.keys() - {"columns"}}
    )
    return [source.read(descriptor) for descriptor in descriptors]


def read(folder: Path, content: bytes | str, **options: Any) -> pl.DataFrame:
    (frame,) = frames(folder, content, **options)
    return frame


def objects(frame: pl.DataFrame) -> list[dict[str, Any] | tuple[str, bytes]]:
    """The objects as they stood in the file; a fault as its reason and its line."""
    return [
        (row[FAULT], row[LINE])
        if row.get(FAULT) is not None
        else {
            name: _value(value, frame.schema[name])
            for name, value in row.items()
            if not name.startswith(RESERVED_PREFIX) and not row.get(ABSENT_PREFIX + name)
        }
        for row in frame.to_dicts()
    ]


def _value(value: Any, dtype: pl.DataType) -> Any:
    if holds_decimal_texts(dtype):
        [value] = python_cells(pl.Series([value], dtype=dtype))
    if dtype == DYNAMIC and value is not None:
        return json.loads(value[JSON], parse_float=Decimal)
    return value


# ---- values -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ("1 -2 null", pl.Int64()),
        ("1 18446744073709551615", pl.UInt64()),
        ('"a" null ""', pl.String()),
        ("true false null", pl.Boolean()),
        ("null null", pl.Null()),
        ("1.50 2.00 -0.01", pl.Decimal(38, 2)),
        ("1.50 2 -0.001", DECIMAL_TEXT),
        ("[1] [] null", pl.List(pl.Int64())),
        ('{"x":1,"y":"a"} {"y":null,"x":2} null', pl.Struct({"x": pl.Int64(), "y": pl.String()})),
        ("1 true", DYNAMIC),
        ('1 "1"', DYNAMIC),
        ("1 18446744073709551616", DYNAMIC),
        ("1.5 1e400", DYNAMIC),
        ("[1] [true]", DYNAMIC),
        ('{"x":1} {"y":1}', DYNAMIC),
        ('{"x":1} {"x":1,"y":null}', DYNAMIC),
        ("{} {}", DYNAMIC),
        ('{"x":{"rowledger_json":1}} 7', DYNAMIC),
    ],
)
def test_a_column_has_the_one_type_that_its_values_have_or_keeps_each_as_it_is(
    tmp_path: Path, values: str, dtype: pl.DataType
) -> None:
    texts = values.split(" ")

    frame = read(tmp_path, "".join(f'{{"a":{text}}}\n' for text in texts))

    assert frame.schema == {"a": dtype}
    assert [row["a"] for row in objects(frame)] == [json.loads(text, parse_float=Decimal) for text in texts]  # type: ignore[call-overload]


def test_a_missing_key_is_no_null(tmp_path: Path) -> None:
    frame = read(tmp_path, '{"a":1}\n{"b":null}\n{"a":null,"b":2}\n{}\n')

    assert objects(frame) == [{"a": 1}, {"b": None}, {"a": None, "b": 2}, {}]


def test_a_column_of_the_contract_that_no_line_has_is_missing(tmp_path: Path) -> None:
    frame = read(tmp_path, '{"a":1}\n', columns=("b", "a"))

    assert frame.columns == ["b", f"{ABSENT_PREFIX}b", "a"]
    assert objects(frame) == [{"a": 1}]


def test_numbers_are_doubles_where_no_more_digits_are_wanted_but_never_infinite(tmp_path: Path) -> None:
    frame = read(
        tmp_path, '{"a":0.1,"b":1.5,"c":1.5,"d":-0.0}\n{"a":2,"b":1e400,"c":9007199254740993,"d":null}\n', exact=False
    )

    assert dict(frame.schema) == {"a": pl.Float64(), "b": DYNAMIC, "c": DYNAMIC, "d": pl.Float64()}
    assert frame["a"].to_list() == [0.1, 2.0]
    assert frame["b"].to_list()[1] == {JSON: "1E+400"}
    assert math.copysign(1, frame["d"][0]) == -1


def test_all_digits_of_a_number_are_kept_where_they_are_wanted(tmp_path: Path) -> None:
    texts = ["12345678901234567890.123456789012345678", "0.000000000000000001", "-7"]

    frame = read(tmp_path, "".join(f'{{"a":{text}}}\n' for text in texts))

    assert [row["a"] for row in objects(frame)] == [Decimal(text) for text in texts]  # type: ignore[call-overload]


def test_odd_keys_are_columns(tmp_path: Path) -> None:
    names = ["", " ", "a.b", "größe", "select", "a\nb", "\U0001f600"]

    assert read(tmp_path, json.dumps(dict.fromkeys(names, 1))).columns == names


# ---- lines ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a":1', "is no JSON: EOF while parsing an object at byte 6; wanted is one object a line"),
        (b"{", "is no JSON: EOF while parsing an object at byte 1; wanted is one object a line"),
        (b"[", "is no JSON: EOF while parsing a list at byte 1; wanted is one object a line"),
        (b'{"a":1}x', "is no JSON: trailing characters at byte 8"),
        (b'{"a":1}{"a":2}', "is no JSON: trailing characters at byte 8"),
        (b'{"a":NaN}', "is no JSON: expected value at byte 6"),
        (b'{"a":-Infinity}', "is no JSON: invalid number at byte 7"),
        (b"{'a':1}", "is no JSON: key must be a string at byte 2"),
        (b'{"a":01}', "is no JSON: invalid number at byte 7"),
        (b'{"a":"\\ud800"}', "is no JSON: unexpected end of hex escape at byte 13"),
        (b'{"a":"\t"}', "is no JSON: control character"),
        (b'{"a":"canary","b":1,"a":2}', "has a key twice at byte 25"),
        (b'{"a":{"b":1,"b":1}}', "has a key twice at byte 17"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "is nested too deep at byte"),
        (b'{"a":1' + b"0" * 5000 + b"}", "is no JSON: number out of range"),
        (b'{"a":"\xff"}', "has bytes that are no utf-8"),
        (b'{"a":"\xed\xa0\x80"}', "has bytes that are no utf-8"),
        (b"[1]", "is a list and no object; wanted is one object a line"),
        (b'"canary"', "is a text and no object"),
        (b"1", "is a number and no object"),
        (b"1.5", "is a number and no object"),
        (b"true", "is a Boolean and no object"),
        (b"null", "is null and no object"),
        (b'{"rowledger fault":"x"}', "has a key that begins with 'rowledger '"),
        (b'{"\\u0000":"x"}', "has a key that begins with 'rowledger ' or has a NUL in it"),
        (b"\xef\xbb\xbf{}", "is no JSON: expected value at byte 1"),
    ],
)
def test_a_line_that_is_no_object_is_a_fault_and_its_neighbours_are_rows(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    before, fault, behind = objects(read(tmp_path, b'{"n":1}\n' + line + b'\n{"n":2}\n'))

    assert (before, behind) == ({"n": 1}, {"n": 2})
    assert isinstance(fault, tuple)
    assert fault[0].startswith(reason)
    assert fault[1] == line
    assert "canary" not in fault[0]


def test_a_fault_has_no_values_and_lacks_nothing(tmp_path: Path) -> None:
    frame = read(tmp_path, '{"a":1,"b":2}\nx\n{"a":3}\n')

    assert frame.to_dicts()[1] == {
        "a": None, "b": None, f"{ABSENT_PREFIX}b": False, FAULT: "is no JSON: expected value at byte 1", LINE: b"x"
    }  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [0, 1])
def test_blank_lines_and_kinds_of_line_ends_make_no_rows(tmp_path: Path, end: str, last: int) -> None:
    content = end.join(["", '{"a":1}', "", " \t", ' {"a" : 2} ']) + end * last

    assert objects(read(tmp_path, content)) == [{"a": 1}, {"a": 2}]


def test_a_file_without_lines_is_an_empty_table(tmp_path: Path) -> None:
    assert chunks(tmp_path, b"") == []
    assert chunks(tmp_path, b"\n\n") == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
def test_other_encodings_and_compression_serve_as_well(tmp_path: Path, encoding: str) -> None:
    content = gzip.compress('{"ä":"ö"}\n{"ä":"ü"}'.encode(encoding))

    assert objects(read(tmp_path, content, encoding=encoding)) == [{"ä": "ö"}, {"ä": "ü"}]


# ---- limits and chunks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b'{"a":"' + b"x" * 3000, b'{"a":"' + b"x" * 3000 + b'"}\n{}\n', b"\x00" * 9000])
@pytest.mark.parametrize("block_bytes", [100, 2**20])
def test_a_line_over_its_limit_is_refused_with_file_and_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, block_bytes: int
) -> None:
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)

    with pytest.raises(SourceError, match=r"x\.json: a record of [0-9,]+ bytes or more, 2,000 are allowed"):
        chunks(tmp_path, content, record_bytes_max=2000)


def test_keys_without_end_are_refused_with_file_and_limit(tmp_path: Path) -> None:
    content = "".join(f'{{"key {n}":1}}\n' for n in range(50))

    with pytest.raises(SourceError, match=r"x\.json: the rows have more than 40 columns.*from row 0 on"):
        frames(tmp_path, content, columns_max=40)


@pytest.mark.parametrize(
    ("rows_max", "dtypes"), [(20, [pl.Int64(), pl.String()]), (30, [DYNAMIC, pl.String()]), (40, [DYNAMIC])]
)
def test_a_column_has_the_type_of_its_values_in_one_chunk(
    tmp_path: Path, rows_max: int, dtypes: list[pl.DataType]
) -> None:
    found = frames(tmp_path, b'{"a":1}\n' * 20 + b'{"a":"x"}\n' * 20, rows_max=rows_max)

    assert [frame.schema["a"] for frame in found] == dtypes
    assert [row["a"] for frame in found for row in objects(frame)] == [1] * 20 + ["x"] * 20


# ---- against Python's json module, and against all bytes --------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-9, 9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.5, 2.25]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4))
NESTED = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("xy"), v, max_size=2), max_leaves=4
)
VALUES = st.one_of(SCALARS, NESTED, st.integers(-5, 5), st.sampled_from([{"x": 1, "y": "a"}, [1, 2], [[0.5]]]))


@SETTINGS
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(["a", "b", ""]), VALUES, max_size=3), max_size=6),
    spaced=st.integers(0, 1),
)
@example(rows=[{"a": 1}, {"a": 0.5}], spaced=0)
@example(rows=[{"a": {"x": 1}}, {"a": {"x": 0.5}}], spaced=0)
def test_any_objects_written_by_python_come_back_equal(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    spaced: int,
) -> None:
    content = "\n".join(
        json.dumps(row, ensure_ascii=bool(spaced), separators=(", ", ": ") if spaced else (",", ":")) for row in rows
    )
    expected = [json.loads(json.dumps(row), parse_float=Decimal) for row in rows]

    found = [row for frame in frames(tmp_path, content) for row in objects(frame)]

    assert found == expected
    for ours, theirs in zip(found, expected, strict=True):
        assert {k: type(v) is bool for k, v in ours.items()} == {k: type(v) is bool for k, v in theirs.items()}  # type: ignore[union-attr]


PIECES = st.lists(
    st.sampled_from(
        [b'{"a":', b"}", b'"', b"1", b"-", b".5", b"e9", b"[", b"]", b"{", b",", b":", b"\n", b"\r", b" ", b"null", b"{}",
         b"true", b"\xff", b"\\u", b"d800", b"\x00"]
    ),
    max_size=20,
)  # fmt: skip  # fmt: skip


@SETTINGS
@given(
    content=st.one_of(PIECES.map(b"".join), st.binary(max_size=40)),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "latin-1", "utf-32"]),
    block_bytes=st.sampled_from([1, 5, 2**20]),
    exact=st.booleans(),
)
def test_any_bytes_at_all_are_rows_and_faults_and_none_is_lost(
    tmp_path: Path,
    content: bytes,
    encoding: str,
    block_bytes: int,
    exact: bool,  # noqa: FBT001, as above
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)
        try:
            found = frames(tmp_path, content, encoding=encoding, exact=exact, compression="none")
        except SourceError as error:
            refused: str | None = str(error)
        else:
            refused = None
    if refused is not None:  # UTF-16 that is not declared, or JSON in another form than by lines
        assert content[:2] in {b"\xff\xfe", b"\xfe\xff"} or "declare JsonFiles" in refused
        return
    codec = text_reading._codec_of(encoding, content, text_reading.SourceFile(Path("x"), "x", "x"))
    text = b"".join(text_reading.decoded(iter([content]), codec))
    assert sum(frame.height for frame in found) == sum(bool(line.strip(b" \t\r")) for line in text.split(b"\n"))


@pytest.mark.parametrize(("line", "rows"), [(b'{"key":"0123456789"}\n', 28), (b'{"key":["01234567"]}\n', 9)])
@pytest.mark.parametrize("block_bytes", [7, 1_000_000])
def test_a_chunk_has_more_text_where_lines_are_flat_than_where_they_are_nested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, rows: int, block_bytes: int
) -> None:
    monkeypatch.setattr(text_chunks, "_CHUNK_TEXT_BYTES_MAX", 300)
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)
    assert [chunk.rows for chunk in chunks(tmp_path, b"\n" + line * 60)][:2] == [rows, rows]
