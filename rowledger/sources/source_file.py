"""A file of a partition on this machine, and what distinguishes kinds of addresses."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["WEB", "WILDCARD", "SourceFile", "is_fetchable", "is_fetched"]

WEB = {"http", "https"}
"""Schemes of addresses that have no listing."""
WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A local file. `origin` is its name in messages: its path, or its address without credentials.

    `name` is the last part of the origin, whose ending shows the compression. A `fetched` file is a copy in the spool folder.
    """

    path: Path
    origin: str
    name: str
    fetched: bool = False


FETCHED = "fetched-"
"""What the name of a copy in the spool folder begins with."""


def is_fetched(path: str) -> bool:
    """Whether a file of the spool is a copy, of which any number of chunks read a part each."""
    return Path(path).name.startswith(FETCHED)


def is_fetchable(origin: str) -> bool:
    """Whether another machine can fetch a file by its origin alone, which is an object's full name.

    That of a web address lacks what follows its `?`.
    """
    scheme, separator, _ = origin.partition("://")
    return bool(separator) and scheme.lower() not in WEB
