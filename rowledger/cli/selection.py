"""The options by which commands select tables, partitions and dead letters."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from rowledger.contract import Stage
from rowledger.ledger import DeadLetterSelection, DeadLetterState

__all__ = ["ANY_TABLE", "ONE_TABLE", "PARTITIONS", "selection_of", "selects_dead_letters", "selects_within_table"]

F = TypeVar("F", bound=Callable[..., Any])

ONE_TABLE = click.option("--table", "table_name", required=True, help="The table.")
ANY_TABLE = click.option("--table", "table_name", help="Only this table.")
PARTITIONS = click.option("--partition", "partitions", multiple=True, help="Only this partition; may be given again.")


def selects_dead_letters(command: F) -> F:
    """Add the options that select dead letters of a table."""
    return ONE_TABLE(selects_within_table(command))


def selects_within_table(command: F) -> F:
    """Add the options that select dead letters, but for the table."""
    options = [
        PARTITIONS,
        click.option(
            "--stage",
            "stages",
            multiple=True,
            type=click.Choice([stage.value for stage in Stage]),
            help="Only refused there; may be given again.",
        ),
        click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice([state.value for state in DeadLetterState]),
            help="Only these; may be given again.",
        ),
        click.option("--constraint", help="Only refused by this constraint of the table."),
        click.option("--column", help="Only refused for this column."),
        click.option("--id", "ids", multiple=True, type=int, help="Only this dead letter; may be given again."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def selection_of(options: dict[str, Any], **more: Any) -> DeadLetterSelection:  # noqa: ANN401 - fields of the selection
    """The selection that these options make, with `more` fields."""
    return DeadLetterSelection.model_validate({**{name: value or None for name, value in options.items()}, **more})
