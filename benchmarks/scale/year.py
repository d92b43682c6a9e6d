"""A year of flights, a partition a day, in one run through Dagster, landing included."""

from datetime import date, timedelta

import pyarrow.parquet as pq

from benchmarks.scale import server
from benchmarks.scale.bench import Bench, WrongCount, seconds
from benchmarks.scale.dagster_runs import Instance, Materialized, core_s, fresh_instance
from benchmarks.verdict import Answer, at_most

_FIRST_DAY = date(2013, 1, 1)
_DAYS_OF_THE_YEAR = 365
_ROWS_OF_THE_YEAR = 336_776
_TARGET_S = 20.0


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return 20.0 + bench.days / 12


def ask(bench: Bench) -> Answer:
    """One run on a fresh database, whose storage a run of the landing alone has made before."""
    keys = f"{_FIRST_DAY}...{_FIRST_DAY + timedelta(days=bench.days - 1)}"
    title = f"year: {bench.days} daily partitions through Dagster, landing included"
    with fresh_instance(bench) as instance:
        if instance is None:
            note = "skipped: this role may not create a database, and the flights' own table is not to be touched"
            return Answer(title, (), (), {}, [at_most("a year of flights", None, _TARGET_S, "s")], [note])
        done = instance.materialize(["flights_landing", "flights"], "--partition-range", keys)
        rows = _count(instance, bench.days)
        loads_s = core_s(instance)
    bench.say(f"{rows:,} flights: {done.process_s:.1f} s")
    whole_year = bench.days == _DAYS_OF_THE_YEAR
    target = at_most(f"{bench.days} partitions", done.process_s if whole_year else None, _TARGET_S, "s")
    return Answer(
        title=title,
        columns=("phase", "seconds"),
        rows=[*_rows(done), ("… of which all loads, begun to published", seconds(loads_s))],
        figures={
            "partitions": bench.days,
            "rows": rows,
            "process_s": done.process_s,
            "phases_s": done.phases_s,
            "loads_s": loads_s,
        },
        targets=[target],
        notes=[f"{rows:,} rows in the table"],
    )


def _rows(done: Materialized) -> list[tuple[str, str]]:
    whole = ("all: from the process's start to its end", seconds(done.process_s))
    return [whole, *((phase, seconds(took)) for phase, took in done.phases_s.items())]


def _count(instance: Instance, days: int) -> int:
    """The rows in the table; raises WrongCount unless they are those that were landed, dead letters included."""
    files = [
        instance.home / "landing" / "flights" / f"{_FIRST_DAY + timedelta(days=day)}.parquet" for day in range(days)
    ]
    landed = sum(pq.read_metadata(file).num_rows for file in files)
    written = int(server.fetch_value(instance.url, "select count(*) from public.flights"))
    letters = int(server.fetch_value(instance.url, "select count(*) from rowledger.dead_letter"))
    if written + letters != landed or (days == _DAYS_OF_THE_YEAR and landed != _ROWS_OF_THE_YEAR):
        raise WrongCount(f"error: {landed} flights landed, {written} in the table, {letters} dead letters")
    return written
