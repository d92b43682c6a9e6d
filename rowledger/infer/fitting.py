"""Fit a row model to a file: profile its rows, choose types, try the model on all rows, and loosen what refuses too many."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from rowledger.counted import counted
from rowledger.infer import field_type as of
from rowledger.infer.dates_in_paths import DatedPath
from rowledger.infer.field_type import FieldType, looser
from rowledger.infer.file_partitions import FilePartitions
from rowledger.infer.file_rows import FileRows
from rowledger.infer.formats import FoundSource
from rowledger.infer.frame_profile import FrameProfile
from rowledger.infer.inferred_table import InferredColumn, InferredTable, model_text
from rowledger.infer.names import class_name, field_names
from rowledger.infer.notation import Notation, notation_of
from rowledger.infer.profiling import null_settings, profiled
from rowledger.infer.readings import best_reading
from rowledger.infer.shapes import CONVERTIBLE_DATES, Shape
from rowledger.infer.text_profile import TextProfile
from rowledger.infer.text_types import FIXED_PLACES_MAX, Candidate, text_candidate
from rowledger.infer.trial import Refused, Trial, row_model, try_model
from rowledger.sources import CsvFiles
from rowledger.spec import ABSENT_PREFIX, DYNAMIC, FAULT

__all__ = ["fit"]

_TABLE = "tried"
_HALF = 0.5
_REFUSED_SHARE_MAX = 0.01
_ATTEMPTS_MAX = 100
_EXACT = {of.SMALLINT, of.INTEGER, of.BIGINT, of.DOUBLE, of.NUMERIC}
"""Types of numbers, of which no value is refused for its size or its digits as long as another type takes it."""


@dataclass
class _Column:
    """A column while its type is sought."""

    name: str
    source_name: str
    profile: TextProfile | FrameProfile
    candidate: Candidate = field(default_factory=lambda: Candidate(of.TEXT))
    nulls: int = 0
    absent: int = 0

    @property
    def type(self) -> FieldType:
        return self.candidate.type

    def is_guessed(self, notation: Notation) -> bool:
        """Whether its numbers could be others, of a thousand times the size or the thousandth part."""
        return self.type.is_number and isinstance(self.profile, TextProfile) and notation.is_guess_for(self.profile)

    def has_fixed_places(self, notation: Notation) -> bool:
        """Whether it is a double whose numbers look like those of a numeric, but for the zeros that a float would not have."""
        if self.type != of.DOUBLE or not isinstance(self.profile, TextProfile) or self.profile.shapes[Shape.EXPONENT]:
            return False
        measure = self.profile.measure(notation.number_shapes, notation.decimal)
        is_fixed = measure.fractions == measure.numbers and measure.places_min == measure.places_max <= FIXED_PLACES_MAX
        return is_fixed and (measure.places_max == 1 or not measure.written_zeros)

    def inferred(self, rows: int) -> InferredColumn:
        return InferredColumn(
            self.name, self.source_name, self.type, nullable=self.nulls > 0 or not rows, is_optional=self.absent > 0,
            comment=self._comment(rows),
        )  # fmt: skip

    def _comment(self, rows: int) -> str:
        if rows and self.nulls == rows:
            return "No row of the file has a value here."
        if isinstance(self.profile, TextProfile) and self.type == of.INTEGER:
            measure = self.profile.measure({Shape.INTEGER}, "")
            is_day = measure.days == measure.numbers > 0
            return 'Each could be a day: for a date, give the source date_formats=("%Y%m%d",).' if is_day else ""
        if isinstance(self.profile, TextProfile) and self.type == of.TEXT:
            return _comment_on_texts(self.profile)
        return ""


def _comment_on_texts(profile: TextProfile) -> str:
    """Why a column that looks like more than text is text."""
    known = profile.shapes.total()
    if profile.is_surely_text or not known:
        return ""
    if profile.shapes[Shape.ZERO_LED]:
        return "Text, since numbers would lose their leading zeros."
    if profile.shapes[Shape.MARKED] and profile.shapes[Shape.TEXT] <= known * _REFUSED_SHARE_MAX:
        return "Text, since its numbers have a currency, a percent sign, or a minus that is no hyphen before them."
    shape, count = profile.shapes.most_common(1)[0]
    if shape in (Shape.TEXT, Shape.INTEGER) or count < known * (1 - _REFUSED_SHARE_MAX):
        return ""
    if shape in CONVERTIBLE_DATES and profile.dates.best(shape, is_month_first=None)[0] is None:
        return "Text: day and month could be either part of its dates. Say which, as date_formats of the source."
    return f"Text: {counted(count, 'value')} of the shape: {shape}."


def fit(found: FoundSource, path: DatedPath | None = None) -> InferredTable:
    """Fit a row model to the source's rows, which may be those of one window of time; raises SourceError."""
    with best_reading(found) as rows:
        profiles = profiled(rows, found.columns)
        texts = [profile for profile in profiles.values() if isinstance(profile, TextProfile)]
        delimiter = rows.source.delimiter if isinstance(rows.source, CsvFiles) else ""
        notation = notation_of(texts, delimiter=delimiter, misfits_share=_REFUSED_SHARE_MAX)
        columns = _typed(profiles, notation, rows.count)
        if not isinstance(rows.source, CsvFiles):
            return _Fit(path, rows, columns, notation).run()
        chosen = [(column.profile, column.type) for column in columns]
        nulls = null_settings(rows.source, chosen, are_quoted=found.quotes_nulls)
        source = rows.source.model_copy(update={**notation.settings(), **nulls})
        if not nulls:
            rows.source = source
            return _Fit(path, rows, columns, notation).run()
    with FileRows(source) as rows:
        return _Fit(path, rows, columns, notation).run()


def _typed(profiles: Mapping[str, TextProfile | FrameProfile], notation: Notation, rows: int) -> list[_Column]:
    """The columns with the types that their profiles suggest. All misfits together stay within the share of rows."""
    columns = [
        _Column(name, source_name, profile)
        for name, (source_name, profile) in zip(field_names(profiles), profiles.items(), strict=True)
    ]
    limit = int(rows * _REFUSED_SHARE_MAX)
    for column in columns:
        column.candidate = _candidate(column.profile, notation, limit)
    left = limit
    for column in sorted(columns, key=lambda column: column.candidate.misfits):
        if column.candidate.misfits > left:
            column.candidate = _candidate(column.profile, notation, 0)
        left -= column.candidate.misfits
    return columns


def _candidate(profile: TextProfile | FrameProfile, notation: Notation, misfits_max: int) -> Candidate:
    if isinstance(profile, TextProfile):
        return text_candidate(profile, notation, misfits_max=misfits_max)
    return profile.candidate(misfits_max)


class _Fit:
    """The attempts to fit a row model to the rows."""

    def __init__(self, path: DatedPath | None, rows: FileRows, columns: list[_Column], notation: Notation) -> None:
        self._path, self._rows, self._columns, self._notation = path, rows, columns, notation
        self._notes: list[str] = []

    def run(self) -> InferredTable:
        self._count_nulls()
        attempts = 1
        trial = self._attempt()
        while attempts < _ATTEMPTS_MAX and self._loosen(trial.refused):
            trial = self._attempt()
            attempts += 1
        source, key, partitions = self._rows.source, trial.key, None
        if self._path is not None and trial.partition_by is not None:
            partitions = FilePartitions(self._path, trial.partition_by)
            source = source.model_copy(update={"path": self._path.template})
            # The primary key of a partitioned table has the column of its partitions.
            key = tuple(dict.fromkeys((*key, trial.partition_by))) if key else ()
        return InferredTable(
            name=_TABLE,
            file_name="",
            source=source,
            columns=self._inferred(),
            key=key,
            rows=self._rows.count,
            refused=trial.refused,
            notes=(*self._notes, *self._things_to_check()),
            partitions=partitions,
        )

    def _things_to_check(self) -> Iterator[str]:
        """What the file cannot tell. A null marker or a format is a setting, and no value of a row."""
        source = self._rows.source
        if isinstance(source, CsvFiles):
            if markers := [repr(marker) for marker in source.nulls if marker]:
                yield f"Null is what is written as {', '.join(markers)}, in columns of texts, too."
            if source.date_formats:
                yield f"Dates are read as {', '.join(source.date_formats)}: see that day and month are not mixed up."
            if guessed := [column.name for column in self._columns if column.is_guessed(self._notation)]:
                yield (
                    f"Numbers of {', '.join(guessed)} are read with {self._notation.signs}: the file does not tell whether "
                    "comma and point are meant the other way; if they are, say so as decimal and thousands of the source."
                )
            if doubles := [column.name for column in self._columns if column.has_fixed_places(self._notation)]:
                yield (
                    f"Numbers of {', '.join(doubles)} are double, though all have equally many decimal places: none is "
                    "written like 1.50, by which places are known to count. For exact numbers declare Decimal, with "
                    "max_digits and decimal_places."
                )
            if len(self._columns) == 1 and self._are_aligned(self._columns[0].source_name):
                yield (
                    "Each line is one text, in which blanks seem to align columns: no source divides these. Write the file "
                    "with a delimiter, or divide the lines by a transform."
                )
            if not source.header or source.columns:
                yield "Some columns have no name of their own in the file: name them in the source's columns and in the model."
        yield from (f"{column.name}: {column.comment}" for column in self._inferred() if column.comment)

    def _are_aligned(self, name: str) -> bool:
        """Whether most lines of the first rows have several blanks in a row between other characters."""
        frame = next(self._rows.frames(), None)
        if frame is None or name not in frame.columns or frame[name].dtype != pl.String:
            return False
        aligned = frame[name].str.contains(r"\S {2,}\S")
        return int(aligned.sum()) > _HALF * len(aligned)

    def _inferred(self) -> tuple[InferredColumn, ...]:
        return tuple(column.inferred(self._rows.count) for column in self._columns)

    def _count_nulls(self) -> None:
        by_source_name = {column.source_name: column for column in self._columns}
        for frame in self._rows.frames():
            rows = frame.filter(pl.col(FAULT).is_null()) if FAULT in frame.columns else frame
            nulls = rows.null_count()
            for name, column in by_source_name.items():
                absent = int(rows[ABSENT_PREFIX + name].sum()) if ABSENT_PREFIX + name in rows.columns else 0
                absent = absent if name in rows.columns else rows.height
                column.absent += absent
                column.nulls += int(nulls[name][0]) if name in rows.columns else absent
                if name in rows.columns and rows[name].dtype == DYNAMIC:
                    column.nulls += int((rows[name].struct.field(DYNAMIC.fields[0].name) == "null").sum())

    def _attempt(self) -> Trial:
        text = model_text(self._inferred(), _TABLE)
        parts = [column.name for column in self._columns if not column.nulls and column.type.may_identify]
        model = row_model(text, class_name(_TABLE))
        return try_model(model, self._rows.source, self._rows.frames(), parts, self._path)

    def _loosen(self, refused: Refused) -> bool:
        """Choose a wider type for the columns that refuse too much; False if nothing has to or can be changed."""
        limit = int(self._rows.count * _REFUSED_SHARE_MAX)
        too_many = refused.rows > limit
        changed = False
        worst = refused.worst
        for column in self._columns:
            count = refused.of(column.name)
            if not count:
                continue
            is_unexpected = not column.candidate.misfits and column.type in _EXACT
            if (too_many and column.name == worst) or is_unexpected:
                wider = looser(column.type, from_text=_is_of_texts(column.profile))
                if wider is not None:
                    column.candidate = Candidate(wider)
                    changed = True
        if too_many and not changed:
            self._notes.append("More than 1 % of the rows are refused, and no other type takes them: see the reasons.")
        return changed


def _is_of_texts(profile: TextProfile | FrameProfile) -> bool:
    return isinstance(profile, TextProfile) or profile.is_of_texts
