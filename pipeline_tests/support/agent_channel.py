"""Calls to an agent over a socket, for engines of tests: the head's end, the agent's, and the agent as a program.

A frame is a header of JSON (`id`, `method`, and the lengths of what follows), the message, the files.
"""

import asyncio
import itertools
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from rowledger.hosts import AgentThread, HostGone, Method

__all__ = ["AgentChannel", "agent_program"]

_HEADER = struct.Struct(">I")
_END = "end"  # of the agent's process, at once; not a method of an agent


class AgentChannel:
    """The head's end. `is_passed` says whether frames pass now: what it holds back is lost."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_passed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._is_passed = is_passed
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._listening = asyncio.create_task(self._listen())

    async def call(self, method: Method, message: bytes, files: bytes = b"") -> bytes:
        if self._listening.done():
            raise HostGone("has ended")
        number = next(self._ids)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        if self._is_passed():
            self._writer.write(_frame({"id": number, "method": method}, message, files))
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    def end_agent(self) -> None:
        """Have the agent's process end at once, as soon as it hears of it."""
        self._writer.write(_frame({"id": next(self._ids), "method": _END}, b""))

    def close(self) -> None:
        self._listening.cancel()
        self._writer.close()

    async def _listen(self) -> None:
        try:
            while True:
                header, message, _ = await _read_frame(self._reader)
                waiting = self._waiting.get(header["id"])
                if self._is_passed() and waiting is not None and not waiting.done():
                    waiting.set_result(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            for waiting in self._waiting.values():
                if not waiting.done() and self._is_passed():
                    waiting.set_exception(HostGone("has ended"))


def agent_program(channel: socket.socket) -> list[str]:
    """The command line of an agent that serves this socket, which it has to inherit."""
    return [sys.executable, "-m", __name__, str(channel.fileno())]


def _frame(header: dict[str, Any], message: bytes, files: bytes = b"") -> bytes:
    packed = json.dumps({**header, "message": len(message), "files": len(files)}).encode()
    return _HEADER.pack(len(packed)) + packed + message + files


async def _read_frame(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes, bytes]:
    (length,) = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    header = json.loads(await reader.readexactly(length))
    return header, await reader.readexactly(header["message"]), await reader.readexactly(header["files"])


async def _serve(channel: socket.socket) -> None:
    """The agent's side: calls go to the agent's thread, as under any engine."""
    reader, writer = await asyncio.open_connection(sock=channel)
    agent = AgentThread(abandoned=lambda: os._exit(1))
    answering: set[asyncio.Task[None]] = set()

    async def answer(header: dict[str, Any], message: bytes, files: bytes) -> None:
        answered = await asyncio.wrap_future(agent.call(header["method"], message, files))
        writer.write(_frame({"id": header["id"]}, answered))

    is_called = False
    while True:
        try:
            frame = await _read_frame(reader)
        except (asyncio.IncompleteReadError, ConnectionError):  # the head is gone, or the link: silence is what tells
            if not is_called:
                os._exit(1)  # an engine has ended the agent of a head that never had it
            await asyncio.Event().wait()
        is_called = True
        if frame[0]["method"] == _END:
            os._exit(1)
        task = asyncio.create_task(answer(*frame))
        answering.add(task)
        task.add_done_callback(answering.discard)


if __name__ == "__main__":
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1]))))
