"""A file of a partition, once it is on this machine, and the words by which addresses are told apart."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["WEB", "WILDCARD", "SourceFile"]

WEB = {"http", "https"}
"""Kinds of addresses that have no listing."""
WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that can be read here. `origin` is what people call it: its path, or its address without credentials.

    `name` is the last part of that, which tells a format. A `fetched` file is a copy in the spool folder.
    """

    path: Path
    origin: str
    name: str
    fetched: bool = False
