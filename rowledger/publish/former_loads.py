"""Compare what former versions have loaded: 0.1.0 summed values longer than 64 KiB in another way (`contract.fingerprint`).

The ledger has only sums. So rows of such earlier loads are compared by the earlier kind of sum. A column that adds up
long values of both earlier and later loads is compared by its count.
"""

import shlex
from collections.abc import Sequence

import asyncpg

from rowledger.contract import Fingerprint, fingerprint_query, may_be_digested, read_fingerprint
from rowledger.errors import DiscrepancyFound
from rowledger.postgres import query, quote_identifier
from rowledger.spec import Column, Manifest, Partition, TableSpec

__all__ = ["adapt_expected", "has_long_values", "require_not_appended_before"]


async def has_long_values(connection: asyncpg.Connection, relation: str, columns: Sequence[Column]) -> bool:
    """Whether the relation (a quoted name) has values for which the earlier sums differ from today's."""
    columns = [column for column in columns if may_be_digested(column.type)]
    return bool(columns) and await _measure(connection, relation, columns, "true", is_former=True) != await _measure(
        connection, relation, columns, "true", is_former=False
    )


async def adapt_expected(
    connection: asyncpg.Connection,
    relation: str,
    columns: Sequence[Column],
    predicate: str,
    load_ids: Sequence[int],
    expected: Fingerprint,
    found: Fingerprint,
) -> tuple[Fingerprint, str]:
    """What these loads add up to in today's sums, where the earlier sums explain the difference; and a note about it.

    `found` has today's sums over the relation's rows for which the predicate is true. Other differences stay as they
    are.
    """
    differing = [
        column for column in columns if may_be_digested(column.type) and expected[column.name] != found[column.name]
    ]
    if not differing:
        return expected, ""
    loads = await connection.fetchrow(query("former_loads"), list(load_ids))
    if not loads["former"]:
        return expected, ""
    former = await _measure(connection, relation, differing, predicate, is_former=True)
    adapted, by_count = dict(expected), []
    for column in differing:
        name = column.name
        if expected[name] == former[name]:
            adapted[name] = found[name]
        elif loads["has_later"] and former[name] != found[name] and expected[name][0] == found[name][0]:
            adapted[name] = found[name]
            by_count.append(name)
    note = (
        f"of {', '.join(by_count)} the count alone is compared: Rowledger 0.1.0 has loaded values of more than 64 KiB, "
        "which it added up in another way, and later loads have added to them"
    )
    return Fingerprint(adapted), note if by_count else ""


async def require_not_appended_before(
    connection: asyncpg.Connection, spec: TableSpec, partition: Partition, manifest: Manifest, load_id: int
) -> None:
    """Raise DiscrepancyFound where a load with another digest seems to have appended the rows that are staged now.

    Rowledger 0.1.0 read UUIDs and arrays of a query in another way, and later versions digested the rows of text files and of
    queries as they were parsed, not by their text. A query's columns and its URL decide in which way it is read. And the same
    rows may be written in another way, with other line ends or blanks, or be read with other settings. Then their digests
    differ. Their sums are the same, which does not prove that the rows are.
    """
    if not manifest.content_is_of_rows:
        return
    arguments = (str(spec.target), partition.key, load_id, manifest.content_digest)
    former = await connection.fetchrow(query("former_load_of_same_sums"), *arguments)
    if former is not None:
        of_version = " of Rowledger 0.1.0" if former["is_of_0_1_0"] else ""
        why = (
            "from text that was written or read in another way"
            if former["is_of_other_text"]
            else "which digested rows in another way"
        )
        raise DiscrepancyFound(
            f"table {spec.name}, partition {partition.key}: as many rows{' with the same sums' * former['has_sums']} were "
            f"appended by load {former['load_id']}{of_version}, {why}; nothing was added. If "
            f"these are other rows, or are to be added again: rowledger forget --table {spec.name} --partition "
            f"{shlex.quote(partition.key)}, then rerun"
        )


async def _measure(
    connection: asyncpg.Connection, relation: str, columns: Sequence[Column], predicate: str, *, is_former: bool
) -> Fingerprint:
    statement = fingerprint_query(columns, quote_identifier, relation, predicate=predicate, is_former=is_former)
    return read_fingerprint(columns, await connection.fetch(statement))[1]
