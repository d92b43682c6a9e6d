"""What came out: figures of each contestant, ratios, the targets of this project, as a table and as JSON."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.contestants import Contestant
from benchmarks.race.measure import Measured

__all__ = ["TARGETS", "Entrant", "Figure", "Race", "Turn", "ratio"]

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Turn:
    """One load: the round it was part of (from 0), what it took, and what is wrong with it, if anything."""

    round: int
    measured: Measured
    server_cpu_s: float | None
    wrong: str | None


@dataclass(slots=True)
class Entrant:
    """A contestant and its turns; `skipped` says why it has none."""

    contestant: Contestant
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


class Figure(Enum):
    """What two contestants are compared in, round by round."""

    RATE = "rate"
    CLIENT_CPU = "client CPU"

    def of(self, turn: Turn) -> float:
        """The turn's seconds that the figure speaks of."""
        return turn.measured.wall_s if self is Figure.RATE else turn.measured.cpu_s


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure of one contestant is to be, as a ratio to another's: at least `bound` for rates, at most for CPU."""

    text: str
    own: str
    other: str
    bound: float
    figure: Figure = Figure.RATE

    def held(self, measured: float) -> bool:
        """Whether the measured ratio meets it."""
        return measured >= self.bound if self.figure is Figure.RATE else measured <= self.bound


TARGETS = (
    Target("Rowledger in full / bare", "rowledger", "bare", 0.88),
    Target("Rowledger without fingerprints / bare", "rowledger-no-fingerprint", "bare", 0.95),
    Target("Rowledger in full / the ceiling", "rowledger", "ceiling", 0.75),
    Target("Rowledger in full / ADBC", "rowledger", "adbc", 1.2),
    Target("Rowledger in full / DuckDB", "rowledger", "duckdb", 1.4),
    Target("Rowledger in full / dlt", "rowledger", "dlt", 11),
    Target("Rowledger in full / the incident's way", "rowledger", "incident", 14),
    Target("with primary key / bare, key and count", "rowledger-keyed", "bare-keyed", 0.88),
    Target("client CPU, Rowledger in full / ADBC", "rowledger", "adbc", 0.5, Figure.CLIENT_CPU),
)


def ratio(own: Entrant, other: Entrant, figure: Figure = Figure.RATE) -> float | None:
    """The median over the rounds of this round's own to this round's other: a slow minute of the machine hits both.

    Of rates, more than 1 means that `own` was faster; of CPU, that it used more. None if either has no figures.
    """
    if not (own.ran and other.ran):
        return None
    others = {turn.round: figure.of(turn) for turn in other.turns}
    ratios = [figure.of(turn) / others[turn.round] for turn in own.turns if turn.round in others]
    if not ratios:
        return None
    return statistics.median(1 / one for one in ratios) if figure is Figure.RATE else statistics.median(ratios)


@dataclass(frozen=True, slots=True)
class Race:
    """All that is known when it is over."""

    scale: float
    rows: int
    file_bytes: int
    rounds: int
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    server: Mapping[str, object]
    notes: Sequence[str]
    entrants: Sequence[Entrant]

    def __getitem__(self, name: str) -> Entrant | None:
        """A contestant by its name on the command line; None if it was not asked for."""
        return next((one for one in self.entrants if one.contestant.name == name), None)

    @property
    def failed(self) -> bool:
        """Whether somebody's table was not what it should be, or somebody did not come to a good end."""
        return any(one.wrong for one in self.entrants)

    @property
    def title(self) -> str:
        """One line above table and chart."""
        rounds = "one round" if self.rounds == 1 else f"medians of {self.rounds} rounds"
        return f"TPC-H lineitem, {self.rows:,} rows, {rounds}"

    def rate_krows_per_s(self, entrant: Entrant) -> float:
        """Median rate."""
        return self.rows / statistics.median(turn.measured.wall_s for turn in entrant.turns) / 1_000

    def client_cpu_s(self, entrant: Entrant) -> float:
        """Median CPU seconds of the client for a million rows."""
        return statistics.median(turn.measured.cpu_s for turn in entrant.turns) / self.rows * 1e6

    def server_cpu_s(self, entrant: Entrant) -> float | None:
        """Median CPU seconds of the server for a million rows; None where they cannot be known."""
        seconds = [turn.server_cpu_s for turn in entrant.turns if turn.server_cpu_s is not None]
        return statistics.median(seconds) / self.rows * 1e6 if seconds else None

    def print(self, console: Console) -> None:
        """The contestants, then the targets that they tell something about."""
        console.print(self._contestants_table())
        for one in self.entrants:
            if one.skipped or one.wrong:
                console.print(
                    f"{one.contestant.title}: {f'skipped: {one.skipped}' if one.skipped else f'WRONG: {one.wrong}'}"
                )
        for note in self.notes:
            console.print(note)
        told = self._targets_told()
        if told:
            shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            for name in ("ratio, median of the rounds", "measured", "target", ""):
                shown.add_column(name, justify="right" if name in {"measured", "target"} else "left")
            for target, measured in told:
                sign = "≥" if target.figure is Figure.RATE else "≤"
                verdict = "held" if target.held(measured) else "missed"
                shown.add_row(target.text, f"{measured:.2f}", f"{sign} {target.bound:g}", verdict)
            console.print(shown)

    def as_json(self) -> dict[str, object]:
        """Every raw figure, and the ratios made of them."""
        bare = self["bare"]
        return {
            "scale": self.scale,
            "rows": self.rows,
            "file_bytes": self.file_bytes,
            "rounds": self.rounds,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "server": dict(self.server),
            "notes": list(self.notes),
            "contestants": [
                {
                    "name": one.contestant.name,
                    "title": one.contestant.title,
                    "skipped": one.skipped,
                    "wrong": one.wrong,
                    "rate_krows_per_s": self.rate_krows_per_s(one) if one.ran else None,
                    "rate_to_bare": ratio(one, bare) if bare else None,
                    "client_cpu_s_per_million_rows": self.client_cpu_s(one) if one.ran else None,
                    "server_cpu_s_per_million_rows": self.server_cpu_s(one) if one.ran else None,
                    "turns": [asdict(turn) for turn in one.turns],
                }
                for one in self.entrants
            ],
            "targets": [
                {"text": target.text, "measured": measured, "target": target.bound, "held": target.held(measured)}
                for target, measured in self._targets_told()
            ],
        }

    def _contestants_table(self) -> Table:
        shown = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        shown.add_column("contestant")
        for name in (
            "krows/s",
            "/ bare",
            "client CPU s\n/ M rows",
            "server CPU s\n/ M rows",
            "MiB, largest\nprocess",
            "MiB, all\nprocesses",
        ):
            shown.add_column(name, justify="right")
        bare = self["bare"]
        for one in self.entrants:
            shown.add_row(one.contestant.title, *(self._figures(one, bare) if one.ran else ["-"] * 6))
        return shown

    def _figures(self, one: Entrant, bare: Entrant | None) -> list[str]:
        to_bare = ratio(one, bare) if bare else None
        server_cpu_s = self.server_cpu_s(one)
        return [
            f"{self.rate_krows_per_s(one):,.0f}",
            "" if to_bare is None else f"{to_bare:.2f}",
            f"{self.client_cpu_s(one):.2f}",
            "" if server_cpu_s is None else f"{server_cpu_s:.2f}",
            f"{max(turn.measured.rss_process_bytes for turn in one.turns) / _MIB:,.0f}",
            f"{max(turn.measured.rss_tree_bytes for turn in one.turns) / _MIB:,.0f}",
        ]

    def _targets_told(self) -> list[tuple[Target, float]]:
        told = []
        for target in TARGETS:
            own, other = self[target.own], self[target.other]
            measured = ratio(own, other, target.figure) if own and other else None
            if measured is not None:
                told.append((target, measured))
        return told
