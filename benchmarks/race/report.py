"""What came out: figures of each contestant by data set and format, ratios, and the targets of this project."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum

from benchmarks.contestants import Contestant
from benchmarks.contestants.task import FORMATS
from benchmarks.datasets import Dataset
from benchmarks.race.measure import Measured
from benchmarks.verdict import Target, at_least, at_most

__all__ = ["OURS", "RATIOS", "Cell", "Entrant", "Figure", "Race", "Turn", "krows", "ratio"]

OURS = "rowledger"
"""The contestant that the others are held against."""

_MIB = 2**20
_SUPERVISOR_MIB_MAX, _WORKER_MIB_MAX = 200, 250
_SMALL_ROWS = 3_000_000  # below, the start of the processes shows


@dataclass(frozen=True, slots=True)
class Turn:
    """One load: the round it was part of (from 0), what it took, and what is wrong with it, if anything."""

    round: int
    measured: Measured
    server_cpu_s: float | None
    wrong: str | None


@dataclass(frozen=True, slots=True)
class Cell:
    """What is raced at once: rows of a data set in one format."""

    dataset: Dataset
    format: str

    @property
    def title(self) -> str:
        """Such as `NDJSON: TPC-H lineitem, 16 columns`."""
        return f"{FORMATS[self.format]}: {self.dataset.title}"


@dataclass(slots=True)
class Entrant:
    """A contestant in a cell, with how many rows, and its turns; `skipped` says why it has none."""

    cell: Cell
    contestant: Contestant
    rows: int = 0
    skipped: str | None = None
    turns: list[Turn] = field(default_factory=list)

    @property
    def wrong(self) -> str | None:
        """What is wrong with its first bad turn; a contestant with one has no figures."""
        return next((turn.wrong for turn in self.turns if turn.wrong), None)

    @property
    def ran(self) -> bool:
        """Whether there are figures to show."""
        return bool(self.turns) and self.wrong is None

    @property
    def rate_krows_per_s(self) -> float:
        """Median rate."""
        return self.rows / statistics.median(turn.measured.wall_s for turn in self.turns) / 1_000

    @property
    def client_cpu_s(self) -> float:
        """Median CPU seconds of the client for a million rows."""
        return statistics.median(turn.measured.cpu_s for turn in self.turns) / self.rows * 1e6

    @property
    def server_cpu_s(self) -> float | None:
        """Median CPU seconds of the server for a million rows; None where they cannot be known."""
        seconds = [turn.server_cpu_s for turn in self.turns if turn.server_cpu_s is not None]
        return statistics.median(seconds) / self.rows * 1e6 if seconds else None

    @property
    def first_mib(self) -> float:
        """Peak memory of its first process, which of Rowledger is the supervisor."""
        return max(turn.measured.rss_first_bytes for turn in self.turns) / _MIB

    @property
    def child_mib(self) -> float:
        """Peak memory of the largest of its other processes, which of Rowledger are workers."""
        return max(turn.measured.rss_child_bytes for turn in self.turns) / _MIB


class Figure(Enum):
    """What two contestants are compared in, round by round."""

    RATE = "rate"
    CLIENT_CPU = "client CPU"

    def of(self, entrant: Entrant, turn: Turn) -> float:
        """The turn's seconds a row that the figure speaks of."""
        return (turn.measured.wall_s if self is Figure.RATE else turn.measured.cpu_s) / entrant.rows


def ratio(own: Entrant, other: Entrant, figure: Figure = Figure.RATE) -> float | None:
    """The median over the rounds of this round's own to this round's other: a slow minute of the machine hits both.

    Of rates, more than 1 means that `own` was faster; of CPU, that it used more. None if either has no figures.
    """
    if not (own.ran and other.ran):
        return None
    others = {turn.round: figure.of(other, turn) for turn in other.turns}
    ratios = [figure.of(own, turn) / others[turn.round] for turn in own.turns if turn.round in others]
    if not ratios:
        return None
    return statistics.median(1 / one for one in ratios) if figure is Figure.RATE else statistics.median(ratios)


@dataclass(frozen=True, slots=True)
class Ratio:
    """The rate of Rowledger in full from a format, to be at least `bound` of another's; of few rows at least `bound_of_few`."""

    format: str
    other: str
    bound: float
    bound_of_few: float | None = None
    other_format: str | None = None

    def judged(self, race: "Race", dataset: Dataset) -> Target | None:
        """The target, with what was measured; None if it was not run."""
        own = race.entrant(dataset, self.format, OURS)
        other = race.entrant(dataset, self.other_format or self.format, self.other)
        measured = ratio(own, other) if own and other else None
        if measured is None or own is None or other is None:
            return None
        against = f"{FORMATS[self.other_format]} in full" if self.other_format else other.contestant.title
        bound = self.bound_of_few if self.bound_of_few and own.rows < _SMALL_ROWS else self.bound
        return at_least(f"{dataset.name}, {FORMATS[self.format]} in full / {against}", measured, bound)


RATIOS = (
    Ratio("parquet", "duckdb", 1.05, bound_of_few=0.85),
    Ratio("parquet", "bare", 0.85),
    Ratio("csv", "duckdb", 1.0),
    Ratio("csv", "psql", 1.0),
    Ratio("gzip", "duckdb", 0.9),
    Ratio("ndjson", "duckdb", 0.8),
    Ratio("frames", OURS, 0.8, other_format="parquet"),
    Ratio("dicts", "dlt", 5),
    Ratio("query", "psql", 0.7),
)


@dataclass(frozen=True, slots=True)
class Race:
    """All that is known when it is over."""

    scale: float
    rounds: int
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    server: Mapping[str, object]
    notes: Sequence[str]
    entrants: Sequence[Entrant]

    @property
    def cells(self) -> Sequence[Cell]:
        """What was raced, in order."""
        return list(dict.fromkeys(one.cell for one in self.entrants))

    def of_cell(self, cell: Cell) -> Sequence[Entrant]:
        """Its entrants, in order."""
        return [one for one in self.entrants if one.cell == cell]

    def entrant(self, dataset: Dataset, name: str, contestant: str) -> Entrant | None:
        """A contestant by its name on the command line, in a format; None if it was not asked for."""
        cell = Cell(dataset, name)
        return next((one for one in self.of_cell(cell) if one.contestant.name == contestant), None)

    @property
    def failed(self) -> bool:
        """Whether somebody's table was not what it should be, or somebody did not come to a good end."""
        return any(one.wrong for one in self.entrants)

    @property
    def title(self) -> str:
        """One line above tables and chart."""
        return f"scale {self.scale:g}, {'one round' if self.rounds == 1 else f'medians of {self.rounds} rounds'}"

    def title_of(self, entrant: Entrant) -> str:
        """The contestant's title, with its rows if they are fewer than those of the others."""
        most = max(one.rows for one in self.of_cell(entrant.cell))
        rows = f" ({entrant.rows:,} rows)" if 0 < entrant.rows < most else ""
        return f"{entrant.contestant.title}{rows}"

    def to_ours(self, entrant: Entrant) -> float | None:
        """The rate of Rowledger in full, from the same format, to this one's; None where there is no such figure."""
        ours = self.entrant(entrant.cell.dataset, entrant.cell.format, OURS)
        return ratio(ours, entrant) if ours else None

    @property
    def targets(self) -> Sequence[Target]:
        """What the figures are held to, as far as they were measured."""
        return [*self._ratios(), *self._memory()]

    def _ratios(self) -> Iterator[Target]:
        for dataset in dict.fromkeys(cell.dataset for cell in self.cells):
            for one in RATIOS:
                if (target := one.judged(self, dataset)) is not None:
                    yield target

    def _memory(self) -> Iterator[Target]:
        ours = [one for one in self.entrants if one.contestant.name == OURS and one.ran]
        if ours:
            first, child = max(ours, key=lambda one: one.first_mib), max(ours, key=lambda one: one.child_mib)
            yield at_most(f"supervisor, largest with {_where(first)}", first.first_mib, _SUPERVISOR_MIB_MAX, "MiB")
            yield at_most(f"worker, largest with {_where(child)}", child.child_mib, _WORKER_MIB_MAX, "MiB")

    def as_json(self) -> dict[str, object]:
        """Every raw figure, and the ratios made of them."""
        return {
            "scale": self.scale,
            "rounds": self.rounds,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "server": dict(self.server),
            "notes": list(self.notes),
            "entrants": [
                {
                    "dataset": one.cell.dataset.name,
                    "format": one.cell.format,
                    "name": one.contestant.name,
                    "title": one.contestant.title,
                    "rows": one.rows,
                    "skipped": one.skipped,
                    "wrong": one.wrong,
                    "rate_krows_per_s": one.rate_krows_per_s if one.ran else None,
                    "rowledger_to_it": self.to_ours(one),
                    "client_cpu_s_per_million_rows": one.client_cpu_s if one.ran else None,
                    "server_cpu_s_per_million_rows": one.server_cpu_s if one.ran else None,
                    "turns": [asdict(turn) for turn in one.turns],
                }
                for one in self.entrants
            ],
            "targets": [target.as_json() for target in self.targets],
        }


def krows(rate: float) -> str:
    """A rate for people, with a decimal place where it is small."""
    return f"{rate:,.1f}" if rate < 10 else f"{rate:,.0f}"  # noqa: PLR2004 - one digit


def _where(entrant: Entrant) -> str:
    return f"{FORMATS[entrant.cell.format]} of {entrant.cell.dataset.name}"
