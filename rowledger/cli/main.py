"""The command `rowledger`: composes the commands of this package, and turns errors into one line and exit code 1.

A command's module is imported when the command is called or its own options are completed, so that `rowledger --help` and
the completion of commands' names answer at once.
"""

import contextlib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from rowledger.errors import RowledgerError
from rowledger.version import version

__all__ = ["cli", "main"]

# Command → where it is defined, and its line in `rowledger --help`.
COMMANDS = {
    "load": ("rowledger.cli.load:load", "Load partitions of a table, without Dagster."),
    "status": ("rowledger.cli.status:status", "What readers see of each partition, and the latest attempt at it."),
    "verify": ("rowledger.cli.verify:verify", "Compare published partitions with the ledger."),
    "forget": ("rowledger.cli.verify:forget", "Stop answering for published rows; an append adds them again."),
    "dead-letters": (
        "rowledger.cli.dead_letters:dead_letters",
        "Rows that were refused, and how they are brought back.",
    ),
    "incidents": ("rowledger.cli.status:incidents", "Workers that died, with host, pid, cause and chunk."),
    "check": ("rowledger.cli.check:check", "Check table specs, and on request their sources and targets."),
    "infer": ("rowledger.cli.infer:infer", "Write the row model and the table spec that fit a file."),
    "prune": ("rowledger.cli.prune:prune", "Delete old ledger entries of replaced and failed loads."),
    "db": ("rowledger.cli.db:db", "Start, stop and reach the database."),
}


class _LazyGroup(click.Group):
    """A group that knows its commands' names and summaries, and imports a command only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 — click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 — click's signature
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name, without the command, which click would ask for its help."""
        named = [
            CompletionItem(name, help=summary) for name, (_, summary) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RowledgerError as error:
            if ctx.params["traceback"]:
                raise
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)


def _say_version(ctx: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        click.echo(f"rowledger, version {version()}")
        ctx.exit()


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--traceback", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_say_version, help="Show the version."
)
def cli(*, traceback: bool) -> None:
    """Load partitioned data into PostgreSQL and account for every row."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with its exit code."""
    with contextlib.suppress(FileNotFoundError):  # the current folder was deleted
        # Specs name the project's modules: import from the current folder first, as `python -m` does.
        sys.path.insert(0, str(Path.cwd()))
    cli.main(args=arguments, prog_name="rowledger")
