"""Durations in ISO 8601 with a sign on each part, as PostgreSQL and Arrow write intervals; pydantic reads only one sign."""

import re
from datetime import timedelta
from typing import Any

__all__ = ["with_one_sign"]

_SIGNED_PARTS = re.compile(
    r"P(?:(?P<weeks>[-+]?\d+)W)?(?:(?P<days>[-+]?\d+)D)?"
    r"(?:T(?:(?P<hours>[-+]?\d+)H)?(?:(?P<minutes>[-+]?\d+)M)?(?:(?P<s>[-+]?\d+)(?:\.(?P<f>\d{1,6}))?S)?)?"
)
_A_SIGN_WITHIN = re.compile(r"P.*[-+]")


def with_one_sign(value: Any) -> Any:  # noqa: ANN401, a cell may be anything
    """The same duration in a text that pydantic reads; any other value unchanged.

    A day is 24 hours. Years, months and digits below the microsecond are unchanged: a later check refuses them.
    """
    if not isinstance(value, str) or not _A_SIGN_WITHIN.match(value) or not (found := _SIGNED_PARTS.fullmatch(value)):
        return value
    parts = {name: int(found[name] or 0) for name in ("weeks", "days", "hours", "minutes")}
    fraction = int((found["f"] or "").ljust(6, "0"))
    seconds = found["s"] or "0"
    try:
        total = timedelta(**parts, seconds=int(seconds), microseconds=-fraction if seconds[0] == "-" else fraction)
    except OverflowError:
        return value
    sign, total = ("-", -total) if total < timedelta() else ("", total)
    return f"{sign}P{total.days}DT{total.seconds}.{total.microseconds:06}S"
