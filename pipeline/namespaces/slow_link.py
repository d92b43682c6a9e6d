"""Pass frames on between a host's port and the switch, some of them late: `slow_link.py PORT SWITCH_SIDE`.

Each line of input is JSON, `[hardware address, delay_s, bytes_per_s]`: what goes to that address or comes from it is late from
now on; 0 means no delay, or no limit. This does what the kernel's netem does, which many kernels are built without.
"""

import contextlib
import heapq
import itertools
import json
import os
import select
import socket
import sys
import time
from dataclasses import dataclass, field

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING, _SO_RCVBUFFORCE = 263, 15, 23, 33
_HEADER = 10  # of each frame: how the kernel is to segment it, since it may be larger than the link's packets
_FRAME_BYTES_MAX = _HEADER + 2**17
_BUFFER_BYTES = 8 * 2**20
_QUEUE_BYTES_MAX = 16 * 2**20  # of frames on their way, as a long and fast link has
_QUEUE_S = 0.25  # of frames that wait for a slow link, as a router has; more are dropped, and TCP slows down
_QUEUE_BYTES_MIN = 256 * 2**10


@dataclass(slots=True)
class _Slowness:
    delay_s: float
    bytes_per_s: float
    free_at: float = 0.0  # when the link has sent what was given to it before


@dataclass(slots=True)
class _Direction:
    """From one side to the other; `peer` is where a frame has the hardware address that decides."""

    source: socket.socket
    sink: socket.socket
    peer: slice
    slowness: dict[bytes, _Slowness] = field(default_factory=dict)
    queue: list[tuple[float, int, bytes]] = field(default_factory=list)
    queued_bytes: int = 0

    def take(self, frame: bytes, number: int) -> None:
        """Send a frame that has come, or keep it for as long as it is late."""
        slow = self.slowness.get(frame[self.peer])
        if slow is None:
            self._send(frame)
            return
        now = due = time.monotonic()
        if self.queued_bytes > _QUEUE_BYTES_MAX:
            return
        if slow.bytes_per_s:
            start = max(now, slow.free_at)
            if start - now > max(_QUEUE_S, _QUEUE_BYTES_MIN / slow.bytes_per_s):
                return
            due = slow.free_at = start + len(frame) / slow.bytes_per_s
        heapq.heappush(self.queue, (due + slow.delay_s, number, frame))
        self.queued_bytes += len(frame)

    def send_due(self) -> None:
        while self.queue and self.queue[0][0] <= time.monotonic():
            frame = heapq.heappop(self.queue)[2]
            self.queued_bytes -= len(frame)
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        with contextlib.suppress(OSError):  # a full queue or a link that is down: lost, as on any link
            self.sink.send(frame)


def _open(link: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    opened.bind((link, _ETH_P_ALL))
    opened.settimeout(0)
    return opened


def main() -> None:
    """Entry point of the process; ends with its input."""
    host, switch = _open(sys.argv[1]), _open(sys.argv[2])
    destination, origin = slice(_HEADER, _HEADER + 6), slice(_HEADER + 6, _HEADER + 12)
    directions = {host: _Direction(host, switch, destination), switch: _Direction(switch, host, origin)}
    numbers = itertools.count()
    commands = sys.stdin.fileno()
    text = b""
    print("{}", flush=True)  # noqa: T201 - it is there
    while True:
        next_due = min((way.queue[0][0] for way in directions.values() if way.queue), default=None)
        wait_s = None if next_due is None else max(0.0, next_due - time.monotonic())
        for ready in select.select([host, switch, commands], [], [], wait_s)[0]:
            if ready in directions:
                with contextlib.suppress(BlockingIOError):
                    directions[ready].take(directions[ready].source.recv(_FRAME_BYTES_MAX), next(numbers))
                continue
            if not (read := os.read(commands, 4096)):
                return
            *lines, text = (text + read).split(b"\n")
            for line in lines:
                hardware, delay_s, bytes_per_s = json.loads(line)
                peer = bytes.fromhex(hardware.replace(":", ""))
                for way in directions.values():
                    way.slowness.pop(peer, None)
                    if delay_s or bytes_per_s:
                        way.slowness[peer] = _Slowness(delay_s, bytes_per_s)
        for way in directions.values():
            way.send_due()


if __name__ == "__main__":
    main()
