"""Lines of JSON that are read in columns give the frame that they give when each line is parsed by itself."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from rowledger.sources import json_cells
from rowledger.sources.json_frames import JsonFrames
from rowledger.spec.manifest import TextRange
from rowledger.spec.source import FAULT

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)


def builder(*, exact: bool = True, documents: tuple[str, ...] = (), columns: tuple[str, ...] = ()) -> JsonFrames:
    facts = TextRange(offset=0, length=0, columns=columns, exact_numbers=exact, documents=documents)
    return JsonFrames(facts, encoding="utf-8", columns_max=1600, wanted="; wanted are objects")


def in_columns(lines: Sequence[bytes], **options: Any) -> pl.DataFrame:
    return builder(**options).frame_of_lines(b"".join(line + b"\n" for line in lines))


def one_by_one(lines: Sequence[bytes], **options: Any) -> pl.DataFrame:
    parser = builder(**options)
    return parser.frame([parser.parse(line) for line in lines if line.strip(b" \t\r")])


def contents(frame: pl.DataFrame) -> list[tuple[str, pl.DataType, str]]:
    """All that a frame holds; texts of values tell 0.0 from -0.0."""
    return [(column.name, column.dtype, repr(column.to_list())) for column in frame.get_columns()]


NUMBERS = st.one_of(
    st.integers(-9, 9).map(str),
    st.decimals(-99, 99, places=2).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        [
            "-0",
            "-0.0",
            "0.10",
            "1e5",
            "1E-7",
            "1e400",
            "1e-400",
            "0.1000000000000000055",
            "9007199254740993",
            "9223372036854775808",
            "-9223372036854775809",
            "12345678901234567890.12345678901234567890",
            "1234567890123456.7",
            "01",
            "1.",
            "-",
            ".5",
            "+1",
            "NaN",
            "1_0",
            "1,2",
            "-01",
            "00",
        ]
    ),
)
ESCAPED = [r'"\u00e9"', r'"\"q\""', r'"\\"', r'"\u0000"', r'"\ud800"', r'"\x"', r'"\"', r'"a"b"', r"'a'", r'"']
TEXTS = st.sampled_from(
    [
        *ESCAPED,
        *['""', '"x"', '"text-of-more-than-twelve"', '"with,comma"', '"{["', '"]}"', '"ü"'],
        '"two words"',
        '"\t"',
        '"a":1',
    ]
)
SCALARS = st.one_of(NUMBERS, TEXTS, st.sampled_from(["null", "true", "false", "nul", "truex", "", "[]", "{}"]))
NESTED = st.one_of(
    st.lists(SCALARS, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    st.lists(SCALARS, max_size=2).map(
        lambda items: "{" + ",".join(f'"{n}":{item}' for n, item in enumerate(items)) + "}"
    ),
    st.sampled_from(
        ['{"x":1,"x":2}', '["a"],"b"', '[["a","b"]', '["a","b"]]', "[1}", '{"a":1},"b":2', "[" * 199 + "]" * 199]
    ),
)
VALUES = st.one_of(SCALARS, SCALARS, NESTED)
KEYS = st.sampled_from(
    ["a", "b", "ü", r"\u0061", r"q\"", "", "a key of more than eight", "rowledger fault", r"n\u0000", "{", "x,y"]
)
ODD_LINES = st.sampled_from(
    [
        *[
            "",
            "  ",
            "{}",
            "[1]",
            "null",
            "{",
            "}",
            '{"a"}',
            '{"a":1}{"b":2}',
            '{"a":1} x',
            '{"a":1',
            '{"a" : 1}',
            '{ "a":1}',
        ],
        *[
            '{"a":1 }',
            '{"a":1,}',
            '{"a":1,,"b":2}',
            '{"a":1 "b":2}',
            '{"a":"x""b":2}',
            '{"a":1,"a":2}',
            '{"a":1,"\\u0061":2}',
        ],
        *['{"a":1}]', '{"a":[1]"x","b":2}', '{"a":1}}', '{"a":\t1}', '{"a":1,  "b":2}', '\ufeff{"a":1}', '{"a":1}\0'],
        *['{"a":[1},"b":{2]}', '{"a":1},"b":2}', '{"a":1}\r\r'],
    ]
)


@st.composite
def texts(draw: st.DrawFn) -> list[bytes]:
    """Lines of which most have the same keys, in the same order, with values of one kind each."""
    comma, colon, line_end = draw(st.sampled_from([(",", ":", ""), (", ", ": ", ""), (",", ":", "\r")]))
    keys = draw(st.lists(KEYS, min_size=1, max_size=4, unique=True))
    kinds = [draw(st.sampled_from([NUMBERS, TEXTS, VALUES, st.integers(0, 99).map(str), st.just('"x"')])) for _ in keys]
    lines = []
    for _ in range(draw(st.integers(1, 8))):
        own = draw(st.one_of(st.just(keys), st.just(keys), st.permutations(keys), st.lists(KEYS, max_size=3)))
        values = [draw(kinds[keys.index(key)] if key in keys and draw(st.integers(0, 9)) else VALUES) for key in own]
        line = "{" + comma.join(f'"{key}"{colon}{value}' for key, value in zip(own, values, strict=True)) + "}"
        lines.append((draw(ODD_LINES) if draw(st.integers(0, 9)) == 0 else line) + line_end)
    return [line.encode() for line in lines]


@SETTINGS
@example(lines=[b'{"a":["}"]}', b'{"a":"}"}'], exact=True, documents=(), block_bytes=1)
@example(lines=[b'{"a":-0,"b":1.5}', b'{"a":1.5,"b":-0}'], exact=False, documents=(), block_bytes=1)
@example(lines=[b'{"a":"\xff"}', b'{"a":"x"}'], exact=True, documents=(), block_bytes=1)
@given(
    lines=texts(),
    exact=st.booleans(),
    documents=st.sampled_from([(), ("a",)]),
    block_bytes=st.sampled_from([1, 60, 2**20]),
)
def test_lines_in_columns_are_what_each_line_is_by_itself(
    lines: list[bytes],
    exact: bool,  # noqa: FBT001, drawn
    documents: tuple[str, ...],
    block_bytes: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_cells, "_BLOCK_BYTES", block_bytes)

        found = in_columns(lines, exact=exact, documents=documents)

    assert contents(found) == contents(one_by_one(lines, exact=exact, documents=documents))


def test_the_lines_of_a_large_file_are_read_in_columns_but_for_those_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [b'{"id":%d,"name":"row %d","price":%d.50}' % (n, n, n) for n in range(40_000)]
    lines[20_000], lines[30_000] = b'{"id": 20000 ,"name":"odd"}', b'{"id":30000,"name":"odd","price":1.}'
    parsed: list[bytes] = []
    parse = JsonFrames.parse

    def note(self: JsonFrames, line: bytes) -> Any:
        parsed.append(line)
        return parse(self, line)

    monkeypatch.setattr(JsonFrames, "parse", note)

    frame = in_columns(lines, columns=("id", "name", "price"))

    assert parsed == [lines[20_000], lines[30_000]]
    assert frame["id"].to_list() == [*range(30_000), None, *range(30_001, 40_000)]
    assert frame["price"].null_count() == 2
    assert frame[FAULT].drop_nulls().to_list() == ["is no JSON: invalid number at byte 36"]


def test_new_keys_are_columns_in_the_order_in_which_they_come_up() -> None:
    lines = [b'{"b":1}', b'{"d":2,"c":3,"b":4}', b'{"a":5,"d":6}']

    assert in_columns(lines, columns=("z",)).columns == one_by_one(lines, columns=("z",)).columns


FLAT = ['{"a":"x","b":1}', '{"a":null,"b":2}', '{"a":"","b":null}', '{"a":7,"b":"y"}', '{"a":true,"b":1.5}']
DAMAGED = [
    '{"a":"x"y","b":1}', '{"a":","b":1}', '{"a":x","b":1}', '{"a":"x,"b":1}', '{"a":","b":"}', '{"a":"b":1}', '{"a":,"b":1}',
    '{"a":"x""","b":1}', '{"a":"x","b":1', '{"b":1,"a":"x"}', '{"a":"":","b":1}', '{"a":":","b":1}',
]  # fmt: skip


@SETTINGS
@given(
    st.lists(st.sampled_from(FLAT), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from(DAMAGED)), max_size=3),
)
@example(FLAT, [(2, '{"a":"x"y","b":1}'), (3, '{"a":","b":1}')])  # as many quotes in all as sound lines have
@example(['{"a":"x","b":1}'] * 3, [(2, '{"a":"x"y","b":1}'), (2, '{"a":","b":1}')])
def test_a_line_may_have_a_null_for_a_text_and_no_quote_too_many(
    lines: list[str], damaged: list[tuple[int, str]]
) -> None:
    for place, line in damaged:
        lines = [*lines[:place], line, *lines[place:]]
    encoded = [line.encode() for line in lines]
    assert contents(in_columns(encoded)) == contents(one_by_one(encoded))
