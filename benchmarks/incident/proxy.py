"""A TCP proxy in front of the server that cuts connections as planned: a process of its own, so that it slows both alike.

`python -m benchmarks.incident.proxy HOST PORT PLAN` prints its own port, then a line for each cut it makes. It ends with its
standard input, and so with whoever started it.
"""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit, urlunsplit

from benchmarks.incident.cuts import WRITER_BYTES_MIN, Cut, CutKind
from rowledger.settings import child_environment

PIECE_BYTES = 256 * 1024
END_TIMEOUT_S = 10
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: close() sends RST


@dataclass(frozen=True, slots=True)
class MadeCut:
    """A cut that was made: when, counted from the start of the proxy, and how many bytes clients had sent by then."""

    kind: CutKind
    sent_bytes: int
    seconds: float


class CutProxy:
    """The proxy's process, seen from whoever started it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    def end(self) -> list[MadeCut]:
        """End the proxy and all connections through it; the cuts it has made."""
        try:
            lines, _ = self._process.communicate(timeout=END_TIMEOUT_S)  # closes its standard input
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        return [MadeCut(**{**made, "kind": CutKind(made["kind"])}) for made in map(json.loads, lines.splitlines())]


@contextmanager
def cutting(url: str, plan: Sequence[Cut]) -> Iterator[CutProxy]:
    """A proxy to the server of this URL for as long as the block runs."""
    parts = urlsplit(url)
    command = [
        sys.executable,
        "-m",
        __name__,
        str(parts.hostname),
        str(parts.port or 5432),
        json.dumps([*map(asdict, plan)]),
    ]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment()
    )
    with process:
        try:
            assert process.stdout is not None  # noqa: S101 - opened as a pipe just above
            port = process.stdout.readline().strip()
            userinfo, at, _ = parts.netloc.rpartition("@")
            yield CutProxy(process, urlunsplit(parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{port}")))
        finally:
            process.kill()


class _CutNow(Exception):
    """Ends both halves of the connection it is raised in."""


class _Relay:
    """All connections of one load, and what they have sent together."""

    def __init__(self, server: tuple[str, int], plan: list[Cut]) -> None:
        self._server = server
        self._plan = plan
        self._sent_bytes = 0
        self._started = time.monotonic()

    async def serve(self, client: socket.socket) -> None:
        """Carry one connection to its end."""
        loop = asyncio.get_running_loop()
        with client, socket.socket() as server:
            try:
                for end in (client, server):
                    end.settimeout(0)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(server, self._server)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._carry_to_server(client, server))
                    group.create_task(_carry_to_client(server, client))
            except* (_CutNow, OSError):
                pass  # cut by us, or one side has gone without a goodbye: leaving closes both

    async def _carry_to_server(self, client: socket.socket, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        piece = memoryview(bytearray(PIECE_BYTES))
        sent_here = 0
        while size := await loop.sock_recv_into(client, piece):
            self._sent_bytes += size
            sent_here += size
            if self._plan and self._sent_bytes >= self._plan[0].at_bytes and sent_here >= WRITER_BYTES_MIN:
                if self._record_cut() is CutKind.RESET:
                    for end in (client, server):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                raise _CutNow
            await loop.sock_sendall(server, piece[:size])
        server.shutdown(socket.SHUT_WR)

    def _record_cut(self) -> CutKind:
        cut = self._plan.pop(0)
        made = MadeCut(cut.kind, self._sent_bytes, round(time.monotonic() - self._started, 3))
        print(json.dumps(asdict(made)), flush=True)
        return cut.kind


async def _carry_to_client(server: socket.socket, client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    piece = memoryview(bytearray(PIECE_BYTES))
    while size := await loop.sock_recv_into(server, piece):
        await loop.sock_sendall(client, piece[:size])
    client.shutdown(socket.SHUT_WR)


async def _accept(relay: _Relay, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Task[None]] = set()
    while True:
        client, _ = await loop.sock_accept(listener)
        task = loop.create_task(relay.serve(client))
        connections.add(task)
        task.add_done_callback(connections.discard)


async def _run(host: str, port: int, plan: list[Cut]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        print(listener.getsockname()[1], flush=True)
        accepting = asyncio.create_task(_accept(_Relay((host, port), plan), listener))
        standing_in = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(standing_in), sys.stdin)
        ending = asyncio.create_task(standing_in.read())
        await asyncio.wait({accepting, ending}, return_when=asyncio.FIRST_COMPLETED)


def main() -> None:
    """Entry point of the process."""
    host, port, plan = sys.argv[1:]
    asyncio.run(_run(host, int(port), [Cut(cut["at_bytes"], CutKind(cut["kind"])) for cut in json.loads(plan)]))


if __name__ == "__main__":
    main()
