"""Targets with their judgement, and what a question of `make bench-scale` answers with: a table, raw figures, targets."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and the limit it is held to. `value` is None where it was not measured, which is neither met nor missed.

    What has `failed`, because the load did not come to an end, is missed and has no value either.
    """

    figure: str
    value: float | None
    limit: float
    at_most: bool
    unit: str = ""
    failed: bool = False

    @property
    def met(self) -> bool | None:
        if self.failed:
            return False
        if self.value is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def told(self) -> str:
        """One line for the terminal."""
        value, limit, word = self.parts()
        return f"{self.figure}: {value}, target {limit}: {word}"

    def parts(self) -> tuple[str, str, str]:
        """Figure, limit and judgement, each with its unit, for a table."""
        word = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        value = ("failed" if self.failed else "-") if self.value is None else f"{self.value:.3g}{self._unit}"
        return value, f"{'≤' if self.at_most else '≥'} {self.limit:g}{self._unit}", word

    def as_json(self) -> dict[str, Any]:
        """Its fields and the judgement."""
        return {**asdict(self), "met": self.met}

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


def at_most(figure: str, value: float | None, limit: float, unit: str = "") -> Target:
    """A target that a smaller figure meets."""
    return Target(figure, value, limit, at_most=True, unit=unit)


def grown(later: float | None, former: float | None) -> float | None:
    """How much more a cost is than a former one; None where one of them is lost in the noise, which made it zero or less."""
    return later / former if later is not None and former is not None and min(later, former) > 0 else None


def failed(figure: str, limit: float, unit: str = "") -> Target:
    """A target, met by smaller figures, that was missed because a load did not come to an end."""
    return Target(figure, None, limit, at_most=True, unit=unit, failed=True)


def at_least(figure: str, value: float | None, limit: float, unit: str = "") -> Target:
    """A target that a larger figure meets."""
    return Target(figure, value, limit, at_most=False, unit=unit)


@dataclass(frozen=True)
class Answer:
    """A question's answer. `figures` is all that was measured, fit for JSON; `notes` say what was skipped, and why."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: dict[str, Any]
    targets: Sequence[Target] = ()
    notes: Sequence[str] = field(default=())

    def show(self, console: Console) -> None:
        """Print it."""
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(self.columns):
            shown.add_column(column, justify="left" if number == 0 else "right")
        for row in self.rows:
            shown.add_row(*row)
        console.print(f"\n[bold]{self.title}[/]", shown)
        for line in (*self.notes, *(target.told() for target in self.targets)):
            console.print(f"  {line}", markup=False)

    def as_json(self) -> dict[str, Any]:
        """All of it but the texts of the table."""
        return {
            "title": self.title,
            "figures": self.figures,
            "targets": [target.as_json() for target in self.targets],
            "notes": list(self.notes),
        }
