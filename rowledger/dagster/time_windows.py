"""Windows of time as Dagster defines them, and the one window that a key names.

Dagster parses a key, and takes the first window that begins then or later. So it accepts texts that are not keys, and
it returns a wrong window for a few keys of days on which the clock is set (read in 1.13.27: for `*/15 1-3 * * *`
where an hour comes twice, and for Pacific/Apia, which had no 2011-12-30). A window is accepted only if it fits
between its neighbours, and if Dagster's key of it is the given text.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from rowledger.errors import SpecError, UnknownPartition

__all__ = ["latest_window", "require_window"]

_NONE = timedelta()


def require_window(definition: dg.TimeWindowPartitionsDefinition, key: str) -> tuple[datetime, datetime]:
    """Start and end of the window that the key names, in UTC; raises UnknownPartition."""
    window = _window(definition, key)
    if window is None:
        raise UnknownPartition(key, _known(definition))
    return window


def _window(definition: dg.TimeWindowPartitionsDefinition, key: str) -> tuple[datetime, datetime] | None:
    first, last = definition.get_first_partition_window(), definition.get_last_partition_window()
    if first is None or last is None:
        return None
    try:
        window = definition.time_window_for_partition_key(key)
    except (ValueError, OverflowError):  # the text is not a time in the format of the keys, or is out of all bounds
        return None
    start, end = _utc(window.start), _utc(window.end)
    if not _utc(first.start) <= start <= _utc(last.start):
        return None
    return (start, end) if _is_of_key(definition, window, key) else None


def _is_of_key(definition: dg.TimeWindowPartitionsDefinition, window: dg.TimeWindow, key: str) -> bool:
    """Whether the window has that key and no other, and neither overlaps its neighbours nor leaves a gap."""
    before = definition.get_prev_partition_window(window.start, respect_bounds=False)
    after = definition.get_next_partition_window(window.end, respect_bounds=False)
    if before is None or after is None:
        return False
    gaps = (_utc(window.start) - _utc(before.end), _utc(after.start) - _utc(window.end))
    if min(gaps) < _NONE or (max(gaps) > _NONE and not definition.exclusions):
        return False
    around = definition.get_partition_keys_in_time_window(dg.TimeWindow(before.start, after.end))
    return definition.get_partition_keys_in_time_window(window) == [key] and around.count(key) == 1


def _known(definition: dg.TimeWindowPartitionsDefinition) -> str:
    """The keys that exist, in one sentence."""
    kind = definition.schedule_type
    name = f"{kind.value.lower()} keys" if kind else f"keys of the cron schedule '{definition.cron_schedule}'"
    first, last = definition.get_first_partition_key(), definition.get_last_partition_key()
    if first is None or last is None:
        return f"{name} begin with the first window after {definition.start:%Y-%m-%d %H:%M} that is over"
    return f"{name} run from {first} to {last}, each the start of a window in {definition.timezone}"


def latest_window(definition: dg.TimeWindowPartitionsDefinition) -> tuple[str, datetime, datetime] | None:
    """Key, start and end of the last window that is over, or else of the first; None where Dagster has not one key for it.

    Raises SpecError where no whole window lies between start and end of the definition, or where two windows have the
    same key.
    """
    first = definition.get_next_partition_window(definition.start, respect_bounds=False)
    if first is None or (definition.end is not None and _utc(first.end) > _utc(definition.end)):
        raise SpecError(
            f"partitions from {definition.start:%Y-%m-%d %H:%M} to {definition.end:%Y-%m-%d %H:%M}: no whole window of the "
            f"cron schedule '{definition.cron_schedule}' lies between"
        )
    second = definition.get_next_partition_window(first.end, respect_bounds=False)
    assert second is not None  # noqa: S101 - the windows after the first have no end
    keys = definition.get_partition_keys_in_time_window(dg.TimeWindow(first.start, second.end))
    if len(set(keys)) < len(keys):
        raise SpecError(
            f"partitions of the cron schedule '{definition.cron_schedule}': two windows have the key {keys[0]!r}; give their "
            f"definition a longer format of keys than '{definition.fmt}'"
        )
    window = definition.get_last_partition_window() or first
    keys = definition.get_partition_keys_in_time_window(window)
    return (keys[0], _utc(window.start), _utc(window.end)) if len(keys) == 1 else None


def _utc(moment: datetime) -> datetime:
    """The moment in UTC: Python compares times of one zone by their local time, even where an hour comes twice."""
    return moment.astimezone(UTC)
