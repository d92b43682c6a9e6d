"""`dagster asset materialize` in a fresh process, as CI would do it, on a database and an instance that are gone in the end."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from benchmarks.scale import server
from benchmarks.scale.bench import Bench
from rowledger.settings import child_environment

_ROOT = Path(__file__).parents[2]
_EVENTS = (
    "select step_key, dagster_event_type as kind, timestamp from dagster.event_logs where id > $1 "
    "and dagster_event_type in ('PIPELINE_START', 'PIPELINE_SUCCESS', 'STEP_WORKER_STARTING', 'STEP_START', 'STEP_SUCCESS') "
    "order by id"
)


@dataclass(frozen=True, slots=True)
class Materialized:
    """One run: wall-clock seconds of the whole process, and where they went, in order."""

    process_s: float
    phases_s: dict[str, float]


@dataclass(frozen=True)
class Instance:
    """Dagster with a storage of its own and nothing loaded yet; `url` is the database of its storage and its target."""

    url: str
    home: Path

    def materialize(self, selection: Sequence[str], *partitions: str) -> Materialized:
        """Run the command; raises SystemExit with the end of its log when it fails."""
        has_events = server.fetch_value(self.url, "select to_regclass('dagster.event_logs') is not null")
        last_id = server.fetch_value(self.url, "select max(id) from dagster.event_logs") if has_events else 0
        command = ["-m", "dagster", "asset", "materialize", "-m", "pipeline.definitions"]
        command += ["--select", ",".join(selection), *partitions]
        log = self.home / "dagster.log"
        began, started = time.time(), time.perf_counter()
        with log.open("wb") as output:
            ended = subprocess.run(  # noqa: S603 - our own interpreter and arguments
                [sys.executable, *command],
                check=False,
                cwd=self.home,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        process_s = time.perf_counter() - started
        if ended.returncode != 0:
            tail = log.read_text(encoding="utf-8", errors="replace")[-4_000:]
            raise SystemExit(f"error: dagster ended with exit code {ended.returncode}:\n{tail}")
        return Materialized(process_s, self._phases(last_id, began, began + process_s))

    def _environment(self) -> dict[str, str]:
        return child_environment(
            DAGSTER_HOME=str(self.home),
            ROWLEDGER_HOME=str(self.home),
            ROWLEDGER_DATABASE_URL=self.url,
            ROWLEDGER_DAGSTER_DATABASE_URL="",
            PYTHONWARNINGS="ignore",
        )

    def _phases(self, last_id: int, began: float, ended: float) -> dict[str, float]:
        """Between the events that Dagster itself recorded, with the time of this machine."""
        phases: dict[str, float] = {}
        at, seen = began, ""
        for event in server.fetch(self.url, _EVENTS, last_id):
            happened = event["timestamp"].replace(tzinfo=UTC).timestamp()
            match event["kind"], event["step_key"]:
                case "PIPELINE_START", _:
                    seen = "Dagster's start"
                case "STEP_WORKER_STARTING", step:
                    seen = f"before {step}"
                case "STEP_START", step:
                    seen = f"start of {step}'s process"
                case "STEP_SUCCESS", step:
                    seen = f"step {step}"
                case _:
                    seen = "before the run's end"
            phases[seen] = phases.get(seen, 0.0) + happened - at
            at = happened
        phases["Dagster's end"] = ended - at
        return phases


@contextlib.contextmanager
def fresh_instance(bench: Bench) -> Iterator[Instance | None]:
    """An instance whose storage has its tables already; None where the role may not make a database."""
    home = bench.folder / "dagster"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    shutil.copy(_ROOT / "dagster.yaml", home)
    try:
        with server.own_database(bench.url) as url:
            if url is None:
                yield None
                return
            instance = Instance(url, home)
            bench.say("making Dagster's storage …")
            instance.materialize(["flights_landing"], "--partition", "2013-12-31")
            yield instance
    finally:
        shutil.rmtree(home, ignore_errors=True)


def core_s(instance: Instance) -> float:
    """Seconds from the first load's beginning to the last one's end, as the ledger has them."""
    spent = server.fetch_value(instance.url, "select max(ended_at) - min(started_at) from rowledger.load")
    return float(spent.total_seconds())
