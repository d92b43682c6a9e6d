"""The ages that options take: 90d, 12h, 2w, 30m; a number alone is in days."""

import re
from dataclasses import dataclass

import click

__all__ = ["Age", "age_of"]

_SECONDS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([mhdw]?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Age:
    """An age as it was given, and in seconds."""

    text: str
    seconds: float


def age_of(_ctx: click.Context, _option: click.Parameter, text: str | None) -> Age | None:
    """The callback of an option that takes an age."""
    if text is None:
        return None
    if (match := _AGE.fullmatch(text)) is None:
        raise click.BadParameter(f"{text!r} is not an age; write a number and m, h, d or w, such as 90d")
    return Age(text, float(match[1]) * _SECONDS[match[2] or "d"])
