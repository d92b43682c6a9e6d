"""Messages between supervisor and worker: small typed records, one JSON line each, never a pickled object.

All of them are hints. The ledger decides what is in the database.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_serializer

from rowledger.chunk import Job, PlanJob
from rowledger.ledger import ChunkOutcome
from rowledger.machine import Host
from rowledger.settings import WriterSettings
from rowledger.spec import TableSpec, import_path

__all__ = [
    "LINE_BYTES_MAX",
    "Assign",
    "FromWorker",
    "Heartbeat",
    "Hello",
    "LogLine",
    "Message",
    "Outcome",
    "Ready",
    "Stop",
    "ToWorker",
    "decode_from_worker",
    "decode_to_worker",
    "encode",
]

LINE_BYTES_MAX = 64 * 2**20  # the plan of a partition of 100,000 files


class Message(BaseModel):
    """What supervisor, workers and producers send each other."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Hello(Message):
    """First message to a worker, with all it needs for any chunk of the run.

    It goes over the channel, never on a command line.
    """

    kind: Literal["hello"] = "hello"
    url: SecretStr
    spec: str  # TableSpec.as_json
    path: tuple[str, ...]  # the folders to import from
    settings: WriterSettings
    holder: str  # of the run's leases; part of the session's name, by which a rival run finds it
    host: Host = Field(default_factory=Host.this)  # as the run knows it

    @classmethod
    def of(cls, spec: TableSpec, *, url: str, settings: WriterSettings, holder: str, host: Host | None = None) -> Self:
        """The message to a worker that imports from the same folders as this process.

        Without a host it is the run's own. Raises SpecError for a spec that cannot be sent.
        """
        path, host = tuple(import_path()), host or Host.this()
        return cls(url=SecretStr(url), spec=spec.as_json(), path=path, settings=settings, holder=holder, host=host)

    @field_serializer("url", when_used="json")
    def _reveal(self, url: SecretStr) -> str:
        return url.get_secret_value()


class Assign(Message):
    """One attempt at one chunk, or at some dead letters."""

    kind: Literal["assign"] = "assign"
    job: Job | PlanJob


class Stop(Message):
    """End after the current chunk."""

    kind: Literal["stop"] = "stop"


class Ready(Message):
    """The worker is connected; its backend's identity lets the supervisor terminate it. Sent after each reconnect."""

    kind: Literal["ready"] = "ready"
    backend_pid: int
    backend_start: datetime


class Heartbeat(Message):
    """Sent at intervals. `progress` only grows: the sum of rows encoded and bytes accepted by the socket."""

    kind: Literal["heartbeat"] = "heartbeat"
    progress: int
    rss_bytes: int
    descriptors: int


class LogLine(Message):
    """A log record."""

    kind: Literal["log"] = "log"
    level: int
    text: str


class Outcome(Message):
    """How the assigned attempt ended. Its log lines were sent before."""

    kind: Literal["outcome"] = "outcome"
    outcome: ChunkOutcome


ToWorker = Annotated[Hello | Assign | Stop, Field(discriminator="kind")]
FromWorker = Annotated[Ready | Heartbeat | LogLine | Outcome, Field(discriminator="kind")]

_WHEN_USED = ConfigDict(defer_build=True)  # each side reads only what the other one sends
_to_worker: TypeAdapter[ToWorker] = TypeAdapter(ToWorker, config=_WHEN_USED)
_from_worker: TypeAdapter[FromWorker] = TypeAdapter(FromWorker, config=_WHEN_USED)


def encode(message: BaseModel) -> bytes:
    """The message as one line."""
    return message.model_dump_json().encode() + b"\n"


def decode_to_worker(line: bytes) -> ToWorker:
    """A message from the supervisor; raises pydantic's ValidationError."""
    return _to_worker.validate_json(line)


def decode_from_worker(line: bytes) -> FromWorker:
    """A message from a worker; raises pydantic's ValidationError."""
    return _from_worker.validate_json(line)
