"""The wall clock set back and forward by hours in mid-run: leases, retries and deadlines do not mind.

The machine's own clock stays as it is: a small library, preloaded, adds to the wall clock of the processes under test what a
file says. The monotonic clock it leaves alone, as a clock that is set does.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one, set_failpoints
from pipeline_tests.support.server_traps import Session, execute, fail_at, go_on, session, wait_at, wait_until_held
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.embedded.server import EmbeddedServer
from rowledger.errors import PartitionBusy

HOURS_S = 3 * 3600
END_S = 120
Start = Callable[..., subprocess.Popen[str]]

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Seconds to add to the wall clock, as the file says now. */
static long offset(void) {
    char text[32] = {0};
    const char *path = getenv("TEST_CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    if (result == 0) {
        now->tv_sec = exact.tv_sec;
        now->tv_usec = exact.tv_nsec / 1000;
    }
    return result;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""


class Clock:
    """The wall clock of the processes that are started with its environment."""

    def __init__(self, library: Path, offset: Path) -> None:
        self._offset = offset
        self.environment = {"LD_PRELOAD": str(library), "TEST_CLOCK_OFFSET": str(offset)}
        self.set(0)

    def set(self, seconds: int) -> None:
        """So many seconds away from the machine's, from now on; in one step, so that no reader finds half a number."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds}\n")
        new.chmod(0o644)
        new.replace(self._offset)

    @property
    def prelude(self) -> str:
        return "; ".join(f"export {name}='{value}'" for name, value in self.environment.items())


@pytest.fixture
def clock(open_folder: Path) -> Clock:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("a clock for some processes alone needs Linux and a C compiler named cc")
    source, library = open_folder / "clock.c", open_folder / "clock.so"
    source.write_text(SHIM)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        pytest.skip(f"the C compiler cannot build the clock: {built.stderr.strip().splitlines()[-1]}")
    return Clock(library, open_folder / "offset")


def _wait_for_renewal(database: str) -> None:
    """Return once the run has renewed its lease."""
    expiry = "select renewals from rowledger.lease"
    before = fetch_value(database, expiry)
    wait_until(lambda: fetch_value(database, expiry) != before, "the lease is renewed", timeout_s=60)


def _assert_green(process: subprocess.Popen[str], database: str) -> None:
    output, _ = process.communicate(timeout=END_S)
    assert process.returncode == 0, output
    assert fetch(database, "select * from rowledger.incident") == [], "no worker was taken for a stalled one"
    assert fetch_value(database, "select max(epoch) from rowledger.load") <= 2


JUMPS = [HOURS_S, pytest.param(-HOURS_S, marks=pytest.mark.slow)]


def test_the_clock_is_set_for_those_alone_who_are_meant(clock: Clock) -> None:
    clock.set(HOURS_S)
    now = subprocess.run(
        ["/bin/sh", "-c", f'{clock.prelude}; exec "$@"', "sh", sys.executable, "-c", "import time; print(time.time())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert abs(float(now) - time.time() - HOURS_S) < HOURS_S / 2


@pytest.mark.parametrize("seconds", JUMPS)
def test_a_run_whose_clock_is_set_goes_on_and_keeps_its_partition(
    database: str, tmp_path: Path, clock: Clock, start: Start, seconds: int
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    wait_at(database, "chunk", "new.chunk_no = 1")
    fail_at(database, "load", "new.state = 'published'", sqlstate="40001", times=2)  # waits between retries too
    process = start(
        database, EVENTS, tmp_path, [DAY], prefix=("/bin/sh", "-c", f'{clock.prelude}; exec "$@"', "sh"), lease_s=2
    )
    try:
        wait_until_held(database)
        clock.set(seconds)
        _wait_for_renewal(database)
        assert isinstance(load_one(database, EVENTS, tmp_path, DAY).error, PartitionBusy)
    finally:
        go_on(database)
    _assert_green(process, database)
    assert_accounted(database, EVENTS, rows)


class _ClockedServer(EmbeddedServer):
    """A server whose clock the test sets."""

    def __init__(self, home: Path, clock: Clock) -> None:
        super().__init__(home)
        self._folder = _ClockedFolder(self._folder, clock)


class _ClockedFolder:
    """Starts the server's programs in an environment in which the test sets the clock."""

    def __init__(self, folder: Any, clock: Clock) -> None:
        self._folder = folder
        self._settings = [f"{name}={value}" for name, value in clock.environment.items()]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folder, name)

    def run(self, command: Sequence[str | Path], **options: Any) -> None:
        self._folder.run(["/usr/bin/env", *self._settings, self._folder.bin_dir / command[0], *command[1:]], **options)


@pytest.fixture
def clocked(clock: Clock, open_folder: Path) -> Iterator[str]:
    """The URL of a server whose clock the test sets."""
    server = _ClockedServer(open_folder / "postgres", clock)
    try:
        yield server.ensure_running()
    finally:
        clock.set(0)
        server.destroy()


@pytest.fixture
def held(clocked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A load that resumes will wait for this session, which has locked the ledger entries of its last two chunks.

    The gate of the other test would not do here: the server's own sleep goes by the wall clock.
    """
    write_source(tmp_path, "events", DAY, events(250))
    set_failpoints(monkeypatch, "after_claim=raise@chunk=1;after_claim=raise@chunk=2")
    assert load_one(clocked, EVENTS, tmp_path, DAY).error is not None
    set_failpoints(monkeypatch, "")
    with session(clocked) as other:
        execute(other, "select from rowledger.chunk where chunk_no > 0 for update")
        yield other


def _wait_until_blocked(url: str) -> None:
    waiting = (
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name ~ 'rowledger worker' "
        "and datname = current_database()"
    )
    wait_until(lambda: fetch_value(url, waiting), "a worker waits for the lock", timeout_s=60)


@pytest.mark.parametrize("seconds", JUMPS)
def test_a_run_whose_server_s_clock_is_set_goes_on_and_keeps_its_partition(
    clocked: str, tmp_path: Path, clock: Clock, start: Start, held: Session, seconds: int
) -> None:
    process = start(clocked, EVENTS, tmp_path, [DAY], lease_s=2)
    _wait_until_blocked(clocked)
    before = fetch_value(clocked, "select clock_timestamp()")
    clock.set(seconds)
    assert abs((fetch_value(clocked, "select clock_timestamp()") - before).total_seconds()) > HOURS_S / 2
    _wait_for_renewal(clocked)
    assert isinstance(load_one(clocked, EVENTS, tmp_path, DAY).error, PartitionBusy)
    held.rollback()
    _assert_green(process, clocked)
    assert_accounted(clocked, EVENTS, events(250))


@pytest.mark.slow
def test_a_lease_that_a_clock_set_back_makes_last_for_hours_ends_with_its_run(
    clocked: str, tmp_path: Path, clock: Clock, start: Start, held: Session
) -> None:
    process = start(clocked, EVENTS, tmp_path, [DAY], lease_s=300)
    _wait_until_blocked(clocked)
    clock.set(-HOURS_S)
    process.kill()
    held.rollback()
    report = load_one(clocked, EVENTS, tmp_path, DAY, busy_wait_s=30)
    assert report.error is None
    assert report.resumed
    assert_accounted(clocked, EVENTS, events(250))


@pytest.mark.slow
def test_a_clock_set_forward_does_not_make_a_live_run_s_lease_lapse(
    clocked: str, tmp_path: Path, clock: Clock, start: Start, held: Session
) -> None:
    process = start(clocked, EVENTS, tmp_path, [DAY], lease_s=30)
    _wait_until_blocked(clocked)
    clock.set(HOURS_S)
    rival = load_one(clocked, EVENTS, tmp_path, DAY, lock_timeout_s=0.5, retry_budget_s=1)
    held.rollback()
    assert isinstance(rival.error, PartitionBusy)
    _assert_green(process, clocked)
    assert_accounted(clocked, EVENTS, events(250))
