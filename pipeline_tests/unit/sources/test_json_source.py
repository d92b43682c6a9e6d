"""Each element of a JSON list is a row with exactly its values, or a fault with the true reason."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from rowledger.errors import SourceError
from rowledger.sources import text_reading
from rowledger.sources.json_files import JsonFiles, _Reader
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.spec.partition import Partition
from rowledger.spec.source import FAULT, LINE, Source, SourceContext

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
ALL = Partition(key="all")


def frames(folder: Path, content: bytes | str, source: Source, columns: tuple[str, ...] = ()) -> list[pl.DataFrame]:
    (folder / "x.json").write_bytes(content.encode() if isinstance(content, str) else content)
    scope = SourceContext(folder, folder, 1000, columns=columns)
    return [source.read(descriptor) for descriptor in source.chunks(ALL, scope)]


def read(folder: Path, content: bytes | str, columns: tuple[str, ...] = (), **options: Any) -> list[Any]:
    """The rows of a file; a fault as its reason and its text."""
    found = frames(folder, content, JsonFiles(path=str(folder / "x.json"), **options), columns)
    return [
        (row[FAULT], row[LINE])
        if row.get(FAULT)
        else {name: value for name, value in row.items() if name not in (FAULT, LINE) and "absent" not in name}
        for frame in found
        for row in frame.to_dicts()
    ]


ROWS = [{"a": 1, "b": 'x "[{'}, {"a": 2, "b": "\\"}, {"a": 3, "b": 'é\\"}],'}, {"a": 4, "b": ""}]


@pytest.mark.parametrize("block_bytes", [1, 7, 2**20])
@pytest.mark.parametrize(
    ("content", "options"),
    [
        (json.dumps(ROWS), {}),
        (" \r\n" + json.dumps(ROWS, indent=2, ensure_ascii=False) + "\n", {}),
        ("\n".join(json.dumps(row, indent=1) for row in ROWS), {}),
        (" ".join(map(json.dumps, ROWS)), {}),
        ("\ufeff" + json.dumps(ROWS), {}),
        (json.dumps({"data": ROWS}), {"rows_at": ("data",)}),
        (
            json.dumps(
                {"x": [[{"data": [1]}], "data", "]"], "y": {"data": {"data": 1, "é": ROWS}, "z": "\\"}, "data": [1]},
                indent=1,
            ),
            {"rows_at": ("y", "data", "é")},
        ),
    ],
)
def test_rows_are_found_in_every_form_and_however_the_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, options: dict[str, Any], block_bytes: int
) -> None:
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)

    assert read(tmp_path, content, **options) == ROWS
    assert (
        read(tmp_path, gzip.compress(content.removeprefix("\ufeff").encode("utf-16")), encoding="utf-16", **options)
        == ROWS
    )


@pytest.mark.parametrize("block_bytes", [1, 2**20])
@pytest.mark.parametrize(
    ("element", "reason", "text"),
    [
        ('{"a": x}', "is no JSON: expected value at byte 7", None),
        ('{"a":\n  x}', "is no JSON: expected value at byte 3 of its line 2", None),
        ('{"a": 1]', "is no JSON", None),
        ('{"a": 1, "a": 2}', "has a key twice", None),
        ('{"a": NaN}', "is no JSON", None),
        ("{1: 2}", "is no JSON", None),
        ("[[1], {}]", "is a list and no object; wanted are objects", None),
        ("7", "is a number and no object; wanted are objects", None),
        ('"a,\\"b"', "is a text and no object", None),
        ("nothing", "is no JSON", None),
    ],
)
def test_an_element_that_is_no_object_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, element: str, reason: str, text: str | None, block_bytes: int
) -> None:
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)
    before, fault, behind, last = read(tmp_path, f'[{{"a": 1}}, {element} ,{{"a": 2}}, {{"a": 3}}\n]')

    assert [before, behind, last] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert fault[0].startswith(reason)
    assert fault[1] == (text or element).encode()


def test_bytes_that_do_not_decode_cost_their_element(tmp_path: Path) -> None:
    assert read(tmp_path, b'[{"a":"\xff"},{"a":"x"}]') == [("has bytes that are no utf-8", b'{"a":"\xff"}'), {"a": "x"}]


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        ('[{"a": 1}, {"a": 2', {}, "ends within its list, after 1 row or more;"),
        ('[{"a": 1}, {"a": [2}, {"a": 3}]', {}, "ends within its list, after 2 rows or more;"),
        ('[{"a": 1}}, {"a": 2}]', {}, "has a '}' that closes nothing"),
        ('[{"a": 1}] [{"a": 2}]', {}, "has more after its list"),
        ('{"a": 1}]', {}, "has a ']' that closes nothing"),
        ('{"data": [{"a": 1}]', {"rows_at": ("data",)}, "ends within its object"),
        ('{"data": [{"a": 1}], "data": [{"a": 2}]}', {"rows_at": ("data",)}, "has the list data twice"),
        ('{"data": [{"a": 1}]} {}', {"rows_at": ("data",)}, "has more after its object"),
        ('{"data": [{"a": 1}]} x', {"rows_at": ("data",)}, "has more after its rows"),
        ('{"data": {"a": 1}}', {"rows_at": ("data",)}, r"has no list at \['data'\]; correct rows_at"),
        ('{"x": [{"data": [1]}]}', {"rows_at": ("x", "data")}, r"has no list at \['x', 'data'\]"),
        ('[{"a": 1}]', {"rows_at": ("data",)}, "is no object"),
        ("", {"rows_at": ("data",)}, "has no list at"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 2**20])
def test_a_file_that_does_not_end_as_it_should_fails_as_a_whole(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    options: dict[str, Any],
    reason: str,
    block_bytes: int,
) -> None:
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)

    with pytest.raises(SourceError, match=rf"x\.json: .*{reason}"):
        read(tmp_path, content, **options)


def test_an_object_that_does_not_end_is_a_fault_among_objects_one_after_another(tmp_path: Path) -> None:
    good, fault = read(tmp_path, '{"a": 1}\n{"a": 2')

    assert good == {"a": 1}
    assert fault == ("is no JSON: EOF while parsing an object at byte 7; wanted are objects", b'{"a": 2')


def test_files_without_rows_are_empty_tables(tmp_path: Path) -> None:
    for content in ("", " \n", "[]", " [ ] ", "[,]"):
        assert read(tmp_path, content) == []
    assert read(tmp_path, '{"data": [], "n": 0}', rows_at=("data",)) == []


def test_an_object_that_holds_the_rows_is_told_with_the_keys_that_lead_to_them(tmp_path: Path) -> None:
    content = json.dumps({"meta": {"n": 2}, "result": {"items": ROWS}})
    with pytest.raises(
        SourceError, match=r"list of objects at result\.items; .*JsonFiles\(rows_at=\('result', 'items'\)\)"
    ):
        read(tmp_path, content, columns=("a", "b"))
    assert read(tmp_path, content, rows_at=("result", "items"), columns=("a", "b")) == ROWS
    assert len(read(tmp_path, content, columns=("result", "a"))) == 1
    with pytest.raises(SourceError, match=r"an object of .* bytes or more, 1,024 are allowed; if a list in it"):
        read(tmp_path, '{"data": [' + '{"a": 1}, ' * 200, record_bytes_max=1024)


@pytest.mark.parametrize("content", ['[{"a": "' + "x" * 3000, '[{"a": "' + "x" * 3000 + '"}, {}]'])
@pytest.mark.parametrize("block_bytes", [100, 2**20])
def test_an_element_over_its_limit_is_refused_with_file_and_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, block_bytes: int
) -> None:
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)

    with pytest.raises(SourceError, match=r"x\.json: a record of [0-9,]+ bytes or more, 2,000 are allowed"):
        read(tmp_path, content, record_bytes_max=2000)


# ---- the same files as one object a line --------------------------------------------------------------------------------


@pytest.mark.parametrize("block_bytes", [1, 2**20])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (json.dumps(ROWS), "is one JSON list"),
        (json.dumps(ROWS, indent=2), "is one JSON list"),
        ("\n[\n" + ",\n".join(map(json.dumps, ROWS)) + "]", "is one JSON list"),
        ("[]", "is one JSON list"),
        (json.dumps(ROWS[0], indent=2), "has an object over several lines"),
        (json.dumps({"data": ROWS}, indent="\t"), "has an object over several lines"),
    ],
)
def test_a_file_that_is_not_one_object_a_line_is_told_before_its_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, what: str, block_bytes: int
) -> None:
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)

    with pytest.raises(SourceError, match=rf"x\.json: {what}.*declare JsonFiles in place of NdjsonFiles"):
        frames(tmp_path, content, NdjsonFiles(path=str(tmp_path / "x.json")))


@pytest.mark.parametrize("block_bytes", [1, 2**20])
@pytest.mark.parametrize("first", ["[1]", "[1, x]", '{"a": ', '{"a": x}', "x", '{"a": 1}'])
@pytest.mark.parametrize("rest", ["", '\n{"a": 2}'])
def test_a_first_line_that_is_no_object_remains_one_dead_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, rest: str, block_bytes: int
) -> None:
    monkeypatch.setattr(text_reading, "_BLOCK_BYTES", block_bytes)

    found = frames(tmp_path, first + rest, NdjsonFiles(path=str(tmp_path / "x.json")))
    rows = [row for frame in found for row in frame.to_dicts()]

    assert [bool(row.get(FAULT)) for row in rows] == [first != '{"a": 1}', *[False] * bool(rest)]


# ---- against Python's json module ---------------------------------------------------------------------------------------

TEXTS = st.text(st.sampled_from('ab"\\[]{},: \n\té'), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@SETTINGS
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(["a", "b"]), VALUES, min_size=1, max_size=2), max_size=6),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    ascii_only=st.booleans(),
    block_bytes=st.sampled_from([1, 3, 11, 2**20]),
    within=st.booleans(),
)
def test_any_list_written_by_python_is_split_into_the_texts_of_its_elements(
    rows: list[dict[str, Any]],
    indent: Any,
    ascii_only: bool,  # noqa: FBT001, as hypothesis gives it
    block_bytes: int,
    within: bool,  # noqa: FBT001, as above
) -> None:
    source = JsonFiles(path="x", rows_at=("r", "s") if within else ())
    value: Any = {"q": rows, "r": {"q": rows, "s": rows, "t": rows}, "s": rows} if within else rows
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    reader = _Reader(source, None)  # type: ignore[arg-type]
    pieces: list[bytes] = []
    for block in [*(text[start : start + block_bytes] for start in range(0, len(text), block_bytes)), None]:
        pieces += reader.elements(block)
    reader.require_end()

    assert [json.loads(piece) for piece in pieces] == rows
