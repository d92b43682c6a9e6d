"""`rowledger verify` and `rowledger forget`: whether tables still are what was loaded, and which loads not to verify."""

import dataclasses
import itertools
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import click

from rowledger.cli.selection import ANY_TABLE, ONE_TABLE, PARTITIONS
from rowledger.cli.servers import SERVER, chosen_servers, chosen_url, spec_on_servers
from rowledger.cli.specs import GivenSpecs, KnownSpecs, read_table_spec, with_spec
from rowledger.counted import counted
from rowledger.errors import DiscrepancyFound, RowledgerError, UnknownPartition
from rowledger.postgres import TargetServer, servers_named
from rowledger.publish import PartitionVerification, run_forget, run_verify, run_verify_servers
from rowledger.spec import TableSpec

__all__ = ["forget", "verify"]

_NAMED_MAX = 20  # partitions in a question


@click.command(short_help="Compare published partitions with the ledger; exit code 1 when one differs.")
@ANY_TABLE
@PARTITIONS
@SERVER
@with_spec
@click.option("--json", "as_json", is_flag=True, help="As JSON, a verdict a partition.")
def verify(
    *, table_name: str | None, partitions: Sequence[str], server: str | None, given: GivenSpecs, as_json: bool
) -> None:
    """Count and fingerprint the published partitions, and compare them with what was loaded.

    The exit code is 0 only if something was compared, all of it is what was loaded, and nothing published was left
    out. A table that is on several servers is verified on all of them, or on one by --server; a server that cannot be
    reached is a discrepancy.
    """
    verified: dict[str, list[PartitionVerification]] = {}
    problems: list[str] = []
    wanted = _Wanted(partitions, chosen_servers(server), is_named=table_name is not None)
    spec = None if server or table_name is None or not given.specs else spec_on_servers(table_name, given)
    if spec is not None:  # its servers are known without a ledger
        verified[spec.name] = _verify(spec, None, wanted, problems)
    else:
        url = chosen_url(server)
        for spec, name, error in _tables(KnownSpecs(url, given), table_name):
            if spec is None:
                problems.append(error)
                continue
            try:
                verified[name] = _verify(spec, url, wanted, problems)
            except RowledgerError as refusal:
                problems.append(str(refusal))
    missing = set(partitions) - {found.partition_key for results in verified.values() for found in results}
    if missing and not problems:
        problems.append(f"no published load of partition {', '.join(sorted(missing))} is in the ledger")
    if not problems and not any(verified.values()):
        problems.append("the ledger has no published partition of any table, so nothing was verified")
    differing = _differing(verified)
    if as_json:
        click.echo(json.dumps(_as_json(verified, problems, passed=not (problems or differing)), indent=2))
    else:
        _tell(verified)
    if problems or differing:
        raise DiscrepancyFound("\n".join([*problems, *differing]))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the options select of each table. Unless a table is named, partitions that it does not have are left out."""

    partitions: Sequence[str]
    servers: Sequence[TargetServer] | None
    is_named: bool

    def of(self, results: Iterable[PartitionVerification]) -> list[PartitionVerification]:
        return [found for found in results if self.is_named or not self.partitions or found.is_published]


def _tables(specs: KnownSpecs, table: str | None) -> Iterator[tuple[TableSpec | None, str, str]]:
    """The spec of each table to verify, with the table's name; instead of a spec the reason why there is none."""
    tables = [
        (row.table_name, row.target)
        for row in specs.tables
        if (row.published_partitions or specs.is_on_servers(row.table_name)) and table in (None, row.table_name)
    ]
    if table is not None:
        tables.insert(0, (table, str(specs.require(table).target)))
    for name, target in dict.fromkeys(tables):
        try:
            yield specs.require_of_target(name, target), name, ""
        except RowledgerError as error:
            yield None, name, str(error)


def _verify(spec: TableSpec, url: str | None, wanted: _Wanted, problems: list[str]) -> list[PartitionVerification]:
    """Verify one table, on all of its servers where it is on several, whose problems are added."""
    keys = wanted.partitions or None
    if spec.servers is None:
        assert url is not None  # noqa: S101 - only servers are known without it
        return wanted.of(run_verify(spec, url=url, partition_keys=keys))
    try:
        found = run_verify_servers(spec, partition_keys=keys, servers=wanted.servers)
    except UnknownPartition:
        if wanted.is_named:
            raise
        return []  # of partitions of other tables the spec says nothing
    problems += found.problems
    return wanted.of(found.verifications)


def _differing(verified: Mapping[str, Sequence[PartitionVerification]]) -> list[str]:
    """What to do about each table that differs."""
    problems = []
    for name, results in verified.items():
        if bad := [found for found in results if not found.passed]:
            problem = f"table {name}: {len(bad)} of {counted(len(results), 'partition')} did not pass; load what did not again"
            published: dict[str, list[str]] = {}
            for found in bad:
                if found.is_published and (
                    found.checks or not found.server
                ):  # one on a wrong server has its own command
                    published.setdefault(found.server, []).append(found.partition_key)
            commands = [_forgetting(name, server, keys) for server, keys in published.items()]
            if commands:
                problem += f", or where rows were taken out on purpose: {'; '.join(commands)}"
            problems.append(problem)
    return problems


def _forgetting(table: str, server: str, keys: Sequence[str]) -> str:
    on = f" --server {server}" if server else ""
    named = " ".join(f"--partition {shlex.quote(key)}" for key in keys)
    return f"rowledger forget --table {shlex.quote(table)}{on} {named}"


def _tell(verified: Mapping[str, Sequence[PartitionVerification]]) -> None:
    for name, results in verified.items():
        for result in results:
            on = f" on {result.server}" if result.server else ""
            for problem in result.problems:
                click.echo(f"{name} {result.partition_key}{on}: {problem}", err=True)
        for server, own in itertools.groupby(results, lambda result: result.server):
            of_server = list(own)
            if all(result.passed for result in of_server):
                are = "is" if len(of_server) == 1 else "are"
                on = f" on {servers_named([server])[0]}" if server else ""
                click.echo(f"table {name}{on}: {counted(len(of_server), 'published partition')} {are} what was loaded")


def _as_json(
    verified: Mapping[str, Sequence[PartitionVerification]], problems: Sequence[str], *, passed: bool
) -> dict[str, object]:
    return {
        "passed": passed,
        "problems": list(problems),
        "tables": [
            {
                "table": name,
                "passed": bool(results) and all(result.passed for result in results),
                "partitions": [
                    {
                        "partition_key": result.partition_key,
                        "server": result.server or None,
                        "passed": result.passed,
                        "problems": result.problems,
                        "checks": [dataclasses.asdict(check) for check in result.checks],
                    }
                    for result in results
                ],
            }
            for name, results in verified.items()
        ],
    }


@click.command(short_help="Stop answering for published rows; an append adds them again.")
@ONE_TABLE
@click.option("--partition", "partitions", multiple=True, help="Only this partition; may be given again.")
@SERVER
@with_spec
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(*, table_name: str, partitions: Sequence[str], server: str | None, given: GivenSpecs, yes: bool) -> None:
    """Forget published loads whose rows were truncated, dropped or changed on purpose.

    The table is not changed. The next load starts from the rows that it finds there, and an append adds rows again
    that it has added before. Where partitions cannot be distinguished in the table, all loads of the table are
    forgotten.
    """
    url = chosen_url(server, table_name, partitions, given)
    spec = read_table_spec(url, table_name, given)
    if not yes:
        found = run_forget(spec, url=url, partition_keys=partitions or None, dry_run=True)
        click.confirm(_question(table_name, found, set(partitions)), abort=True)
    forgotten = run_forget(spec, url=url, partition_keys=partitions or None)
    are = "is" if len(forgotten) == 1 else "are"
    click.echo(f"{counted(len(forgotten), 'published load')} of table {table_name} {are} forgotten")


def _question(table: str, found: Sequence[tuple[int, str]], asked: set[str]) -> str:
    """Whether to forget these loads, whose partitions are named; more than those that were asked for are pointed out."""
    keys = sorted({key for _, key in found})
    if not keys:
        return f"Take the entries of table {table} in the ledger as they were edited by hand?"
    noun = "partition" if len(keys) == 1 else "partitions"
    named = f"{noun} {', '.join(keys[:_NAMED_MAX])}{', …' if len(keys) > _NAMED_MAX else ''}"
    all_of = "; its partitions cannot be distinguished in the table" if asked and set(keys) - asked else ""
    return f"Forget {counted(len(found), 'published load')} of table {table}: {named}{all_of}?"
