"""A machine short of descriptors, disk or memory: the load goes on or fails with the cause, and nobody hangs."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipeline.nycflights import land_flights
from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value, sessions
from pipeline_tests.support.loading import Recorder, load_one, set_failpoints
from pipeline_tests.support.tables import DAY, EVENTS, events, readings, write_source
from pipeline_tests.support.tables_at_fault import LEAKY_READINGS
from pipeline_tests.support.waiting import wait_until
from rowledger.errors import SourceError
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.reports import PartitionReport, Progress
from rowledger.machine.cgroup import _own_group

ROOT = Path(__file__).parents[2]
END_S = 120
Start = Callable[..., subprocess.Popen[str]]


def _after(shell_code: str) -> tuple[str, ...]:
    """The program that runs the shell code in its own process and then becomes whatever is named behind it."""
    return "/bin/sh", "-c", f'{shell_code}; exec "$@"', "sh"


# ---- descriptors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "descriptors", [14, *(pytest.param(n, marks=pytest.mark.slow) for n in (6, 8, 10, 12, 16, 18, 20, 24, 32))]
)
def test_a_run_short_of_descriptors_ends_green_or_says_so_and_never_hangs(
    database: str, tmp_path: Path, start: Start, descriptors: int
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    limits = {"workers": 2, "respawns_max": 6, "retry_budget_s": 2}
    process = start(database, EVENTS, tmp_path, [DAY], prefix=_after(f"ulimit -n {descriptors}"), **limits)
    output, _ = process.communicate(timeout=END_S)
    published = fetch_value(database, "select count(*) from rowledger.load where state = 'published'")
    assert (process.returncode, published) in {(0, 1), (1, 0)}, output
    wait_until(lambda: not sessions(database), "the run's sessions are gone")
    if not published:
        assert "Too many open files" in output
        assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


def test_a_worker_that_leaks_descriptors_is_replaced_after_its_chunk(database: str, tmp_path: Path) -> None:
    rows = readings(250)
    write_source(tmp_path, "readings", "all", rows)
    observer = Recorder()
    report = load_one(database, LEAKY_READINGS, tmp_path, "all", observer=observer, descriptors_max=32)
    assert report.error is None
    assert report.deaths == (), "a replacement is no death"
    assert {incident.kind for incident in report.incidents} == {IncidentKind.DESCRIPTORS_RECYCLE}
    assert "open descriptors, over the limit of 32" in observer.text
    assert len({row[0] for row in fetch(database, "select worker_pid from rowledger.chunk")}) >= 2
    assert_accounted(database, LEAKY_READINGS, rows)


# ---- disk -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 KB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a tmpfs")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_landing_onto_a_full_disk_names_the_folder_and_leaves_no_half_file(small_disk: Path) -> None:
    folder = small_disk / "flights"
    days = [date(2013, 1, 1) + timedelta(days=number) for number in range(10)]
    with pytest.raises(SourceError, match="No space left on device") as refused:
        land_flights(days, folder)
    assert str(folder) in str(refused.value)
    landed = sorted(folder.iterdir())
    assert 0 < len(landed) < len(days)
    for file, day in zip(landed, days, strict=False):
        assert file.name == f"{day}.parquet", "whole days only, and no temporary file"
    whole = small_disk.parent / "whole"
    land_flights(days, whole)
    assert [file.read_bytes() for file in landed] == [(whole / file.name).read_bytes() for file in landed]


class _FullLog(Recorder):
    """A log on a full disk, which gets room again after a while."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.room_after = lost

    def _write(self) -> None:
        self.room_after -= 1
        if self.room_after >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def log(self, level: int, message: str) -> None:
        self._write()
        super().log(level, message)

    def progress(self, progress: Progress) -> None:
        self._write()
        super().progress(progress)

    def finished(self, report: PartitionReport) -> None:
        self._write()
        super().finished(report)


@pytest.mark.parametrize("action", ["sigkill", pytest.param("raise", marks=pytest.mark.slow)])
def test_a_log_that_cannot_be_written_changes_no_verdict(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, f"mid_copy={action}@chunk=1,attempt=1")
    observer = _FullLog(lost=1_000_000)
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer)
    assert (report.error is None) == (action == "sigkill")
    assert [incident.kind for incident in report.incidents] == [IncidentKind.SIGNAL] * (action == "sigkill")
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


def test_a_log_that_has_room_again_says_how_much_it_lost(database: str, tmp_path: Path) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    observer = _FullLog(lost=1)
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer, rss_soft_limit_bytes=64 * 2**20)
    assert report.error is None
    assert "1 messages to this log were lost (OSError)" in observer.text
    assert_accounted(database, EVENTS, rows)


@pytest.mark.slow
@pytest.mark.parametrize("buffered", [False, True])
def test_dagster_s_exit_code_is_right_though_nobody_can_read_its_output(
    database: str, tmp_path: Path, *, buffered: bool
) -> None:
    """What Python buffers and cannot write later is an error to Dagster: it may end red, but never green without the rows."""
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ROWLEDGER_", "DAGSTER_"))}
    environment = inherited | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "" if buffered else "1",
        "PYTHONWARNINGS": "ignore",
        "ROWLEDGER_DATABASE_URL": database,
        "ROWLEDGER_HOME": str(tmp_path / "home"),
    }
    reader, closed_pipe = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full_disk:  # noqa: PTH123 - a Path would read no better
        cases = {
            "2013-01-01": (full_disk.fileno(), "", 0),
            "2013-01-02": (closed_pipe, "", 0),
            "2013-01-03": (full_disk.fileno(), "after_claim=raise", 1),
        }
        command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "pipeline.definitions"]
        runs = [
            subprocess.Popen(
                [*command, "--select", "flights_landing,flights", "--partition", day],
                cwd=tmp_path,
                env={**environment, "ROWLEDGER_FAILPOINTS": failpoints},
                stdout=output,
                stderr=output,
            )
            for day, (output, failpoints, _) in cases.items()
        ]
        os.close(closed_pipe)
        codes = [run.wait(END_S) for run in runs]
    ledger = fetch_value(database, "select to_regclass('rowledger.load')")
    states = dict(map(tuple, fetch(database, "select partition_key, state from rowledger.load"))) if ledger else {}
    published = [states.get(day) == "published" for day in cases]
    assert all(is_published for code, is_published in zip(codes, published, strict=True) if code == 0)
    if not buffered:
        assert codes == [code for _, _, code in cases.values()]
        assert list(states.values()).count("loading") == 1
    assert_nothing_left_over(database)


# ---- memory -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    """A control group for 600 MB of memory, below our own where the version of cgroups allows that."""
    group = _own_group("memory", Path("/"))
    if group is None:
        pytest.skip("this machine has no control groups for memory")
    # In v2 a group that holds processes, as ours does, cannot have groups below it that limit memory.
    folder = group.folders[-1 if group.is_v2 else 0] / f"rowledger-test-{os.getpid()}"
    limit = "memory.max" if group.is_v2 else "memory.limit_in_bytes"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"this user may not make control groups ({error.strerror})")
    try:
        if not (folder / limit).exists():
            pytest.skip("control groups below the root do not limit memory on this machine")
        (folder / limit).write_text(str(600 * 2**20))
        swap = folder / ("memory.swap.max" if group.is_v2 else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if group.is_v2 else str(600 * 2**20))
        yield folder
    finally:
        wait_until(lambda: not (folder / "cgroup.procs").read_text(), "the group's processes are gone")
        folder.rmdir()


def test_a_worker_killed_by_the_kernel_for_its_memory_is_told_from_one_killed_by_an_operator(
    memory_cgroup: Path, database: str, tmp_path: Path, start: Start
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    process = start(
        database,
        EVENTS,
        tmp_path,
        [DAY],
        prefix=_after(f"echo $$ > {memory_cgroup}/cgroup.procs"),
        failpoints="after_claim=eat_memory@chunk=1,attempt=1;after_claim=sigkill@chunk=2,attempt=1",
    )
    output, _ = process.communicate(timeout=END_S)
    assert process.returncode == 0, output
    kept = fetch(database, "select chunk_no, kind, exit_code from rowledger.incident order by incident_id")
    assert [tuple(row) for row in kept] == [
        (1, IncidentKind.OUT_OF_MEMORY, -9),
        (2, IncidentKind.SIGNAL, -9),
    ]
    assert_accounted(database, EVENTS, rows)


def test_a_worker_that_grows_over_the_hard_limit_is_killed_before_it_takes_the_machine_along(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "after_claim=eat_memory@chunk=1,attempt=1")
    limit = 400 * 2**20
    limits = {"rss_soft_limit_bytes": limit, "rss_hard_limit_bytes": limit, "stall_timeout_s": 15}
    report = load_one(database, EVENTS, tmp_path, DAY, **limits)
    assert report.error is None
    assert [(incident.chunk_no, incident.kind) for incident in report.incidents] == [(1, IncidentKind.MEMORY_LIMIT)]
    assert "over the limit of 400.0 MiB" in report.incidents[0].summary
    assert_accounted(database, EVENTS, rows)
