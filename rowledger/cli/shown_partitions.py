"""The partitions that `rowledger status` shows: those of the usual server, and those of tables that are on several."""

from collections.abc import Sequence
from dataclasses import dataclass

from rowledger.cli.servers import chosen_servers, chosen_url, spec_on_servers, specs_on_servers
from rowledger.cli.specs import GivenSpecs
from rowledger.errors import NothingRecorded
from rowledger.ledger import PartitionStatus, read_servers, read_status
from rowledger.postgres import TargetServer
from rowledger.spec import TableSpec

__all__ = ["ShownPartition", "read_shown"]


@dataclass(frozen=True, slots=True)
class ShownPartition:
    """A partition's status, with its server where its table is on several; `misplaced` is that of PlacedPartition."""

    status: PartitionStatus
    server: TargetServer | None = None
    misplaced: str = ""

    @property
    def is_well(self) -> bool:
        return self.status.is_well and not self.misplaced


def read_shown(
    table: str | None, partitions: Sequence[str], server: str | None, given: GivenSpecs
) -> tuple[list[ShownPartition], list[str]]:
    """The partitions server by server, and why servers or specs could not be read; raises what `read_status` does."""
    problems: list[str] = []
    spec = None if table is None or not given.specs else spec_on_servers(table, given)
    if spec is not None:  # its servers are known without a ledger
        rows, specs = [], [spec]
    else:
        url = chosen_url(server)
        specs = [spec for spec in specs_on_servers(url, given, problems) if table in (None, spec.name)]
        rows = _usual(url, table, partitions, specs)
    shown = [ShownPartition(row) for row in rows]
    for spec in specs:
        for ledger in read_servers(spec, chosen_servers(server)):
            if ledger.problem:
                problems.append(f"table {spec.name}: server {ledger.server} cannot be read: {ledger.problem}")
            shown += [
                ShownPartition(placed.status, ledger.server, placed.misplaced)
                for placed in ledger.partitions
                if not partitions or placed.status.partition_key in partitions
            ]
    if specs and not problems and (missing := set(partitions) - {found.status.partition_key for found in shown}):
        raise NothingRecorded(f"nothing was ever loaded into partition {', '.join(sorted(missing))}")
    shown.sort(key=lambda found: "" if found.server is None else found.server.variable)
    return shown, problems


def _usual(url: str, table: str | None, partitions: Sequence[str], specs: Sequence[TableSpec]) -> list[PartitionStatus]:
    """The partitions of tables that are on one server."""
    on_servers = {spec.name for spec in specs}
    if table in on_servers:
        return []
    try:
        return [row for row in read_status(url, table, partitions) if row.table not in on_servers]
    except NothingRecorded:
        if on_servers and table is None:  # the partitions may be of these tables alone
            return []
        raise
