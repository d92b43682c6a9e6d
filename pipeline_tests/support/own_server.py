"""What a test does to a server of its own (the fixture `own_server`), beside stopping and starting it."""

from rowledger.embedded.server import EmbeddedServer


def crash(server: EmbeddedServer) -> None:
    """End the server as a crash of it does: sessions are cut, and what is not on disk is lost."""
    server._pg_ctl("stop", "--mode", "immediate", timeout_s=30)
