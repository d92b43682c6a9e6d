"""The nemesis: seeded random faults against random loads, for a given time. A search for what the tests have not thought of.

    python -m pipeline_tests.faults.nemesis --seconds 600 --seed 7
    python -m pipeline_tests.faults.nemesis --round-seed 123456789
    python -m pipeline_tests.faults.nemesis --seconds 600 --seed 7 --hosts 3
    python -m pipeline_tests.faults.nemesis --seconds 600 --seed 7 --hosts 2 --engine local

It has a server of its own in a temporary folder. Each round loads one of the tests' tables in processes of their own, one
version of its source after the other, while faults strike (`plan.py` has them all); it reruns without faults, and then holds
the table and the dead letters against the source, row by row (`verdict.py`), besides what a reader saw meanwhile, what the
ledger says, and what was left behind.

The seed decides what is loaded and which fault waits for which event. It does not decide how processes interleave: a round
that failed has to be repeated, by `--round-seed`, until it fails again, and `--times` does that.

The last line counts: a *kill* is a worker, supervisor, backend or server ended by a strike (failpoints come on top); a COMMIT
is *in doubt* when the proxy lost it, its reply, or the worker that waited for the reply. *Detection* is the time from the kill
of a worker that had a chunk in hand to the line in the run's log, *recovery* from the kill to the claim of the same chunk by
the next attempt, both where nothing but workers was being hurt at that time.
"""

import argparse
import contextlib
import os
import random
import resource
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pipeline_tests.faults.nemesis.faults import HARMLESS_FAULTS
from pipeline_tests.faults.nemesis.plan import plan_round
from pipeline_tests.faults.nemesis.process import MARK
from pipeline_tests.faults.nemesis.round import DATABASE_OF_CLUSTER, Round, Tally, database_url
from pipeline_tests.support.ray_fleet import RayFleet
from rowledger.embedded.server import EmbeddedServer

_SEEDS = 10**9


def main() -> int:
    """Entry point. Exit code 0: nothing was found."""
    options = _options()
    print(
        f"nemesis: seed {options.seed}" if options.round_seed is None else f"nemesis: round seed {options.round_seed}"
    )
    total = Tally()
    failed = 0
    try:
        with _surroundings() as (server, folder, mark), _cluster(options, server, folder) as fleet:
            for number, seed in enumerate(_round_seeds(options), start=1):
                plan = plan_round(
                    seed, options.hosts, whole_runs=options.engine == "local", rivals=options.engine != "ray"
                )
                round_ = Round(plan, server, folder, mark, fleet)
                if not _play(number, round_, total, verbose=options.verbose):
                    failed += 1
                    if not options.keep_going:
                        break
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    finally:
        print(_last_line(total))
        print(_by_kind(total), flush=True)
    return 1 if failed else 0


def _round_seeds(options: argparse.Namespace) -> Iterator[int]:
    """A seed for each round, until the time is up."""
    if options.round_seed is not None:
        yield from [options.round_seed] * options.times
        return
    seeds = random.Random(options.seed)
    ends_at = time.monotonic() + options.seconds
    while time.monotonic() < ends_at:
        yield seeds.randrange(_SEEDS)


def _play(number: int, round_: Round, total: Tally, *, verbose: bool) -> bool:
    """One round, with a line about it, or with all there is to say when it found something."""
    started = time.monotonic()
    plan = round_.plan
    try:
        round_.conduct()
    except Exception:  # noqa: BLE001 - a nemesis that stumbles has not shown that all is well
        round_.tally.findings.append(f"the nemesis itself stumbled:\n{traceback.format_exc()}")
    finally:
        round_.end_runs()
    tally = round_.tally
    total.add(tally)
    print(
        f"round {number}, seed {plan.seed}: {plan.table} {plan.manner}, {len(plan.phases[0].partitions)} partitions, "
        f"{f'{plan.hosts} hosts, ' if plan.hosts else ''}{tally.runs} runs, {tally.fired.total()} strikes, "
        f"{tally.kills} kills, {tally.rows} rows, {tally.committed + tally.aborted} in doubt, {tally.reads} reads, "
        f"{time.monotonic() - started:.1f} s; {', '.join(f'{count} {name}' for name, count in tally.exits.items())}"
        f"{' FAILED' if tally.findings else ''}",
        flush=True,
    )
    if tally.findings or verbose:
        _report(number, round_)
    return not tally.findings


def _report(number: int, round_: Round) -> None:
    print(f"--- round {number} found:")
    for finding in round_.tally.findings:
        print(f"* {finding}")
    print(f"--- its plan; repeat it with --round-seed {round_.plan.seed}:")
    print(round_.plan.describe())
    print("--- what was done:")
    print("\n".join(round_.said))
    for run in round_.runs:
        print(f"--- {run.name}, exit code {run.exit_code}, the end of its log:")
        print(run.tail())
    sys.stdout.flush()


def _last_line(total: Tally) -> str:
    balance = total.balance
    return (
        f"{total.kills} kills in {total.runs} runs, {total.rows} rows: {balance.lost} lost, {balance.duplicated} duplicated, "
        f"{balance.altered} altered; {total.committed + total.aborted} commits in doubt ({total.committed} committed, "
        f"{total.aborted} aborted); detection p50/p99 {_quantiles(total.detections_s, 2)} s; "
        f"recovery p50/p99 {_quantiles(total.recoveries_s, 1)} s"
    )


def _by_kind(total: Tally) -> str:
    harmful = sum(count for fault, count in total.fired.items() if fault not in HARMLESS_FAULTS)
    return f"{harmful} kills and cuts: {', '.join(f'{count} {fault}' for fault, count in total.fired.most_common())}"


def _quantiles(values: list[float], digits: int) -> str:
    """Median and 99th percentile, by the nearest rank; dashes where nothing was measured."""
    if not values:
        return "-/-"
    ranked = sorted(values)
    p50, p99 = (ranked[max(0, -(-len(ranked) * percent // 100) - 1)] for percent in (50, 99))
    return f"{p50:.{digits}f}/{p99:.{digits}f}"


@contextlib.contextmanager
def _surroundings() -> Iterator[tuple[EmbeddedServer, Path, str]]:
    """A server, a folder, and a mark by which our processes are known; nothing of it is left behind."""
    mark = uuid.uuid4().hex
    for name in [name for name in os.environ if name.startswith(("ROWLEDGER_", "PG"))]:
        del os.environ[name]
    os.environ[MARK] = mark
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # SIGSEGV is meant, and its dumps would fill the disk
    signal.signal(signal.SIGTERM, _interrupted)
    folder = Path(tempfile.mkdtemp(prefix="nemesis-")).resolve()
    folder.chmod(0o755)  # the server's user must be able to enter it
    os.environ["ROWLEDGER_HOME"] = str(folder / "home")
    server = EmbeddedServer(folder / "postgres")
    try:
        server.ensure_running()
        yield server, folder, mark
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not cut this short
        server.destroy()
        shutil.rmtree(folder)


@contextlib.contextmanager
def _cluster(options: argparse.Namespace, server: EmbeddedServer, folder: Path) -> Iterator[RayFleet | None]:
    """The Ray cluster of all rounds, if one is wanted."""
    if options.engine != "ray":
        yield None
        return
    # Ray listens on all addresses of a host, so its nodes and drivers take calls only from who has the token.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    names = [f"host{number}" for number in range(1, options.hosts + 1)]
    with RayFleet(folder, database_url(server, DATABASE_OF_CLUSTER), names) as fleet:
        yield fleet


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nemesis", description="Random faults against random loads.")
    parser.add_argument("--seconds", type=float, default=600, help="no round begins after so many seconds")
    parser.add_argument("--seed", type=int, help="decides every round's plan; random unless given, and printed")
    parser.add_argument("--round-seed", type=int, help="repeat this one round")
    parser.add_argument("--times", type=int, default=1, help="how often to repeat it")
    parser.add_argument("--hosts", type=int, default=0, help="have chunks committed by 2 to so many hosts")
    parser.add_argument(
        "--engine",
        choices=("process", "ray", "local"),
        default="process",
        help="what the hosts are: processes (as is done without this), nodes of a Ray cluster in network namespaces, "
        "or machines on which whole runs are, several at once",
    )
    parser.add_argument("--verbose", action="store_true", help="tell of each round what was planned and done")
    parser.add_argument("--keep-going", action="store_true", help="go on after a round that found something")
    options = parser.parse_args()
    if options.engine != "process" and not options.hosts:
        parser.error(f"--engine {options.engine} needs --hosts")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(_SEEDS)
    return options


if __name__ == "__main__":
    sys.exit(main())
