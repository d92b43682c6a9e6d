"""Peers under the same faults and the same verdict: `python -m pipeline_tests.faults.nemesis.peers --rounds 10 --seed 7`.

Each loads the same rows through the same proxy, 20 transactions of 500 rows, while three strikes fall at moments drawn from
the seed: the process (of Ray's tasks a worker) is killed, all connections are cut, a COMMIT is lost, or its reply. What ends
red, or was killed, is started again with the same command until it is green. Then the table is held against the source.

The extra `bench` has dlt, the extra `dev` Ray.
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil

from pipeline_tests.faults.nemesis.peer_loads import SLICE_ROWS
from pipeline_tests.faults.nemesis.verdict import Balance, compare
from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import source_rows, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.proxy import Fate, Proxy, Request, Trap
from pipeline_tests.support.tables import APPENDED_EVENTS, DAY, EVENTS, events, write_source
from pipeline_tests.support.waiting import worker_pids
from rowledger.embedded.server import EmbeddedServer
from rowledger.settings import child_environment

_ROWS = 20 * SLICE_ROWS
_STRIKES = 3
_RUNS_MAX = 12
_RUN_BOUND_S = 180.0
_POLL_S = 0.005
_FAULTS = ("kill", "cut", "lose_commit", "lose_reply")
_TABLE = (
    "create table events (at timestamptz, event_id bigint, name text, amount double precision, note text, code text)"
)


@dataclass
class Score:
    """What became of one contestant, over all rounds."""

    rounds: int = 0
    runs: int = 0
    strikes: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong_but_green: int = 0
    never_green: int = 0
    balance: Balance = field(default_factory=Balance)
    """Of the rounds that ended green."""
    rows_of_red: int = 0
    """In the table after rounds that ended red."""
    sessions_left: int = 0


@dataclass(frozen=True)
class Contestant:
    """How a contestant's process is started, and which of its processes a kill hits."""

    start: Callable[[str, Path, Path], "subprocess.Popen[str]"]
    victims: Callable[["subprocess.Popen[str]"], list[int]]
    may_run_again: bool = True
    before: str = _TABLE


class _Commits:
    """Counts the COMMITs of transactions that copy rows, and has the fate of some befall them."""

    def __init__(self, proxy: Proxy, strikes: dict[int, str]) -> None:
        self.count = 0
        self._traps: list[tuple[str, Trap]] = []
        for number, fault in strikes.items():
            if fault in {"lose_commit", "lose_reply"}:
                fate = Fate.NEVER_ARRIVES if fault == "lose_commit" else Fate.REPLY_LOST
                self._traps.append((fault, proxy.trap(self._is_number(number), fate)))
        proxy.trap(self._note, Fate.NEVER_ARRIVES)  # never springs

    def sprung(self) -> list[str]:
        """The COMMITs that were lost, or their replies, by fault."""
        return [fault for fault, trap in self._traps if trap.sprung.is_set()]

    def _is_number(self, number: int) -> Callable[[Request], bool]:
        return lambda request: _copies(request) and self.count + 1 == number

    def _note(self, request: Request) -> bool:
        self.count += _copies(request)
        return False


def _copies(request: Request) -> bool:
    is_commit = request.text.strip("; \n").lower() == "commit"
    return is_commit and any(text.lstrip().lower().startswith("copy") for text in request.earlier)


def main() -> int:
    """Entry point: prints a line for each contestant."""
    parser = argparse.ArgumentParser(prog="peers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default=",".join(_CONTESTANTS), help="contestants, with commas")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(("ROWLEDGER_", "PG"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        os.environ["ROWLEDGER_HOME"] = str(folder / "home")
        server = EmbeddedServer(folder / "postgres")
        server.ensure_running()
        try:
            for contestant in options.only.split(","):
                score = Score()
                seeds = random.Random(options.seed)
                for _ in range(options.rounds):
                    _play(server, _CONTESTANTS[contestant], seeds.randrange(10**9), score)
                sys.stdout.write(f"{contestant}: {score}\n")
                sys.stdout.flush()
        finally:
            server.destroy()
    return 0


def _play(server: EmbeddedServer, contestant: Contestant, seed: int, score: Score) -> None:
    chance = random.Random(seed)
    moments = sorted(chance.sample(range(1, 21), _STRIKES))
    strikes = {moment: chance.choice(_FAULTS) for moment in moments}
    rows = events(_ROWS)
    with (
        _database(server) as url,
        tempfile.TemporaryDirectory(prefix="peer-", dir="/tmp") as name,
        Proxy(url) as proxy,
    ):  # Ray's sockets have short paths
        landing = Path(name) / "landing"
        landing.mkdir()
        write_source(landing, "events", DAY, rows, row_group_rows=SLICE_ROWS)
        if contestant.before:
            fetch(url, contestant.before)
        commits = _Commits(proxy, strikes)
        waiting = {moment: fault for moment, fault in strikes.items() if fault in {"kill", "cut"}}
        score.rounds += 1
        code: int | None = None
        for _ in range(_RUNS_MAX):
            score.runs += 1
            code = _run(contestant, proxy, landing, Path(name), commits, waiting, score)
            if code == 0 or not contestant.may_run_again:
                break
        score.strikes.update(commits.sprung())
        time.sleep(1)  # sessions that a killed client has left end as soon as the server reads from them
        score.sessions_left += fetch_value(
            url,
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        )
        if code != 0:
            score.never_green += 1
            score.rows_of_red += table_rows(url, EVENTS).total()
            return
        balance = compare(source_rows(rows), table_rows(url, EVENTS))
        score.balance += balance
        score.wrong_but_green += not balance.is_even


def _run(
    contestant: Contestant,
    proxy: Proxy,
    landing: Path,
    scratch: Path,
    commits: _Commits,
    waiting: dict[int, str],
    score: Score,
) -> int:
    """One run until it ends, or is killed. What it prints is thrown away."""
    process = contestant.start(proxy.url, landing, scratch)
    started = time.monotonic()
    try:
        while process.poll() is None:
            for moment in [moment for moment in waiting if commits.count >= moment]:
                if waiting[moment] == "cut":
                    if proxy.cut_all():
                        score.strikes["cut"] += 1
                        del waiting[moment]
                    continue
                if victims := contestant.victims(process):
                    os.kill(victims[0], signal.SIGKILL)
                    score.strikes["kill"] += 1
                    del waiting[moment]
            if time.monotonic() > started + _RUN_BOUND_S:
                return -1
            time.sleep(_POLL_S)
        return process.returncode
    finally:
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            below = psutil.Process(process.pid).children(recursive=True)
            for one in below:
                one.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _peer(name: str) -> Callable[[str, Path, Path], "subprocess.Popen[str]"]:
    def start(url: str, landing: Path, scratch: Path) -> "subprocess.Popen[str]":
        file = landing / "events" / f"{DAY}.parquet"
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline_tests.faults.nemesis.peer_loads", name, file, scratch],
            env=child_environment(DATABASE_URL=url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    return start


def _rowledger(url: str, landing: Path, _scratch: Path) -> "subprocess.Popen[str]":
    settings: dict[str, Any] = {"workers": 2, "chunk_rows_max": SLICE_ROWS, "busy_wait_s": 20, "lease_s": 2}
    process = run_process.start(url, APPENDED_EVENTS, landing, [DAY], **settings)
    threading.Thread(target=process.communicate, name="what Rowledger says", daemon=True).start()
    return process


def _itself(process: "subprocess.Popen[str]") -> list[int]:
    return [process.pid]


def _itself_or_a_worker(process: "subprocess.Popen[str]") -> list[int]:
    return random.Random(process.pid).choice(([process.pid], worker_pids(process.pid)))


def _a_task(process: "subprocess.Popen[str]") -> list[int]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("copy_slice" in word for word in child.cmdline()):
                found.append(child.pid)
    return found


_CONTESTANTS = {
    "dlt-append": Contestant(_peer("dlt-append"), _itself, before=""),
    "dlt-merge": Contestant(_peer("dlt-merge"), _itself, before=""),
    "ray-tasks": Contestant(_peer("ray-tasks"), _a_task, may_run_again=False),
    "ray-tasks-retried": Contestant(_peer("ray-tasks-retried"), _a_task, may_run_again=False),
    "rowledger": Contestant(_rowledger, _itself_or_a_worker, before=""),
}


@contextlib.contextmanager
def _database(server: EmbeddedServer) -> Iterator[str]:
    url = urlunsplit(urlsplit(server.url())._replace(path="/peer"))
    fetch(server.url(), "drop database if exists peer with (force)")
    fetch(server.url(), "create database peer template template0 encoding 'UTF8'")
    try:
        yield url
    finally:
        fetch(server.url(), "drop database if exists peer with (force)")


if __name__ == "__main__":
    sys.exit(main())
