"""What a contestant is told: which rows, in which format, into which table, and the part of them that a process loads."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

__all__ = ["FORMATS", "SCHEMA", "SOURCE_SCHEMA", "Task"]

SCHEMA = "rowledger_bench"
SOURCE_SCHEMA = "rowledger_bench_source"
"""Has a table of each data set, for queries to read from."""

FORMATS = {
    "parquet": "Parquet",
    "csv": "CSV",
    "gzip": "CSV in gzip",
    "ndjson": "NDJSON",
    "dicts": "dicts from a function",
    "frames": "polars frames from a function",
    "query": "a query on a PostgreSQL database",
}
"""Where rows come from, and what reports call it."""

_SUFFIXES = {"csv": ".csv", "gzip": ".csv.gz", "ndjson": ".ndjson"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One load, as one of its processes sees it: process `share` of `processes`.

    The rows are the file `folder`/`dataset`.parquet and, in the same order, the file of the format. `columns` are the SQL types
    of the table's columns by name. `copy_files` are the rows in binary COPY, for the contestant that loads ready files.
    """

    dataset: str
    format: str
    row: str
    folder: Path
    table: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    scratch: Path = Path()
    processes: int = 1
    share: int = 0
    copy_files: tuple[Path, ...] = field(default=())

    @property
    def url(self) -> str:
        """The server's URL, with its password; arguments of a process can be read by everyone on the machine."""
        return os.environ["DATABASE_URL"]

    @property
    def parquet(self) -> Path:
        """The rows as Parquet, which functions read theirs from."""
        return self.folder / f"{self.dataset}.parquet"

    @property
    def file(self) -> Path:
        """The file of the format; that of Parquet where the format is no file."""
        return self.parquet.with_suffix(_SUFFIXES.get(self.format, ".parquet"))

    @property
    def query(self) -> str:
        """The query that gives the rows, on the same server."""
        return f"select {', '.join(self.columns)} from {SOURCE_SCHEMA}.{self.dataset}"  # noqa: S608 - our own names

    def of_share(self, share: int) -> Self:
        """The same load, as another of its processes sees it."""
        return replace(self, share=share)

    def as_json(self) -> str:
        """The task in one line, for another process."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `as_json` wrote."""
        told: dict[str, Any] = json.loads(text)
        told |= {name: Path(told[name]) for name in ("folder", "scratch")}
        return cls(**told | {"key": tuple(told["key"]), "copy_files": tuple(map(Path, told["copy_files"]))})
