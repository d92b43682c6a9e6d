"""Sources that are damaged, change or vanish: the load is red and names the file, or its rows are exactly the file's."""

import os
import random
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one, set_failpoints
from pipeline_tests.support.partitions import DAYS_OF_MARCH
from pipeline_tests.support.server_traps import go_on, wait_at, wait_until_held
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, Row, changed, events, write_source
from rowledger.errors import SourceError
from rowledger.ledger.reports import PartitionReport

DAYS = DAYS_OF_MARCH
RUN_S = 240


def _quick(names: Iterable[str], *quick: str) -> list[Any]:
    """The names as parameters; all but the quick ones are slow tests."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


# ---- damaged files ------------------------------------------------------------------------------------------------------


def _damage(content: bytes, chance: random.Random) -> bytes:
    """A file as a bad disk, a broken transfer or a careless writer leaves it."""
    damaged = bytearray(content)
    place = chance.randrange(len(damaged))
    footer = len(damaged) - chance.randrange(1, 1500)  # where the file says what it holds
    match chance.choice(["truncated", "flipped", "flipped", "footer", "footer", "zeroed", "cut out", "appended"]):
        case "truncated":
            del damaged[place:]
        case "flipped":
            for _ in range(chance.randint(1, 8)):
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        case "footer":
            damaged[footer] ^= 1 << chance.randrange(8)
        case "zeroed":
            damaged[place : place + 64] = bytes(len(damaged[place : place + 64]))
        case "cut out":
            del damaged[place : place + chance.randint(1, 64)]
        case "appended":
            damaged += chance.randbytes(chance.randint(1, 64))
    return bytes(damaged)


@pytest.mark.parametrize("sweep", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 8))])
def test_a_damaged_file_is_named_or_loaded_as_it_reads(database: str, tmp_path: Path, sweep: int) -> None:
    """A day a seed, all in one run, which is a process of its own: nothing that a file does may end it."""
    for number, day in enumerate(DAYS):
        file = write_source(tmp_path, "events", day, events(120, day), row_group_rows=40)
        file.write_bytes(_damage(file.read_bytes(), random.Random(sweep * len(DAYS) + number)))
    with run_process.start(database, EVENTS, tmp_path, DAYS, workers=2, chunk_rows_max=40) as process:
        try:
            output, _ = process.communicate(timeout=RUN_S)
        finally:
            process.kill()
    assert process.returncode in {0, 1}, output
    told = dict(line.split(" ", 1) for line in output.splitlines() if line.startswith("2024-"))
    assert list(told) == list(DAYS), output
    published = {
        row[0] for row in fetch(database, "select partition_key from rowledger.load where state = 'published'")
    }
    assert published == {day for day, error in told.items() if error == "None"}
    assert 0 < len(published) < len(DAYS), "damage of both kinds is among the seeds"
    for day in set(DAYS) - published:
        assert "SourceError" in told[day] or "DeadLetterBudgetSpent" in told[day], told[day]
        assert f"{day}.parquet" in told[day] or "DeadLetterBudgetSpent" in told[day], told[day]
    as_read = [row for day in sorted(published) for row in _read_by_others(tmp_path / f"events/{day}.parquet")]
    assert_accounted(database, EVENTS, as_read)


def _read_by_others(file: Path) -> list[dict[str, Any]]:
    """The rows as one of the two libraries has them: some damage makes a logical type unknown to polars alone."""
    try:
        return pl.read_parquet(file).to_dicts()
    except pl.exceptions.PolarsError:
        return pq.read_table(file).to_pylist()


def _directory(file: Path) -> None:
    file.mkdir()


def _socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(file.parent)  # a socket's path may have no more than 107 bytes
        listening.bind(file.name)


NO_FILES: dict[str, Callable[[Path], None]] = {
    "a folder": _directory,
    "a link to nothing": lambda file: file.symlink_to("nowhere"),
    "an empty file": lambda file: file.touch(),
    "a device": lambda file: file.symlink_to("/dev/null"),
    "an endless device": lambda file: file.symlink_to("/dev/zero"),
    "a socket": _socket,
}


@pytest.mark.parametrize("kind", _quick(NO_FILES, "an endless device"))
def test_what_is_no_file_fails_the_partition_with_its_name(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # and back, whatever the test does
    file = tmp_path / "events" / f"{DAY}.parquet"
    file.parent.mkdir()
    NO_FILES[kind](file)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert isinstance(report.error, SourceError)
    assert str(file) in str(report.error)
    file.rmdir() if file.is_dir() else file.unlink()
    write_source(tmp_path, "events", DAY, events(50))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(50))


def test_a_pipe_in_a_source_s_place_does_not_hold_the_run_up_for_ever(database: str, tmp_path: Path) -> None:
    file = tmp_path / "events" / f"{DAY}.parquet"
    file.parent.mkdir()
    os.mkfifo(file)
    write_source(tmp_path, "events", NEXT_DAY, events(50, NEXT_DAY))
    with run_process.start(database, EVENTS, tmp_path, [DAY, NEXT_DAY], planning_timeout_s=1) as process:
        try:
            output, _ = process.communicate(timeout=RUN_S)
        finally:
            process.kill()
    assert process.returncode == 1, output
    assert f"{DAY} SourceError" in output
    assert f"{NEXT_DAY} None" in output
    assert_accounted(database, EVENTS, events(50, NEXT_DAY))


# ---- files that change while they are loaded ----------------------------------------------------------------------------


@pytest.fixture
def held_load(database: str, tmp_path: Path) -> Iterator[Future[PartitionReport]]:
    """A load of three chunks, planned, with the first one read and held in its transaction."""
    write_source(tmp_path, "events", DAY, events(250))
    wait_at(database, "chunk", "new.chunk_no = 0")
    with ThreadPoolExecutor() as threads:
        loading = threads.submit(load_one, database, EVENTS, tmp_path, DAY)
        try:
            wait_until_held(database)
            yield loading
        finally:
            go_on(database)


CHANGES: dict[str, list[Row]] = {
    "with its rows in another order": events(250)[::-1],
    "grown": events(400),
    "shrunk": events(150),
    "with another value": changed(events(250), {249: {"name": "changed"}}),
}


@pytest.mark.parametrize("change", _quick(CHANGES, "grown", "with another value"))
def test_a_file_changed_in_mid_run_fails_the_load_and_the_next_run_loads_it_as_it_is(
    database: str, tmp_path: Path, held_load: Future[PartitionReport], change: str
) -> None:
    file = write_source(tmp_path, "events", DAY, CHANGES[change])
    go_on(database)
    report = held_load.result()
    assert isinstance(report.error, SourceError)
    assert str(file) in str(report.error)
    assert fetch_value(database, "select count(*) from events") == 0
    rerun = load_one(database, EVENTS, tmp_path, DAY)
    assert rerun.error is None
    assert not rerun.resumed, "of the old file nothing is kept"
    assert_accounted(database, EVENTS, CHANGES[change])


@pytest.mark.parametrize("source_change", ["renamed into place", "overwritten in place"])
def test_a_file_replaced_in_mid_run_within_the_same_size_and_time_fails_the_load(
    database: str, tmp_path: Path, held_load: Future[PartitionReport], source_change: str
) -> None:
    file = tmp_path / "events" / f"{DAY}.parquet"
    before, other = file.stat(), tmp_path / "other.parquet"
    rows = changed(events(250), {n: {"name": "other", "note": None} for n in range(250)})
    content = write_source(tmp_path / "aside", "events", DAY, rows).read_bytes()
    footer_at = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    filling = bytes(before.st_size - len(content))  # between data and footer, which no reader looks at
    other.write_bytes(content[:footer_at] + filling + content[footer_at:])
    if source_change == "renamed into place":
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(file)
    else:
        file.write_bytes(other.read_bytes())
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    go_on(database)

    report = held_load.result()

    assert isinstance(report.error, SourceError)
    assert f"{file}: its content changed since it was planned" in str(report.error)
    assert fetch_value(database, "select count(*) from events") == 0


def test_a_file_deleted_in_mid_run_fails_the_load_which_resumes_when_it_is_back(
    database: str, tmp_path: Path, held_load: Future[PartitionReport]
) -> None:
    file = tmp_path / "events" / f"{DAY}.parquet"
    aside = file.rename(tmp_path / "aside")
    go_on(database)
    report = held_load.result()
    assert isinstance(report.error, SourceError)
    assert f"{file}: No such file" in str(report.error)
    aside.rename(file)
    rerun = load_one(database, EVENTS, tmp_path, DAY)
    assert rerun.error is None
    assert rerun.resumed
    assert_accounted(database, EVENTS, events(250))


def _touched(file: Path) -> None:
    os.utime(file)


def _written_again(file: Path) -> None:
    copy = file.with_suffix(".copy")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)


@pytest.mark.parametrize("touch", [_touched, pytest.param(_written_again, marks=pytest.mark.slow)])
def test_a_file_touched_or_written_again_with_the_same_bytes_is_the_same_file(
    database: str, tmp_path: Path, held_load: Future[PartitionReport], touch: Callable[[Path], None]
) -> None:
    touch(tmp_path / "events" / f"{DAY}.parquet")
    go_on(database)
    assert held_load.result().error is None
    assert_accounted(database, EVENTS, events(250))


# ---- between a run that broke and the one that resumes --------------------------------------------------------------------


@pytest.fixture
def half_loaded(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The landing folder of a load whose first chunk of three has committed."""
    landing = tmp_path / "landing"
    write_source(landing, "events", DAY, events(250))
    set_failpoints(monkeypatch, "after_claim=raise@chunk=1;after_claim=raise@chunk=2")
    assert load_one(database, EVENTS, landing, DAY).error is not None
    set_failpoints(monkeypatch, "")
    assert fetch_value(database, "select count(*) from rowledger.chunk where state = 'committed'") == 1
    return landing


def test_a_load_resumes_from_where_its_files_stand_now(database: str, half_loaded: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "landing"
    shutil.copytree(half_loaded, moved)
    write_source(half_loaded, "events", DAY, events(300))  # what stands in the old place is another file by now
    report = load_one(database, EVENTS, moved, DAY)
    assert report.error is None
    assert report.resumed
    assert_accounted(database, EVENTS, events(250))


@pytest.mark.parametrize(
    "descriptor",
    [
        """jsonb_set(descriptor, '{row_offset}', '0')""",
        pytest.param("""jsonb_set(descriptor, '{path}', '"/etc/passwd"')""", marks=pytest.mark.slow),
        pytest.param("""'{}'""", marks=pytest.mark.slow),
    ],
)
def test_descriptors_changed_in_the_ledger_are_not_believed(database: str, half_loaded: Path, descriptor: str) -> None:
    fetch(database, f"update rowledger.chunk set descriptor = {descriptor} where chunk_no = 2")
    report = load_one(database, EVENTS, half_loaded, DAY)
    assert report.error is None
    assert report.resumed
    assert_accounted(database, EVENTS, events(250))


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param("delete from rowledger.chunk where chunk_no = 2", marks=pytest.mark.slow),
        "update rowledger.chunk set enqueued_rows = 40 where chunk_no = 2",
        "update rowledger.chunk set state = 'committed', written_rows = enqueued_rows where chunk_no = 2",
        pytest.param("update rowledger.chunk set state = 'pending' where chunk_no = 0", marks=pytest.mark.slow),
    ],
)
def test_a_plan_changed_in_the_ledger_is_never_published(database: str, half_loaded: Path, tamper: str) -> None:
    fetch(database, tamper)
    report = load_one(database, EVENTS, half_loaded, DAY)
    assert not report.resumed or report.error is not None
    if report.error is not None:
        assert fetch_value(database, "select count(*) from events") == 0
    for _ in range(2):
        if load_one(database, EVENTS, half_loaded, DAY).error is None:
            break
    assert_accounted(database, EVENTS, events(250))
