"""Reconcile: compare the manifest, the ledger, the staging table and the dead letters with each other, in the database.

No worker's message is read here. A figure that the database never recorded cannot make a load pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import asyncpg

from rowledger.contract import Fingerprint, fingerprint_query, read_fingerprint
from rowledger.counted import counted
from rowledger.ledger import Check, CheckName, ChunkTotals, RowCounts, read_chunk_fingerprints, read_ledger_side
from rowledger.postgres import quote_identifier
from rowledger.publish.finish_context import FinishContext
from rowledger.spec import Column, TableSpec

__all__ = ["Measured", "budget_check", "fingerprint_check", "measure_relation", "read_ledger_fingerprint", "reconcile"]

_COLUMNS_SHOWN_MAX = 5  # of the columns that differ: where a row is missing, all of them do


@dataclass(frozen=True, slots=True)
class Measured:
    """What a relation holds: its rows and, if requested, their fingerprint."""

    rows: int
    fingerprint: Fingerprint | None


async def measure_relation(
    connection: asyncpg.Connection,
    relation: str,
    columns: Sequence[Column],
    *,
    predicate: str = "true",
    fingerprint: bool,
) -> Measured:
    """Count the rows, and sum their columns in the same scan. `relation` is a quoted name."""
    if not fingerprint:
        return Measured(await connection.fetchval(f"select count(*) from {relation} where {predicate}"), None)  # noqa: S608
    # Not fetchrow: it asks for at most one row, and the server runs a query with such a limit without parallel workers.
    found = await connection.fetch(fingerprint_query(columns, quote_identifier, relation, predicate=predicate))
    return Measured(*read_fingerprint(columns, found))


async def read_ledger_fingerprint(
    connection: asyncpg.Connection, load_id: int, totals: ChunkTotals, columns: Sequence[Column]
) -> Fingerprint | None:
    """The sum of what the writers of the chunks saw; None unless every committed chunk has a fingerprint."""
    return _sum_of(await read_chunk_fingerprints(connection, load_id), totals, columns)


def _sum_of(texts: Sequence[str], totals: ChunkTotals, columns: Sequence[Column]) -> Fingerprint | None:
    if len(texts) != totals.committed:
        return None
    return sum(map(Fingerprint.from_json, texts), Fingerprint.empty(columns))


async def reconcile(
    connection: asyncpg.Connection, load: FinishContext, staging: str, *, predicate: str = "true"
) -> tuple[ChunkTotals, tuple[Check, ...]]:
    """Every check of the load, from figures of the database alone. `staging` is the relation that has its rows.

    This run has planned the load's manifest from the source. A manifest that was changed in the ledger afterwards does
    not match it.
    """
    spec, columns, manifest, load_id = load.spec, load.target.columns, load.manifest, load.handle.load_id
    fingerprint = load.settings.fingerprint
    ledger = await read_ledger_side(connection, load_id)
    recorded, totals = ledger.plan, ledger.totals
    measured = await measure_relation(connection, staging, columns, predicate=predicate, fingerprint=fingerprint)

    figures = {
        "rows planned from the source": manifest.enqueued_rows,
        "rows enqueued by the load's ledger entry": recorded["enqueued_rows"],
        "rows enqueued by the chunks' ledger entries": totals.counts.enqueued_rows,
        "rows written by the ledger": totals.counts.written_rows,
        "rows in the staging table": measured.rows,
        "rows dead-lettered by the ledger": totals.counts.dead_lettered_rows,
        "dead letters kept": ledger.dead_letters,
        "rows filtered by the transform": totals.counts.filtered_rows,
        "rows added by the transform": totals.counts.added_rows,
        "chunks planned": len(manifest.chunks),
        "chunks committed": totals.committed,
    }
    pairs = [
        ("rows planned from the source", "rows enqueued by the load's ledger entry"),
        ("rows planned from the source", "rows enqueued by the chunks' ledger entries"),
        ("rows written by the ledger", "rows in the staging table"),
        ("rows dead-lettered by the ledger", "dead letters kept"),
        ("chunks planned", "chunks committed"),
    ]
    problems = [f"{a}: {figures[a]}, but {b}: {figures[b]}" for a, b in pairs if figures[a] != figures[b]]
    confirmed = replace(
        totals.counts,
        enqueued_rows=manifest.enqueued_rows,
        written_rows=measured.rows,
        dead_lettered_rows=ledger.dead_letters,
    )
    if not confirmed.balances():
        found_rows = confirmed.written_rows + confirmed.dead_lettered_rows
        expected_rows = found_rows + confirmed.missing_rows
        problems.append(
            f"{counted(expected_rows, 'row')} enqueued, {found_rows} found in staging table and dead letters"
        )
    if not recorded["sealed"]:
        problems.append("the manifest in the ledger is not complete")
    if totals.counts.added_rows and not (spec.transform is not None and spec.transform.adds_rows):
        problems.append(f"{counted(totals.counts.added_rows, 'row')} added by a transform that may add none")
    if totals.counts.filtered_rows and spec.transform is None:
        problems.append(f"{counted(totals.counts.filtered_rows, 'row')} filtered without a transform")
    if recorded["manifest_digest"] != manifest.digest:
        problems.append("the manifest in the ledger is not the one planned from the source")
    if totals.unbalanced or ledger.chunks_with_other_letters:
        odd = max(totals.unbalanced, ledger.chunks_with_other_letters)
        problems.append(f"{counted(odd, 'chunk')} whose own counts do not add up")
    balance = Check(
        CheckName.ROW_BALANCE,
        passed=not problems,
        summary="; ".join(problems) or _balance_text(confirmed),
        details=dict(figures),
    )
    checks = [balance]
    if fingerprint:
        checks.append(fingerprint_check(_sum_of(ledger.fingerprints, totals, columns), measured.fingerprint))
    checks.append(budget_check(spec, manifest.enqueued_rows, ledger.dead_letters))
    return totals, tuple(checks)


def _balance_text(counts: RowCounts) -> str:
    """The balance as a sentence, with a transform's figures only where they are not 0."""
    added = f" + {counts.added_rows} added" if counts.added_rows else ""
    filtered = f" + {counts.filtered_rows} filtered" if counts.filtered_rows else ""
    return (
        f"{counts.enqueued_rows} enqueued{added} = "
        f"{counts.written_rows} written + {counts.dead_lettered_rows} dead-lettered{filtered}"
    )


def fingerprint_check(expected: Fingerprint | None, found: Fingerprint | None) -> Check:
    """Compare the values that were sent with those that are stored, column by column, as sums."""
    if expected is None or found is None:
        return Check(
            CheckName.FINGERPRINT, passed=False, summary="a committed chunk has no fingerprint to compare with"
        )
    differences = expected.differences(found)
    shown = differences[:_COLUMNS_SHOWN_MAX]
    if more := len(differences) - len(shown):
        shown.append(f"and {more} more column{'s' if more > 1 else ''}")
    return Check(
        CheckName.FINGERPRINT,
        passed=not differences,
        summary="; ".join(shown) or "every column's fingerprint is the same in the source and in the table",
        details={"columns_that_differ": len(differences)},
    )


def budget_check(spec: TableSpec, enqueued_rows: int, dead_letters: int) -> Check:
    """Compare the number of dead letters with what the spec allows."""
    allowed = spec.dead_letters.allowed_rows(enqueued_rows)
    return Check(
        CheckName.DEAD_LETTER_BUDGET,
        passed=dead_letters <= allowed,
        summary=f"{counted(dead_letters, 'dead letter')}, {allowed} allowed "
        f"(at most {counted(spec.dead_letters.rows_max, 'row')} and {spec.dead_letters.share_max:.2%} of {enqueued_rows})",
        details={"dead_letters": dead_letters, "dead_letters_allowed": allowed},
    )
