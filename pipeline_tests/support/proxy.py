"""A TCP proxy in front of the tests' server that does to connections what networks do, at the statement that matters.

It follows the frontend/backend protocol just far enough ("Message Formats" in the PostgreSQL manual): who connects, which
statement is asked, when its answer is complete. It runs on a thread of its own, so that a load in the test's thread, or in a
process, can use it. It offers no TLS, and clients that merely prefer TLS go on without.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

__all__ = ["Fate", "Proxy", "Request", "Trap", "is_commit"]

T = TypeVar("T")
_HOST = "127.0.0.1"
_ANSWER_S = 60.0  # the longest that a test waits for the proxy itself
_SLICE_BYTES = 16 * 2**10
_WINDOW_BYTES = 256 * 2**10  # less than a few packets of loopback, 64 KiB each, would make TCP wait for timers
_BURST_S = 0.5  # what a throttled client may catch up on after a pause, its own or this machine's
_TLS_REQUEST, _GSS_REQUEST, _CANCEL_REQUEST = 80_877_103, 80_877_104, 80_877_102


@dataclass(frozen=True, slots=True)
class Request:
    """A statement on its way to the server; `earlier` are the statements of the same transaction before it."""

    session: str
    text: str
    earlier: tuple[str, ...]


class Fate(StrEnum):
    """What becomes of a statement, and of the connection it came on."""

    NEVER_ARRIVES = "never_arrives"  # both sides are cut before the server has it
    REPLY_LOST = "reply_lost"  # the server has answered when both sides are cut
    IN_DOUBT = "in_doubt"  # the client is cut; `deliver` or `drop` decides later what the server gets
    FROZEN = "frozen"  # it does not arrive, nothing moves any more, and both sides stay open
    REPLY_FROZEN = "reply_frozen"  # it arrives; the answer does not, nothing moves any more, and both sides stay open


def is_commit(session: str, marker: str = "") -> Callable[[Request], bool]:
    """Whether a request is the COMMIT of a transaction that said the marker, by a session whose name begins so."""

    def matches(request: Request) -> bool:
        return (
            request.session.startswith(session)
            and request.text.strip("; \n").lower() == "commit"
            and any(marker in text for text in request.earlier)
        )

    return matches


class Trap:
    """Waits for one statement and has its fate befall it, once."""

    def __init__(self, when: Callable[[Request], bool], fate: Fate, loop: asyncio.AbstractEventLoop) -> None:
        self._when = when
        self.fate = fate
        self.sprung = threading.Event()
        """Set once the fate has befallen the statement."""
        self.answered = False
        """Whether the server has had the statement and done it."""
        self._taken = False
        self._loop = loop
        self.decision: asyncio.Future[bool] = loop.create_future()
        self._settled = threading.Event()

    def catches(self, request: Request) -> bool:
        """Whether this is the statement; from then on the trap is used up."""
        if self._taken or not self._when(request):
            return False
        self._taken = True
        return True

    def wait(self, timeout_s: float = _ANSWER_S) -> None:
        """Until the fate has befallen the statement."""
        assert self.sprung.wait(timeout_s), f"no statement met its fate {self.fate} within {timeout_s} s"

    def deliver(self) -> None:
        """Let the server have a statement in doubt after all, and see it answered."""
        self._decide(arrives=True)

    def drop(self) -> None:
        """Cut the server's side of a statement in doubt."""
        self._decide(arrives=False)

    def settle(self) -> None:
        """Nothing more will become of the statement."""
        self._settled.set()

    def _decide(self, *, arrives: bool) -> None:
        def decide() -> None:
            if not self.decision.done():
                self.decision.set_result(arrives)

        self._loop.call_soon_threadsafe(decide)
        assert self._settled.wait(_ANSWER_S), "the statement in doubt was not settled"


class _Cut(Exception):
    """This connection ends here."""


@dataclass(eq=False)
class _Connection:
    """One client, its server's side, and what is known of their talk."""

    session: str
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    flowing: asyncio.Event
    sent_bytes: int = 0
    cut_at_bytes: int | None = None
    due_at: float = 0.0  # when a throttled client's next bytes may go
    prepared: dict[bytes, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    awaited: Trap | None = None  # whose answer is not to reach the client

    def abort(self) -> None:
        """Both sides at once, with a reset: what is under way is lost."""
        for _, writer in (self.client, self.server):
            _reset(writer)


class Proxy:
    """A context manager: `url` leads to the same database as the server's own, through here."""

    def __init__(self, server_url: str, address: str = _HOST) -> None:
        parts = urlsplit(server_url)
        assert parts.hostname, "the tests' server is reached by TCP"
        self._server = (parts.hostname, parts.port or 5432)
        # This one never listens: it keeps the port ours while connections are refused.
        self._address = address
        self._port_holder = _socket_on(address, 0)
        self._port = self._port_holder.getsockname()[1]
        userinfo = parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(parts._replace(netloc=f"{userinfo}@{address}:{self._port}"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._connections: list[_Connection] = []
        self._unanswered: list[asyncio.StreamWriter] = []  # of connections that were begun while nothing passes
        self._is_silent = False
        self._traps: list[Trap] = []
        self._cut_after: Callable[[str], int | None] = lambda _session: None
        self._bytes_per_s: Callable[[str], int | None] = lambda _session: None
        self.cuts = 0
        """Connections that were cut at their byte."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_error: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_S)
        self._loop.close()
        self._port_holder.close()

    # ---- what a test may ask for ---------------------------------------------------------------------------------------

    def trap(self, when: Callable[[Request], bool], fate: Fate) -> Trap:
        """Have the fate befall the next statement that matches."""

        async def arm() -> Trap:
            trap = Trap(when, fate, self._loop)
            self._traps.append(trap)
            return trap

        return self._run(arm())

    def cut_after(self, bytes_of: Callable[[str], int | None]) -> None:
        """Cut each new connection once its client has sent so many bytes; None for a session that is left alone."""
        self._cut_after = bytes_of

    def throttle(self, bytes_per_s_of: Callable[[str], int | None]) -> None:
        """Take no more than so many bytes a second from each client; None for a session that goes at full speed."""
        self._bytes_per_s = bytes_per_s_of

    def cut_all(self) -> int:
        """Cut every connection that is open now; returns how many there were."""
        return self._run(self._cut_all())

    def silence(self) -> int:
        """Let nothing pass any more, without telling either side; returns how many connections there were.

        New connections are taken, and nothing comes of them, until `cut_all` ends all of them.
        """

        async def silence() -> int:
            self._is_silent = True
            for connection in self._connections:
                connection.flowing.clear()
            return len(self._connections)

        return self._run(silence())

    def refuse(self) -> int:
        """Cut all connections and refuse new ones, as a machine without a server does; returns how many there were."""
        self._run(self._stop_listening())
        return self.cut_all()

    def accept(self) -> None:
        """Take connections again, unless they are taken."""
        if self._listener is None:
            self._run(self._listen())

    # ---- connections -----------------------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_S)

    async def _listen(self) -> None:
        listening = _socket_on(self._address, self._port)
        # Of a fixed size, so that back-pressure is felt early.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES)
        self._listener = await asyncio.start_server(self._accept, sock=listening, limit=_SLICE_BYTES)

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _cut_all(self) -> int:
        cut = list(self._connections)
        for connection in cut:
            connection.abort()
            connection.flowing.set()  # a frozen one ends too
        for writer in list(self._unanswered):
            _reset(writer)
        self._is_silent = False
        return len(cut)

    async def _close(self) -> None:
        await self._stop_listening()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await self._serve(reader, writer)
            finally:
                _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (startup := await _read_startup(reader))[1] in {_TLS_REQUEST, _GSS_REQUEST}:
            writer.write(b"N")
        packet, code = startup
        if self._is_silent:
            self._unanswered.append(writer)
            try:
                await reader.read()
            finally:
                self._unanswered.remove(writer)
            return
        server_reader, server_writer = await asyncio.open_connection(*self._server, limit=_SLICE_BYTES)
        try:
            server_writer.write(packet)
            if code == _CANCEL_REQUEST:
                await server_writer.drain()
                return
            session = _application_name(packet)
            flowing = asyncio.Event()
            flowing.set()
            connection = _Connection(session, (reader, writer), (server_reader, server_writer), flowing, len(packet))
            connection.cut_at_bytes = self._cut_after(session)
            self._connections.append(connection)
            try:
                await self._relay(connection)
            finally:
                self._connections.remove(connection)
        finally:
            _reset(server_writer)

    async def _relay(self, connection: _Connection) -> None:
        """Both directions until one of them ends; what the other side still has to get, it gets."""
        tasks = [
            asyncio.create_task(self._relay_requests(connection)),
            asyncio.create_task(self._relay_answers(connection)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await connection.flowing.wait()  # of a frozen connection neither side hears that the other has ended
            if any(isinstance(task.exception(), _Cut) for task in done):
                return
            for _, writer in (connection.client, connection.server):
                with contextlib.suppress(OSError, TimeoutError):
                    writer.close()
                    async with asyncio.timeout(1):
                        await writer.wait_closed()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if connection.awaited is not None:
                connection.awaited.settle()

    async def _relay_requests(self, connection: _Connection) -> None:
        reader, _ = connection.client
        while True:
            kind, header = await _read_header(reader)
            length = struct.unpack("!I", header[1:])[0] - 4
            if kind not in b"QPB":  # COPY data above all: passed on as it comes, so that back-pressure is felt
                await self._forward(connection, header)
                while length > 0:
                    part = await reader.readexactly(min(length, _SLICE_BYTES))
                    length -= len(part)
                    await self._forward(connection, part)
                continue
            body = await reader.readexactly(length)
            if (text := _statement(connection, kind, body)) is not None:
                request = Request(connection.session, text, tuple(connection.said))
                if text.lstrip().lower().startswith("begin"):
                    connection.said.clear()
                connection.said.append(text)
                if trap := next((trap for trap in self._traps if trap.catches(request)), None):
                    await self._befall(connection, trap, header + body)
                    continue
            await self._forward(connection, header + body)

    async def _befall(self, connection: _Connection, trap: Trap, message: bytes) -> None:
        """Have the fate befall the message; returns where its answer has still to come."""
        match trap.fate:
            case Fate.NEVER_ARRIVES:
                connection.abort()
                trap.sprung.set()
                raise _Cut
            case Fate.FROZEN:
                connection.flowing.clear()
                trap.sprung.set()
                await connection.flowing.wait()
            case Fate.REPLY_LOST | Fate.REPLY_FROZEN:
                connection.awaited = trap
                await self._forward(connection, message)
            case Fate.IN_DOUBT:
                connection.awaited = trap
                _reset(connection.client[1])
                trap.sprung.set()
                if await trap.decision:
                    await self._forward(connection, message)
                    await asyncio.Event().wait()  # the answer ends the connection
                connection.abort()
                raise _Cut

    async def _forward(self, connection: _Connection, data: bytes) -> None:
        """To the server, no faster and no further than the test allows."""
        writer = connection.server[1]
        await connection.flowing.wait()
        if connection.cut_at_bytes is not None and connection.sent_bytes + len(data) >= connection.cut_at_bytes:
            writer.write(data[: connection.cut_at_bytes - connection.sent_bytes])
            await writer.drain()
            connection.abort()
            self.cuts += 1
            raise _Cut
        connection.sent_bytes += len(data)
        writer.write(data)
        await writer.drain()
        if rate := self._bytes_per_s(connection.session):
            now = self._loop.time()
            connection.due_at = max(connection.due_at, now - _BURST_S) + len(data) / rate
            await asyncio.sleep(connection.due_at - now)

    async def _relay_answers(self, connection: _Connection) -> None:
        reader, writer = connection.server[0], connection.client[1]
        while True:
            kind, header = await _read_header(reader)
            body = await reader.readexactly(struct.unpack("!I", header[1:])[0] - 4)
            if (trap := connection.awaited) is None:
                await connection.flowing.wait()
                writer.write(header + body)
                await writer.drain()
            elif kind == ord("Z"):  # ready for query: the statement has been answered in full
                if trap.fate is Fate.REPLY_FROZEN:
                    connection.flowing.clear()
                else:
                    connection.abort()
                trap.answered = True
                trap.sprung.set()
                await connection.flowing.wait()
                raise _Cut


def _statement(connection: _Connection, kind: int, body: bytes) -> str | None:
    """The text of the statement that a message asks for; a Parse alone asks for none yet."""
    match chr(kind):
        case "Q":
            return body[:-1].decode()
        case "P":
            name, text, _ = body.split(b"\0", 2)
            connection.prepared[name] = text.decode()
            return None
        case _:
            name = body.split(b"\0", 2)[1]
            return connection.prepared.get(name, "")


async def _read_startup(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """A packet without a type, as a connection begins with, and the number that says which."""
    length = await reader.readexactly(4)
    body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
    return length + body, struct.unpack("!I", body[:4])[0]


async def _read_header(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    header = await reader.readexactly(5)
    return header[0], header


def _application_name(startup: bytes) -> str:
    words = [word.decode() for word in startup[8:].split(b"\0")]
    return dict(zip(words[::2], words[1::2], strict=False)).get("application_name", "")


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of an orderly end, where it is not closed already."""
    if not writer.transport.is_closing():
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _socket_on(address: str, port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off only where the protocol is named.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((address, port))
    return bound
