"""The connection to the target database as a resource."""

from urllib.parse import quote, unquote, urlsplit

import dagster as dg
from pydantic import ConfigDict, Field

from rowledger.errors import DatabaseUnavailable
from rowledger.postgres import check_url_shape, target_url
from rowledger.settings import settings

__all__ = ["DEFAULT_DATABASE", "RowledgerDatabase"]


class RowledgerDatabase(dg.ConfigurableResource[None]):
    """The database that tables are loaded into, by `url` or by its parts.

    Without any of them it is the one in ROWLEDGER_DATABASE_URL, or else the embedded server, which is started on demand.
    Dagster shows a resource's config in its UI: give secrets as `dg.EnvVar`.
    """

    # A mistyped field must not move the rows to the default server, and an error must not quote a password.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: str | None = Field(default=None, repr=False, description="postgresql://user:password@host:port/database")
    host: str | None = Field(default=None, description="Name or address of the server, or the folder of its socket.")
    port: int | None = Field(default=None, ge=1, le=65_535, description="The server's port.")
    user: str | None = Field(default=None, description="The role that loads.")
    password: str | None = Field(default=None, repr=False, description="The role's password.")
    database: str | None = Field(default=None, description="The database's name.")
    sslmode: str | None = Field(
        default=None, description="As in libpq: disable, allow, prefer, require, verify-ca or verify-full."
    )

    def connection_url(self) -> str:
        """The URL with its password; raises DatabaseUnavailable, or EmbeddedServerError."""
        parts = [name for name in _PARTS if getattr(self, name) is not None]
        if empty := [name for name in ("url", *parts) if getattr(self, name) == ""]:
            # Not the default: an environment variable that is empty by mistake must not move the rows to another server.
            raise DatabaseUnavailable(
                f"the resource RowledgerDatabase has an empty {' and '.join(empty)}; give it a value, or leave it out"
            )
        if self.url is None and not parts:
            return target_url()
        if self.url is not None and parts:
            raise DatabaseUnavailable(
                f"the resource RowledgerDatabase has a url and also {', '.join(parts)}; give the one or the other"
            )
        url = self.url if self.url is not None else self._joined()
        check_url_shape(url, variable="the url of the resource RowledgerDatabase")
        return url

    def database_name(self) -> str | None:
        """The database's name where the configuration says it; None otherwise. It starts no server and raises nothing."""
        url, database = (
            value.get_value() if isinstance(value, dg.EnvVar) else value for value in (self.url, self.database)
        )
        if database or any(getattr(self, name) is not None for name in _PARTS):
            return database
        if self.url is None:
            given = settings().database_url
            url = given.get_secret_value() if given else None
        if url is None:
            return None
        try:
            check_url_shape(url)
        except DatabaseUnavailable:
            return None
        name = unquote(urlsplit(url).path.removeprefix("/"))
        return None if "/" in name or "@" in name else name or None  # a part of an unescaped password

    def _joined(self) -> str:
        user, password, host = (quote(value or "", safe="") for value in (self.user, self.password, self.host))
        credentials = f"{user}:{password}@" if password else f"{user}@" if user else ""
        query = {"sslmode": quote(self.sslmode or "", safe="")}
        if (self.host or "").startswith("/"):  # the folder of a socket
            query |= {"host": host}
            host = ""
        elif ":" in (self.host or ""):  # an address of IPv6
            host = f"[{self.host}]"
        if self.port is not None and host:
            host = f"{host}:{self.port}"
        elif self.port is not None:
            query |= {"port": str(self.port)}
        parameters = "&".join(f"{name}={value}" for name, value in query.items() if value)
        path = f"/{quote(self.database, safe='')}" if self.database else ""
        return f"postgresql://{credentials}{host}{path}{'?' if parameters else ''}{parameters}"


_PARTS = ("host", "port", "user", "password", "database", "sslmode")

DEFAULT_DATABASE = RowledgerDatabase()
