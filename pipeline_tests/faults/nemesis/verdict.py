"""The checker: what the database holds against what the sources held, as multisets of whole rows."""

import collections
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_tests.faults.nemesis.sources import SourceVersion
from pipeline_tests.support.assertions import (
    assert_accounted,
    assert_nothing_left_over,
    dead_rows,
    source_rows,
    table_rows,
)
from pipeline_tests.support.database import fetch, fetch_value
from rowledger.machine.run_folder import spool_folder
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec, WriteMode

__all__ = ["Balance", "compare", "judge_leftovers", "judge_rows", "judge_spool"]

Rows = collections.Counter[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Balance:
    """How two multisets of rows differ."""

    lost: int = 0
    duplicated: int = 0
    altered: int = 0

    def __add__(self, other: "Balance") -> "Balance":
        return Balance(self.lost + other.lost, self.duplicated + other.duplicated, self.altered + other.altered)

    @property
    def is_even(self) -> bool:
        return self == Balance()


def compare(expected: Rows, found: Rows) -> Balance:
    """A surplus row that the source knows is a duplicate; one that it does not know is altered, and explains a missing one."""
    missing, surplus = expected - found, found - expected
    altered = sum(count for row, count in surplus.items() if row not in expected)
    return Balance(
        lost=max(0, missing.total() - altered),
        duplicated=surplus.total() - altered,
        altered=altered,
    )


def judge_rows(database: str, spec: TableSpec, versions: Sequence[SourceVersion]) -> tuple[Balance, list[str]]:
    """Every row of every partition in one of two places, and in the right one."""
    source = source_rows([row for version in versions for row in version.rows])
    good = source_rows([row for version in versions for row in version.good])
    bad = source_rows([row for version in versions for row in version.bad])
    in_table, dead = table_rows(database, spec), dead_rows(database, spec)
    balance = compare(source, in_table + dead)
    findings = []
    if not balance.is_even:
        findings.append(
            f"{source.total()} source rows, {in_table.total()} in the table, {dead.total()} dead: {balance}"
        )
    # A row whose chunk killed one worker after the other may stand among the dead letters, though nothing is wrong with it.
    blamed = dead - bad
    if blamed.total() > _dead_letters_of_stage(database, spec, "crash"):
        findings.append(f"{blamed.total()} good rows among the dead letters, e.g. {next(iter(blamed))}")
    if wrongly := in_table - (good - blamed):
        findings.append(f"{wrongly.total()} rows in the table that should not be, e.g. {next(iter(wrongly))}")
    return balance, findings


def judge_leftovers(database: str, spec: TableSpec, versions: Sequence[SourceVersion]) -> list[str]:
    """The assertion that every load test ends with, no staging table since every load has ended, and a green `verify`."""
    findings = []
    try:
        if spec.write_mode is WriteMode.UPSERT:  # where every load of a partition counts, not the last one alone
            assert_nothing_left_over(database)
        else:
            assert_accounted(database, spec, [row for version in versions for row in version.rows])
    except AssertionError:
        findings.append(f"not accounted for: {traceback.format_exc(limit=-1)[-2_000:]}")
    staging = fetch(
        database, "select oid::regclass::text from pg_class where relname like 'staging\\_%' and relkind = 'r'"
    )
    if staging:
        findings.append(f"staging tables left: {[row[0] for row in staging]}")
    if findings:
        findings += [f"{table}: {_entries(database, table)}" for table in ("lease", "load")]
    for verification in run_verify(spec, url=database):
        findings += [f"verify: {check.summary}" for check in verification.checks if not check.passed]
    return findings


def _entries(database: str, table: str) -> str:
    """All that the ledger has in one of its tables."""
    return str([row[0] for row in fetch(database, f"select to_jsonb(entry) from rowledger.{table} as entry")])


def judge_spool(home: Path) -> list[str]:
    """Nothing but what the next process that spools there sweeps away: those that were killed could not."""
    root = home / "spool"
    if not root.exists():
        return []
    with spool_folder(root, "probe"):
        left = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name != "probe")
    return [f"spool folders left in {root}: {left}"] if left else []


def _dead_letters_of_stage(database: str, spec: TableSpec, stage: str) -> int:
    count: int = fetch_value(
        database,
        "select count(*) from rowledger.dead_letter join rowledger.load using (load_id) "
        "where load.state = 'published' and target = $1 and stage = $2",
        str(spec.target),
        stage,
    )
    return count
