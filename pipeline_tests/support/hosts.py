"""Hosts for tests: network namespaces, or a skip that says why there are none; and a server that they reach."""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from pipeline.namespaces import Network, NoNamespaces, network_of_hosts
from pipeline_tests.support.database import fetch
from rowledger.embedded.server import EmbeddedServer

__all__ = ["hosts", "serve"]


@contextlib.contextmanager
def hosts(*names: str) -> Iterator[Network]:
    """A network of hosts of these names; skips the test where this machine, or this user, can have none."""
    with contextlib.ExitStack() as stack:
        try:
            network = stack.enter_context(network_of_hosts(*names))
        except NoNamespaces as error:
            pytest.skip(str(error))
        yield network


def serve(server: EmbeddedServer, network: Network) -> tuple[str, str]:
    """Have a server listen on the network too, by a restart; its URL for the test, by loopback, and for the hosts."""
    near = server.ensure_running()
    fetch(near, f"alter system set listen_addresses = '127.0.0.1,{network.outside.address}'")
    with (server.data_dir / "pg_hba.conf").open("a") as rules:
        rules.writelines(f"host all all {host.address}/32 scram-sha-256\n" for host in network.hosts.values())
    server.stop()
    near = server.ensure_running()
    parts = urlsplit(near)
    far = parts.netloc.replace("@127.0.0.1:", f"@{network.outside.address}:")
    return near, urlunsplit(parts._replace(netloc=far))
