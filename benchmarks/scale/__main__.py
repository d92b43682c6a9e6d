"""`make bench-scale`: how Rowledger behaves as rows, workers, chunks and partitions change, and what each of its parts costs.

Every load runs in a process of its own and is counted in the table; what is compared is measured in turns. Quote the ratios.
Exit code 0 unless a count is wrong: a missed target is shown as missed.
"""

import argparse
import contextlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.machine import describe_machine, versions
from benchmarks.scale import (
    chunks,
    costs,
    fixed,
    hosts,
    ledger_size,
    long_rows,
    many,
    resume,
    server,
    size,
    small,
    start,
    timeline,
    wal,
    wide,
    workers,
    year,
)
from benchmarks.scale.bench import Bench
from benchmarks.verdict import Answer
from rowledger.postgres.server_url import target_url
from rowledger.settings import settings

QUESTIONS: dict[str, tuple[Callable[[Bench], Answer], Callable[[Bench], float]]] = {
    "size": (size.ask, size.expected_s),
    "workers": (workers.ask, workers.expected_s),
    "chunks": (chunks.ask, chunks.expected_s),
    "year": (year.ask, year.expected_s),
    "fixed": (fixed.ask, fixed.expected_s),
    "small": (small.ask, small.expected_s),
    "start": (start.ask, start.expected_s),
    "timeline": (timeline.ask, timeline.expected_s),
    "resume": (resume.ask, resume.expected_s),
    "costs": (costs.ask, costs.expected_s),
    "wide": (wide.ask, wide.expected_s),
    "partitions": (many.ask_partitions, many.expected_partitions_s),
    "files": (many.ask_files, many.expected_files_s),
    "long": (long_rows.ask, long_rows.expected_s),
    "hosts": (hosts.ask, hosts.expected_s),
    "ledger": (ledger_size.ask, ledger_size.expected_s),
    "wal": (wal.ask, wal.expected_s),
}
_PACKAGES = ("rowledger", "asyncpg", "dagster", "pgpq", "polars", "psutil", "pyarrow", "pydantic", "tpchgen-cli")

console = Console(width=128, highlight=False)


def main() -> None:
    """Ask the questions, print the answers, write the JSON."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # through all `finally`, as Ctrl-C does
    url = target_url()
    with _folder() as folder:
        bench = _bench(options, url, folder)
        names = [name for name in QUESTIONS if name in options.only]
        expected_s = sum(QUESTIONS[name][1](bench) for name in names)
        console.print(f"{', '.join(names)}: about {max(1, round(expected_s / 60))} minutes in all")
        started = time.monotonic()
        answers: dict[str, Answer] = {}
        try:
            for name in names:
                answers[name] = QUESTIONS[name][0](bench)
                answers[name].show(console)
        finally:
            server.leave_nothing(url)
            if options.json is not None:
                results = _results(bench, answers, time.monotonic() - started)
                options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
                console.print(f"all figures: {options.json}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_names, default=tuple(QUESTIONS), help=f"some of {','.join(QUESTIONS)}")
    parser.add_argument("--sizes", type=_floats, help="TPC-H scale factors of the question size; 1 is 6.0 million rows")
    parser.add_argument("--scale", type=float, help="scale factor of all other questions")
    parser.add_argument("--partitions", type=_integers, help="how many, from few to many")
    parser.add_argument("--files", type=_integers, help="the same for the files of a partition")
    parser.add_argument("--rounds", type=int, help="how often what is compared is repeated, in turns")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: see that it works, not how fast it is")
    return parser.parse_args()


def _bench(options: argparse.Namespace, url: str, folder: Path) -> Bench:
    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    bench = Bench(url=url, folder=folder, say=say)
    if options.quick:
        bench = replace(
            bench,
            sizes=(0.001, 0.002),
            scale=0.005,
            workers=(1, 2),
            chunk_rows=(16_384,),
            batch_rows=(4_096,),
            days=3,
            partitions=(1, 2, 3),
            files=(1, 2, 3),
            longest_bytes=2**20,
            rounds=1,
            repeats=1,
        )
    given = {
        name: value
        for name in ("sizes", "scale", "partitions", "files", "rounds")
        if (value := getattr(options, name)) is not None
    }
    return replace(bench, **given)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in QUESTIONS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; the questions are {', '.join(QUESTIONS)}")
    return names


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for all files of this run; gone behind it."""
    folder = settings().home.absolute() / "bench-scale"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _results(bench: Bench, answers: dict[str, Answer], wall_s: float) -> dict[str, Any]:
    return {
        "machine": describe_machine(),
        "versions": {"postgresql": server.fetch_value(bench.url, "show server_version"), **versions(_PACKAGES)},
        "options": {
            name: getattr(bench, name)
            for name in (
                "sizes",
                "scale",
                "workers",
                "chunk_rows",
                "batch_rows",
                "days",
                "partitions",
                "files",
                "longest_bytes",
                "rounds",
                "repeats",
            )
        },
        "wall_s": wall_s,
        "questions": {name: answer.as_json() for name, answer in answers.items()},
    }


if __name__ == "__main__":
    main()
