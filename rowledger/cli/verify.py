"""`rowledger verify` and `rowledger forget`: whether tables still are what was loaded, and which loads not to verify."""

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence

import click

from rowledger.cli.selection import ANY_TABLE, ONE_TABLE, PARTITIONS
from rowledger.cli.specs import GivenSpecs, KnownSpecs, read_table_spec, with_spec
from rowledger.counted import counted
from rowledger.errors import DiscrepancyFound, RowledgerError
from rowledger.postgres import existing_url
from rowledger.publish import PartitionVerification, run_forget, run_verify
from rowledger.spec import TableSpec

__all__ = ["forget", "verify"]

_NAMED_MAX = 20  # partitions in a question


@click.command(short_help="Compare published partitions with the ledger; exit code 1 when one differs.")
@ANY_TABLE
@PARTITIONS
@with_spec
@click.option("--json", "as_json", is_flag=True, help="As JSON, a verdict a partition.")
def verify(*, table_name: str | None, partitions: Sequence[str], given: GivenSpecs, as_json: bool) -> None:
    """Count and fingerprint the published partitions, and compare them with what was loaded.

    The exit code is 0 only if something was compared, all of it is what was loaded, and nothing published was left
    out.
    """
    url = existing_url()
    specs = KnownSpecs(url, given)
    tables = [
        (row.table_name, row.target)
        for row in specs.tables
        if row.published_partitions and table_name in (None, row.table_name)
    ]
    if table_name is not None:
        tables.insert(0, (table_name, str(specs.require(table_name).target)))
    verified: dict[str, list[PartitionVerification]] = {}
    problems: list[str] = []
    for name, target in dict.fromkeys(tables):
        try:
            spec = specs.require_of_target(name, target)
            verified[name] = _verify(spec, url=url, partitions=partitions, is_named=table_name is not None)
        except RowledgerError as error:
            problems.append(str(error))
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


def _verify(spec: TableSpec, *, url: str, partitions: Sequence[str], is_named: bool) -> list[PartitionVerification]:
    """Verify one table. Unless it is named, partitions that it does not have are left out."""
    results = run_verify(spec, url=url, partition_keys=partitions or None)
    return [result for result in results if is_named or not partitions or result.is_published]


def _differing(verified: Mapping[str, Sequence[PartitionVerification]]) -> list[str]:
    """What to do about each table that differs."""
    problems = []
    for name, results in verified.items():
        if bad := [found for found in results if not found.passed]:
            problem = f"table {name}: {len(bad)} of {counted(len(results), 'partition')} did not pass; load what did not again"
            if published := [found.partition_key for found in bad if found.is_published]:
                named = " ".join(f"--partition {shlex.quote(key)}" for key in published)
                command = f"rowledger forget --table {shlex.quote(name)} {named}"
                problem += f", or where rows were taken out on purpose: {command}"
            problems.append(problem)
    return problems


def _tell(verified: Mapping[str, Sequence[PartitionVerification]]) -> None:
    for name, results in verified.items():
        for result in results:
            for problem in result.problems:
                click.echo(f"{name} {result.partition_key}: {problem}", err=True)
        if results and all(result.passed for result in results):
            are = "is" if len(results) == 1 else "are"
            click.echo(f"table {name}: {counted(len(results), 'published partition')} {are} what was loaded")


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
@with_spec
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(*, table_name: str, partitions: Sequence[str], given: GivenSpecs, yes: bool) -> None:
    """Forget published loads whose rows were truncated, dropped or changed on purpose.

    The table is not changed. The next load starts from the rows that it finds there, and an append adds rows again
    that it has added before. Where partitions cannot be distinguished in the table, all loads of the table are
    forgotten.
    """
    url = existing_url()
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
