"""The result as a chart: rows a second, and beside it the client's CPU seconds, which count where the server is elsewhere."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.race.report import Race

_PAPER, _INK, _FAINT, _OURS, _OTHERS = "#ffffff", "#1f2328", "#59636e", "#0969da", "#b6c2cf"

_PEERS = ("polars", "pgpq", "asyncpg", "adbc-driver-postgresql", "duckdb", "psycopg", "dlt", "pydantic")


def draw(path: Path, race: Race) -> None:
    """Write the chart in the format of the path's suffix, on a ground of its own, so that it can be read on a dark page too."""
    shown = [one for one in race.entrants if one.ran]
    shown.sort(key=race.rate_krows_per_s)
    titles = [one.contestant.title for one in shown]
    colours = [_OURS if one.contestant.name.startswith("rowledger") else _OTHERS for one in shown]
    # Outlines instead of text, so that it looks the same everywhere; a fixed salt, so that the same result is the same file.
    with mpl.rc_context({"font.size": 10, "svg.hashsalt": "race", "svg.fonttype": "path"}):
        figure = Figure(figsize=(10.4, 1.7 + 0.36 * len(shown)), facecolor=_PAPER, layout="constrained")
        figure.suptitle(race.title, color=_INK, fontsize=13, x=0.014, ha="left")
        rates, seconds = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        _bars(rates, titles, [race.rate_krows_per_s(one) for one in shown], colours, "{:,.0f}")
        rates.set_title("thousand rows a second", loc="left", color=_FAINT, fontsize=10)
        _bars(seconds, titles, [race.client_cpu_s(one) for one in shown], colours, "{:,.2f}")
        seconds.set_title("client CPU seconds a million rows", loc="left", color=_FAINT, fontsize=10)
        figure.supxlabel(_where(race), color=_FAINT, fontsize=9, x=0.014, ha="left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _bars(axes: Axes, titles: list[str], values: list[float], colours: list[str], form: str) -> None:
    bars = axes.barh(titles, values, color=colours, height=0.72)
    axes.bar_label(bars, labels=[form.format(value) for value in values], padding=4, color=_INK, fontsize=9)
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
