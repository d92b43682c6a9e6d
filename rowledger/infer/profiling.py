"""Profile all rows of a file, and find the markers of nulls that its source has to be told."""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from rowledger.infer import field_type as of
from rowledger.infer.field_type import FieldType
from rowledger.infer.file_rows import FileRows
from rowledger.infer.frame_profile import FrameProfile
from rowledger.infer.text_profile import TextProfile
from rowledger.sources import CsvFiles
from rowledger.spec import FAULT, RESERVED_PREFIX

__all__ = ["null_settings", "profiled"]

_MARKERS_MAX = 50
_SURE_MARKERS = {"\\N"}
"""Markers that are no text of their own."""


def profiled(rows: FileRows, names: Sequence[str]) -> dict[str, TextProfile | FrameProfile]:
    """A profile of each column by its name in the source; `names` are known before there are rows."""
    is_csv, declares = isinstance(rows.source, CsvFiles), not rows.source.is_streamed
    profiles: dict[str, TextProfile | FrameProfile] = {}
    for whole in rows.frames():
        frame = whole.filter(pl.col(FAULT).is_null()) if FAULT in whole.columns else whole
        for name in frame.columns:
            if not name.startswith(RESERVED_PREFIX):
                profile = profiles.setdefault(name, TextProfile() if is_csv else FrameProfile(declares))
                profile.add(frame[name])
    return profiles or {name: TextProfile() for name in names}


def null_settings(
    source: CsvFiles, columns: Iterable[tuple[TextProfile | FrameProfile, FieldType]], *, are_quoted: bool
) -> dict[str, Any]:
    """The settings of the source for the null markers of the columns that are more than text; empty if there are none.

    A column of texts alone may mean what it says: NA is also a country.
    """
    found: dict[str, None] = {}
    for profile, chosen in columns:
        if isinstance(profile, TextProfile):
            found |= dict.fromkeys(profile.markers if chosen != of.TEXT else profile.markers.keys() & _SURE_MARKERS)
    markers = list(found)[:_MARKERS_MAX]
    if not markers:
        return {}
    nulls = (*source.nulls, *sorted(set(markers) - {*source.nulls}))
    return {"nulls": nulls, "quoted_nulls": source.quoted_nulls or are_quoted or "" in markers}
