"""A connection pooler as small as can be: PgBouncer's ways, as far as a new session meets them.

It passes on a few settings at the start of a session and refuses, or forgets, all others; it tells each client a process id of
its own making. With `shares_backend` all clients are served by one backend, a transaction at a time. It follows the
frontend/backend protocol ("Message Formats" in the PostgreSQL manual) and offers no TLS.
"""

import asyncio
import contextlib
import struct
import threading
from typing import Self
from urllib.parse import urlsplit

__all__ = ["Pooler"]

_PASSED_ON = {"user", "database", "application_name", "client_encoding", "datestyle", "timezone"}
_PROTOCOL, _TLS_REQUEST = 196_608, 80_877_103
_FALSE_PID = 4_711

_ENDS = {b"Q": b"Z", b"S": b"Z", b"H": b"TnE"}
"""What an answer to a query, to Sync, and to Flush after Parse and Describe ends with."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pooler:
    """Listens in a thread of its own while the block runs; `url` is that of the server, by way of it."""

    def __init__(self, url: str, *, shares_backend: bool, forgets_settings: bool) -> None:
        self._server = urlsplit(url)
        self._shares_backend = shares_backend
        self._forgets_settings = forgets_settings
        self._shared: Streams | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._turn = asyncio.Lock()
        listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._listener = listening.result(30)
        port = self._listener.sockets[0].getsockname()[1]
        credentials = self._server.netloc.rpartition("@")[0]
        self.url = self._server._replace(netloc=f"{credentials}@127.0.0.1:{port}").geturl()
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            self._listener.close()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._shared:
                await _close(self._shared[1])

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        opened: list[asyncio.StreamWriter] = [writer]
        try:
            if (parameters := await _read_startup(reader, writer)) is None:
                return
            unknown = [name for name in parameters if name.lower() not in _PASSED_ON]
            if unknown and not self._forgets_settings:
                writer.write(_refusal(f"unsupported startup parameter: {unknown[0]}"))
                return
            kept = {name: value for name, value in parameters.items() if name not in unknown}
            server = await asyncio.open_connection(self._server.hostname, self._server.port)
            opened.append(server[1])
            await _log_in((reader, writer), server, kept)
            if self._shares_backend:
                self._shared = self._shared or server
                opened = [stream for stream in opened if stream is not self._shared[1]]
                await self._by_transaction((reader, writer), self._shared)
            else:
                await asyncio.gather(_pipe(reader, server[1]), _pipe(server[0], writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for stream in opened:
                await _close(stream)
            self._tasks.discard(task)

    async def _by_transaction(self, client: Streams, server: Streams) -> None:
        """Each transaction of the client, as soon as the backend has ended those of others."""
        while True:
            kind, message = await _read_message(client[0])
            async with self._turn:
                while True:
                    server[1].write(message)
                    if kind == b"X":
                        return
                    if kind in (b"Q", b"S", b"H") and await _answer(server[0], client[1], _ENDS[kind]) == b"I":
                        break
                    kind, message = await _read_message(client[0])


async def _read_startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, str] | None:
    while True:
        length, code = struct.unpack("!ii", await reader.readexactly(8))
        body = await reader.readexactly(length - 8)
        if code == _PROTOCOL:
            words = body.decode().split("\0")[:-2]
            return dict(zip(words[::2], words[1::2], strict=True))
        if code != _TLS_REQUEST:
            return None
        writer.write(b"N")


async def _log_in(client: Streams, server: Streams, parameters: dict[str, str]) -> None:
    """Let the two agree on the password, up to the server's first ReadyForQuery."""
    body = "".join(f"{name}\0{value}\0" for name, value in parameters.items()).encode() + b"\0"
    server[1].write(struct.pack("!ii", len(body) + 8, _PROTOCOL) + body)
    while True:
        kind, message = await _read_message(server[0])
        if kind == b"K":
            message = kind + struct.pack("!iii", 12, _FALSE_PID, 0)
        client[1].write(message)
        if kind == b"Z":
            return
        if kind == b"R" and struct.unpack("!i", message[5:9])[0] not in (0, 12):  # neither done nor its last word
            server[1].write((await _read_message(client[0]))[1])


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: bytes) -> bytes:
    """Pass an answer on, up to a message of those kinds; returns what follows its head: of ReadyForQuery the state."""
    while True:
        kind, message = await _read_message(reader)
        writer.write(message)
        if kind in ends:
            return message[5:]


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(2**16):
        writer.write(block)
        await writer.drain()
    writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _refusal(text: str) -> bytes:
    body = b"".join(field + b"\0" for field in (b"SFATAL", b"VFATAL", b"C08P01", f"M{text}".encode())) + b"\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body
