"""CSV files as a source: every record becomes a row, or a fault with its reason. Values stay text."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from rowledger.errors import SpecError
from rowledger.sources.csv_escapes import EscapeReading
from rowledger.sources.csv_fields import Dialect
from rowledger.sources.source_file import SourceFile
from rowledger.sources.text_ranges import RangedTextFiles, text_range
from rowledger.spec import ChunkDescriptor, NumberFormat, SourceContext, TextRange

if TYPE_CHECKING:  # who declares files reads no rows
    import polars as pl

    from rowledger.sources.text_reading import Text
    from rowledger.sources.text_records import ScannedText

__all__ = ["CsvFiles"]

_DIRECTIVE = re.compile("%.?", re.DOTALL)
_DIRECTIVES = "dmbBYyHIMSp"
_TYPED_BYTES_MIN = 4 * 2**20  # of a chunk, however few its rows are
_CLOCKS = (set("HM"), set("IMp"))


class CsvFiles(RangedTextFiles):
    """The CSV files of a partition, in the order of their names. An empty field is null, a quoted empty one is empty text.

    With `quoted_nulls` it is null, too. Blank lines are skipped, unless there is only one column: then a blank line is a row
    with a null.
    """

    files_may_join: ClassVar[bool] = True
    typed_rows_min: ClassVar[int] = 30_000
    """Rows of a chunk, however short, from which it saves time to convert columns of text before the contract sees them."""

    kind: Literal["csv"] = "csv"
    delimiter: str = Field(default=",", description="One ASCII character between two fields.")
    quote: str | None = Field(default='"', description="One ASCII character around fields; doubled it is itself.")
    escape: str | None = Field(
        default=None, description="One ASCII character that takes the meaning from the one behind it, such as \\."
    )
    escapes: Literal["auto", "literal", "postgresql", "mysql"] = Field(
        default="auto",
        description="How an escape and what is behind it are read: as that character (literal), or as PostgreSQL or MySQL do: "
        "\\t as a tab; auto: as either of these with escape \\ and no quote, otherwise literal.",
    )
    header: bool = Field(default=True, description="Whether the first record has the columns' names.")
    columns: tuple[str, ...] = Field(
        default=(), description="Names of the columns in order; if not given the header's, or else the contract's."
    )
    skip_lines: int = Field(default=0, ge=0, le=1_000_000, description="Lines before the header or the first row.")
    nulls: tuple[str, ...] = Field(default=("",), description="What an unquoted field holds that is null.")
    quoted_nulls: bool = Field(default=False, description="Whether a quoted field that holds it is null, too.")
    decimal: Literal[".", ","] = Field(default=".", description="The sign before the fraction of a number.")
    thousands: Literal[".", ",", " ", "'"] | None = Field(
        default=None, description="The sign between groups of three digits of a number; none if not given."
    )
    date_formats: tuple[str, ...] = Field(
        default=(),
        description="Formats of dates and timestamps besides ISO's, as %d.%m.%Y or %m/%d/%Y %H:%M; the first that fits counts.",
    )
    ragged: Literal["refuse", "fill"] = Field(
        default="refuse",
        description="What a record with fewer fields is: refused, or filled up with columns that it does not have.",
    )

    @model_validator(mode="after")
    def _sound_dialect(self) -> Self:
        special = [c for c in (self.delimiter, self.quote, self.escape) if c is not None]
        if any(len(c) != 1 or not c.isascii() or c in "\r\n\0" for c in special):
            raise SpecError("delimiter, quote and escape are one ASCII character each, and no line end")
        if len(set(special)) != len(special):
            raise SpecError("delimiter, quote and escape are three different characters")
        if self.escapes in {"postgresql", "mysql"} and self.escape is None:
            raise SpecError(f"escapes={self.escapes!r} needs an escape; declare escape='\\\\'")
        if self.delimiter.isalnum() and self._reading != "literal":
            raise SpecError("a letter or digit behind an escape has a meaning of its own; choose another delimiter")
        for form in self.date_formats:
            _require_date_format(form)
        if self.decimal == self.thousands:
            raise SpecError(f"decimal and thousands are both {self.decimal!r}; they are two different characters")
        if len(set(self.columns)) != len(self.columns):
            raise SpecError(f"columns {list(self.columns)} name a column twice")
        return self

    @property
    def number_format(self) -> NumberFormat | None:
        written = NumberFormat(self.decimal, self.thousands)
        return None if written == NumberFormat() else written

    @property
    def date_notations(self) -> tuple[str, ...]:
        return self.date_formats

    @property
    def _reading(self) -> EscapeReading:
        if self.escapes == "auto":
            return "either" if self.escape == "\\" and self.quote is None else "literal"
        return self.escapes

    @property
    def has_end_mark(self) -> bool:
        """Whether a last line with only an escape and a point ends the data."""
        return self._reading in {"either", "postgresql"}

    def dialect_of(self, facts: TextRange) -> Dialect:
        """The dialect of a file, which is declared except for these facts."""
        quote, escape = (None if c is None else ord(c) for c in (self.quote, self.escape))
        return Dialect(
            ord(self.delimiter), quote, escape, cr_ends_lines=facts.cr_ends_lines, reading=self._reading, codec=facts.codec,
            quoted_nulls=self.quoted_nulls,
        )  # fmt: skip

    def column_names(self, descriptor: ChunkDescriptor) -> tuple[str, ...]:
        assert descriptor.text is not None  # noqa: S101, `chunks` makes only such descriptors
        return descriptor.text.columns

    def frame_schema(self, descriptor: ChunkDescriptor) -> "pl.Schema":
        import polars as pl  # noqa: PLC0415, who declares files reads no rows

        return pl.Schema(dict.fromkeys(self.column_names(descriptor), pl.String()))

    def _scan(self, file: SourceFile, text: "Text", scope: SourceContext) -> "Iterator[ScannedText]":
        from rowledger.sources.csv_scan import scan_csv  # noqa: PLC0415, workers do not scan

        return scan_csv(self, file, text, scope)

    def _frame(self, text: bytes, descriptor: ChunkDescriptor) -> "pl.DataFrame":
        from rowledger.sources.csv_reader import CsvReader  # noqa: PLC0415, only workers read

        return CsvReader(self, descriptor).frame(text)

    def read_typed(self, descriptor: ChunkDescriptor, types: "Mapping[str, pl.DataType]") -> "pl.DataFrame | None":
        if descriptor.rows < self.typed_rows_min and descriptor.file_bytes < _TYPED_BYTES_MIN:
            return None
        from rowledger.sources.csv_reader import CsvReader  # noqa: PLC0415, only workers read

        return CsvReader(self, descriptor).typed_frame(text_range(descriptor), types)


def _require_date_format(form: str) -> None:
    """Raise SpecError for a format that does not say which day it is, has half a time, or has directives that are not known."""
    directives = _DIRECTIVE.findall(form)
    names = {directive[1:] for directive in directives}
    if not ("d" in names and names & set("Yy") and names & set("mbB")):
        raise SpecError(f"date_formats: {form!r} must have a day (%d), a month (%m, %b or %B) and a year (%Y or %y)")
    if unknown := sorted(set(directives) - {f"%{name}" for name in _DIRECTIVES}):
        raise SpecError(
            f"date_formats: {form!r} has {', '.join(unknown)}; known are {', '.join(f'%{name}' for name in _DIRECTIVES)}"
        )
    if names & set("HIMSp") and names & set("HIMp") not in _CLOCKS:
        raise SpecError(
            f"date_formats: {form!r} must have a time of day as %H and %M or as %I, %M and %p, each also with %S, or none"
        )
