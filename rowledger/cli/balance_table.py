"""The balance of partitions as a table: what was enqueued, what became of it, and the sums."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rowledger.cli.console import number_text
from rowledger.ledger import RowCounts

__all__ = ["balance_table", "print_whole", "width_of"]

_WIDTH_MAX = 10_000  # columns of a terminal on which any table fits
_COUNTS = {
    "enqueued": "enqueued_rows",
    "written": "written_rows",
    "dead-lettered": "dead_lettered_rows",
    "added": "added_rows",
    "filtered": "filtered_rows",
    "missing": "missing_rows",
}
_DEATHS = "worker deaths"
_OPTIONAL = ("added", "filtered", _DEATHS)
_SHOULD_BE_ZERO = ("missing", _DEATHS)


def balance_table(
    title: str,
    leading: Mapping[str, Sequence[Text]],
    counts: Sequence[RowCounts | None],
    deaths: Sequence[int],
    trailing: Mapping[str, Sequence[Text]],
    *,
    narrow: bool = False,
) -> Table:
    """A row a partition, and the sums below. A partition without counts has no figures; columns of zeros are left out."""
    numbers: dict[str, list[int | None]] = {
        name: [None if found is None else int(getattr(found, attribute)) for found in counts]
        for name, attribute in _COUNTS.items()
    }
    numbers[_DEATHS] = list(deaths)
    numbers = {name: values for name, values in numbers.items() if name not in _OPTIONAL or any(values)}
    figures = {
        name: [Text("-") if value is None else number_text(value, is_bad=name in _SHOULD_BE_ZERO) for value in values]
        for name, values in numbers.items()
    }
    columns = {**leading, **figures, **trailing}
    shown = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=True,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in columns:
        heading = name.replace(" ", "\n").replace("-", "-\n") if narrow else name
        if name in numbers:
            total = sum(value or 0 for value in numbers[name])
            shown.add_column(heading, f"{total:,}", justify="right", no_wrap=True)
        else:
            shown.add_column(heading, no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        shown.add_row(*cells)
    return shown


def width_of(table: Table) -> int:
    """The columns of a terminal that the table takes."""
    return Console(width=_WIDTH_MAX).measure(table).maximum


def print_whole(page: Console, table: Table) -> None:
    """Print the table. Where it is too wide, the terminal wraps the lines: nothing is cut off."""
    page.width = max(page.width, width_of(table))
    page.print(table)
