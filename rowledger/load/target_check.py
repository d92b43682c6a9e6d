"""Whether a table could be loaded into its target now: the server, the privileges, the ledger, the columns. Writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from rowledger.contract import Contract
from rowledger.errors import LedgerMissing, RowledgerError
from rowledger.ledger import check_ledger, require_own_target, require_to_load
from rowledger.load.preflight import require_writable
from rowledger.postgres import (
    ServerSession,
    Target,
    check_server,
    creation_statement,
    is_outdated,
    read_target,
    server_session,
    transaction,
)
from rowledger.settings import WriterSettings
from rowledger.spec import Partition, TableSpec

__all__ = ["TargetFindings", "check_target"]


@dataclass(frozen=True, slots=True)
class TargetFindings:
    """The target as a load would find it; None where it is missing. `creation` is the statement by which a load creates it.

    `problems` say what would keep a load from beginning, each with its remedy.
    """

    target: Target | None
    creation: str
    problems: tuple[str, ...]
    has_ledger: bool = False


async def check_target(spec: TableSpec, partitions: Sequence[Partition], *, url: str) -> TargetFindings:
    """Look at the target as a load of these partitions does before it begins; raises DatabaseUnavailable."""
    limits = WriterSettings()
    doing = f"table {spec.name}: looking at {spec.target}"
    async with (
        server_session(url, purpose="check", doing=doing, limits=limits) as session,
        transaction(session.connection, read_only=True),
    ):
        return await _check(session, spec, partitions)


async def _check(session: ServerSession, spec: TableSpec, partitions: Sequence[Partition]) -> TargetFindings:
    connection, contract = session.connection, Contract.of(spec.row)
    problems: list[str] = []
    target: Target | None = None
    creation = creation_statement(spec, contract.columns, partitions)
    try:
        await check_server(session.session)
    except RowledgerError as error:  # nothing else can be asked of such a server
        return TargetFindings(None, "", (str(error),))
    try:
        await require_to_load(connection, spec, list(contract.columns), partitions)
    except RowledgerError as error:
        problems.append(str(error))
    has_ledger = False
    try:
        await check_ledger(connection)
        has_ledger = True
        if not problems:
            await require_own_target(connection, spec)
    except LedgerMissing:
        pass  # the first load creates it
    except RowledgerError as error:
        problems.append(str(error))
    if has_ledger and not problems and await is_outdated(connection, spec, contract.columns, partitions):
        return TargetFindings(None, creation, tuple(problems), has_ledger)  # a load creates it anew
    try:
        target = await read_target(connection, spec, contract.columns)
        if target is not None:
            require_writable(contract, target, spec)
    except RowledgerError as error:
        problems.append(str(error))
        return TargetFindings(target, "", tuple(problems), has_ledger)
    return TargetFindings(target, "" if target else creation, tuple(problems), has_ledger)
