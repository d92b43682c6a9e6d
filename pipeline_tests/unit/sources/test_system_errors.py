"""A file that the system does not hand out is told from a damaged one: the two have other remedies."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowledger.sources.system_errors import system_refusal

OPENERS: dict[str, Callable[[Path], object]] = {
    "python": lambda file: file.read_bytes(),
    "polars": lambda file: pl.scan_parquet(file, glob=False).collect(),
    "polars, schema": lambda file: pl.scan_parquet(file, glob=False).collect_schema(),
    "pyarrow, Parquet": lambda file: pq.ParquetFile(file).close(),
    "pyarrow, any file": lambda file: pa.OSFile(str(file)).close(),
}


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) + 10, hard)
    )
    try:
        while True:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in opened:
            os.close(descriptor)


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS.keys())
def test_no_descriptor_left_is_said_so_whichever_library_meets_it(
    tmp_path: Path, opener: Callable[[Path], object]
) -> None:
    file = tmp_path / "sound.parquet"
    pq.write_table(pa.table({"n": [1]}), file)
    opener(file)  # what it imports by need is imported

    with no_descriptor_left(), pytest.raises(OSError) as raised:  # noqa: PT011, the text is what is asked for
        opener(file)

    assert (system_refusal(raised.value) or "").startswith("Too many open files while reading it")


def test_a_missing_file_has_the_callers_remedy() -> None:
    error = FileNotFoundError(2, "whatever")

    assert system_refusal(error) == "No such file or directory; write it again and rerun"
    assert system_refusal(error, when_missing="fetch it") == "No such file or directory; fetch it"


def test_damaged_content_is_no_refusal_of_the_system(tmp_path: Path) -> None:
    file = tmp_path / "damaged.parquet"
    file.write_bytes(b"PAR1" * 10)

    for name in ("polars", "pyarrow, Parquet"):
        with pytest.raises((OSError, pa.ArrowException, pl.exceptions.PolarsError)) as raised:
            OPENERS[name](file)
        assert system_refusal(raised.value) is None
