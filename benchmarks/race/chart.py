"""The result as a chart: rows a second, and beside it the client's CPU seconds, which count where the server is elsewhere."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.contestants.task import FORMATS
from benchmarks.race.report import Entrant, Race, krows

_PAPER, _INK, _FAINT, _OURS, _OTHERS = "#ffffff", "#1f2328", "#59636e", "#0969da", "#b6c2cf"

_PEERS = ("polars", "pgpq", "asyncpg", "adbc-driver-postgresql", "duckdb", "psycopg", "dlt", "pandas", "pydantic")
_TITLE = {"loc": "left", "color": _FAINT, "fontsize": 10}
_BAR_INCHES, _HEAD_INCHES = 0.27, 0.55


def draw(path: Path, race: Race) -> None:
    """Write the chart of the first data set in the format of the path's suffix, with a pair of panels for each format.

    It has a ground of its own, so that it can be read on a dark page too.
    """
    cells = [cell for cell in race.cells if cell.dataset == race.cells[0].dataset]
    panels = [(cell, sorted((one for one in race.of_cell(cell) if one.ran), key=_rate)) for cell in cells]
    panels = [(cell, shown) for cell, shown in panels if shown]
    # Outlines instead of text, so that it looks the same everywhere; a fixed salt, so that the same result is the same file.
    with mpl.rc_context({"font.size": 10, "svg.hashsalt": "race", "svg.fonttype": "path"}):
        heights = [len(shown) for _, shown in panels]
        figure = Figure(
            figsize=(10.4, 1.5 + _HEAD_INCHES * len(heights) + _BAR_INCHES * sum(heights)),
            facecolor=_PAPER,
            layout="constrained",
        )
        most = max(one.rows for _, shown in panels for one in shown)
        title = f"{cells[0].dataset.title}, {most:,} rows; {race.title}"
        figure.suptitle(title, color=_INK, fontsize=13, x=0.014, ha="left")
        rows = figure.subplots(len(panels), 2, sharey="row", width_ratios=(3, 2), height_ratios=heights, squeeze=False)
        for (rates, seconds), (cell, shown) in zip(rows, panels, strict=True):
            name, titles = FORMATS[cell.format], [race.title_of(one) for one in shown]
            _bars(rates, titles, shown, [_rate(one) for one in shown], krows)
            rates.set_title(f"{name[0].upper()}{name[1:]}: krows/s", **_TITLE)
            _bars(seconds, titles, shown, [one.client_cpu_s for one in shown], "{:,.2f}".format)
            seconds.set_title("client CPU seconds a million rows", **_TITLE)
        figure.supxlabel(_where(race), color=_FAINT, fontsize=9, x=0.014, ha="left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _rate(entrant: Entrant) -> float:
    return entrant.rate_krows_per_s


def _bars(
    axes: Axes, titles: Sequence[str], shown: Sequence[Entrant], values: Sequence[float], form: Callable[[float], str]
) -> None:
    colours = [_OURS if one.contestant.name.startswith("rowledger") else _OTHERS for one in shown]
    bars = axes.barh(titles, values, color=colours, height=0.72)
    axes.bar_label(bars, labels=[form(value) for value in values], padding=4, color=_INK, fontsize=9)
    axes.set_xlim(0, max(values) * 1.18)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_visible(False)
    axes.tick_params(left=False, colors=_INK)
    axes.set_facecolor(_PAPER)


def _where(race: Race) -> str:
    machine, server = race.machine, race.server
    place = "the same" if server["is_local"] else "another"
    peers = ", ".join(f"{name} {race.versions[name]}" for name in _PEERS if name in race.versions)
    return f"{machine['cpu']}, {machine['cores']:g} cores; PostgreSQL {server['version']} on {place} machine\n{peers}"
