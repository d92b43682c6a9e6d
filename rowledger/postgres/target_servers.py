"""The servers of a table that is on several: each by the variable that holds its URL, which is read when it is needed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rowledger.errors import SpecError
from rowledger.postgres.server_url import address, url_of_variable
from rowledger.settings import secret_from_environment
from rowledger.spec import Partition, TableSpec

__all__ = ["TargetServer", "by_server", "server_of", "servers_named", "servers_of"]


@dataclass(frozen=True, slots=True)
class TargetServer:
    """A server, by the variables that hold its URL. It keeps no URL."""

    variables: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The variable by which people know the server: the first, where several hold its URL."""
        return self.variables[0]

    @property
    def url(self) -> str:
        """The URL with its password; raises DatabaseUnavailable where the variable is not set here, or holds no URL."""
        return url_of_variable(self.variable)

    def __str__(self) -> str:
        """The variable, and what its URL says of host and database."""
        url = secret_from_environment(self.variable)
        return f"{self.variable} ({address(url.get_secret_value()) if url else 'not set'})"


def servers_named(variables: Iterable[str]) -> list[TargetServer]:
    """The servers whose URLs these variables hold, each once. A variable that is not set counts as a server of its own."""
    found: dict[str, list[str]] = {}
    for variable in dict.fromkeys(variables):
        url = secret_from_environment(variable)
        found.setdefault(url.get_secret_value() if url else f"${variable}", []).append(variable)
    return [TargetServer(tuple(names)) for names in found.values()]


def servers_of(spec: TableSpec) -> list[TargetServer]:
    """The servers that the spec names; none for a table that is on the one server of its load."""
    return [] if spec.servers is None else servers_named(spec.servers.names)


def by_server(spec: TableSpec, partitions: Sequence[Partition]) -> dict[TargetServer, list[Partition]]:
    """The partitions by their servers, in their order. Raises UnknownPartition and SpecError."""
    servers = {variable: server for server in servers_of(spec) for variable in server.variables}
    found: dict[TargetServer, list[Partition]] = {}
    for partition in partitions:
        found.setdefault(servers[_variable_of(spec, partition)], []).append(partition)
    return found


def server_of(spec: TableSpec, partition: Partition) -> TargetServer:
    """The server of one partition; raises UnknownPartition and SpecError."""
    (server,) = by_server(spec, [partition])
    return server


def _variable_of(spec: TableSpec, partition: Partition) -> str:
    assert spec.servers is not None  # noqa: S101 - who asks has looked
    try:
        return spec.servers.variable_of(partition)
    except SpecError as error:
        raise SpecError(f"table {spec.name}: {error}") from error.__cause__
