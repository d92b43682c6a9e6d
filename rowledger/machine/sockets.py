"""Socket options by which a connection notices a dead peer."""

import socket

__all__ = ["guard_socket"]


def guard_socket(sock: socket.socket | None, *, dead_peer_s: int, unsent_bytes_max: int | None = None) -> None:
    """Set keepalive, TCP_USER_TIMEOUT, and the kernel's limit of unsent bytes if given; a Unix socket is left as it is.

    Keepalive detects a silent peer while we read, TCP_USER_TIMEOUT while we write. Without the limit the kernel would buffer
    megabytes, and their transfer to a slow server would look like a stall.
    """
    if sock is None or sock.family == getattr(socket, "AF_UNIX", None):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", dead_peer_s // 2),
        ("TCP_KEEPINTVL", 2),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", dead_peer_s * 1000),
        ("TCP_NOTSENT_LOWAT", unsent_bytes_max),
    ):
        number = getattr(socket, option, None)  # macOS names some of them differently
        if number is not None and value is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)
