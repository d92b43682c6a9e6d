"""What all questions share: the server, the sizes asked for, the files to load, and the way a load is measured."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
from pydantic import BaseModel, computed_field

from benchmarks.memory import peak_rss_bytes
from benchmarks.scale import server
from benchmarks.scale.run import Job, Result
from benchmarks.verdict import Target, at_most
from rowledger.settings import child_environment

_LOOK_S = 0.25  # between two looks at the memory marks of a run's processes
ROWS_OF_SCALE_1 = 6_001_215
ASSUMED_ROWS_PER_S = 500_000  # for the estimate at the start alone


_WORKER_MIB_MAX = 250


class WrongCount(SystemExit):
    """Rows are missing or too many: the one thing that fails the benchmark."""


class LoadEnded(SystemExit):
    """A load has not come to a good end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A load that some question expects to be hard, and which has not come to a good end."""

    reason: str

    def __str__(self) -> str:
        return f"FAILED: {self.reason}"


class Measured(BaseModel):
    """A load as seen from outside. Peaks are of resident memory, `worker_rss_bytes` that of the largest worker."""

    process_s: float
    run_s: float
    rows: int
    client_cpu_s: float
    server_cpu_s: float | None
    supervisor_cpu_s: float
    supervisor_rss_bytes: int
    worker_rss_bytes: int
    chunks: int
    resumed: bool
    dead_lettered_rows: int = 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rows_per_s(self) -> float:
        return self.rows / self.run_s

    def __str__(self) -> str:
        return f"{self.run_s:.2f} s"

    @property
    def cpu_s(self) -> float:
        """Of client and server, as far as the latter is known."""
        return self.client_cpu_s + (self.server_cpu_s or 0)


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark. `scale` is the TPC-H scale factor of all questions but that of the sizes."""

    url: str
    folder: Path
    say: Callable[[str], None]
    sizes: tuple[float, ...] = (0.25, 1, 10)
    scale: float = 1
    workers: tuple[int, ...] = (1, 2, 4, 8)
    chunk_rows: tuple[int, ...] = (16_384, 32_768, 65_536, 131_072, 262_144, 524_288)
    batch_rows: tuple[int, ...] = (4_096, 8_192, 16_384, 32_768, 65_536)
    days: int = 365
    partitions: tuple[int, ...] = (10, 100, 1_000, 20_000)
    files: tuple[int, ...] = (10, 500, 5_000)
    longest_bytes: int = 20 * 2**20
    rounds: int = 3
    repeats: int = 7
    _rows: dict[float, int] = field(default_factory=dict)

    @property
    def load_s(self) -> float:
        """About how long one load at `scale` takes, with what goes with it."""
        return self.scale * ROWS_OF_SCALE_1 / ASSUMED_ROWS_PER_S + 2.0

    def lineitem(self, scale: float) -> tuple[Path, int]:
        """The landing folder of lineitem at that scale, made unless it is there, and its rows."""
        landing = self.folder / f"lineitem-{scale:g}"
        if scale not in self._rows:
            shutil.rmtree(landing, ignore_errors=True)
            self.say(f"making lineitem at scale {scale:g} …")
            self._rows[scale] = _generate(landing / "lineitem", scale)
        return landing, self._rows[scale]

    def fresh_folder(self, name: str) -> Path:
        """Where files of that name go; nothing is there."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def worker_target(self, figure: str, runs: Sequence[Measured]) -> Target:
        """The most memory that a worker of these loads may have had."""
        peak = max((one.worker_rss_bytes / 2**20 for one in runs), default=None)
        return at_most(figure, peak, _WORKER_MIB_MAX, "MiB")

    def forget_lineitem(self, scale: float) -> None:
        """Delete its file."""
        shutil.rmtree(self.folder / f"lineitem-{scale:g}", ignore_errors=True)
        self._rows.pop(scale, None)

    def attempt(self, job: Job, rows: int, *, deadline_s: float) -> Measured | Failed:
        """The same as `measure` for a load that may fail, or not end: then the question has that for an answer."""
        try:
            return self.measure(job, rows, deadline_s=deadline_s)
        except LoadEnded as ended:
            return Failed(str(ended))

    def measure(
        self, job: Job, rows: int, *, is_fresh: bool = True, deadline_s: float | None = None, **environment: str
    ) -> Measured:
        """Run a job in a process of its own, with no table there before if `is_fresh`; its rows must be there then.

        Raises LoadEnded if it fails, or is killed at its deadline.
        """
        if is_fresh:
            server.clear(self.url)
        server_started_s, started = server.cpu_s(self.url), time.perf_counter()
        process = self.start(job, **environment)
        result, worker_rss_bytes = _watch(process, deadline_s)
        process_s = time.perf_counter() - started
        server_ended_s = server.cpu_s(self.url)
        found = server.count_rows(self.url, str(job.table.target))
        if not found == result.written_rows == rows - result.dead_lettered_rows:
            raise WrongCount(
                f"error: {job.table.target}: {found} rows in the table, {result.written_rows} reported, {rows} in the source"
            )
        return Measured(
            process_s=process_s,
            run_s=result.run_s,
            rows=rows,
            client_cpu_s=result.client_cpu_s,
            server_cpu_s=None
            if server_started_s is None or server_ended_s is None
            else server_ended_s - server_started_s,
            supervisor_cpu_s=result.supervisor_cpu_s,
            supervisor_rss_bytes=result.supervisor_rss_bytes,
            worker_rss_bytes=worker_rss_bytes,
            chunks=result.chunks,
            resumed=result.resumed,
            dead_lettered_rows=result.dead_lettered_rows,
        )

    def start(self, job: Job, **environment: str) -> subprocess.Popen[str]:
        """The job's process; its output is one line of JSON."""
        return subprocess.Popen(  # noqa: S603 - our own module and arguments
            [sys.executable, "-m", "benchmarks.scale.run", job.model_dump_json()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(ROWLEDGER_DATABASE_URL=self.url, **environment),
        )


def _watch(process: subprocess.Popen[str], deadline_s: float | None) -> tuple[Result, int]:
    """Wait for a job's end; what it says, and the most memory any of its children has had."""
    seen, started = psutil.Process(process.pid), time.monotonic()
    worker_rss_bytes = 0
    with _killed_on_errors(process):
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                output, _ = process.communicate(timeout=_LOOK_S)
                break
            worker_rss_bytes = max(worker_rss_bytes, _largest_child(seen))
            if deadline_s is not None and time.monotonic() - started > deadline_s:
                raise LoadEnded(f"not ended after {deadline_s:.0f} s, and killed")
    if process.returncode != 0:
        raise LoadEnded(f"error: a load ended with exit code {process.returncode}")
    return Result.model_validate_json(output.splitlines()[-1]), worker_rss_bytes


@contextlib.contextmanager
def _killed_on_errors(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        process.kill()  # its workers end with it
        process.communicate()
        raise


def _largest_child(process: psutil.Process) -> int:
    peaks = [0]
    try:
        for child in process.children():
            try:
                peaks.append(peak_rss_bytes(child))
            except (psutil.Error, OSError):  # it has just ended
                continue
    except psutil.Error:
        pass
    return max(peaks)


def _generate(folder: Path, scale: float) -> int:
    tool = Path(sys.executable).with_name("tpchgen-cli")
    if not tool.exists():
        raise SystemExit("error: tpchgen-cli is missing; install it with the extra: pip install '.[bench]'")
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-s", f"{scale:g}", "--tables=lineitem", f"--output-dir={folder}", "--quiet"]
    subprocess.run([tool, "parquet", *options], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own arguments
    return int(pq.read_metadata(folder / "lineitem.parquet").num_rows)


def as_json(measured: Measured) -> dict[str, Any]:
    """A load's figures for the JSON."""
    return measured.model_dump(mode="json")


def mib(count_bytes: float) -> str:
    """Bytes as MiB, for a table."""
    return f"{count_bytes / 2**20:,.0f}"


def seconds(value: float | None) -> str:
    """Seconds for a table; a dash where nobody could measure them."""
    return "-" if value is None else f"{value:.2f}"
