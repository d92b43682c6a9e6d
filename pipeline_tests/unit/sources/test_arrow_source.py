"""Arrow files and streams are planned without decoding them, read back row for row, and never when they are damaged."""

import os
import random
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from rowledger.errors import SourceError
from rowledger.sources.arrow_ipc import ArrowFiles
from rowledger.spec.manifest import Manifest
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext

SOURCE = ArrowFiles(path="{landing}/{partition_key}.arrow")
DAY = Partition(key="2024-03-01")
FORMATS = ["file", "stream"]


def table_of(rows: int) -> pa.Table:
    return pa.table(
        {
            "n": pa.array(range(rows), pa.int64()),
            "word": pa.array([f"word {n % 3}" for n in range(rows)]).dictionary_encode(),
            "view": pa.array(
                [None if n % 5 == 0 else f"a view of more than twelve bytes {n}" for n in range(rows)]
            ).cast(pa.string_view()),
        }
    )


def write(folder: Path, table: pa.Table, *, kind: str = "file", batch_rows: int = 4, **options: Any) -> Path:
    file = folder / "2024-03-01.arrow"
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with file.open("wb") as stream, new(stream, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return file


def plan(folder: Path, chunk_rows_max: int = 100, source: ArrowFiles = SOURCE) -> Manifest:
    return Manifest.of(list(source.chunks(DAY, SourceContext(folder, folder, chunk_rows_max))))


def read_all(manifest: Manifest) -> pl.DataFrame:
    frames = [SOURCE.read(chunk.descriptor) for chunk in manifest.chunks]
    assert [frame.schema for frame in frames] == [SOURCE.frame_schema(chunk.descriptor) for chunk in manifest.chunks]
    return pl.concat(frames)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 40),
    batch_rows=st.integers(1, 20),
    chunk_rows_max=st.integers(1, 30),
    kind=st.sampled_from(FORMATS),
    compression=st.sampled_from([None, "lz4", "zstd"]),
)
def test_chunks_hold_every_row_once_in_order_within_the_limit(
    tmp_path: Path, rows: int, batch_rows: int, chunk_rows_max: int, kind: str, compression: str | None
) -> None:
    table = table_of(rows)
    write(tmp_path, table, kind=kind, batch_rows=batch_rows, compression=compression)

    manifest = plan(tmp_path, chunk_rows_max)

    assert all(0 < chunk.rows <= chunk_rows_max for chunk in manifest.chunks)
    assert read_all(manifest).rows() == [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.parametrize("kind", FORMATS)
def test_no_rows_are_no_chunks(tmp_path: Path, kind: str) -> None:
    write(tmp_path, table_of(0), kind=kind)

    assert plan(tmp_path).chunks == ()


@pytest.mark.parametrize("write_polars", ["write_ipc", "write_ipc_stream"])
@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_what_polars_writes_is_read(tmp_path: Path, write_polars: str, compression: str) -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [["x"], []], "c": pl.Series(["u", "v"], dtype=pl.Categorical())})
    getattr(frame, write_polars)(tmp_path / "2024-03-01.arrow", compression=compression)

    assert read_all(plan(tmp_path)).rows() == frame.rows()


@pytest.mark.parametrize("legacy", [False, True])
def test_streams_from_before_the_continuation_mark_are_read(tmp_path: Path, *, legacy: bool) -> None:
    write(tmp_path, table_of(9).select(["n"]), kind="stream", use_legacy_format=legacy)

    assert read_all(plan(tmp_path, 5))["n"].to_list() == list(range(9))


@pytest.mark.parametrize("deltas", [False, True])
def test_dictionaries_that_grow_or_are_replaced_in_mid_stream_are_those_of_their_batches(
    tmp_path: Path, *, deltas: bool
) -> None:
    words = [["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]] if deltas else [["a", "b"], ["x"], ["y", "z"]]
    schema = pa.schema([("w", pa.dictionary(pa.int8(), pa.string()))])
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=deltas)
    with (tmp_path / "2024-03-01.arrow").open("wb") as stream, pa.ipc.new_stream(stream, schema, options=options) as w:
        for known in words:
            indices = pa.array([len(known) - 1, 0], pa.int8())
            w.write_batch(pa.record_batch([pa.DictionaryArray.from_arrays(indices, pa.array(known))], schema=schema))

    assert read_all(plan(tmp_path, 2))["w"].to_list() == [word for known in words for word in (known[-1], known[0])]


_TYPES: dict[str, tuple[pa.DataType, list[Any], list[Any]]] = {
    "decimal256": (pa.decimal256(60, 1), [Decimal("1" * 50 + ".5"), None], ["1" * 50 + ".5", None]),
    "interval": (
        pa.month_day_nano_interval(),
        [pa.MonthDayNano([14, -3, -1_500_000_000]), None],
        ["P14M-3DT-1.5S", None],
    ),
    "interval of days": (pa.month_day_nano_interval(), [pa.MonthDayNano([0, 1, 0]), None], ["P1DT0S", None]),
    "map": (
        pa.map_(pa.string(), pa.decimal128(9, 1)),
        [[("a", Decimal("1.5")), ("b", None)], [("a", Decimal(1)), ("a", Decimal(2))], [], None],
        [{"rowledger json": t} for t in ('{"a": 1.5, "b": null}', '[["a", 1.0], ["a", 2.0]]', "{}")] + [None],
    ),
    "map of integers": (
        pa.map_(pa.int8(), pa.string()),
        [[(1, "x"), (-2, None)], [(1, "x"), (1, "y")], None],
        [{"rowledger json": t} for t in ('{"1": "x", "-2": null}', '[[1, "x"], [1, "y"]]')] + [None],
    ),
    "map of dates": (
        pa.map_(pa.date32(), pa.string()), [[(date(2024, 3, 1), "x")]], [{"rowledger json": '[["2024-03-01", "x"]]'}],
    ),
    "list of maps": (
        pa.list_(pa.map_(pa.string(), pa.int8())),
        [[[("a", 1), ("a", 2)]], None],
        [[[{"key": "a", "value": 1}, {"key": "a", "value": 2}]], None],
    ),
    "list view": (pa.list_view(pa.int64()), [[1], None, [2, 3]], [[1], None, [2, 3]]),
    "fixed list": (pa.list_(pa.int8(), 2), [[1, 2], None], [[1, 2], None]),
    "timestamp in s": (pa.timestamp("s"), [None], [None]),
    "decimal of tens": (pa.decimal128(3, -2), [Decimal("1.23E+4"), None], [Decimal(12300), None]),
}  # fmt: skip


@pytest.mark.parametrize("name", _TYPES)
def test_values_of_types_that_polars_lacks_are_exact(tmp_path: Path, name: str) -> None:
    kind, values, wanted = _TYPES[name]
    write(tmp_path, pa.table({"c": pa.array(values, kind)}))

    assert read_all(plan(tmp_path))["c"].to_list() == wanted


def test_fixed_lists_with_nulls_are_read_from_batches_that_are_cut(tmp_path: Path) -> None:
    values = [[1, 2], [3, None], None, [5, 6], None]
    write(tmp_path, pa.table({"c": pa.array(values, pa.list_(pa.int8(), 2))}))

    assert read_all(plan(tmp_path, 2))["c"].to_list() == values


def test_runs_are_written_out(tmp_path: Path) -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["x", None]))
    write(tmp_path, pa.table({"c": runs}))

    assert read_all(plan(tmp_path))["c"].to_list() == ["x", "x", None]


@pytest.mark.parametrize(
    ("array", "why"),
    [
        # A cast by pyarrow 26 would lose the last item.
        (pa.array([[[1]], [[2], [3]]], pa.list_(pa.list_view(pa.int64()))), "NotImplementedError"),
        (
            pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
            "no column of a frame holds",
        ),
    ],
    ids=lambda given: str(getattr(given, "type", ""))[:20],
)
def test_a_column_that_no_frame_can_hold_is_an_error_with_its_type(tmp_path: Path, array: Any, why: str) -> None:
    write(tmp_path, pa.table({"odd": array}))

    with pytest.raises(SourceError, match=rf"2024-03-01\.arrow: .*{why}.*convert") as raised:
        read_all(plan(tmp_path))
    assert f"'odd' is {array.type}" in str(raised.value) or f"'odd' {array.type}" in str(raised.value)


# ---- files that are not what they should be -----------------------------------------------------------------------------


def test_another_file_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    file = write(tmp_path, pa.table({"n": [1, 2]}))
    manifest, before = plan(tmp_path), file.stat()
    (tmp_path / "elsewhere").mkdir()
    other = write(tmp_path / "elsewhere", pa.table({"n": [3, 4]}))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)

    with pytest.raises(SourceError, match="content changed since it was planned"):
        read_all(manifest)


def _no_mark(content: bytes) -> bytes:
    return content[:-8]


def _cut(content: bytes) -> bytes:
    return content[:-100]


def _two(content: bytes) -> bytes:
    return content * 2


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("stream", _no_mark, "no mark at its end: truncated, or its writer was not closed"),
        ("stream", _cut, "it ends in the middle of a message: truncated"),
        ("stream", _two, r"there are \d+ bytes behind the end of its stream"),
        ("file", _cut, "it has a head and no end: truncated"),
        ("file", lambda _: b"", "it ends in the middle of a message"),
        ("file", lambda _: b"FEA1" + b"\0" * 99, "not a readable Arrow file"),
        ("file", lambda _: b"id,name\n" * 99, "not a readable Arrow file"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_with_the_reason(
    tmp_path: Path, kind: str, change: Callable[[bytes], bytes], message: str
) -> None:
    file = write(tmp_path, table_of(20), kind=kind)
    file.write_bytes(change(file.read_bytes()))

    with pytest.raises(SourceError, match=rf"2024-03-01\.arrow: .*{message}"):
        plan(tmp_path)


def test_a_file_that_changed_since_it_was_planned_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, table_of(20))
    manifest = plan(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    os.utime(file, ns=(1, 1))

    with pytest.raises(SourceError, match="content changed since it was planned"):
        read_all(manifest)


def test_limits_are_named_with_both_figures(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"text": ["x" * 1_000] * 2_000}), batch_rows=2_000, compression="zstd")

    with pytest.raises(
        SourceError, match=r"a batch declares 2,00\d,\d\d\d bytes .* limit is 1,048,576 \(batch_bytes_max"
    ):
        plan(tmp_path, source=ArrowFiles(path=SOURCE.path, batch_bytes_max=2**20))
    with pytest.raises(SourceError, match=r"has 1 columns, the limit is 0 \(columns_max\)"):
        plan(tmp_path, source=SOURCE.model_copy(update={"columns_max": 0}))


def test_columns_inside_of_others_count(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"a": [{"b": [1], "c": 2}]}))

    with pytest.raises(SourceError, match="has 4 columns"):
        plan(tmp_path, source=ArrowFiles(path=SOURCE.path, columns_max=3))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_damage_anywhere_is_a_source_error_or_harmless_but_never_a_crash(
    tmp_path: Path, kind: str, compression: str | None
) -> None:
    file = write(tmp_path, table_of(60), kind=kind, batch_rows=20, compression=compression)
    sound = file.read_bytes()
    dice = random.Random(1)  # the same damage every time
    damages = [sound[: dice.randrange(len(sound))] for _ in range(40)]
    for _ in range(250):
        position = dice.randrange(len(sound))
        damages.append(sound[:position] + bytes([dice.randrange(256)]) + sound[position + 1 :])
    source = ArrowFiles(path=SOURCE.path, batch_bytes_max=2**20)
    refused = []
    for damage in damages:
        file.write_bytes(damage)
        try:
            for chunk in plan(tmp_path, 25, source).chunks:
                source.read(chunk.descriptor)
        except SourceError as error:
            refused.append(str(error))
    assert len(refused) > len(damages) // 4
    assert all(str(file) in message and "word 1" not in message for message in refused)
