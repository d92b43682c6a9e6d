"""Whole loads of files with values that one library or the other loses: the right value in the table, or a dead letter."""

import json
import struct
from datetime import datetime, time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.tables_of_other_sources import BORDERS

BEFORE_1970 = datetime(1969, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001, a local time
MARK = datetime(2001, 2, 3, 4, 5, 6)  # noqa: DTZ001, as above


def test_each_value_of_a_file_is_what_it_was_or_a_dead_letter(database: str, tmp_path: Path) -> None:
    times = pa.array([86_400_000_000, 1, 2], pa.int64()).view(pa.time64("us"))
    texts = pa.array([b"a", b"b", b"\xff"], pa.binary()).view(pa.string())
    table = pa.table(
        {
            "n": [1, 2, 3],
            "at": pa.array([MARK] * 3, pa.timestamp("us")),
            "clock": times,
            "word": texts,
            "pairs": pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
            "id": pa.array([b"abcdefghijklmnop"] * 3, pa.uuid()),
        }
    )
    file = tmp_path / "borders.parquet"
    pq.write_table(
        table, file, use_deprecated_int96_timestamps=True, use_dictionary=False, compression="none", store_schema=False
    )
    nanos = (MARK - MARK.replace(hour=0, minute=0, second=0)).seconds * 10**9
    day = 2_440_588 + (MARK - datetime(1970, 1, 1)).days  # noqa: DTZ001, as above
    written = file.read_bytes().replace(struct.pack("<qi", nanos, day), struct.pack("<qi", -1_000, 2_440_588))
    file.write_bytes(written)

    report = load_one(database, BORDERS, tmp_path, "all")

    assert report.error is None, report.error
    assert (report.enqueued_rows, report.written_rows, report.dead_lettered_rows) == (3, 1, 2)
    (row,) = fetch(database, "select n, at, clock, word, pairs::text, id from borders")
    assert tuple(row) == (2, BEFORE_1970, time(0, 0, 0, 1), "b", '{"a": 1}', "61626364-6566-6768-696a-6b6c6d6e6f70")
    letters = fetch(database, "select row_no, stage, reason, payload::text from rowledger.dead_letter order by row_no")
    assert [(letter["row_no"], letter["stage"], letter["reason"]) for letter in letters] == [
        (0, "source", "column 'clock' is a time of day outside of 00:00 to 23:59:59.999999999"),
        (2, "source", "column 'word' has a text that is not valid UTF-8"),
    ]
    shown = json.loads(json.loads(letters[0]["payload"])["line"])
    assert (shown["n"], shown["clock"], shown["at"]) == (1, "24:00:00", "1969-12-31T23:59:59.999999000")
    assert_nothing_left_over(database)
