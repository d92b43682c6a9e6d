"""The partitions that the ledger has of a table, against which those of a command line are held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import asyncpg

from rowledger.errors import LedgerMissing, UnknownPartition
from rowledger.ledger import partition_of_bounds, read_ledger
from rowledger.postgres import query
from rowledger.spec import Equals, Partition, TableSpec, Window

__all__ = ["RecordedPartitions", "read_recorded"]


@dataclass(frozen=True, slots=True)
class RecordedPartitions:
    """The published partitions of a target, and the latest attempts at some keys."""

    published: Mapping[str, Partition]
    attempted: Mapping[str, Partition]

    def of(self, key: str) -> Partition | None:
        """The partition as it was loaded before."""
        return self.published.get(key) or self.attempted.get(key)

    def with_those_of(self, other: "RecordedPartitions") -> "RecordedPartitions":
        """These and those of another ledger."""
        return RecordedPartitions({**other.published, **self.published}, {**other.attempted, **self.attempted})

    def require_room_for(self, partition: Partition) -> None:
        """Raise UnknownPartition where its bounds are not those of its published rows, or overlap another partition's."""
        key, known = partition.key, self.published.get(partition.key)
        if known is not None:
            if known.conditions != partition.conditions:
                raise UnknownPartition(
                    key,
                    f"its rows in the table are of {_told(known)}, and it would now be {_told(partition)}; leave --by out",
                )
            return
        if partition.identifies_rows and partition.conditions:
            for other in self.published.values():
                if _overlap(partition, other):
                    raise UnknownPartition(
                        key,
                        f"it would be {_told(partition)}, which overlaps the published partition {other.key!r}, "
                        f"{_told(other)}; see --by and --timezone",
                    )


def read_recorded(url: str, spec: TableSpec, keys: Sequence[str]) -> RecordedPartitions:
    """What the ledger has recorded; nothing where there is no ledger yet."""

    async def read(connection: asyncpg.Connection) -> RecordedPartitions:
        published = await connection.fetch(query("published_bounds"), str(spec.target))
        attempted = await connection.fetch(query("recorded_partitions"), spec.name, list(keys))
        return RecordedPartitions(
            *({key: partition_of_bounds(key, bounds) for key, bounds in rows} for rows in (published, attempted))
        )

    try:
        return read_ledger(url, read)
    except LedgerMissing:
        return RecordedPartitions({}, {})


def _overlap(one: Partition, other: Partition) -> bool:
    """Whether a row may belong to both."""
    if one.columns != other.columns:
        return False
    for own, others in zip(one.conditions, other.conditions, strict=True):
        match own, others:
            case Window(), Window():
                if own.upper <= others.lower or others.upper <= own.lower:
                    return False
            case Equals(), Equals():
                if own.text != others.text:
                    return False
            case _:
                return False
    return bool(one.conditions)


def _told(partition: Partition) -> str:
    """The conditions of a partition, in words."""
    told = []
    for condition in partition.conditions:
        match condition:
            case Window(column, lower, upper, timezone):
                begin, end = (f"{moment.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M}" for moment in (lower, upper))
                told.append(f"{column} from {begin} to {end} ({timezone})")
            case Equals(column, text):
                told.append(f"{column} = {text}")
    return " and ".join(told)
