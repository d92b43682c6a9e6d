"""What a contestant is told, and which part of the file each of its processes reads."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["KEY", "KEYED_TABLE", "SCHEMA", "TABLE", "Task"]

SCHEMA = "rowledger_bench"
TABLE = "lineitem"
KEYED_TABLE = "lineitem_keyed"
KEY = ("l_orderkey", "l_linenumber")


@dataclass(frozen=True, slots=True)
class Task:
    """One load, as one of its processes sees it: process `share` of `processes`.

    The file is `landing`/lineitem/lineitem.parquet. `copy_files` are its rows in binary COPY, for who loads ready files.
    """

    url: str
    landing: Path
    table: str
    scratch: Path
    processes: int = 1
    share: int = 0
    copy_files: tuple[Path, ...] = ()

    @property
    def file(self) -> Path:
        """The Parquet file."""
        return self.landing / "lineitem" / "lineitem.parquet"
