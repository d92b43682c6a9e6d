"""A file of a partition on this machine, and what distinguishes kinds of addresses."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["WEB", "WILDCARD", "SourceFile"]

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
