"""The partitions of a table whose files have a date in their path."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rowledger.counted import counted
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
        ahead = self._end_offset - 1
        is_ahead = (
            f", {counted(ahead, self.path.cadence)} after now, which end_offset has room for" if ahead > 0 else ""
        )
        return f"One partition for each {self.path.cadence}, from a file of its own; this file is {self.path.key}{is_ahead}."

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
        return {**found, "end_offset": self._end_offset} if self._end_offset else found

    @property
    def _end_offset(self) -> int:
        """How many windows that are not over belong to the partitions, for this file's to be among them."""
        window = self.path.partition(self.column).window
        if window is None:
            return 0
        now, lower = datetime.now(UTC), window.lower.astimezone(UTC)
        years, months = lower.year - now.year, lower.month - now.month
        match self.path.cadence:
            case Cadence.YEAR:
                ahead = years
            case Cadence.MONTH:
                ahead = 12 * years + months
            case Cadence.DAY:
                ahead = (lower.date() - now.date()).days
            case _:
                ahead = (lower - now.replace(minute=0, second=0, microsecond=0)) // timedelta(hours=1)
        return max(0, ahead + 1)

    @property
    def definition(self) -> str:
        """The partitions in Python."""
        given = self.declared
        name = "".join(word.capitalize() for word in given.pop("type").split("_"))
        start = "start" if name == "TimeWindow" else "start_date"
        arguments = {start: given.pop("start"), **given}
        written = (f"{key}={value!r}".replace("'", '"') for key, value in arguments.items())
        return f"dg.{name}PartitionsDefinition({', '.join(written)})"
