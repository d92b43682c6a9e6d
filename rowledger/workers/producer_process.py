"""The producer process: it reads a source for one partition after another, and tells the supervisor of each chunk.

Users' functions and queries, decompression and the search for records run here, so that a crash, a hang or a lack of memory
ends this process and not the run. Started as `python -m rowledger.workers.producer_process FD PARENT`, as a worker is.
"""

import gc

if __name__ == "__main__":
    gc.disable()  # until all is imported, as in a worker

import os
import queue
import socket
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO

from pydantic import BaseModel

from rowledger.chunk import ComingColumns
from rowledger.errors import SpecError
from rowledger.failpoints import Place, failpoint
from rowledger.ledger import SourceRaised
from rowledger.machine import OwnProcess
from rowledger.spec import ChunkDescriptor, TableSpec
from rowledger.workers.child import begin_under, end, raised, read_spec, relay_log
from rowledger.workers.messages import LogLine, encode
from rowledger.workers.production import (
    CHUNKS_AHEAD_MAX,
    Cancel,
    End,
    Ended,
    Produce,
    Produced,
    ProducerHello,
    Production,
    Taken,
    Up,
    decode_to_producer,
)


class _Channel:
    """Sends messages, from whichever thread."""

    def __init__(self, end_of_pair: socket.socket) -> None:
        self._socket = end_of_pair
        self._process = OwnProcess()
        self._sending = threading.Lock()

    def send(self, message: BaseModel) -> None:
        self._process.end_others()
        with self._sending:
            self._socket.sendall(encode(message))

    def say(self, level: int, text: str) -> None:
        self.send(LogLine(level=level, text=text))


class _Orders:
    """What the supervisor asks for, heard in a thread of its own while the source works."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._waiting: queue.SimpleQueue[Production | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(CHUNKS_AHEAD_MAX)
        self._is_wanted = False
        threading.Thread(target=self._hear, name="orders", daemon=True).start()

    def next(self) -> Production | None:
        """The next partition to read; None when there is none left."""
        return self._waiting.get()

    def is_wanted(self) -> bool:
        """Wait until there is room for a chunk; whether it is still wanted then."""
        self._room.acquire()
        return self._is_wanted

    def _hear(self) -> None:
        for line in self._stream:
            match decode_to_producer(line):
                case Produce(work=work):
                    self._room = threading.Semaphore(CHUNKS_AHEAD_MAX)
                    self._is_wanted = True
                    self._waiting.put(work)
                case Taken():
                    self._room.release()
                case Cancel():
                    self._is_wanted = False
                    self._room.release()
                case End():
                    self._waiting.put(None)
                    return
                case ProducerHello():
                    break
        os._exit(1)  # the supervisor is gone


class _Producer:
    def __init__(self, spec: TableSpec | SpecError, channel: _Channel, orders: _Orders) -> None:
        self._spec = spec
        self._channel = channel
        self._orders = orders

    def run(self) -> None:
        while (work := self._orders.next()) is not None:
            answer = self._answer(work)
            self._channel.send(answer)

    def _answer(self, work: Production) -> Ended | SourceRaised:
        try:
            self._produce(work)
        except BaseException as error:  # noqa: BLE001 - the outermost frame: an exception of users' code must not end the process
            return raised(error)
        return Ended()

    def _produce(self, work: Production) -> None:
        if isinstance(self._spec, SpecError):
            raise self._spec
        if work.attempt > 1:
            work.scope.spool_dir.mkdir(mode=0o700)
        chunks = self._spec.source.chunks(work.partition, work.scope)
        try:
            self._send_chunks(self._spec, work, chunks)
        finally:
            if (close := getattr(chunks, "close", None)) is not None:
                close()  # a generator's `finally` blocks run before the answer

    def _send_chunks(self, spec: TableSpec, work: Production, chunks: Iterator[ChunkDescriptor]) -> None:
        columns = ComingColumns(spec)
        for number, descriptor in enumerate(chunks):
            failpoint(Place.IN_SPOOLING, partition=work.partition_key, chunk=number, attempt=work.attempt)
            brought = columns.brought_by(descriptor)
            if not self._orders.is_wanted():
                return
            self._channel.send(Produced(descriptor=descriptor, brought=brought))


def main() -> None:
    """Entry point of the process."""
    channel_fd, parent_pid = map(int, sys.argv[1:3])
    begin_under(parent_pid)
    end_of_pair = socket.socket(fileno=channel_fd)
    stream = end_of_pair.makefile("rb")
    if not (line := stream.readline()):
        return  # started early, and not needed
    hello = ProducerHello.model_validate_json(line)
    channel = _Channel(end_of_pair)
    relay_log(channel.say)
    spec = read_spec(hello.spec, hello.path)
    gc.freeze()
    gc.enable()
    channel.send(Up())
    _Producer(spec, channel, _Orders(stream)).run()
    end()


if __name__ == "__main__":
    main()
