"""Profile all rows of a file, and find what its source has to be told: the encoding, and the markers of nulls."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from rowledger.infer import field_type as of
from rowledger.infer.csv_dialect import western
from rowledger.infer.field_type import FieldType
from rowledger.infer.file_rows import FileRows
from rowledger.infer.frame_profile import FrameProfile
from rowledger.infer.text_profile import TextProfile
from rowledger.sources import CsvFiles, NdjsonFiles
from rowledger.spec import FAULT, LINE, RESERVED_PREFIX, Source

__all__ = ["Faults", "profiled", "with_encoding", "with_null_markers"]

_MARKERS_MAX = 50


@dataclass
class Faults:
    """Lines that are no rows: how many there are, and those that do not decode."""

    rows: int = 0
    undecodable: list[bytes] = field(default_factory=list)


def profiled(rows: FileRows, names: Sequence[str]) -> tuple[dict[str, TextProfile | FrameProfile], Faults]:
    """A profile of each column by its name in the source, `names` first, and the lines that are no rows."""
    is_csv = isinstance(rows.source, CsvFiles)
    declares = not rows.source.spools
    profiles: dict[str, TextProfile | FrameProfile] = {
        name: TextProfile() if is_csv else FrameProfile(declares) for name in names
    }
    faults = Faults()
    for whole in rows.frames():
        frame = _without_faults(whole, faults) if FAULT in whole.columns else whole
        for name in frame.columns:
            if name.startswith(RESERVED_PREFIX):
                continue
            profile = profiles.get(name)
            if profile is None:
                profile = profiles[name] = TextProfile() if is_csv else FrameProfile(declares)
            profile.add(frame[name])
    return profiles, faults


def _without_faults(frame: pl.DataFrame, faults: Faults) -> pl.DataFrame:
    is_fault = frame[FAULT].is_not_null()
    faults.rows += int(is_fault.sum())
    lines = frame.filter(is_fault & frame[FAULT].str.starts_with("has bytes that are no "))[LINE]
    if len(lines):
        faults.undecodable += lines.drop_nulls().to_list()
    return frame.filter(~is_fault).drop(FAULT, LINE)


def with_encoding(source: Source, faults: Faults) -> Source | None:
    """The source with another encoding, if lines beyond the file's beginning are not UTF-8."""
    if not isinstance(source, CsvFiles | NdjsonFiles) or source.encoding != "utf-8" or not faults.undecodable:
        return None
    return source.model_copy(update={"encoding": western(b"\n".join(faults.undecodable))})


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
        if isinstance(profile, TextProfile) and chosen != of.TEXT:
            found |= dict.fromkeys(profile.markers)
    markers = list(found)[:_MARKERS_MAX]
    if not markers:
        return source
    has_quoted = are_quoted or "" in markers
    nulls = ("", *sorted(marker for marker in markers if marker))
    return source.model_copy(update={"nulls": nulls, **({"quoted_nulls": True} if has_quoted else {})})
