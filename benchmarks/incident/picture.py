"""The result as a picture: the source's rows from first to last, where connections were cut, and where rows are missing."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.incident.contest import Source, Turn
from benchmarks.incident.cuts import Cut

_PAPER, _INK, _FAINT, _HELD, _LOST = "#ffffff", "#1f2328", "#59636e", "#d3e5f5", "#cf222e"
_STRIP, _CUT, _TOP = 1.0, 1.28, 1.5  # heights: of a strip, of the cuts' marks above it, of all


def draw(path: Path, source: Source, turns: Sequence[Turn], plan: Sequence[Cut], bytes_total: int, title: str) -> None:
    """Write the picture as SVG, on a ground of its own, so that it can be read on a dark page too."""
    # Outlines instead of text, so that it looks the same everywhere; a fixed salt, so that the same result is the same file.
    with mpl.rc_context({"font.size": 11, "svg.hashsalt": "incident", "svg.fonttype": "path"}):
        figure = Figure(figsize=(9.6, 1.1 + 1.1 * len(turns)), facecolor=_PAPER, layout="constrained")
        figure.suptitle(title, color=_INK, fontsize=13, x=0.014, ha="left")
        strips = figure.subplots(len(turns), 1, sharex=True, squeeze=False)[:, 0]
        for axes, turn in zip(strips, turns, strict=True):
            _draw_turn(axes, source, turn, [cut.at_bytes / bytes_total * source.rows for cut in plan])
        strips[-1].xaxis.set_visible(True)
        strips[-1].set_xlabel("row of the source; ▼ a connection is cut", color=_FAINT)
        strips[-1].xaxis.set_major_formatter(FuncFormatter(lambda row, _position: f"{row / 1e6:g} M"))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_turn(axes: Axes, source: Source, turn: Turn, cuts: Sequence[float]) -> None:
    axes.set(xlim=(0, source.rows), ylim=(0, _TOP), facecolor=_PAPER)
    axes.spines[:].set_visible(False)
    axes.yaxis.set_visible(False)
    axes.xaxis.set_visible(False)
    axes.tick_params(colors=_FAINT)
    axes.barh(_STRIP / 2, source.rows, height=_STRIP, color=_HELD)
    axes.plot(cuts, [_CUT] * len(cuts), linestyle="none", marker="v", color=_INK, markersize=7, clip_on=False)
    first_row = 0
    for one, lost in zip(source.ranges, turn.audit.lost_by_range, strict=True):
        if lost:
            axes.vlines(first_row + one.rows / 2, 0, _STRIP, color=_LOST, linewidth=3)
            axes.text(
                *(first_row + one.rows / 2, _STRIP / 2),
                f"  {-lost:,}  ",
                color=_LOST,
                va="center",
                weight="bold",
                ha="left" if first_row < source.rows * 0.8 else "right",
            )
        first_row += one.rows
    verdict = f"{turn.name}: {turn.ending}, {turn.audit.lost:,} rows lost"
    colour = _LOST if turn.audit.lost else _INK
    axes.set_title(verdict, loc="left", color=colour, fontsize=12, weight="bold", pad=3)
    axes.set_title(f"it says “{turn.noticed}”", loc="right", color=_FAINT, fontsize=9, pad=3)
