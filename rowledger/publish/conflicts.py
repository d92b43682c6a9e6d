"""Conflicts of staged rows with other rows: the SQL that finds them, and the reasons of their dead letters.

A conflict is between rows that share a key or another unique index, between a row to be appended and a row in the
table, or in a foreign key without a parent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rowledger.contract import Refusal, Stage
from rowledger.postgres import (
    LEDGER_SCHEMA,
    ForeignKey,
    Target,
    UniqueIndex,
    partition_predicate,
    quote_identifier,
    quoted,
    same_key,
)
from rowledger.spec import RESERVED_PREFIX, LoadHandle, Partition, TableSpec, WriteMode

__all__ = ["GROUP", "MATCHED", "Conflict", "collisions", "duplicate_keys", "duplicates", "orphans", "unique_indexes"]

GROUP = f"{RESERVED_PREFIX}group"
MATCHED = f"{RESERVED_PREFIX}matched_"

_UNIQUE_VIOLATION = "23505"
_FOREIGN_KEY_VIOLATION = "23503"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Rows of a staging table that cannot all be published, and what their dead letters say.

    `rows_sql` selects, for each such row, its `ctid`, the `columns` whose values find it again in the source, and a
    group number as `GROUP`. Of the rows in a group the first in source order is kept, if `keeps_first`; otherwise the
    last ones go, if `going` has their number; otherwise all go. `what` completes a sentence that begins with "rows",
    `reason` one that begins with the row; it may name the kept row as `{kept}`. Where each group has its own cause,
    `refusals` has them.
    """

    rows_sql: str
    columns: tuple[str, ...]
    what: str
    reason: str
    stage: Stage
    keeps_first: bool = False
    sqlstate: str | None = None
    constraint: str | None = None
    refusals: Mapping[int, Refusal] = field(default_factory=dict)
    going: Mapping[int, int] = field(default_factory=dict)

    @property
    def matched(self) -> list[str]:
        """Names of columns that hold the values of `columns` in a form that is the same for the server and the source."""
        return [MATCHED + name for name in self.columns]

    @property
    def refusal(self) -> Refusal:
        """What the dead letters of all groups say, except for `{kept}`."""
        column = self.columns[0] if len(self.columns) == 1 else None
        return Refusal(
            stage=self.stage, reason=self.reason, column=column, sqlstate=self.sqlstate, constraint=self.constraint
        )


def unique_indexes(target: Target) -> list[UniqueIndex]:
    """The target's unique indexes, other than the spec's key, on columns that the source fills."""
    return [index for index in target.unique_indexes if set(index.columns) & set(target.column_types)]


def duplicate_keys(spec: TableSpec, handle: LoadHandle) -> Conflict:
    """Rows that share the spec's key."""
    key = ", ".join(spec.key)
    return Conflict(
        _shared_sql(handle, [quote_identifier(name) for name in spec.key], spec.key),
        columns=spec.key,
        what=f"repeat a key ({key})",
        reason=f"same key ({key}) as {{kept}}, which stays",
        stage=Stage.KEY,
        keeps_first=True,
    )


def duplicates(index: UniqueIndex, target: Target, handle: LoadHandle) -> Conflict:
    """Rows that share values that the index keeps unique."""
    columns, named = _known(index.columns, target), _named(index)
    return Conflict(
        _shared_sql(handle, index.expressions, columns, predicate=index.predicate, nulls_equal=index.nulls_equal),
        columns=columns,
        what=f"repeat values of {named}",
        reason=f"same values of {named} as {{kept}}, which stays",
        stage=Stage.KEY,
        keeps_first=True,
        sqlstate=_UNIQUE_VIOLATION,
        constraint=index.name,
    )


def collisions(spec: TableSpec, target: Target, handle: LoadHandle, partition: Partition) -> list[Conflict]:
    """Rows that cannot be added, because the table has rows with their key or with values that an index keeps unique.

    An upsert replaces rows with its keys, and a replacement replaces its partition's rows, so only the remaining rows
    collide.
    """
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    found: list[Conflict] = []
    stays = "true"
    indexes = unique_indexes(target)
    if spec.write_mode is WriteMode.REPLACE:
        if not partition.conditions:
            return []
        stays = f"({partition_predicate(target, partition)}) is not true"
        # Columns that identify the partition cannot be the same in another partition.
        indexes = [
            index
            for index in (*target.key_indexes, *indexes)
            if not (index.is_plain and set(partition.columns) <= set(index.columns))
        ]
    elif spec.write_mode is WriteMode.UPSERT:
        stays = f"not exists (select from {staging} as staged where {same_key(spec.key, 'staged', 'target')})"
    elif spec.key:
        key, named = _quoted(spec.key), f"key ({', '.join(spec.key)})"
        # Where the key identifies the partition, no other partition needs to be searched.
        is_narrow = set(partition.columns) <= set(spec.key)
        where = partition_predicate(target, partition) if is_narrow else "true"
        found.append(
            Conflict(
                f'select ctid, {key}, 0 as "{GROUP}" from {staging} '  # noqa: S608 - identifiers are quoted
                f"where ({key}) in (select {key} from {target.sql} where {where})",
                columns=spec.key,
                what=f"have a {named} that is in the table already",
                reason=f"same {named} as a row that is in the table already",
                stage=Stage.KEY,
            )
        )
    for index in indexes:
        columns, named = _known(index.columns, target), _named(index)
        expressions = ", ".join(index.expressions)
        there = (
            f"select {expressions} from {target.sql} as target "  # noqa: S608 - from the catalogue
            f"where ({index.predicate or 'true'}) and {stays}"
        )
        is_there = (
            f"exists (select {expressions} intersect {there})" if index.nulls_equal else f"({expressions}) in ({there})"
        )
        found.append(
            Conflict(
                f'select ctid, {_quoted(columns)}, 0 as "{GROUP}" from {staging} '  # noqa: S608 - identifiers are quoted
                f"where ({index.predicate or 'true'}) and {is_there}",
                columns=columns,
                what=f"have values of {named} that are in the table already",
                reason=f"same values of {named} as a row that is in the table already",
                stage=Stage.KEY,
                sqlstate=_UNIQUE_VIOLATION,
                constraint=index.name,
            )
        )
    return found


def orphans(
    spec: TableSpec, target: Target, handle: LoadHandle, partition: Partition, *, on_itself: bool
) -> list[Conflict]:
    """Rows whose foreign key has no parent, under PostgreSQL's default MATCH SIMPLE or under MATCH FULL.

    A parent in the same table may be among the staged rows, or among the rows that publishing leaves there.
    """
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    found: list[Conflict] = []
    for foreign_key in target.foreign_keys:
        columns = _known(foreign_key.columns, target)
        if foreign_key.is_on_itself is not on_itself or not columns:
            continue
        names = [f"staged.{quote_identifier(name)}" for name in foreign_key.columns]
        is_present = " and ".join(f"{name} is not null" for name in names)
        parents = _parents(spec, target, partition, foreign_key, staging)
        has_none = " and ".join(f"not exists ({_parent_sql(foreign_key, names, *parent)})" for parent in parents)
        is_orphan = f"{is_present} and {has_none}"
        if foreign_key.is_full:
            is_partly_null = f"not ({is_present}) and ({' or '.join(f'{name} is not null' for name in names)})"
            is_orphan = f"{is_orphan} or {is_partly_null}"
        found.append(
            Conflict(
                f'select staged.ctid, {_quoted(columns, "staged.")}, 0 as "{GROUP}" '  # noqa: S608 - identifiers are quoted
                f"from {staging} as staged where {is_orphan}",
                columns=columns,
                what=f"have no parent by {_named(foreign_key)}",
                reason=f"refused by {_named(foreign_key)}: no row of {foreign_key.parent} has these values of "
                f"({', '.join(foreign_key.parent_columns)})",
                stage=Stage.COPY,
                sqlstate=_FOREIGN_KEY_VIOLATION,
                constraint=foreign_key.name,
            )
        )
    return found


def _parents(
    spec: TableSpec, target: Target, partition: Partition, foreign_key: ForeignKey, staging: str
) -> Iterable[tuple[str, str]]:
    """Relations that may hold the parent, each with the condition under which its row will be there."""
    if not foreign_key.is_on_itself:
        return [(foreign_key.parent, "true")]
    if spec.write_mode is not WriteMode.REPLACE:
        return [(staging, "true"), (target.sql, "true")]
    return [(staging, "true"), (target.sql, f"({partition_predicate(target, partition)}) is not true")]


def _parent_sql(foreign_key: ForeignKey, names: Sequence[str], relation: str, condition: str) -> str:
    pairs = zip(foreign_key.parent_columns, names, foreign_key.parent_collations, strict=True)
    same = " and ".join(f"parent.{quote_identifier(column)} = {name}{collation}" for column, name, collation in pairs)
    return f"select from {relation} as parent where {same} and {condition}"


def _shared_sql(
    handle: LoadHandle,
    expressions: Sequence[str],
    columns: Sequence[str],
    *,
    predicate: str | None = None,
    nulls_equal: bool = False,
) -> str:
    shared = ", ".join(expressions)
    present = [] if nulls_equal else [f"{expression} is not null" for expression in expressions]
    condition = " and ".join([f"({predicate or 'true'})", *present])
    return (
        f'select ctid, {_quoted(columns)}, "{GROUP}" from ('  # noqa: S608 - identifiers are quoted
        f'select ctid, {_quoted(columns)}, count(*) over (partition by {shared}) as "rowledger rows", '
        f'dense_rank() over (order by {shared}) as "{GROUP}" '
        f"from {quoted(LEDGER_SCHEMA, handle.staging_table)} where {condition}"
        ') as shared where "rowledger rows" > 1'
    )


def _named(constraint: UniqueIndex | ForeignKey) -> str:
    kind = "unique index" if isinstance(constraint, UniqueIndex) else "foreign key"
    return f"{kind} {constraint.name} ({', '.join(constraint.columns)})"


def _known(columns: Sequence[str], target: Target) -> tuple[str, ...]:
    """The columns that the source fills. The others have the same default in every row."""
    return tuple(name for name in columns if name in target.column_types)


def _quoted(columns: Sequence[str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{quote_identifier(name)}" for name in columns)
