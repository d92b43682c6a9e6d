"""The partitions of a table whose files have a date in their path."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rowledger.infer.dates_in_paths import DatedPath
from rowledger.spec import Cadence

__all__ = ["FilePartitions"]


@dataclass(frozen=True, slots=True)
class FilePartitions:
    """One partition for each window of time that a file is for; `column` holds it."""

    path: DatedPath
    column: str

    @property
    def told(self) -> str:
        """What is a partition, and which one the file is."""
        return f"One partition for each {self.path.cadence}, from a file of its own; this file is {self.path.key}."

    @property
    def declared(self) -> dict[str, Any]:
        """The partitions in YAML, from this file's on. A window that is not over is included."""
        start: dict[str, Any] = {"start": self.path.key}
        match self.path.cadence:
            case Cadence.YEAR:
                found = {"type": "time_window", "cron_schedule": "0 0 1 1 *", "fmt": "%Y-%m-%d", **start}
            case Cadence.DAY:
                found = {"type": "daily", **start}
            case _:
                found = {"type": f"{self.path.cadence}ly", **start}
        window = self.path.partition(self.column).window
        is_over = window is None or window.upper <= datetime.now(UTC)
        return found if is_over else {**found, "end_offset": 1}

    @property
    def definition(self) -> str:
        """The partitions in Python."""
        given = self.declared
        name = "".join(word.capitalize() for word in given.pop("type").split("_"))
        start = "start" if name == "TimeWindow" else "start_date"
        arguments = {start: given.pop("start"), **given}
        written = (f"{key}={value!r}".replace("'", '"') for key, value in arguments.items())
        return f"dg.{name}PartitionsDefinition({', '.join(written)})"
