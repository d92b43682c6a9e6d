"""What is left to do when a whole run is killed at half of its chunks, and run again."""

import asyncio
import signal
import statistics
import subprocess

import asyncpg
import psutil

from benchmarks.scale import server
from benchmarks.scale.bench import Bench, Measured, WrongCount, as_json, seconds
from benchmarks.scale.run import Job
from benchmarks.scale.tables import SCALED
from benchmarks.verdict import Answer, at_most

_TARGET = 0.55
_LOOK_S = 0.02
_PATIENCE_S = 600.0
_PROGRESS = (
    "select count(*) filter (where chunk.state = 'committed') as done, count(*) as chunks from rowledger.chunk "
    "where load_id = (select max(load_id) from rowledger.load where target = $1 and state = 'loading')"
)


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.load_s * bench.rounds * 2.2


def ask(bench: Bench) -> Answer:
    """Clean runs, and runs that are killed and run again, in turns."""
    landing, rows = bench.lineitem(bench.scale)
    job = Job(spec="SCALED", landing=landing, writer=_chunking(rows))
    clean: list[Measured] = []
    again: list[Measured] = []
    done: list[float] = []
    for round_no in range(bench.rounds):
        clean.append(bench.measure(job, rows))
        server.clear(bench.url)
        done.append(_kill_halfway(bench, job))
        again.append(bench.measure(job, rows, is_fresh=False))
        if not again[-1].resumed:
            raise WrongCount("error: the rerun did not resume the killed run's load")
        bench.say(
            f"resume, round {round_no + 1}: killed at {done[-1]:.0%}, {again[-1].run_s:.1f} s of {clean[-1].run_s:.1f} s"
        )
    wall = statistics.median(a.run_s / c.run_s for a, c in zip(again, clean, strict=True))
    cpu = statistics.median(a.cpu_s / c.cpu_s for a, c in zip(again, clean, strict=True))
    return Answer(
        title=f"resume: {rows:,} rows, the supervisor killed with SIGKILL at half of its chunks (medians)",
        columns=("run", "seconds", "client CPU s", "server CPU s"),
        rows=[_row("clean", clean), _row("rerun", again)],
        figures={
            "committed_share_at_kill": done,
            "clean": [as_json(one) for one in clean],
            "rerun": [as_json(one) for one in again],
            "wall_share": wall,
            "cpu_share": cpu,
        },
        targets=[
            at_most("rerun / clean run, wall-clock", wall, _TARGET),
            at_most("rerun / clean run, CPU of client and server", cpu, _TARGET),
        ],
        notes=[f"chunks committed when it was killed: {', '.join(f'{share:.0%}' for share in done)}"],
    )


def _chunking(rows: int) -> dict[str, int]:
    """The default, but for small files: halves of three chunks would say nothing."""
    return {} if rows >= 20 * 131_072 else {"chunk_rows_max": max(1_000, rows // 20)}


def _kill_halfway(bench: Bench, job: Job) -> float:
    """Kill the supervisor once half of the chunks have committed, and wait for its workers' end; the share that had."""
    process = bench.start(job)
    try:
        workers = asyncio.run(_wait_for_half(bench.url, process))
    finally:
        process.kill()
        process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"error: the run was to be killed halfway, but ended with exit code {process.returncode}")
    psutil.wait_procs(workers, timeout=_PATIENCE_S)
    done, chunks = server.fetch(bench.url, _PROGRESS, str(SCALED.target))[0]
    if not chunks:
        raise SystemExit("error: the run was to be killed halfway, but its load has ended")
    return float(done / chunks)


async def _wait_for_half(url: str, process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return when half of the chunks have committed, or the process has ended; its workers then."""
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while process.poll() is None:
                if await connection.fetchval("select to_regclass('rowledger.chunk') is not null"):
                    done, chunks = await connection.fetchrow(_PROGRESS, str(SCALED.target))
                    if chunks and 2 * done >= chunks:
                        return psutil.Process(process.pid).children()
                await asyncio.sleep(_LOOK_S)
        return []
    finally:
        await connection.close()


def _row(name: str, found: list[Measured]) -> tuple[str, ...]:
    server_s = [one.server_cpu_s for one in found if one.server_cpu_s is not None]
    return (
        name,
        seconds(statistics.median(one.run_s for one in found)),
        seconds(statistics.median(one.client_cpu_s for one in found)),
        seconds(statistics.median(server_s) if server_s else None),
    )
