"""What a round does, drawn from one number: the tables and rows it loads, the runs, the faults and the events they wait for.

Pure: the same seed gives the same plan on every machine. Faults wait for what the load has done (chunks committed, workers
seen, deaths, partitions published), not for the clock, so that a plan means the same on a slow machine and on a fast one.
"""

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline_tests.faults.nemesis.faults import (
    HOST_WEIGHTS,
    LASTING_FAULTS,
    PROXY_FAULTS,
    RUN_HOST_WEIGHTS,
    WEIGHTS,
    Fault,
)
from rowledger.failpoints import Place

__all__ = [
    "Manner",
    "Moment",
    "PartitionPlan",
    "PhasePlan",
    "RoundPlan",
    "RunPlan",
    "Sign",
    "Strike",
    "plan_round",
]

TABLES = ("events", "readings", "orders", "parcels")
KEYED_TABLES = ("events", "orders")
DAYS = ("2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04")

_ROWS_MIN, _ROWS_MAX = 300, 20_000
_PHASE_ROWS_MAX = 24_000
_BAD_ROWS_MAX = 60  # of a partition; well within the budget of the tests' tables
_CHUNKS_MIN, _CHUNKS_MAX = 6, 90  # of a partition
_HOST_SILENCES_S = (2.0, 5.0)
_HOST_STRIKES_MAX = 28
_STALL_TIMEOUTS_S = (6.0, 10.0)  # a worker may take seconds to come up on a busy machine


class Manner(StrEnum):
    """How the rows come and how they are written."""

    REPLACED = "replaced"
    SPOOLED = "spooled"  # they cannot be counted beforehand; replaced as well
    APPENDED = "appended"
    UPSERTED = "upserted"


_MANNERS = {Manner.REPLACED: 4, Manner.SPOOLED: 3, Manner.APPENDED: 2, Manner.UPSERTED: 1}


class Sign(StrEnum):
    """What the nemesis sees of a phase and counts, from the phase's beginning."""

    CHUNKS = "chunks"  # committed, by the ledger
    PUBLISHED = "published"  # partitions, by the ledger
    WORKERS = "workers"  # processes that came up
    DEATHS = "deaths"  # of workers, by the runs' logs


@dataclass(frozen=True, slots=True)
class Moment:
    """As soon as the count of the sign has been reached."""

    sign: Sign
    count: int


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault. `pick` chooses the victim: its rank among those there are, modulo their number."""

    fault: Fault
    moment: Moment
    pick: int
    lasts_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PartitionPlan:
    """The rows of one partition's source, and how many of them must end as dead letters, by who refuses them."""

    key: str
    rows: int
    refused_by_contract: int
    refused_by_server: int
    repeated_keys: int


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One process that loads all partitions of the phase. A rival starts once `starts_at` has come."""

    workers: int
    partitions_in_flight: int
    chunk_rows_max: int
    batch_rows: int
    stall_timeout_s: float
    lease_s: float
    busy_wait_s: float
    failpoints: str = ""
    starts_at: Moment | None = None
    host_silent_s: float = 10.0
    keys: tuple[str, ...] = ()
    """The partitions that it loads; empty: all of the phase."""


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """One version of the source, loaded by its runs while the strikes fall."""

    partitions: tuple[PartitionPlan, ...]
    runs: tuple[RunPlan, ...]
    strikes: tuple[Strike, ...]
    row_group_rows: int

    @property
    def rows(self) -> int:
        return sum(partition.rows for partition in self.partitions)


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One database, one table, one version of its source after another; at the end reruns without faults."""

    seed: int
    table: str
    manner: Manner
    through_proxy: bool
    phases: tuple[PhasePlan, ...] = field(repr=False)
    hosts: int = 0
    """Hosts that there are at first, which commit the chunks; 0: the runs' own machine does."""
    whole_runs: bool = False
    """Whether whole runs are on the hosts, and not the chunks of runs elsewhere."""

    def describe(self) -> str:
        lines = [repr(self)]
        for number, phase in enumerate(self.phases, start=1):
            lines.append(f"  phase {number}, row groups of {phase.row_group_rows} rows")
            lines += [f"    {part!r}" for part in (*phase.partitions, *phase.runs, *phase.strikes)]
        return "\n".join(lines)


def plan_round(seed: int, hosts_max: int = 0, *, whole_runs: bool = False, rivals: bool = True) -> RoundPlan:
    """The round of this seed, on 2 to so many hosts if any are wanted: the chunks of its runs, or whole runs.

    Without rivals there is one run at a time.
    """
    chance = random.Random(seed)
    table = chance.choice(TABLES)
    manner = chance.choices(list(_MANNERS), list(_MANNERS.values()))[0]
    if manner is Manner.UPSERTED:
        table = chance.choice(KEYED_TABLES)
    through_proxy = chance.random() < 0.6 or hosts_max > 0
    keys = ("all",) if table == "readings" else DAYS[: chance.randint(1, len(DAYS))]
    # What is appended or upserted stays: what a table holds after several versions depends on which of them came through.
    versions = chance.choice((1, 1, 2, 3)) if manner in {Manner.REPLACED, Manner.SPOOLED} else 1
    phases = [_phase(chance, table, keys, through_proxy=through_proxy) for _ in range(versions)]
    hosts = chance.randint(min(2, hosts_max), hosts_max) if hosts_max else 0
    if whole_runs:
        phases = [_on_several_machines(chance, phase, keys) for phase in phases]
    elif hosts:
        phases = [_on_hosts(chance, phase, len(keys)) for phase in phases]
    if not rivals:
        phases = [dataclasses.replace(phase, runs=phase.runs[:1]) for phase in phases]
    return RoundPlan(seed, table, manner, through_proxy, tuple(phases), hosts, whole_runs)


def _phase(chance: random.Random, table: str, keys: tuple[str, ...], *, through_proxy: bool) -> PhasePlan:
    partitions = tuple(_partition(chance, table, key, _PHASE_ROWS_MAX // len(keys)) for key in keys)
    rows = max(partition.rows for partition in partitions)
    chunk_rows_max = max(10, rows // chance.randint(_CHUNKS_MIN, _CHUNKS_MAX))
    chunks = [-(-partition.rows // chunk_rows_max) for partition in partitions]
    run = _run(chance, chunk_rows_max)
    runs = [run]
    if chance.random() < 0.3:
        runs.append(_rival(chance, run, sum(chunks)))
    if chance.random() < 0.5:
        runs[0] = _with_failpoints(chance, runs[0], keys, chunks)
    weights = {fault: weight for fault, weight in WEIGHTS.items() if through_proxy or fault not in PROXY_FAULTS}
    strikes = tuple(_strike(chance, len(keys), sum(chunks), weights) for _ in range(chance.randint(2, 12)))
    return PhasePlan(partitions, tuple(runs), strikes, row_group_rows=chance.choice((100, 1_000, 5_000)))


def _on_hosts(chance: random.Random, phase: PhasePlan, partitions: int) -> PhasePlan:
    """The phase with strikes at hosts among the others, and runs that have workers on each host."""
    runs = tuple(
        dataclasses.replace(run, workers=chance.randint(1, 2), host_silent_s=chance.choice(_HOST_SILENCES_S))
        for run in phase.runs
    )
    strikes = _strikes(chance, phase, partitions, {**WEIGHTS, **HOST_WEIGHTS})
    return dataclasses.replace(phase, runs=runs, strikes=strikes)


def _on_several_machines(chance: random.Random, phase: PhasePlan, keys: tuple[str, ...]) -> PhasePlan:
    """The phase with more runs at once, for the same partitions and for others, and with strikes at their machines."""
    runs = list(phase.runs)
    for _ in range(chance.randint(1, 2)):
        own = tuple(chance.sample(keys, chance.randint(1, len(keys))))
        run = dataclasses.replace(_run(chance, runs[0].chunk_rows_max), keys=own)
        runs.append(dataclasses.replace(run, workers=chance.randint(1, 2)))
    strikes = _strikes(chance, phase, len(keys), {**WEIGHTS, **RUN_HOST_WEIGHTS})
    return dataclasses.replace(phase, runs=tuple(runs), strikes=strikes)


def _strikes(
    chance: random.Random, phase: PhasePlan, partitions: int, weights: Mapping[Fault, int]
) -> tuple[Strike, ...]:
    chunks = sum(-(-partition.rows // phase.runs[0].chunk_rows_max) for partition in phase.partitions)
    return tuple(_strike(chance, partitions, chunks, weights) for _ in range(chance.randint(8, _HOST_STRIKES_MAX)))


def _partition(chance: random.Random, table: str, key: str, rows_max: int) -> PartitionPlan:
    rows = min(rows_max, round(_ROWS_MIN * (_ROWS_MAX / _ROWS_MIN) ** chance.random()))

    def some_bad(*, possible: bool = True) -> int:
        return chance.randint(1, min(_BAD_ROWS_MAX, rows // 10) // 2) if possible and chance.random() < 0.4 else 0

    return PartitionPlan(
        key,
        rows,
        refused_by_contract=some_bad(),
        refused_by_server=some_bad(possible=table != "readings"),  # which has no text to be refused
        repeated_keys=some_bad(possible=table in {"events", "orders"}),
    )


def _run(chance: random.Random, chunk_rows_max: int) -> RunPlan:
    return RunPlan(
        workers=chance.randint(1, 4),
        partitions_in_flight=chance.choice((1, 2, 4)),
        chunk_rows_max=chunk_rows_max,
        batch_rows=chance.choice((16, 128, 2_048)),
        stall_timeout_s=chance.choice(_STALL_TIMEOUTS_S),
        lease_s=chance.choice((2.0, 10.0)),
        busy_wait_s=chance.choice((0.0, 5.0, 15.0)),
    )


def _rival(chance: random.Random, run: RunPlan, chunks: int) -> RunPlan:
    """A second run on the same partitions, usually with the same cut into chunks, so that it can take over."""
    moment = _moment(chance, Sign.CHUNKS, chunks) if chance.random() < 0.7 else None
    rival = _run(chance, run.chunk_rows_max if chance.random() < 0.8 else run.chunk_rows_max + 7)
    return dataclasses.replace(rival, starts_at=moment)


def _with_failpoints(chance: random.Random, run: RunPlan, keys: tuple[str, ...], chunks: list[int]) -> RunPlan:
    """One to three failpoints, each at one chunk's first attempt or at one partition's."""
    rules = []
    for _ in range(chance.randint(1, 3)):
        which = chance.randrange(len(keys))
        if chance.random() < 0.85:
            place = chance.choice(
                (
                    Place.BEFORE_BEGIN,
                    Place.AFTER_CLAIM,
                    Place.MID_COPY,
                    Place.BEFORE_COMMIT,
                    Place.AFTER_COMMIT,
                    Place.WHILE_REPORTING,
                )
            )
            action = chance.choice(
                ("sigkill", "sigkill", "sigsegv", "sigstop", "exit0", "exit1", "raise", "raise_hostile", "sleep")
            )
            where = f"partition={keys[which]},chunk={chance.randrange(chunks[which])},attempt=1"
        else:
            place = chance.choice(
                (Place.IN_PLANNING, Place.BEFORE_RECONCILE, Place.BEFORE_PUBLISH, Place.AFTER_PUBLISH)
            )
            # Neither exit 0, which would forge a green run, nor a sleep, which would outlast every bound.
            action = chance.choice(("sigkill", "sigsegv", "exit1", "raise", "raise_hostile"))
            where = f"partition={keys[which]}"
        rules.append(f"{place}={action}@{where}")
    return dataclasses.replace(run, failpoints=";".join(rules))


def _strike(chance: random.Random, partitions: int, chunks: int, weights: Mapping[Fault, int]) -> Strike:
    fault = chance.choices(list(weights), list(weights.values()))[0]
    sign = chance.choices((Sign.CHUNKS, Sign.WORKERS, Sign.DEATHS, Sign.PUBLISHED), (12, 2, 2, 1))[0]
    total = {Sign.CHUNKS: chunks, Sign.WORKERS: 2, Sign.DEATHS: 3, Sign.PUBLISHED: partitions}[sign]
    lasts_s = round(chance.uniform(0.2, 8), 1) if fault in LASTING_FAULTS else 0.0
    return Strike(fault, _moment(chance, sign, total), pick=chance.randrange(1_000), lasts_s=lasts_s)


def _moment(chance: random.Random, sign: Sign, total: int) -> Moment:
    """Evenly over the load, and now and then the very end, where keys are built and partitions published."""
    return Moment(sign, total if chance.random() < 0.15 else chance.randint(1, total))
