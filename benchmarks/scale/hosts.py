"""What it costs to have the chunks committed by an agent of a Ray cluster, on the same two cores as a run without one."""

import contextlib
import os
import statistics
import threading
from collections.abc import Iterator
from typing import Self

import psutil

from benchmarks.scale.bench import Bench, Measured, as_json, mib, seconds
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer, at_least, at_most
from pipeline.loopback_hosts import loopback_hosts
from pipeline.ray_nodes import RayCluster, ray_cluster

_RATE_MIN = 0.9
_CHUNK_MS_MAX = 5
_AGENT_MIB_MAX = 250
_WORKERS = 2
_SMALL_SHARE = 0.1  # of the rows, for the load of many chunks
_SMALL_CHUNK_ROWS, _LARGE_CHUNK_ROWS = 1_000, 100_000
_LOOK_S = 0.2
_CLUSTER_S = 40.0


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return _CLUSTER_S + bench.rounds * (2 * bench.load_s + 4 * (2 + bench.load_s * _SMALL_SHARE * 2))


def ask(bench: Bench) -> Answer:
    """Load with local workers and with those of one agent, in turns; then fewer rows in many chunks and in few."""
    landing, rows = bench.lineitem(bench.scale)
    few_landing, few_rows = bench.lineitem(bench.scale * _SMALL_SHARE)
    with _cluster(bench) as cluster, _AgentMemory() as memory:
        ways = {
            "local": {"workers": _WORKERS},
            "ray": {"workers": _WORKERS, "engine": "ray", "engine_address": cluster.address},
        }
        whole: dict[str, list[Measured]] = {way: [] for way in ways}
        chunked: dict[tuple[str, int], list[Measured]] = {}
        for round_no in range(bench.rounds):
            for way, writer in ways.items():
                whole[way].append(
                    bench.measure(Job(spec="SCALED", landing=landing, writer=writer), rows, **cluster.access)
                )
                for chunk_rows in (_SMALL_CHUNK_ROWS, _LARGE_CHUNK_ROWS):
                    job = Job(spec="SCALED", landing=few_landing, writer={**writer, "chunk_rows_max": chunk_rows})
                    chunked.setdefault((way, chunk_rows), []).append(bench.measure(job, few_rows, **cluster.access))
                bench.say(f"{way}, round {round_no + 1}: {whole[way][-1]}")
    rate = statistics.median(local.run_s / ray.run_s for local, ray in zip(whole["local"], whole["ray"], strict=True))
    chunk_ms = {way: _ms_a_chunk(chunked[way, _SMALL_CHUNK_ROWS], chunked[way, _LARGE_CHUNK_ROWS]) for way in ways}
    extra_ms = None if None in chunk_ms.values() else (chunk_ms["ray"] or 0) - (chunk_ms["local"] or 0)
    return Answer(
        title=f"hosts: {rows:,} rows by {_WORKERS} workers of this process, and by those of an agent (medians)",
        columns=("workers of", "seconds", "krows/s", "CPU s of the head and its children", "ms a chunk more"),
        rows=[
            (
                way,
                seconds(statistics.median(one.run_s for one in found)),
                f"{statistics.median(one.rows_per_s for one in found) / 1000:,.0f}",
                seconds(statistics.median(one.client_cpu_s for one in found)),
                "-" if chunk_ms[way] is None else f"{chunk_ms[way]:.2f}",
            )
            for way, found in whole.items()
        ],
        figures={
            "whole": {way: [as_json(one) for one in found] for way, found in whole.items()},
            "chunks": {f"{way}, {size}": [as_json(one) for one in found] for (way, size), found in chunked.items()},
            "agent_rss_bytes": memory.peak_bytes,
        },
        notes=(
            f"the agent without its workers: {mib(memory.peak_bytes)} MiB at most",
            f"ms a chunk more: what a chunk of {_SMALL_CHUNK_ROWS:,} rows adds to a load of {few_rows:,} rows",
        ),
        targets=(
            at_least("rate with an agent / without", rate, _RATE_MIN),
            at_most("a chunk's extra cost", extra_ms, _CHUNK_MS_MAX, "ms"),
            at_most("agent without its workers", memory.peak_bytes / 2**20 or None, _AGENT_MIB_MAX, "MiB"),
        ),
    )


def _ms_a_chunk(many: list[Measured], few: list[Measured]) -> float | None:
    """What one chunk more adds to a load's wall-clock time."""
    chunks = many[0].chunks - few[0].chunks
    if chunks <= 0:
        return None
    return statistics.median((one.run_s - other.run_s) / chunks * 1000 for one, other in zip(many, few, strict=True))


@contextlib.contextmanager
def _cluster(bench: Bench) -> Iterator[RayCluster]:
    """A cluster with one node that works, and one of the head; its nodes have the server's URL."""
    environment = {**os.environ, "ROWLEDGER_DATABASE_URL": bench.url}
    with loopback_hosts("head", "north") as hosts, ray_cluster(hosts["head"], environment) as cluster:
        cluster.start(hosts["north"], environment).wait_until_up()
        cluster.head.wait_until_up()
        yield cluster


class _AgentMemory:
    """Looks at the agents of this machine while the block lasts; `peak_bytes` is the most resident memory of one."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory of agents")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_S):
            for process in psutil.process_iter(["cmdline"]):
                if any("_AgentActor" in part for part in process.info["cmdline"] or ()):
                    with contextlib.suppress(psutil.Error):
                        self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
