"""Profile all rows of a file, and find the markers of nulls that its source has to be told."""

from collections.abc import Iterable, Sequence

import polars as pl

from rowledger.infer import field_type as of
from rowledger.infer.field_type import FieldType
from rowledger.infer.file_rows import FileRows
from rowledger.infer.frame_profile import FrameProfile
from rowledger.infer.text_profile import TextProfile
from rowledger.sources import CsvFiles
from rowledger.spec import FAULT, RESERVED_PREFIX, Source

__all__ = ["profiled", "with_null_markers"]

_MARKERS_MAX = 50
_SURE_MARKERS = {"\\N"}
"""Markers that are no text of their own."""


def profiled(rows: FileRows, names: Sequence[str]) -> dict[str, TextProfile | FrameProfile]:
    """A profile of each column by its name in the source; `names` are known before there are rows."""
    is_csv, declares = isinstance(rows.source, CsvFiles), not rows.source.spools
    profiles: dict[str, TextProfile | FrameProfile] = {}
    for whole in rows.frames():
        frame = whole.filter(pl.col(FAULT).is_null()) if FAULT in whole.columns else whole
        for name in frame.columns:
            if not name.startswith(RESERVED_PREFIX):
                profile = profiles.setdefault(name, TextProfile() if is_csv else FrameProfile(declares))
                profile.add(frame[name])
    return profiles or {name: TextProfile() for name in names}


def with_null_markers(
    source: Source, columns: Iterable[tuple[TextProfile | FrameProfile, FieldType]], *, are_quoted: bool
) -> Source:
    """The source with the null markers of the columns that are more than text; the given source if there are none.

    A column of texts alone may mean what it says: NA is also a country.
    """
    if not isinstance(source, CsvFiles):
        return source
    found: dict[str, None] = {}
    for profile, chosen in columns:
        if isinstance(profile, TextProfile):
            found |= dict.fromkeys(profile.markers if chosen != of.TEXT else profile.markers.keys() & _SURE_MARKERS)
    markers = list(found)[:_MARKERS_MAX]
    if not markers:
        return source
    has_quoted = are_quoted or "" in markers
    nulls = (*source.nulls, *sorted(set(markers) - {*source.nulls}))
    return source.model_copy(update={"nulls": nulls, **({"quoted_nulls": True} if has_quoted else {})})
