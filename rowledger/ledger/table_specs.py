"""The spec that each table was last loaded with, as the ledger records it."""

import asyncio
from dataclasses import dataclass

import asyncpg

from rowledger.ledger.reader import ledger_reader
from rowledger.postgres import query
from rowledger.settings import WriterSettings
from rowledger.spec import TableSpec
from rowledger.version import version

__all__ = ["KeptSpec", "read_specs", "record_spec"]


@dataclass(frozen=True, slots=True)
class KeptSpec:
    """A table's recorded spec. `TableSpec.from_json` reads `spec`."""

    table_name: str
    target: str
    spec: str


async def record_spec(connection: asyncpg.Connection, spec: TableSpec) -> None:
    """Record the spec, without secrets in its source's addresses, unless it is recorded already."""
    plain = spec.model_copy(update={"source": spec.source.without_secrets()})
    await connection.execute(query("record_table_spec"), spec.name, str(spec.target), plain.as_json(), version())


def read_specs(url: str, table: str | None = None) -> list[KeptSpec]:
    """The specs of one table or of all, the latest first; raises what `ledger_reader` does."""

    async def read() -> list[KeptSpec]:
        async with ledger_reader(url, purpose="status", limits=WriterSettings()) as connection:
            return [KeptSpec(**row) for row in await connection.fetch(query("table_specs"), table)]

    return asyncio.run(read())
