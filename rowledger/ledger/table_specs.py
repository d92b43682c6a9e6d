"""The spec that each table was last loaded with, as the ledger records it, and whose a table is."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from rowledger.errors import SpecError
from rowledger.ledger.reader import read_ledger
from rowledger.postgres import query
from rowledger.spec import TableSpec
from rowledger.version import version

__all__ = [
    "KeptSpec",
    "RivalRemedy",
    "read_specs",
    "record_spec",
    "require_own_name",
    "require_own_table",
    "require_own_target",
]

RivalRemedy = Callable[[tuple[str, ...]], str | None]
"""What to do where the asset of that key may load the same table again; None if it cannot."""


@dataclass(frozen=True, slots=True)
class KeptSpec:
    """A table's recorded spec. `TableSpec.from_json` reads `spec`.

    `asset_key` is that of the asset whose step has loaded the table last; None if only loads without Dagster have.
    """

    table_name: str
    target: str
    spec: str
    asset_key: tuple[str, ...] | None

    @property
    def names_servers(self) -> bool:
        """Whether the table is on several servers. Unlike the spec, this needs none of the user's code."""
        return bool(json.loads(self.spec).get("servers"))


async def record_spec(
    connection: asyncpg.Connection, spec: TableSpec, *, asset_key: tuple[str, ...] | None = None
) -> None:
    """Record the spec, without secrets in its source's addresses, unless it is recorded already."""
    plain = spec.model_copy(update={"source": spec.source.without_secrets()})
    await connection.execute(
        query("record_table_spec"), spec.name, str(spec.target), plain.as_json(), version(), asset_key
    )


async def require_own_name(
    connection: asyncpg.Connection, spec: TableSpec, *, asset_key: tuple[str, ...] | None
) -> None:
    """Raise SpecError where another asset has loaded another table under the spec's name, by which commands find a table."""
    if asset_key is None:
        return
    other = await connection.fetchrow(query("other_table_of_name"), spec.name, str(spec.target), asset_key)
    if other is not None:
        raise SpecError(
            f"table {spec.name}: under this name asset {other['asset']} has loaded {other['target']} in this database, and "
            f"asset {'/'.join(asset_key)} would load {spec.target}; no row was loaded. Give one of the two specs another name; "
            f"or, if the other table is gone: rowledger forget --table {spec.name}"
        )


async def require_own_table(
    connection: asyncpg.Connection,
    spec: TableSpec,
    *,
    asset_key: tuple[str, ...] | None,
    rival_remedy: RivalRemedy | None,
) -> None:
    """Raise SpecError where another asset, which may load the table again, has loaded it into the same target."""
    if asset_key is None or rival_remedy is None:
        return
    other = await connection.fetchrow(query("other_asset_of_table"), spec.name, str(spec.target), asset_key)
    if other is not None and (remedy := rival_remedy(tuple(other["asset_key"]))) is not None:
        raise SpecError(
            f"table {spec.name}: it is also the table of asset {other['asset']}, which has loaded {spec.target}; each would "
            f"replace the other's rows, so asset {'/'.join(asset_key)} has loaded no row. {remedy}"
        )


async def require_own_target(connection: asyncpg.Connection, spec: TableSpec, partition_key: str | None = None) -> None:
    """Raise SpecError where a table spec of another name has published rows in the target, or in that partition of it."""
    name, place = (
        ("other_table_in_target", ()) if partition_key is None else ("other_table_in_partition", (partition_key,))
    )
    other = await connection.fetchval(query(name), str(spec.target), spec.name, *place)
    if other is not None:
        raise SpecError(
            f"table {spec.name}: its target {spec.target} has rows that table {other} has loaded, and two tables in one target "
            "would replace and count each other's rows; its own were not published. Give one of them another target; or, if "
            f"{other} is the former name of {spec.name}, name it {other} again, or have the ledger no longer answer for its "
            f"rows: rowledger forget --table {other}"
        )


def read_specs(url: str) -> list[KeptSpec]:
    """The specs of all tables, the latest first; raises what `ledger_reader` does."""

    async def read(connection: asyncpg.Connection) -> list[KeptSpec]:
        return [
            KeptSpec(row["table_name"], row["target"], row["spec"], row["asset_key"] and tuple(row["asset_key"]))
            for row in await connection.fetch(query("table_specs"))
        ]

    return read_ledger(url, read)
