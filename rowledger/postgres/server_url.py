"""Which server this installation uses: the one in ROWLEDGER_DATABASE_URL, or the embedded one, which is started on demand."""

import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from pydantic import SecretStr

from rowledger.errors import DatabaseUnavailable
from rowledger.settings import secret_from_environment, settings

if TYPE_CHECKING:
    from rowledger.embedded import EmbeddedServer

__all__ = [
    "address",
    "check_url_shape",
    "dagster_url",
    "embedded_server",
    "existing_url",
    "redact",
    "split_password",
    "target_url",
    "url_of_variable",
    "with_hosts_in_query",
]

DAGSTER_SCHEMA = "dagster"
SCHEMES = ("postgresql", "postgres")

_DEFAULT_PORT = "5432"
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(\d*))?")
_USERINFO_PASSWORD = re.compile(r"(?<=://)([^/?#]*?):.*@(?=[^@]*$)")
_UNTIL_HOST = re.compile(r"^(?![^:/@]*://).*@")  # for a URL without ://, in which a password could be anywhere
_QUERY_PASSWORD = re.compile(r"(?i)(?<=[?&])((?:ssl)?password)=[^&#]*")


def target_url() -> str:
    """The URL of the target database with its password, for loads; raises DatabaseUnavailable or EmbeddedServerError.

    An embedded server that is missing is created.
    """
    return _given_url() or embedded_server().ensure_running()


def existing_url() -> str:
    """The same URL for commands that read what was loaded: an embedded server that is missing is an error."""
    return _given_url() or embedded_server().ensure_started()


def url_of_variable(variable: str) -> str:
    """The URL in a variable that a spec or a person names; raises DatabaseUnavailable, which names the variable."""
    url = _checked(secret_from_environment(variable), variable)
    if url is None:
        raise DatabaseUnavailable(
            f"the environment variable {variable} is not set here; set it to a server's URL: {_EXPECTED}"
        )
    return url


def _given_url() -> str | None:
    return _checked(settings().database_url, "ROWLEDGER_DATABASE_URL")


def _checked(url: SecretStr | None, variable: str) -> str | None:
    if not url:
        return None
    check_url_shape(url.get_secret_value(), variable=variable)
    return url.get_secret_value()


def dagster_url() -> str:
    """The URL of Dagster's storage: ROWLEDGER_DAGSTER_DATABASE_URL, or else the schema `dagster` of the target database.

    libpq's `options` set the search path to the schema, so that Dagster's unqualified table names resolve to it.
    """
    if given := _checked(settings().dagster_database_url, "ROWLEDGER_DAGSTER_DATABASE_URL"):
        return given
    parts = urlsplit(target_url())
    query = parse_qsl(parts.query, keep_blank_values=True)
    search_path = f"-csearch_path={DAGSTER_SCHEMA}"
    options = " ".join([*(value for name, value in query if name == "options"), search_path])
    query = [*((name, value) for name, value in query if name != "options"), ("options", options)]
    return _joined(parts, query)


def with_hosts_in_query(url: str) -> str:
    """The URL with several hosts moved to its parameters: URL parsers know a single host and port."""
    parts = urlsplit(url)
    userinfo, at, hosts = parts.netloc.rpartition("@")
    found = [_HOST_AND_PORT.fullmatch(host) for host in hosts.split(",")]
    if len(found) == 1 or None in found:
        return url
    pairs = [(match[1].strip("[]"), match[2] or _DEFAULT_PORT) for match in found if match is not None]
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("host", ",".join(host for host, _ in pairs)),
        ("port", ",".join(port for _, port in pairs)),
    ]
    return _joined(parts._replace(netloc=f"{userinfo}{at}"), query)


def embedded_server() -> "EmbeddedServer":
    """The embedded server of this installation, running or not."""
    from rowledger.embedded import EmbeddedServer  # noqa: PLC0415, needed only where no URL is set, and slow to import

    return EmbeddedServer(settings().home / "postgres")


def address(url: str) -> str:
    """Host, port and database of a URL, by which people know a server; nothing else of it."""
    try:
        check_url_shape(url)
    except DatabaseUnavailable:
        return "not a URL"
    parts = urlsplit(url)
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # a part of an unescaped password may be anywhere
        return "an address that may hold a part of a password"
    given = dict(parse_qsl(parts.query))
    hosts = parts.netloc.rpartition("@")[2] or given.get("host", "")
    port = given.get("port") if ":" not in hosts else None
    return f"{hosts}{f':{port}' if port else ''}/{parts.path.removeprefix('/') or given.get('dbname', '')}"


def redact(url: str) -> str:
    """The URL for messages: every password in it is replaced, even where the URL is malformed."""
    return _QUERY_PASSWORD.sub(r"\1=***", _USERINFO_PASSWORD.sub(r"\1:***@", _UNTIL_HOST.sub("***@", url)))


def split_password(url: str) -> tuple[str, str | None]:
    """The URL without its password, and the password, for programs whose arguments other users can read."""
    parts = urlsplit(url)
    userinfo, at, hosts = parts.netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    query = parse_qsl(parts.query, keep_blank_values=True)
    from_query = next((value for name, value in query if name == "password"), None)
    bare = _joined(parts._replace(netloc=f"{user}{at}{hosts}"), [pair for pair in query if pair[0] != "password"])
    return bare, from_query if from_query is not None else unquote(password) if colon else None


def check_url_shape(url: str, *, variable: str = "the database URL") -> None:
    """Raise DatabaseUnavailable, in one line without the password, for a URL that cannot name a server."""
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2]
        ports = re.findall(r":([^:\],]*)(?=,|$)", hosts)
        bad_port = next(
            (port for port in ports if port and not (port.isdecimal() and int(port) in range(1, 65_536))), None
        )
    except ValueError as error:
        raise DatabaseUnavailable(f"{variable} is not a URL: {_without_secrets(error)}; {_EXPECTED}") from None
    if parts.scheme not in SCHEMES:
        raise DatabaseUnavailable(f"{variable} starts with {parts.scheme or 'no scheme'!r}; {_EXPECTED}")
    if not url.startswith(f"{url[: len(parts.scheme)]}://"):
        raise DatabaseUnavailable(f"{variable} has no '://' after {parts.scheme!r}; {_EXPECTED}")
    if bad_port is not None:
        # The end of an unescaped password can be read as the port, so the text is not shown.
        raise DatabaseUnavailable(
            f"{variable} has a port that is no number from 1 to 65535 "
            f"(are / ? # @ : in the password percent-encoded?); {_EXPECTED}"
        )
    if re.search(r"\s", url) or not url.isprintable():
        raise DatabaseUnavailable(f"{variable} contains a blank or a control character; {_EXPECTED}")


_EXPECTED = "expected postgresql://user:password@host:port/database"


def _joined(parts: SplitResult, query: list[tuple[str, str]]) -> str:
    """Join the URL. `urlunsplit` drops the // of postgresql:///db, and libpq reads + as a plus sign, not as a blank."""
    encoded = urlencode(query, quote_via=quote)
    return f"{parts.scheme}://{parts.netloc}{parts.path}{'?' if encoded else ''}{encoded}"


def _without_secrets(error: ValueError) -> str:
    """The error's kind without the text that `urlsplit` quotes."""
    return str(error).split(":", 1)[0].split("'", 1)[0].strip() or "it cannot be parsed"
