"""Roles of the server for a test: neither superusers nor owners of the database, each with a URL of its own."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from pipeline_tests.support.database import fetch


@dataclass(frozen=True)
class Role:
    name: str
    url: str


@contextmanager
def new_role(database: str, *, attributes: str = "") -> Iterator[Role]:
    """A role that may log in, and that goes with all that it owns in this database."""
    name = f"rowledger_role_{uuid.uuid4().hex[:8]}"
    fetch(database, f"create role {name} login password 'secret' {attributes}")
    parts = urlsplit(database)
    host = parts.netloc.rpartition("@")[2]
    try:
        yield Role(name, urlunsplit(parts._replace(netloc=f"{name}:secret@{host}")))
    finally:
        fetch(database, "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", name)
        fetch(database, f"drop owned by {name} cascade")
        fetch(database, f"drop role {name}")


def execute(url: str, script: str) -> None:
    """Statements one by one; no semicolon in them."""
    for statement in filter(str.strip, script.split(";")):
        fetch(url, statement)
