"""The servers that a command works on: one that is named by its variable, or those of a table that is on several."""

from collections.abc import Sequence

import click

from rowledger.cli.specs import GivenSpecs, rebuilt
from rowledger.errors import LedgerMissing, RowledgerError
from rowledger.ledger import KeptSpec, partition_by_key, read_servers, read_specs
from rowledger.postgres import TargetServer, existing_url, server_of, servers_named, servers_of, url_of_variable
from rowledger.spec import TableSpec

__all__ = ["SERVER", "chosen_servers", "chosen_url", "spec_on_servers", "specs_on_servers"]

SERVER = click.option(
    "--server",
    "server",
    metavar="VARIABLE",
    help="Only the server whose URL is in this environment variable, as the spec of a table on several servers names it.",
)


def chosen_url(
    server: str | None, table: str | None = None, partitions: Sequence[str] = (), given: GivenSpecs | None = None
) -> str:
    """The URL of the one server that a command works on: the named one, that of the table's partitions, or else the usual one.

    Raises click.UsageError where the table is on several servers and nothing says which is meant.
    """
    if server is not None:
        return url_of_variable(server)
    spec = None if table is None else spec_on_servers(table, given or GivenSpecs())
    if spec is None:
        return existing_url()
    found = {_server_of(spec, key) for key in partitions} or set(servers_of(spec))
    if len(found) > 1:
        named = ", ".join(f"--server {each.variable}" for each in servers_of(spec) if each in found)
        raise click.UsageError(
            f"table {spec.name} is on several servers, and this command works on one: give {named}, or partitions of one"
        )
    return found.pop().url


def chosen_servers(server: str | None) -> list[TargetServer] | None:
    """The named server; None for all that a table has. Raises DatabaseUnavailable where its variable is not set."""
    if server is None:
        return None
    url_of_variable(server)
    return servers_named([server])


def spec_on_servers(table: str, given: GivenSpecs) -> TableSpec | None:
    """The spec of a table that is on several servers; None for another table. Raises SpecError for one that cannot be used."""
    if (spec := given.of(table)) is not None:
        return spec if spec.servers is not None else None
    kept = next((kept for kept in _kept(existing_url()) if kept.table_name == table), None)
    return None if kept is None else rebuilt(table, kept)


def specs_on_servers(url: str, given: GivenSpecs, problems: list[str]) -> list[TableSpec]:
    """The specs of all tables on several servers, of the options and of the ledger; one that cannot be used is a problem."""
    found = {spec.name: spec for spec in given.specs if spec.servers is not None}
    for kept in _kept(url):
        if kept.table_name not in found:
            try:
                found[kept.table_name] = rebuilt(kept.table_name, kept)
            except RowledgerError as error:
                problems.append(f"{error}; its servers were not asked")
    return list(found.values())


def _kept(url: str) -> list[KeptSpec]:
    """The kept specs that name servers. The others are not imported, since most commands need no spec."""
    try:
        return [kept for kept in read_specs(url) if kept.names_servers]
    except LedgerMissing:
        return []


def _server_of(spec: TableSpec, key: str) -> TargetServer:
    """The server of a partition, by the bounds that a ledger has of it, or else by its key."""
    known = {
        placed.status.partition_key: placed.partition for ledger in read_servers(spec) for placed in ledger.partitions
    }
    return server_of(spec, known.get(key) or partition_by_key(spec, key))
