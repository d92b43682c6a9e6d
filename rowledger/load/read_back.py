"""Read published rows back: a frame of some partitions of a table, with every value as the table has it."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl
from pydantic import SecretStr

from rowledger.contract import Contract, uuids_for_people
from rowledger.errors import SourceError, SpecError, TargetMismatch
from rowledger.ledger import RivalRemedy, ledger_reader, require_own_table
from rowledger.postgres import Target, by_server, partition_predicate, quote_identifier, read_target, servers_of
from rowledger.settings import WriterSettings
from rowledger.sources import DatabaseSession, PostgresDatabase
from rowledger.spec import DECIMAL_DIGITS_MAX, DYNAMIC, FAULT, WHOLE, ColumnType, Partition, TableSpec, TypeName, Window

__all__ = ["read_rows"]

_FETCH_TIMEOUT_S = 300.0
_TEXTS = frozenset(
    {
        *(TypeName.UUID, TypeName.JSON, TypeName.JSONB, TypeName.INTERVAL),
        *(TypeName.INET, TypeName.CIDR, TypeName.OTHER),
    }
)
"""Types of which a reader gets the server's text."""


def read_rows(
    spec: TableSpec,
    partitions: Sequence[Partition] | None,
    *,
    url: str | None,
    columns: Sequence[str] | None = None,
    asset_key: tuple[str, ...] | None = None,
    rival_remedy: RivalRemedy | None = None,
) -> pl.DataFrame:
    """The rows of the partitions, or of the whole table, with the columns that are named; all of a server are of one snapshot.

    `url` is that of the one server, and None for a spec that names several: each partition is read from its own.

    A numeric is a Decimal, or its text where 38 digits do not hold it; UUIDs, JSON documents and types that a frame lacks are
    text. Raises SpecError for partitions whose rows no column tells from those of others, for unknown columns, and for a table
    that another asset than this one (`asset_key`) may load too, as `run_load` does,
    TargetMismatch if there is no such table, and SourceError if the server does not give its rows.
    """
    unidentified = [partition.key for partition in partitions or () if not partition.identifies_rows]
    if unidentified:
        raise SpecError(
            f"table {spec.name}: no column tells the rows of partition {unidentified[0]} from those of others; name it by "
            "partition_by, or read the whole table"
        )
    if url is not None:
        placed: list[tuple[str, Sequence[Partition] | None]] = [(url, partitions)]
    else:
        of_servers = by_server(spec, [WHOLE] if partitions is None else partitions)
        of_servers = of_servers or {servers_of(spec)[0]: []}  # which has the columns
        placed = [(server.url, None if partitions is None else own) for server, own in of_servers.items()]
    wanted: dict[str, ColumnType] = {}
    frames: list[pl.DataFrame] = []
    for address, own in placed:
        target = asyncio.run(_target(spec, address, asset_key, rival_remedy))
        names = [column.name for column in target.columns]
        if unknown := sorted({*(columns or ()), *wanted} - set(names)):
            raise SpecError(f"table {spec.name} has no columns {unknown}; its columns are {names}")
        wanted = wanted or {name: target.column_types[name] for name in (names if columns is None else columns)}
        frames += _read(spec, target, own, wanted, address)
    return pl.DataFrame(
        {
            name: _as_declared(_column(frames, name) if frames else None, name, column_type)
            for name, column_type in wanted.items()
        }
    )


async def _target(
    spec: TableSpec, url: str, asset_key: tuple[str, ...] | None, rival_remedy: RivalRemedy | None
) -> Target:
    async with ledger_reader(url, purpose="read", limits=WriterSettings(), target=spec.target) as connection:
        await require_own_table(connection, spec, asset_key=asset_key, rival_remedy=rival_remedy)
        target = await read_target(connection, spec, Contract.of(spec.row).columns)
    if target is None:
        raise TargetMismatch(f"table {spec.target} is missing; load it first")
    return target


def _read(
    spec: TableSpec,
    target: Target,
    partitions: Sequence[Partition] | None,
    wanted: dict[str, ColumnType],
    url: str,
) -> list[pl.DataFrame]:
    selected = ", ".join(map(quote_identifier, wanted)) or "1"
    query = f"select {selected} from {quote_identifier(spec.target.schema_name)}.{quote_identifier(spec.target.table)}"  # noqa: S608
    if partitions is not None:
        terms = [f"({partition_predicate(target, each)})" for each in _merged(partitions)]
        query = f"{query} where {' or '.join(terms) or 'false'}"
    timeout_s = WriterSettings().connect_timeout_s
    database = PostgresDatabase(
        SecretStr(url), timezone="UTC", connect_timeout_s=timeout_s, row_security=False, documents=frozenset()
    )
    frames: list[pl.DataFrame] = []
    with contextlib.closing(DatabaseSession(database, f"table {spec.name}")) as session:
        session.run(database.connect, timeout_s, "connecting")
        session.run(partial(database.execute, query, {}), _FETCH_TIMEOUT_S, "reading rows")
        while (frame := session.run(database.fetch, _FETCH_TIMEOUT_S, "waiting for rows")) is not None:
            if FAULT in frame.columns:
                reason = frame[FAULT].drop_nulls()[0]
                raise SourceError(
                    f"table {spec.name}: a row cannot be read into a frame: {reason}; leave that column out"
                )
            frames.append(frame)
    return frames


def _column(frames: Sequence[pl.DataFrame], name: str) -> pl.Series:
    """The column; lists of which some batches have no value have another type there."""
    return pl.concat([frame.select(name) for frame in frames], how="vertical_relaxed")[name]


def _merged(partitions: Sequence[Partition]) -> list[Partition]:
    """The same rows in as few partitions as possible: windows that follow each other become one."""
    merged: list[Partition] = []
    for partition in sorted(partitions, key=lambda each: (each.lower is not None, each.lower or 0)):
        (last,) = merged[-1].conditions if merged and len(merged[-1].conditions) == 1 else (None,)
        (own,) = partition.conditions if len(partition.conditions) == 1 else (None,)
        if isinstance(last, Window) and isinstance(own, Window) and last.upper == own.lower:
            merged[-1] = replace(merged[-1], conditions=(replace(last, upper=own.upper),))
        else:
            merged.append(partition)
    return merged


def _as_declared(column: pl.Series | None, name: str, column_type: ColumnType) -> pl.Series:
    """The column in the type that a reader expects of the table's column."""
    dtype = column_type.frame_type
    is_text = column_type.name in _TEXTS
    if column is None:
        empty = pl.List(pl.String()) if is_text and column_type.array else pl.String() if is_text else dtype
        return pl.Series(name, dtype=empty)
    column = uuids_for_people(column.to_frame())[name]
    if column.dtype == DYNAMIC:
        return column.struct[0].alias(name)
    if column_type.name is TypeName.NUMERIC and column.dtype == pl.String():
        return _decimals(column, dtype)
    return column


def _decimals(texts: pl.Series, declared: pl.DataType) -> pl.Series:
    """The numbers as decimals of the declared type, or of the least scale that holds all of them; as texts if there is none."""
    dtype = declared
    if not isinstance(dtype, pl.Decimal):
        places: Any = texts.str.extract(r"\.(\d*)$").str.len_bytes().max()
        dtype = pl.Decimal(DECIMAL_DIGITS_MAX, places or 0)
    try:
        return texts.cast(dtype)
    except pl.exceptions.PolarsError:  # NaN, infinities, and numbers of more digits
        return texts
