"""What supervisor and workers send each other."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS, READINGS
from rowledger.chunk.jobs import ChunkJob, ReplayJob
from rowledger.ledger.actor import Actor
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.outcomes import AlreadyCommitted, Committed, Failed, FailureKind
from rowledger.machine import Host
from rowledger.settings import WriterSettings
from rowledger.spec.column import Column, ColumnType, TypeName
from rowledger.spec.load_handle import LoadHandle
from rowledger.spec.manifest import ChunkDescriptor, ChunkPlan
from rowledger.workers.messages import (
    Assign,
    Heartbeat,
    Hello,
    LogLine,
    Outcome,
    Ready,
    Stop,
    decode_from_worker,
    decode_to_worker,
    encode,
)

_DESCRIPTOR = ChunkDescriptor(
    path="/data/ä b\n.parquet", file_bytes=9, file_mtime_ns=1, file_digest="d", row_offset=3, rows=4
)
_COLUMNS = (
    Column("id", ColumnType(TypeName.INTEGER), nullable=False),
    Column("price", ColumnType(TypeName.NUMERIC, precision=9, scale=2), nullable=True),
)
_HELLO = Hello(
    url=SecretStr("postgresql://me:s3cret@host/db"),
    spec=EVENTS.as_json(),
    path=("/a", "/b:c"),
    settings=WriterSettings(workers=3),
    holder="0" * 32,
    host=Host("node-12", 12),
)


def _assign(spec_partition: str) -> Assign:
    spec = READINGS if spec_partition == "all" else EVENTS
    return Assign(
        job=ChunkJob(
            LoadHandle(7, 2),
            partition_of(spec, spec_partition),
            ChunkPlan(1, 100, _DESCRIPTOR),
            _COLUMNS,
            attempt=3,
            dead_letters_max=5,
        )
    )


def _assign_replay() -> Assign:
    return Assign(
        job=ReplayJob(
            "events",
            7,
            partition_of(EVENTS, DAY),
            _COLUMNS,
            UUID(int=9),
            (4, 5, 6),
            Actor("a test", "a note", "a run"),
            attempt=2,
            set_aside={5: "it kills"},
        )
    )


@pytest.mark.parametrize("message", [_HELLO, _assign(DAY), _assign("all"), _assign_replay(), Stop()])
def test_what_the_supervisor_says_arrives_as_it_was(message: Hello | Assign | Stop) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_to_worker(line) == message


@pytest.mark.parametrize(
    "message",
    [
        Ready(backend_pid=1, backend_start=datetime(2024, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        Heartbeat(progress=2**40, rss_bytes=1, descriptors=2),
        LogLine(level=30, text="two\nlines \x00 and ünïcode"),
        Outcome(outcome=Committed(counts=RowCounts(3, 1, 2), discarded_values=7, retries=3, check_s=0.5)),
        Outcome(outcome=AlreadyCommitted(counts=RowCounts(8, 1, 2, 6, 1))),
        Outcome(outcome=Failed(failure=FailureKind.SOURCE, summary="s" * 20_000, traceback="a\nb")),
    ],
)
def test_what_a_worker_says_arrives_as_it_was(message: Ready | Heartbeat | LogLine | Outcome) -> None:
    assert decode_from_worker(encode(message)) == message


def test_the_url_travels_but_is_never_printed() -> None:
    assert json.loads(encode(_HELLO))["url"] == "postgresql://me:s3cret@host/db"
    assert "s3cret" not in f"{_HELLO!r} {_HELLO}"


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b'{"kind": "nonsense"}\n', b'{"kind": "heartbeat"}\n', b"\x80abc\n"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValidationError):
        decode_from_worker(line)


def test_a_message_with_more_than_it_should_have_is_refused() -> None:
    class Wider(BaseModel):
        kind: str = "stop"
        extra: int = 1

    with pytest.raises(ValidationError):
        decode_to_worker(encode(Wider()))
