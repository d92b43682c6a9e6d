"""Parquet files are planned from their footers, read back row for row, and never read when they are not what was planned."""

import base64
import os
import random
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from polars.testing import assert_frame_equal
from pydantic import BaseModel

from pipeline.nycflights import land_flights
from rowledger.errors import SourceError
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.manifest import Manifest
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.partition import Partition
from rowledger.spec.source import FAULT, LINE, SourceContext
from rowledger.spec.table import TableSpec

ONE = ParquetFiles(path="{landing}/t/{partition_key}.parquet")
DAY = Partition(key="2013-01-01")


def write(
    folder: Path, rows: int = 10, *, group_rows: int = 4, name: str = "2013-01-01.parquet", first: int = 0
) -> Path:
    file = folder / "t" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"n": pa.array(range(first, first + rows), pa.int64()), "s": [f"row {n}" for n in range(rows)]})
    pq.write_table(table, file, row_group_size=group_rows)
    return file


def plan(folder: Path, chunk_rows_max: int = 100, source: ParquetFiles = ONE) -> Manifest:
    return Manifest.of(list(source.chunks(DAY, SourceContext(folder, folder, chunk_rows_max))))


def read_all(manifest: Manifest) -> list[int]:
    return [n for chunk in manifest.chunks for n in ONE.read(chunk.descriptor)["n"].to_list()]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(0, 60), group_rows=st.integers(1, 30), chunk_rows_max=st.integers(1, 40))
def test_chunks_hold_every_row_once_in_order_within_the_limit(
    tmp_path: Path, rows: int, group_rows: int, chunk_rows_max: int
) -> None:
    write(tmp_path, rows, group_rows=group_rows)

    manifest = plan(tmp_path, chunk_rows_max)

    assert manifest.enqueued_rows == rows
    assert all(0 < chunk.rows <= chunk_rows_max for chunk in manifest.chunks)
    assert read_all(manifest) == list(range(rows))


def test_row_groups_that_fit_are_not_cut(tmp_path: Path) -> None:
    write(tmp_path, 12, group_rows=4)

    assert [chunk.rows for chunk in plan(tmp_path, 10).chunks] == [8, 4]


def test_a_file_without_rows_is_a_plan_without_chunks(tmp_path: Path) -> None:
    write(tmp_path, 0)

    assert plan(tmp_path).chunks == ()


def test_many_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in random.Random(1).sample(range(30), 30):
        write(tmp_path, 3, name=f"2013-01-01-{number:02}.parquet", first=3 * number)
    write(tmp_path, 3, name="2013-01-02-00.parquet", first=100)

    manifest = plan(tmp_path, source=ParquetFiles(path="{landing}/t/{partition_key}-*.parquet"))

    assert read_all(manifest) == list(range(90))


def test_wildcards_in_folder_or_key_are_plain_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]*"
    write(folder, 2, name="x[ab]?.parquet")
    write(folder, 5, name="xaZ.parquet")

    manifest = Manifest.of(list(ONE.chunks(Partition(key="x[ab]?"), SourceContext(folder, folder, 9))))

    assert manifest.enqueued_rows == 2


def test_a_key_that_the_path_does_not_name_may_have_any_characters(tmp_path: Path) -> None:
    write(tmp_path, 3)
    source = ParquetFiles(path="{landing}/t/2013-01-01.parquet")

    (chunk,) = source.chunks(Partition(key="a/b"), SourceContext(tmp_path, tmp_path, 9))

    assert chunk.rows == 3


@pytest.mark.parametrize("key", ["../secret", "a/b", "..", ".", "", "a\x00b", "a\\b", "/etc/passwd", "a/"])
def test_a_key_does_not_leave_its_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(SourceError, match="would leave its folder"):
        list(ONE.chunks(Partition(key=key), SourceContext(tmp_path, tmp_path, 1)))


def test_an_unknown_placeholder_is_refused_when_the_spec_is_made() -> None:
    source = ParquetFiles(path="{landing}/{day}.parquet")
    with pytest.raises(ValueError, match=r"names \{day\}; the placeholders are \{landing\}, \{partition_key\}"):
        TableSpec(name="t", row=BaseModel, source=source)
    for path in (
        "{landing}/{}.parquet",
        "{landing}/{0}.parquet",
        "{landing}/{a.b}",
        "{a!r}",
        "{a:>9}",
        "{",
        "}",
        "{a[0]}",
    ):
        with pytest.raises(ValueError, match="path"):
            ParquetFiles(path=path)


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file .*/t/2013-01-01\.parquet; write it first"):
        plan(tmp_path)


def test_a_file_that_vanished_after_planning_is_named(tmp_path: Path) -> None:
    file = write(tmp_path)
    manifest = plan(tmp_path)
    file.unlink()

    with pytest.raises(SourceError, match=r"2013-01-01\.parquet: No such file"):
        read_all(manifest)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"not parquet at all, but long enough to have a footer", b"PAR1" * 10]
)
def test_a_file_that_is_not_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path).write_bytes(content)

    with pytest.raises(SourceError, match=r"2013-01-01\.parquet: not a readable Parquet file"):
        plan(tmp_path)


def test_other_content_of_the_same_size_is_noticed(tmp_path: Path) -> None:
    file = write(tmp_path, first=100)
    manifest = plan(tmp_path)
    before = file.stat()
    write(tmp_path, first=200)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert file.stat().st_size == before.st_size

    with pytest.raises(SourceError, match="content changed since it was planned"):
        read_all(manifest)


@pytest.mark.parametrize("way", ["renamed into place", "overwritten in place"])
def test_other_content_of_the_same_size_and_time_is_noticed(tmp_path: Path, way: str) -> None:
    file = write(tmp_path, first=100)
    manifest = plan(tmp_path)
    before = file.stat()
    other = write(tmp_path, first=200, name="other.parquet")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    if way == "renamed into place":
        other.replace(file)
    else:
        wait_until_the_clock_of_files_is_past(tmp_path, before.st_ctime_ns)
        file.write_bytes(other.read_bytes())
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)

    with pytest.raises(SourceError, match="content changed since it was planned"):
        read_all(manifest)


def wait_until_the_clock_of_files_is_past(folder: Path, ctime_ns: int) -> None:
    """File systems keep time in ticks of some milliseconds."""
    probe = folder / "probe"
    probe.touch()
    while probe.stat().st_ctime_ns <= ctime_ns:
        probe.touch()


def test_another_size_is_noticed(tmp_path: Path) -> None:
    write(tmp_path)
    manifest = plan(tmp_path)
    write(tmp_path, 1_000)

    with pytest.raises(SourceError, match=r"bytes now, .* when it was planned"):
        read_all(manifest)


def test_a_touched_file_is_still_the_same(tmp_path: Path) -> None:
    file = write(tmp_path)
    manifest = plan(tmp_path)
    os.utime(file, ns=(1, 1))

    assert read_all(manifest) == list(range(10))
    assert plan(tmp_path).digest == manifest.digest


def test_the_same_rows_with_the_same_bytes_have_the_same_digest_and_others_do_not(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    write(tmp_path / "c", first=1)

    assert plan(tmp_path / "a").digest == plan(tmp_path / "b").digest != plan(tmp_path / "c").digest


def test_a_chunk_with_fewer_rows_than_planned_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (chunk,) = plan(tmp_path).chunks

    with pytest.raises(SourceError, match="10 rows from row 0 on, planned were 11"):
        ONE.read(chunk.descriptor.model_copy(update={"rows": 11}))


def test_damage_anywhere_is_a_source_error_or_harmless_but_never_a_crash(tmp_path: Path) -> None:
    file = write(tmp_path, 200, group_rows=50)
    sound = file.read_bytes()
    dice = random.Random(1)  # the same damage every time
    damages = [sound[: dice.randrange(len(sound))] for _ in range(60)]
    for _ in range(200):
        position = dice.randrange(len(sound))
        damages.append(sound[:position] + bytes([dice.randrange(256)]) + sound[position + 1 :])
    refused = []
    for damage in damages:
        file.write_bytes(damage)
        try:
            for chunk in plan(tmp_path).chunks:
                ONE.read(chunk.descriptor)
        except SourceError as error:
            refused.append(str(error))
    assert len(refused) > len(damages) // 4
    assert all(str(file) in message and "row 1" not in message for message in refused)


def test_a_landed_day_is_read_back_with_its_zone_and_nulls(tmp_path: Path) -> None:
    source = ParquetFiles(path="{landing}/flights/{partition_key}.parquet")

    landed = land_flights([date(2013, 1, 1), date(2013, 12, 31)], tmp_path / "flights")
    again = land_flights([date(2013, 1, 1)], tmp_path / "again")
    (descriptor,) = source.chunks(DAY, SourceContext(tmp_path, tmp_path, 10_000))
    frame = source.read(descriptor)

    assert landed == {"2013-01-01": 842, "2013-12-31": 776}
    assert again == {"2013-01-01": 842}
    assert (tmp_path / "again" / "2013-01-01.parquet").read_bytes() == Path(descriptor.path).read_bytes()
    assert frame.height == 842
    assert frame.schema["time_hour"] == pl.Datetime("us", "UTC")
    assert frame["dep_time"].null_count() == 4
    assert sorted(path.name for path in (tmp_path / "flights").iterdir()) == [
        "2013-01-01.parquet",
        "2013-12-31.parquet",
    ]
    assert_frame_equal(frame, pl.read_parquet(tmp_path / "again" / "2013-01-01.parquet"))


# ---- cuts ---------------------------------------------------------------------------------------------------------------


def test_thousands_of_tiny_row_groups_make_few_chunks(tmp_path: Path) -> None:
    write(tmp_path, 3_000, group_rows=1)

    manifest = plan(tmp_path, 1_000)

    assert [chunk.rows for chunk in manifest.chunks] == [1_000] * 3
    assert read_all(manifest) == list(range(3_000))


def test_a_row_group_of_more_bytes_than_a_chunk_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rowledger.sources.planned_files.CHUNK_BYTES_MAX", 4_000)
    write(tmp_path, 1_000, group_rows=1_000)

    manifest = plan(tmp_path, 1_000)

    assert len(manifest.chunks) > 3
    assert read_all(manifest) == list(range(1_000))


# ---- hive folders -------------------------------------------------------------------------------------------------------

HIVE = ParquetFiles(path="{landing}/t/day={partition_key}/*/*.parquet", hive=("day", "part of"))


def hive_file(folder: Path, part: str, first: int = 0) -> None:
    write(folder, 3, name=f"day=2013-01-01/part%20of={part}/x.parquet", first=first)


def test_hive_keys_are_columns_of_text_as_they_were_before_they_were_quoted(tmp_path: Path) -> None:
    hive_file(tmp_path, "a%2Fb=c")
    hive_file(tmp_path, "__HIVE_DEFAULT_PARTITION__", 3)

    chunks = plan(tmp_path, source=HIVE).chunks
    frames = [HIVE.read(chunk.descriptor) for chunk in chunks]

    assert [frame.schema for frame in frames] == [HIVE.frame_schema(chunk.descriptor) for chunk in chunks]
    assert pl.concat(frames).select("n", "day", "part of").rows() == [
        *((n, "2013-01-01", None) for n in (3, 4, 5)),
        *((n, "2013-01-01", "a/b=c") for n in (0, 1, 2)),
    ]


def test_the_same_file_in_another_hive_folder_is_another_source(tmp_path: Path) -> None:
    hive_file(tmp_path / "a", "1")
    hive_file(tmp_path / "b", "2")
    hive_file(tmp_path / "c", "1")
    a, b, c = (plan(tmp_path / name, source=HIVE).digest for name in "abc")

    assert a == c != b


def test_a_touched_file_in_a_hive_folder_is_still_the_same(tmp_path: Path) -> None:
    hive_file(tmp_path, "1")
    (chunk,) = plan(tmp_path, source=HIVE).chunks
    os.utime(chunk.descriptor.path, ns=(1, 1))

    assert HIVE.read(chunk.descriptor).height == 3


def test_a_hive_key_that_the_path_or_the_file_contradicts_is_named(tmp_path: Path) -> None:
    hive_file(tmp_path, "1")

    with pytest.raises(SourceError, match="no folder of its path is called year=…"):
        plan(tmp_path, source=HIVE.model_copy(update={"hive": ("year",)}))
    pq.write_table(pa.table({"day": [1]}), tmp_path / "t/day=2013-01-01/part%20of=1/x.parquet")
    with pytest.raises(SourceError, match=r"the columns \['day'\] are in the file and in the names of its folders"):
        plan(tmp_path, source=HIVE)


# ---- what a column may be -----------------------------------------------------------------------------------------------


def write_column(folder: Path, values: object, **options: Any) -> ParquetFiles:
    file = folder / "t" / "2013-01-01.parquet"
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"c": values}), file, **options)
    return ONE


def read_column(folder: Path) -> pl.Series:
    """The column of the one chunk, after a look whether its type was foretold."""
    (chunk,) = plan(folder).chunks
    frame = ONE.read(chunk.descriptor)
    assert frame.schema == ONE.frame_schema(chunk.descriptor)
    return frame["c"]


DAY_ONE = datetime(2024, 3, 1, 12, 30, 15, 123456)  # noqa: DTZ001, a local time
FIRST, LAST = datetime.min, datetime.max  # noqa: DTZ901, local times
_COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "uint64": (pa.uint64(), [2**64 - 1, None]),
    "float16": (pa.float16(), [1.5, None]),
    "null": (pa.null(), [None, None]),
    "large string": (pa.large_string(), ["ä", None]),
    "string view": (pa.string_view(), ["a string of more than twelve bytes", None]),
    "binary view": (pa.binary_view(), [b"\x00", None]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", None, "a"]),
    "dictionary of integers": (pa.dictionary(pa.int32(), pa.int64()), [5, None]),
    "decimal128": (pa.decimal128(38, 10), [Decimal("-1234567890123456789012345678.0123456789"), None]),
    "decimal256 of few digits": (pa.decimal256(20, 2), [Decimal("1.10"), None]),
    "timestamp in s": (pa.timestamp("s"), [DAY_ONE.replace(microsecond=0), None]),
    "timestamp in ms": (pa.timestamp("ms"), [DAY_ONE.replace(microsecond=123000), None]),
    "timestamp in us": (pa.timestamp("us"), [DAY_ONE, FIRST, LAST]),
    "timestamp in ns": (pa.timestamp("ns"), [DAY_ONE, None]),
    "timestamp with a zone": (pa.timestamp("us", "Europe/Berlin"), [DAY_ONE.replace(tzinfo=UTC), None]),
    "timestamp with an offset": (pa.timestamp("us", "+02:00"), [DAY_ONE.replace(tzinfo=UTC), None]),
    "timestamp with a zone nobody knows": (pa.timestamp("us", "Mars/Olympus"), [DAY_ONE.replace(tzinfo=UTC), None]),
    "time": (pa.time64("us"), [DAY_ONE.time(), None]),
    "duration": (pa.duration("us"), [timedelta(days=-3, microseconds=1), None]),
    "list": (pa.list_(pa.int64()), [[1, None], [], None]),
    "list view": (pa.list_view(pa.int64()), [[1, None], [], None, [7]]),
    "struct": (pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]), [{"a": 1, "b": ["x"]}, None]),
    "extension": (pa.json_(), ['{"a": 1}', None]),
}


@pytest.mark.parametrize("name", _COLUMNS)
def test_values_of_every_type_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    kind, values = _COLUMNS[name]
    array = (
        pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
        if isinstance(kind, pa.BaseExtensionType)
        else pa.array(values, kind)
    )
    write_column(tmp_path, array)

    assert read_column(tmp_path).to_list() == values


def test_maps_are_json_and_keep_all_their_entries(tmp_path: Path) -> None:
    """polars would keep the last of those with one key."""
    maps = pa.array([[("a", 1), ("b", 2)], [("a", 1), ("a", 2)], None], pa.map_(pa.string(), pa.int64()))
    write_column(tmp_path, maps)

    made = read_column(tmp_path)

    assert made.dtype == DYNAMIC
    assert made.struct[0].to_list() == ['{"a": 1, "b": 2}', '[["a", 1], ["a", 2]]', None]


def test_decimals_of_more_digits_than_a_frame_holds_are_exact_text(tmp_path: Path) -> None:
    digits = "9" * 40 + "." + "1" * 20
    write_column(tmp_path, pa.array([[Decimal(digits)], None], pa.list_(pa.decimal256(60, 20))))
    assert read_column(tmp_path).to_list() == [[digits], None]
    write_column(tmp_path, pa.array([Decimal(digits), None], pa.decimal256(60, 20)))
    assert read_column(tmp_path).to_list() == [digits, None]


def test_timestamps_of_96_bits_keep_years_that_nanoseconds_do_not_reach(tmp_path: Path) -> None:
    """polars moves them to 1677 or 2262 without a word; Spark and Impala write 9999-12-31 for ever."""
    moments = [LAST.replace(microsecond=0), DAY_ONE, FIRST, None]
    write_column(tmp_path, pa.array(moments), use_deprecated_int96_timestamps=True, store_schema=False)

    (chunk,) = plan(tmp_path).chunks
    assert ONE.read(chunk.descriptor)["c"].to_list() == moments


def test_files_of_one_partition_may_have_different_columns(tmp_path: Path) -> None:
    source = ParquetFiles(path="{landing}/t/{partition_key}-*.parquet")
    write(tmp_path, 2, name="2013-01-01-a.parquet")
    pq.write_table(pa.table({"n": ["x"]}), tmp_path / "t" / "2013-01-01-b.parquet")

    schemas = [source.frame_schema(chunk.descriptor) for chunk in plan(tmp_path, source=source).chunks]

    assert schemas == [{"n": pl.Int64(), "s": pl.String()}, {"n": pl.String()}]


# ---- limits, and footers that lie ---------------------------------------------------------------------------------------


def test_more_columns_than_the_limit_are_refused_with_both_figures(tmp_path: Path) -> None:
    write(tmp_path)

    with pytest.raises(SourceError, match=r"2013-01-01\.parquet: has 2 columns, the limit is 1 \(columns_max\)"):
        plan(tmp_path, source=ONE.model_copy(update={"columns_max": 1}))


def test_a_row_group_of_more_bytes_than_the_limit_is_refused_with_both_figures(tmp_path: Path) -> None:
    write(tmp_path, 100_000, group_rows=100_000)
    limited = ParquetFiles(path=ONE.path, row_group_bytes_max=2**20)

    with pytest.raises(SourceError, match=r"parquet: row group 0 declares [\d,]+ bytes .* limit is 1,048,576 \(row_gr"):
        plan(tmp_path, source=limited)


def test_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, write(tmp_path))

    with pytest.raises(SourceError, match=r"has several columns of the names \['a'\]"):
        plan(tmp_path)


def _varint(number: int) -> bytes:
    """A number as Thrift's compact protocol writes it."""
    zigzag, written = number << 1, bytearray()
    while zigzag >= 0x80:
        written.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*written, zigzag])


def _with_footer(file: Path, change: Callable[[bytes], bytes]) -> None:
    content = file.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    footer = change(content[-8 - length : -8])
    file.write_bytes(content[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


@pytest.mark.parametrize("rows", [10**9, 10**15])
def test_a_footer_that_declares_absurdly_many_rows_is_refused_before_they_are_planned(
    tmp_path: Path, rows: int
) -> None:
    file = write(tmp_path, 54_321, group_rows=54_321)
    file_bytes = file.stat().st_size
    _with_footer(file, lambda footer: footer.replace(_varint(54_321), _varint(rows)))
    if rows < file_bytes * 10_000:
        manifest = plan(tmp_path, 1_000_000)
        assert manifest.enqueued_rows == rows
        with pytest.raises(SourceError):
            ONE.read(manifest.chunks[0].descriptor)
    else:
        with pytest.raises(
            SourceError, match=r"parquet: declares 1,000,000,000,000,000 rows in [\d,]+ bytes, the limit is"
        ):
            plan(tmp_path, 1_000_000)


def test_row_groups_that_contradict_the_footer_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, 54_321, group_rows=54_321)
    _with_footer(file, lambda footer: footer.replace(_varint(54_321), _varint(54_322), 1))

    with pytest.raises(SourceError, match=r"parquet: declares 54322 rows and row groups with 54321"):
        plan(tmp_path)


def test_a_codec_that_nobody_here_knows_is_named(tmp_path: Path) -> None:
    file = write(tmp_path)
    path_and_codec = b"\x19\x18\x01n\x15"  # the column's path in the schema, and the field of its codec
    _with_footer(file, lambda footer: footer.replace(path_and_codec + b"\x02", path_and_codec + b"\x06"))

    with pytest.raises(SourceError, match=r"parquet: is compressed in a way that is not known here"):
        read_all(plan(tmp_path))


# ---- columns that one reader alone gives exactly -------------------------------------------------------------------------

_JULIAN_1970 = 2_440_588
_Wrap = Callable[[pa.Array], pa.Array]
_WRAPS: dict[str, _Wrap] = {
    "flat": lambda values: values,
    "list": lambda values: pa.ListArray.from_arrays(range(len(values) + 1), values),
    "struct": lambda values: pa.StructArray.from_arrays([values], ["v"]),
    "list of structs": lambda values: pa.ListArray.from_arrays(
        range(len(values) + 1), pa.StructArray.from_arrays([values], ["v"])
    ),
}


def write_int96(
    folder: Path, pairs: list[tuple[int, int]], beside: dict[str, pa.Array] | None = None, wrap: _Wrap = _WRAPS["flat"]
) -> Path:
    """A file with a column `t` of these days, counted as Parquet does, and nanoseconds of the day, which may be below zero."""
    marks = [datetime(2001, 2, 3, 4, 5, 6) + timedelta(seconds=n) for n in range(len(pairs))]  # noqa: DTZ001
    file = write(folder)
    table = pa.table({"n": range(len(pairs)), "t": wrap(pa.array(marks, pa.timestamp("us"))), **(beside or {})})
    pq.write_table(
        table, file, use_deprecated_int96_timestamps=True, use_dictionary=False, compression="none", store_schema=False
    )
    content = file.read_bytes()
    for mark, (day, nanos) in zip(marks, pairs, strict=True):
        of_day = mark - datetime(2001, 2, 3)  # noqa: DTZ001
        written = struct.pack("<qi", of_day // timedelta(microseconds=1) * 1_000, _JULIAN_1970 + 11_356)
        content = content.replace(written, struct.pack("<qi", nanos, day))
    file.write_bytes(content)
    return file


BESIDE: dict[str, pa.Array] = {
    "map": pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
    "decimal of 50 digits": pa.array([Decimal("1.50")] * 3, pa.decimal256(50, 2)),
    "time": pa.array([DAY_ONE.time()] * 3),
    "text that is no UTF-8": pa.array([b"a", b"a", b"a"], pa.binary()).view(pa.string()),
    "nothing": pa.nulls(3),
}
BEFORE = datetime(1969, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001, a local time
_NEAR = [(_JULIAN_1970, -1_000), (_JULIAN_1970, 0), (_JULIAN_1970 + 19_783, 1_000)]
_FAR = [(_JULIAN_1970, -1_000), (_JULIAN_1970 - 719_162, 0), (_JULIAN_1970 + 2_932_896, 86_399_999_999_000)]
_FAR_BELOW = [(_JULIAN_1970 - 300_000, -1_000), (_JULIAN_1970 - 500_000, -1_000), (_JULIAN_1970 + 300_000, -1_000)]
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001, as above


def moment(day: int, nanos: int) -> datetime:
    return EPOCH + timedelta(days=day - _JULIAN_1970, microseconds=nanos // 1_000)


@pytest.mark.parametrize("wrap", _WRAPS)
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("pairs", [_NEAR, _FAR, _FAR_BELOW], ids=["near", "far", "far and below"])
def test_timestamps_of_96_bits_are_exact_whatever_stands_beside_them(
    tmp_path: Path, pairs: list[tuple[int, int]], beside: str, wrap: str
) -> None:
    write_int96(tmp_path, pairs, {"beside": BESIDE[beside]}, _WRAPS[wrap])
    (chunk,) = plan(tmp_path).chunks

    made = ONE.read(chunk.descriptor)["t"]

    while isinstance(made.dtype, pl.List | pl.Struct):
        made = made.explode(empty_as_null=False) if isinstance(made.dtype, pl.List) else made.struct[0]
    assert made.to_list() == [moment(*pair) for pair in pairs]
    assert moment(*_NEAR[0]) == BEFORE


def test_timestamps_of_96_bits_in_a_map_are_exact_or_their_row_is_at_fault(tmp_path: Path) -> None:
    def as_map(values: pa.Array) -> pa.Array:
        return pa.MapArray.from_arrays(range(4), pa.array(["a", "b", "c"]), values)

    write_int96(tmp_path, [_NEAR[0], _FAR[1], _NEAR[2]], wrap=as_map)
    (chunk,) = plan(tmp_path).chunks

    frame = ONE.read(chunk.descriptor)

    assert frame["t"].struct[0].to_list()[0] == '{"a": "1969-12-31T23:59:59.999999"}'
    assert frame[FAULT].to_list() == [
        None,
        "column 't' has a timestamp of 96 bits in a map that nanoseconds do not reach",
        None,
    ]
    assert frame[LINE][1].startswith(b'{"n": 1, ')


def test_nanoseconds_beside_timestamps_that_nanoseconds_do_not_reach_cost_their_row(tmp_path: Path) -> None:
    write_int96(tmp_path, [_FAR[2], (_JULIAN_1970, 1_500), (_JULIAN_1970 + 2_932_896, 86_399_999_999_999)])
    (chunk,) = plan(tmp_path).chunks

    frame = ONE.read(chunk.descriptor)

    assert frame["t"][0] == datetime.max  # noqa: DTZ901, as above
    assert [bool(fault) for fault in frame[FAULT]] == [False, True, True]
    assert "column 't' has a timestamp of 96 bits that is not a whole number of microseconds" in frame[FAULT][1]


def test_one_text_that_is_no_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"\xff", None, "ä".encode()], pa.binary()).view(pa.string())
    table = pa.table({"n": [1, 2, 3, 4], "s": texts, "l": pa.ListArray.from_arrays([0, 1, 1, 1, 1], texts.slice(3))})
    pq.write_table(table, write(tmp_path), row_group_size=2)
    frames = [ONE.read(chunk.descriptor) for chunk in plan(tmp_path, 2).chunks]

    assert frames[0][FAULT].to_list() == [None, "column 's' has a text that is not valid UTF-8"]
    assert frames[0][LINE][1] == b'{"n": 2, "s": {"base64": "/w=="}, "l": []}'
    assert [list(frame["s"]) for frame in frames] == [["a", None], [None, "ä"]]
    assert frames[0]["l"].to_list() == [["ä"], []]
    assert FAULT not in frames[1].columns


@pytest.mark.parametrize("wrap", _WRAPS)
@pytest.mark.parametrize("kind", [pa.time64("us"), pa.time64("ns"), pa.time32("ms")], ids=str)
def test_a_time_of_24_hours_costs_its_row_and_is_no_null(tmp_path: Path, kind: pa.DataType, wrap: str) -> None:
    a_day = 86_400 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    whole = pa.int32() if kind.bit_width == 32 else pa.int64()
    write_column(tmp_path, _WRAPS[wrap](pa.array([1, a_day, a_day - 1], whole).view(kind)))
    (chunk,) = plan(tmp_path).chunks

    frame = ONE.read(chunk.descriptor)

    assert frame[FAULT].to_list() == [None, "column 'c' is a time of day outside of 00:00 to 23:59:59.999999999", None]
    assert b"24:00:00" in frame[LINE][1]
    assert frame["c"].is_null().to_list() == [False, True, False]


def annotated(file: Path, annotation: bytes) -> None:
    """Give the 12 fixed bytes of column `c` a converted or logical type, as Thrift's compact protocol writes it."""
    element = bytes.fromhex("150e15181502180163")
    _with_footer(file, lambda footer: footer.replace(element + b"\0", element + annotation + b"\0"))


def test_an_interval_of_parquet_is_named_with_its_column(tmp_path: Path) -> None:
    file = write(tmp_path)
    pq.write_table(pa.table({"c": pa.array([bytes(12)], pa.binary(12))}), file, store_schema=False)
    annotated(file, b"\x25\x2a")

    with pytest.raises(SourceError, match=r"2013-01-01\.parquet: column 'c' is an INTERVAL of Parquet"):
        plan(tmp_path)


@pytest.mark.parametrize("logical", [16, 17, 18, 30], ids=["variant", "geometry", "geography", "one of the future"])
def test_a_logical_type_that_polars_does_not_know_is_read_as_it_is_stored(tmp_path: Path, logical: int) -> None:
    file = write(tmp_path)
    table = pa.table(
        {"c": pa.array([b"abcdefghijkl", None], pa.binary(12)), "d": [Decimal("1.5"), None], "t": ["ä", "b"]}
    )
    pq.write_table(table, file, store_schema=False)
    annotated(file, bytes([0x6C, 0x0C, 2 * logical, 0, 0]))

    (chunk,) = plan(tmp_path).chunks
    frame = ONE.read(chunk.descriptor)

    assert frame.schema == ONE.frame_schema(chunk.descriptor)
    assert frame.rows() == [(b"abcdefghijkl", Decimal("1.5"), "ä"), (None, None, "b")]


@pytest.mark.parametrize("store_schema", [False, True])
@pytest.mark.parametrize("wrap", _WRAPS)
def test_decimals_of_50_digits_are_exact_text(tmp_path: Path, wrap: str, *, store_schema: bool) -> None:
    digits = "9" * 48 + ".25"
    write_column(
        tmp_path, _WRAPS[wrap](pa.array([Decimal(digits), None], pa.decimal256(50, 2))), store_schema=store_schema
    )

    made = read_column(tmp_path)

    while isinstance(made.dtype, pl.List | pl.Struct):
        made = made.explode(empty_as_null=False) if isinstance(made.dtype, pl.List) else made.struct[0]
    assert made.to_list() == [digits, None]


def test_documents_are_text_with_and_without_arrows_own_schema(tmp_path: Path) -> None:
    for store_schema in (False, True):
        documents = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None]))
        write_column(tmp_path, documents, store_schema=store_schema)

        assert read_column(tmp_path).to_list() == ['{"a": 1}', None]


def test_columns_that_polars_reads_exactly_are_left_to_it(tmp_path: Path) -> None:
    """A column more by Arrow than needed costs time in every chunk."""
    by_arrow = {}
    for name, (kind, values) in _COLUMNS.items():
        if not isinstance(kind, pa.BaseExtensionType):
            write_column(tmp_path, pa.array(values, kind))
            by_arrow[name] = plan(tmp_path).chunks[0].descriptor.column_readers

    assert {name for name, readers in by_arrow.items() if readers} == {
        *("time", "list view", "timestamp with an offset", "timestamp with a zone nobody knows")
    }


class _NoSecret(pe.KmsClient):
    def __init__(self, _connection: object) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _master: str) -> bytes:
        return base64.b64encode(key)


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_an_encrypted_file_is_called_so(tmp_path: Path, *, plaintext_footer: bool) -> None:
    file = write(tmp_path)
    keys = pe.EncryptionConfiguration(footer_key="k", column_keys={"c": ["n"]}, plaintext_footer=plaintext_footer)
    properties = pe.CryptoFactory(_NoSecret).file_encryption_properties(pe.KmsConnectionConfig(), keys)
    table = pa.table({"n": [1]})
    with pq.ParquetWriter(file, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)

    with pytest.raises(SourceError, match=r"2013-01-01\.parquet: is encrypted, and no key is known here"):
        read_all(plan(tmp_path))
