"""The work of a producer, and the messages about it: the chunks of one partition's source, one after another."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter

from rowledger.ledger import BroughtColumns, SourceRaised
from rowledger.spec import ChunkDescriptor, LoadHandle, Partition, SourceContext, TableSpec, import_path
from rowledger.workers.messages import LogLine, Message

__all__ = [
    "CHUNKS_AHEAD_MAX",
    "Cancel",
    "End",
    "Ended",
    "FromProducer",
    "Produce",
    "Produced",
    "ProducerHello",
    "Production",
    "Taken",
    "ToProducer",
    "Up",
    "decode_from_producer",
    "decode_to_producer",
]

CHUNKS_AHEAD_MAX = 16
"""Chunks that a producer makes before the first of them is taken; then it waits."""


@dataclass(frozen=True, slots=True)
class Production:
    """One attempt to have a partition's source read by a producer."""

    handle: LoadHandle
    partition: Partition
    scope: SourceContext
    attempt: int = 1

    incident_prefix = "while the source was read: "  # of an incident's summary
    chunk_no = None

    @property
    def name(self) -> str:
        return f"partition {self.partition.key}, source"

    @property
    def load_id(self) -> int:
        return self.handle.load_id

    @property
    def partition_key(self) -> str:
        return self.partition.key

    def again(self) -> Self:
        """The next attempt, which spools into a folder of its own: workers may read what the former one has spooled."""
        attempt = self.attempt + 1
        spool_dir = self.scope.spool_dir.parent / f"{self.scope.spool_dir.name}-{attempt}"
        return replace(self, attempt=attempt, scope=replace(self.scope, spool_dir=spool_dir))


class ProducerHello(Message):
    """First message to a producer, without the credentials of the target.

    The process has those only where the environment of this one has them, as functions may need it.
    """

    kind: Literal["hello"] = "hello"
    spec: str  # TableSpec.as_json
    path: tuple[str, ...]  # the folders to import from

    @classmethod
    def of(cls, spec: TableSpec) -> Self:
        """The message to a producer that imports from the same folders as this process; raises SpecError."""
        return cls(spec=spec.as_json(), path=tuple(import_path()))


class Produce(Message):
    """Read the source for this partition."""

    kind: Literal["produce"] = "produce"
    work: Production


class Taken(Message):
    """One chunk was taken: there is room for another."""

    kind: Literal["taken"] = "taken"


class Cancel(Message):
    """Close the source after the current chunk."""

    kind: Literal["cancel"] = "cancel"


class End(Message):
    """End the process."""

    kind: Literal["end"] = "end"


class Up(Message):
    """The producer has imported what it needs."""

    kind: Literal["up"] = "up"


class Produced(Message):
    """The next chunk, and the columns that it brings beyond the contract."""

    kind: Literal["produced"] = "produced"
    descriptor: ChunkDescriptor
    brought: tuple[BroughtColumns, ...] = ()


class Ended(Message):
    """The source has no more rows, or was closed."""

    kind: Literal["ended"] = "ended"


ToProducer = Annotated[ProducerHello | Produce | Taken | Cancel | End, Field(discriminator="kind")]
FromProducer = Annotated[Up | Produced | Ended | SourceRaised | LogLine, Field(discriminator="kind")]

_WHEN_USED = ConfigDict(defer_build=True)
_to_producer: TypeAdapter[ToProducer] = TypeAdapter(ToProducer, config=_WHEN_USED)
_from_producer: TypeAdapter[FromProducer] = TypeAdapter(FromProducer, config=_WHEN_USED)


def decode_to_producer(line: bytes) -> ToProducer:
    """A message from the supervisor; raises pydantic's ValidationError."""
    return _to_producer.validate_json(line)


def decode_from_producer(line: bytes) -> FromProducer:
    """A message from a producer; raises pydantic's ValidationError."""
    return _from_producer.validate_json(line)
