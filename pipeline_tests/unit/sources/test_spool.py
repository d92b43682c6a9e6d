"""Spooled rows come back equal, in files that appear whole, say what they are, and have one digest for the same rows."""

import os
import random
import stat
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from polars.testing import assert_frame_equal

from rowledger.errors import NotEnoughSpace, SourceError
from rowledger.sources import spool_writer
from rowledger.sources.spool_reader import read_spooled, spooled_schema
from rowledger.sources.spool_writer import Spool
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.source import ABSENT_PREFIX, FAULT, LINE, SourceContext

EVERY_KIND = pl.DataFrame(
    {
        "int": [1, None, 3, 4],
        "text": ["x", None, "", "longer than the twelve bytes of a view"],
        "flag": [True, None, False, None],
        "decimal": [Decimal("1.10"), None, Decimal(-3), None],
        "bytes": [b"1", None, b"", b"\x00\xff"],
        "day": [date(2024, 2, 29), None, None, date(1, 1, 1)],
        "at": [datetime(2024, 1, 1, tzinfo=UTC), None, None, None],
        "clock": [time(1, 2, 3), None, None, None],
        "span": [timedelta(1), None, None, None],
        "nothing": [None] * 4,
        "list": [[1], None, [], [2, None]],
        "record": [{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}, {"a": 2, "b": []}],
        "mixed": pl.Series(["1", None, "[]", None]).to_frame("rowledger json").to_struct("").cast(DYNAMIC),
        LINE: [None, None, None, b"bytes"],
    }
)


def scope(folder: Path, chunk_rows_max: int = 100, **limits: int) -> SourceContext:
    return SourceContext(folder, folder, chunk_rows_max, **limits)


def spool(folder: Path, frames: list[pl.DataFrame], chunk_rows_max: int = 100) -> list[ChunkDescriptor]:
    return list(Spool(scope(folder, chunk_rows_max)).write(frames, origin="where it came from"))


def read_all(descriptors: list[ChunkDescriptor]) -> pl.DataFrame:
    return pl.concat([read_spooled(descriptor) for descriptor in descriptors])


def test_every_type_comes_back_equal_and_its_schema_without_reading(tmp_path: Path) -> None:
    (descriptor,) = spool(tmp_path, [EVERY_KIND])

    assert_frame_equal(read_spooled(descriptor), EVERY_KIND)
    assert spooled_schema(descriptor) == EVERY_KIND.schema


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["b", "a"])])
def test_dictionaries_are_spooled_as_their_values_wherever_they_are(tmp_path: Path, dtype: pl.DataType) -> None:
    column = pl.Series(["a", None, "b"], dtype=dtype)
    frame = pl.DataFrame({"plain": column, "in a list": pl.Series([column], dtype=pl.List(dtype)).new_from_index(0, 3)})

    (descriptor,) = spool(tmp_path, [frame])

    assert read_spooled(descriptor).to_dict(as_series=False) == {
        "plain": ["a", None, "b"],
        "in a list": [["a", None, "b"]] * 3,
    }


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    cuts=st.lists(st.integers(0, 12), max_size=6),
    chunk_rows_max=st.integers(1, 20),
    chunk_bytes_max=st.integers(1, 4000),
)
def test_chunks_hold_every_row_once_in_order_within_the_limits(
    tmp_path: Path, cuts: list[int], chunk_rows_max: int, chunk_bytes_max: int
) -> None:
    rows = pl.DataFrame({"n": range(sum(cuts)), "s": ["x" * (n % 50) for n in range(sum(cuts))]})
    frames = [rows.slice(sum(cuts[:i]), cut) for i, cut in enumerate(cuts)]

    written = Spool(scope(tmp_path, chunk_rows_max), chunk_bytes_max=chunk_bytes_max).write(frames, origin="o")
    descriptors = list(written)

    assert all(0 < descriptor.rows <= chunk_rows_max for descriptor in descriptors)
    assert [d.origin_row for d in descriptors] == [
        sum(d.rows for d in descriptors[:number]) for number in range(len(descriptors))
    ]
    assert {d.origin for d in descriptors} <= {"o"}
    assert [n for d in descriptors for n in read_spooled(d)["n"]] == list(range(sum(cuts)))
    for descriptor in descriptors:
        content = read_spooled(descriptor)["s"].str.len_bytes().sum()
        assert content <= chunk_bytes_max * 2 or descriptor.rows == 1  # rows of one frame are reckoned by their mean


def _grown(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows in many pieces, cut out of larger buffers."""
    wide = pl.concat([frame, frame.reverse(), frame])
    return pl.concat([wide.slice(row, 1) for row in range(frame.height)], rechunk=False)


def _garbled(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows with other values below their nulls."""
    other = frame.select(pl.all().fill_null(strategy="backward").fill_null(strategy="forward"))
    columns = [
        pl.select(pl.when(frame[name].is_not_null()).then(other[name]).alias(name)).to_series()
        for name in frame.columns
    ]
    garbled = pl.DataFrame(columns)
    table = garbled.to_arrow(compat_level=pl.CompatLevel.oldest())
    arrays = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        array = column.combine_chunks()
        filled = other[name].to_arrow(compat_level=pl.CompatLevel.oldest())
        if array.null_count and not pa.types.is_nested(array.type) and not pa.types.is_null(array.type):
            buffers = [array.buffers()[0], *filled.buffers()[1:]]
            array = pa.Array.from_buffers(array.type, len(array), buffers)
        arrays.append(array)
    return pl.DataFrame(pa.table(dict(zip(table.column_names, arrays, strict=True))))


@pytest.mark.parametrize("disguise", [_grown, _garbled, lambda f: _grown(_garbled(f)), lambda f: f.clone().rechunk()])
def test_the_same_rows_have_the_same_bytes_however_they_lie_in_memory(tmp_path: Path, disguise: Any) -> None:
    disguised = disguise(EVERY_KIND)
    assert_frame_equal(disguised, EVERY_KIND)

    first, second = spool(tmp_path, [EVERY_KIND]) + spool(tmp_path, [disguised])

    assert first.file_digest == second.file_digest
    assert first.file_bytes == second.file_bytes


def test_garbage_below_nulls_is_there_before_it_is_removed() -> None:
    """The test above would prove nothing if its disguises were none."""
    texts = _garbled(EVERY_KIND)["int"].to_arrow()

    assert bytes(texts.buffers()[1]) != bytes(EVERY_KIND["int"].to_arrow().buffers()[1])


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("column", ["int", "text", "flag", "decimal", "bytes", "list", "record"])
def test_another_value_anywhere_has_another_digest(tmp_path: Path, column: str, row: int) -> None:
    """Null and not null, too: swapped with its neighbour, each of these columns differs."""
    order = [n if n not in {row, (row + 1) % 4} else 2 * row + 1 - n if row < 3 else 3 - n for n in range(4)]
    swapped = EVERY_KIND.with_columns(EVERY_KIND[column].gather(order))
    assert not swapped.equals(EVERY_KIND)

    first, second = spool(tmp_path, [EVERY_KIND]) + spool(tmp_path, [swapped])

    assert first.file_digest != second.file_digest


def _rows_digest(folder: Path, frames: list[pl.DataFrame], chunk_rows_max: int = 100) -> str:
    return spool(folder, frames, chunk_rows_max)[-1].rows_digest


_RARE = pl.DataFrame({"a": ["x", "y"], ABSENT_PREFIX + "text": [True, False], FAULT: ["why", None]})


@pytest.mark.parametrize("chunk_rows_max", [1, 3, 7, 9])
def test_the_same_rows_have_one_digest_however_they_are_cut(tmp_path: Path, chunk_rows_max: int) -> None:
    frames = [
        EVERY_KIND,
        EVERY_KIND,
        EVERY_KIND[2:],
        pl.concat([EVERY_KIND[:2].drop("text"), _RARE.drop("a")], how="horizontal"),
    ]
    rows = [frame[n] for frame in frames for n in range(frame.height)]

    whole = _rows_digest(tmp_path, frames)

    assert _rows_digest(tmp_path, frames, chunk_rows_max) == whole
    assert _rows_digest(tmp_path, rows) == whole


def test_a_column_has_no_digest_before_its_first_value_and_a_decimal_one_for_every_scale(tmp_path: Path) -> None:
    late = pl.DataFrame({"a": [1, 2], "b": [None, 5], "c": [Decimal("1.5"), Decimal("1.25")], "l": [[], [1]]})
    first = late[:1].cast({"b": pl.Null(), "c": pl.Decimal(38, 1), "l": pl.List(pl.Null())})

    assert _rows_digest(tmp_path, [first, late[1:]]) == _rows_digest(tmp_path, [late])


def test_other_rows_have_other_digests(tmp_path: Path) -> None:
    def texts(*values: str | None) -> pl.DataFrame:
        return pl.DataFrame({"a": values}, schema={"a": pl.String()})

    def lists(*values: list[int | None] | None) -> pl.DataFrame:
        return pl.DataFrame({"a": values}, schema={"a": pl.List(pl.Int64())})

    def numbers(*values: int | None, dtype: pl.DataType | None = None) -> pl.DataFrame:
        return pl.DataFrame({"a": values}, schema={"a": dtype or pl.Int64()})

    others: list[list[pl.DataFrame]] = [
        [texts("x", "y")],
        [texts("y", "x")],
        [texts("xy", "")],
        [texts("x", "y", None)],
        [texts(None, "x", "y")],
        [texts("x", None, "y")],
        [texts("x", "y").rename({"a": "b"})],
        [texts("x", "y").cast(pl.Binary())],
        [lists([1], [2])],
        [lists([1, 2], [])],
        [lists([1, 2], None)],
        [lists([1, None], [2])],
        [lists([None, 1], [2])],
        [numbers(1, 2)],
        [numbers(2, 1)],
        [numbers(1, 2, dtype=pl.Int32())],
        [numbers(1, 2, dtype=pl.Decimal(38, 0))],
        [numbers(1), texts("x")],
        [texts("x"), numbers(1)],
        [numbers(1, 2).select(a=pl.struct("a"))],
        [_RARE],
        [_RARE[::-1]],
        [_RARE.drop(FAULT)],
    ]

    assert len({_rows_digest(tmp_path, frames) for frames in others}) == len(others)


def test_frames_of_other_columns_or_types_begin_a_chunk_of_their_own(tmp_path: Path) -> None:
    frames = [pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]}), pl.DataFrame({"a": ["3"]}), pl.DataFrame({"b": [4]})]

    assert [(d.rows, d.origin_row) for d in spool(tmp_path, frames)] == [(2, 0), (1, 2), (1, 3)]


def test_reserved_columns_come_and_go_within_a_chunk(tmp_path: Path) -> None:
    absent = f"{ABSENT_PREFIX}a"
    frames = [
        pl.DataFrame({"a": [1]}),
        pl.DataFrame({"a": [None], FAULT: ["why"], LINE: [b"x"]}, schema_overrides={"a": pl.Int64}),
        pl.DataFrame({"a": [None], absent: [True]}, schema_overrides={"a": pl.Int64}),
    ]

    (descriptor,) = spool(tmp_path, frames)

    assert read_spooled(descriptor).to_dict(as_series=False) == {
        "a": [1, None, None],
        FAULT: [None, "why", None],
        LINE: [None, b"x", None],
        absent: [False, False, True],
    }


def test_a_reserved_column_that_comes_after_rows_were_written_begins_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_writer, "_BATCH_ROWS", 2)
    sound = pl.DataFrame({"a": [1, 2, 3]})
    faulty = sound.with_columns(pl.Series(FAULT, [None, None, "why"]), pl.Series(LINE, [None, None, b"x"]))

    descriptors = spool(tmp_path, [sound, faulty, sound])

    assert [(d.origin_row, d.rows) for d in descriptors] == [(0, 2), (2, 7)]
    assert [read_spooled(d)["a"].to_list() for d in descriptors] == [[1, 2], [3, 1, 2, 3, 1, 2, 3]]
    assert read_spooled(descriptors[1])[FAULT].to_list() == [None, None, None, "why", None, None, None]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 7), max_size=8), batch_rows=st.integers(1, 6), chunk_rows_max=st.integers(1, 9))
def test_the_same_rows_have_the_same_bytes_in_whatever_frames_they_come(
    tmp_path: Path, cuts: list[int], batch_rows: int, chunk_rows_max: int
) -> None:
    rows = pl.concat([EVERY_KIND] * 4)
    frames = [rows[sum(cuts[:n]) : sum(cuts[: n + 1])] for n in range(len(cuts))] + [rows[sum(cuts) :]]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spool_writer, "_BATCH_ROWS", batch_rows)
        cut = spool(tmp_path, frames, chunk_rows_max)
        whole = spool(tmp_path, [rows], chunk_rows_max)

    assert [(d.file_digest, d.rows, d.rows_digest) for d in cut] == [
        (d.file_digest, d.rows, d.rows_digest) for d in whole
    ]


def test_frames_without_rows_leave_no_chunk(tmp_path: Path) -> None:
    assert spool(tmp_path, []) == []
    assert spool(tmp_path, [pl.DataFrame({"a": []}), pl.DataFrame({"b": []})]) == []
    assert list(tmp_path.iterdir()) == []


def test_two_origins_never_share_a_chunk_or_a_file(tmp_path: Path) -> None:
    writer = Spool(scope(tmp_path))
    one, two = pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [3]})

    descriptors = [*writer.write([one], origin="one"), *writer.write([two], origin="two")]

    assert [(d.origin, d.origin_row, d.rows) for d in descriptors] == [("one", 0, 2), ("two", 0, 1)]
    assert len({d.path for d in descriptors}) == 2


def test_a_chunk_is_on_the_disk_for_its_owner_alone_before_the_next_frame_is_asked_for(tmp_path: Path) -> None:
    asked = []

    def frames() -> Iterator[pl.DataFrame]:
        for number in range(3):
            asked.append(number)
            yield pl.DataFrame({"n": [number] * 5})

    descriptors = Spool(scope(tmp_path, 5)).write(frames(), origin="o")
    first = next(descriptors)

    assert asked == [0]
    assert stat.S_IMODE(Path(first.path).stat().st_mode) == 0o600
    assert read_spooled(first)["n"].to_list() == [0] * 5


def test_closing_the_chunks_closes_the_frames_they_come_from(tmp_path: Path) -> None:
    ended = []

    def frames() -> Iterator[pl.DataFrame]:
        try:
            while True:
                yield pl.DataFrame({"n": [1] * 5})
        finally:
            ended.append(True)

    given = frames()  # whoever else holds it does not matter
    descriptors = Spool(scope(tmp_path, 5)).write(given, origin="o")
    next(descriptors)
    descriptors.close()  # type: ignore[attr-defined]

    assert ended == [True]


def test_an_error_while_writing_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)

    with pytest.raises(NotEnoughSpace, match="No space left on device while spooling"):
        spool(tmp_path, [EVERY_KIND])
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_noticed_before_a_file_is_begun(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughSpace, match="bytes left"):
        list(Spool(scope(tmp_path, disk_free_min_bytes=2**62)).write([EVERY_KIND], origin="o"))
    assert list(tmp_path.iterdir()) == []


def test_a_type_that_no_file_holds_is_named_without_its_values(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)})

    with pytest.raises(SourceError, match="types Object cannot be spooled"):
        spool(tmp_path, [frame])


# ---- files that are not what was spooled ----------------------------------------------------------------------------------


def test_other_content_of_the_same_size_is_noticed(tmp_path: Path) -> None:
    (descriptor,) = spool(tmp_path, [pl.DataFrame({"n": [1]})])
    (other,) = spool(tmp_path / "..", [pl.DataFrame({"n": [2]})])
    Path(other.path).replace(descriptor.path)
    os.utime(descriptor.path, ns=(1, descriptor.file_mtime_ns + 1))

    with pytest.raises(SourceError, match="content changed since it was planned"):
        read_spooled(descriptor)


def test_a_missing_file_and_another_number_of_rows_are_noticed(tmp_path: Path) -> None:
    (descriptor,) = spool(tmp_path, [pl.DataFrame({"n": [1]})])

    with pytest.raises(SourceError, match="1 row, spooled were 2"):
        read_spooled(descriptor.model_copy(update={"rows": 2}))
    Path(descriptor.path).unlink()
    with pytest.raises(SourceError, match="No such file"):
        read_spooled(descriptor)
    with pytest.raises(SourceError, match="No such file or directory; rerun to spool it anew"):
        spooled_schema(descriptor)


def test_a_file_of_another_format_version_is_refused(tmp_path: Path) -> None:
    (descriptor,) = spool(tmp_path, [pl.DataFrame({"n": [1]})])
    table = pa.table({"n": [1]}).replace_schema_metadata({"rowledger.spool": "2"})
    with pa.ipc.new_file(descriptor.path, table.schema) as writer:
        writer.write_table(table)

    with pytest.raises(SourceError, match="not a file of this version's spool"):
        spooled_schema(descriptor)


def test_damage_anywhere_is_a_source_error_or_harmless_but_never_a_crash(tmp_path: Path) -> None:
    (descriptor,) = spool(tmp_path, [EVERY_KIND])
    file = Path(descriptor.path)
    sound = file.read_bytes()
    dice = random.Random(1)  # the same damage every time
    refused = 0
    for _ in range(150):
        damaged = bytearray(sound)
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        file.write_bytes(damaged)
        os.utime(file, ns=(1, descriptor.file_mtime_ns + 1))
        with pytest.raises(SourceError):
            read_spooled(descriptor)
        try:
            spooled_schema(descriptor)
        except SourceError:
            refused += 1
    assert refused
