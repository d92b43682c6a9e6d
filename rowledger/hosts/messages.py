"""Messages between the head, which is the process of the run, and the agent of a host: JSON, never a pickled object.

An engine carries them. Like those between supervisor and worker they are hints: the ledger decides what is in the database. No
message has the database's URL or a row; the bytes of a spooled chunk travel beside the message about it.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from rowledger.chunk import ChunkJob
from rowledger.ledger import ChunkOutcome, Incident, IncidentKind
from rowledger.machine import Host
from rowledger.settings import WriterSettings
from rowledger.workers import LogLine, Message

__all__ = [
    "Answer",
    "Close",
    "Closed",
    "Commit",
    "Done",
    "IncidentTold",
    "Missing",
    "News",
    "NewsItem",
    "Open",
    "OpenAnswer",
    "Opened",
    "Poll",
    "Raised",
    "Refused",
    "SentFile",
    "WorkerSeen",
    "decode_answer",
    "decode_open_answer",
]


class Open(Message):
    """Work for a run, as the host with this name and number; `holder` is the run's, in hexadecimal.

    `path` are the folders from which the head imports: those that exist on the host are searched after its own. The host reads
    the target's URL from its own environment variable `url_variable`. `versions`, `contract` and `modules` (digests of the
    user's modules, by name) are the head's. The host starts at most `workers_first` workers, until a poll
    asks for another number. `silent_s` seconds without a poll mean that the head is gone.
    """

    holder: str
    run_id: str | None
    host: Host
    spec: str  # TableSpec.as_json
    path: tuple[str, ...]
    settings: WriterSettings
    url_variable: str
    workers_first: int
    silent_s: float
    versions: dict[str, str]
    contract: str
    modules: dict[str, str]


class Opened(Message):
    """The host's workers are starting; it can have `workers_max`. `limited` names each reason for fewer than asked for."""

    kind: Literal["opened"] = "opened"
    pid: int
    workers: int
    workers_max: int
    limited: tuple[tuple[IncidentKind, str], ...] = ()


class Refused(Message):
    """The host cannot work for this run, for this reason, which `may_pass` by itself: the database does not answer it now."""

    kind: Literal["refused"] = "refused"
    pid: int
    reason: str
    may_pass: bool = False


class SentFile(Message):
    """A file that belongs to a chunk. Its bytes follow the message, unless the host is to get them from `origin`, or has them.

    `digest` is XXH3-128 over its bytes, in hexadecimal. The host keeps a `shared` file for the other chunks that read it.
    """

    name: str
    digest: str
    size: int
    origin: str = ""
    follows: bool = True
    shared: bool = False


class Commit(Message):
    """Commit a chunk. Paths in its descriptor that are names of `files` mean these files.

    The bytes of all files that follow it do so one after the other. `number` is the request's own.
    """

    number: int
    job: ChunkJob
    files: tuple[SentFile, ...] = ()


class Done(Message):
    """How the chunk's attempts ended."""

    kind: Literal["done"] = "done"
    outcome: ChunkOutcome


class Missing(Message):
    """The host does not have this file, or not undamaged, for this reason: the head sends its bytes, again if need be."""

    kind: Literal["missing"] = "missing"
    name: str
    reason: str


class Raised(Message):
    """The pool raised this error of `rowledger.errors` for the chunk; `facts` are its keyword arguments.

    It is `of_host` where the host is what has failed: another one can commit the chunk.
    """

    kind: Literal["raised"] = "raised"
    error: str
    summary: str
    facts: dict[str, str | int | None] = Field(default_factory=dict)
    of_host: bool = False


class Poll(Message):
    """Ask for what is new after the item with this number. The agent answers after `wait_s` at the latest.

    It has so many `workers` from now on.
    """

    seen: int
    wait_s: float
    workers: int


class IncidentTold(Message):
    """An incident that the agent has recorded."""

    kind: Literal["incident"] = "incident"
    incident: Incident


NewsItem = Annotated[IncidentTold | LogLine, Field(discriminator="kind")]


class WorkerSeen(Message):
    """A worker of the host, and the chunk that it works on."""

    pid: int
    partition_key: str | None = None
    chunk_no: int | None = None
    attempt: int = 0
    load_id: int | None = None


class News(Message):
    """What has happened since the last poll, and how the host is.

    `last` is the number of the last item. `away` is why the host cannot reach the database, and empty while it can. `requests`
    are those that it has and has not answered.
    """

    items: tuple[NewsItem, ...] = ()
    last: int = 0
    away: str = ""
    requests: tuple[int, ...] = ()
    workers: tuple[WorkerSeen, ...] = ()
    charged_deaths: int = 0
    peak_rss_bytes: int = 0


class Close(Message):
    """End the workers: after their chunk, or `at_once`. `seen` is as in Poll."""

    at_once: bool
    seen: int


class Closed(Message):
    """The last news."""

    news: News


Answer = Annotated[Done | Missing | Raised, Field(discriminator="kind")]
OpenAnswer = Annotated[Opened | Refused, Field(discriminator="kind")]

_WHEN_USED = ConfigDict(defer_build=True)
_answer: TypeAdapter[Answer] = TypeAdapter(Answer, config=_WHEN_USED)
_open_answer: TypeAdapter[OpenAnswer] = TypeAdapter(OpenAnswer, config=_WHEN_USED)


def decode_answer(message: bytes) -> Answer:
    """The agent's answer to Commit; raises pydantic's ValidationError."""
    return _answer.validate_json(message)


def decode_open_answer(message: bytes) -> OpenAnswer:
    """The agent's answer to Open; raises pydantic's ValidationError."""
    return _open_answer.validate_json(message)
