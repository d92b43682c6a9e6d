"""The result as tables: on a terminal, and as Markdown in a page of the documentation."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.contestants.task import FORMATS
from benchmarks.race.report import OURS, Cell, Entrant, Race, krows

__all__ = ["print_race", "write_page"]

_COLUMNS = (
    "krows/s",
    "Rowledger\nin full / it",
    "client CPU s\n/ M rows",
    "server CPU s\n/ M rows",
    "MiB, first\nprocess",
    "MiB, largest\nchild",
)
_BEGIN = "<!-- bench: written by `make bench-docs` -->"
_END = "<!-- bench: end -->"


def print_race(race: Race, console: Console) -> None:
    """A table for each format of each data set, then the targets that they tell something about."""
    for cell in race.cells:
        shown = Table(title=f"{cell.title}; {race.title}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        shown.add_column("contestant")
        for name in _COLUMNS:
            shown.add_column(name, justify="right")
        for one in race.of_cell(cell):
            shown.add_row(race.title_of(one), *_figures(race, one))
        console.print(shown)
    for line in _lines(race):
        console.print(line, markup=False)
    for target in race.targets:
        console.print(target.told(), markup=False)


def write_page(race: Race, page: Path) -> None:
    """Put the tables in place of those between the page's two marks; raises ValueError if it has none."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} has no lines {_BEGIN} and {_END}")
    page.write_text(f"{before}{_BEGIN}\n\n{_markdown(race)}\n\n{_END}{after}", encoding="utf-8")


def _markdown(race: Race) -> str:
    server = race.server
    packages = ", ".join(f"{name} {version}" for name, version in race.versions.items() if name != "rowledger")
    lines = [
        (
            f"{race.machine['cpu']}, {race.machine['cores']:g} cores, the server on "
            f"{'the same' if server['is_local'] else 'another machine'}; PostgreSQL {server['version']}, Python "
            f"{race.machine['python']}; {packages}; {race.title}."
        )
    ]
    for cell in race.cells:
        columns = ("contestant", *(name.replace("\n", " ") for name in _COLUMNS))
        lines += [
            "",
            f"**{cell.title}, {_rows(race, cell)}**",
            "",
            _row(columns),
            _row(["---"] + ["---:"] * len(_COLUMNS)),
        ]
        for one in race.of_cell(cell):
            title = race.title_of(one).replace("|", r"\|")
            lines.append(_row([f"**{title}**" if one.contestant.name == OURS else title, *_figures(race, one)]))
    lines += ["", *(f"- {line}" for line in _lines(race)), *([""] if _lines(race) else [])]
    lines += [_row(("target", "measured", "wanted", "")), _row(["---", "---:", "---:", "---"])]
    for target in race.targets:
        value, limit, verdict = target.parts()
        lines.append(_row((target.figure.replace("|", r"\|"), value, limit, verdict)))
    return "\n".join(lines)


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"


def _rows(race: Race, cell: Cell) -> str:
    return f"{max((one.rows for one in race.of_cell(cell)), default=0):,} rows"


def _figures(race: Race, one: Entrant) -> Sequence[str]:
    if not one.ran:
        return ["-"] * len(_COLUMNS)
    to_ours = race.to_ours(one)
    return [
        krows(one.rate_krows_per_s),
        "" if to_ours is None else f"{to_ours:.2f}",
        f"{one.client_cpu_s:.2f}",
        "" if one.server_cpu_s is None else f"{one.server_cpu_s:.2f}",
        f"{one.first_mib:,.0f}",
        f"{one.child_mib:,.0f}" if one.child_mib else "",
    ]


def _lines(race: Race) -> Sequence[str]:
    """What the tables do not say: who is missing, and why."""
    reasons: dict[str, list[str]] = {}
    for one in race.entrants:
        if one.skipped or one.wrong:
            why = f"skipped: {one.skipped}" if one.skipped else f"WRONG: {one.wrong}"
            reasons.setdefault(f"{one.contestant.title}: {why}", []).append(FORMATS[one.cell.format])
    return [*(f"{text} ({', '.join(dict.fromkeys(where))})" for text, where in reasons.items()), *race.notes]
