"""Files with one JSON object a line as a source: every line becomes a row, or a fault with its reason.

No value is read as another one: a missing key is not null, true is not 1, and numbers keep their digits.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from rowledger.errors import SourceError
from rowledger.sources.source_file import SourceFile
from rowledger.sources.text_ranges import RangedTextFiles, text_range
from rowledger.spec import ChunkDescriptor, SourceContext

if TYPE_CHECKING:  # who declares files reads no rows
    import polars as pl

    from rowledger.sources.text_reading import Text
    from rowledger.sources.text_records import ScannedText

__all__ = ["NdjsonFiles"]

_WANTED = "; wanted is one object a line"


class NdjsonFiles(RangedTextFiles):
    """The files of a partition with one JSON object a line, in the order of their names. Blank lines are skipped.

    A column has the type that all its values in a chunk share: text, Boolean, integer, number, list or object. Where they have
    several types, each value keeps its own and is checked separately.
    """

    columns_vary: ClassVar[bool] = True
    typed_rows_min: ClassVar[int] = 10_000
    """Rows of a chunk from which it pays to import what makes typed columns."""

    kind: Literal["ndjson"] = "ndjson"

    def frame_schema(self, descriptor: ChunkDescriptor) -> "pl.Schema":
        return self.read(descriptor).schema

    def _scan(self, file: SourceFile, text: "Text", scope: SourceContext) -> "Iterator[ScannedText]":
        from rowledger.sources.ndjson_scan import scan_ndjson  # noqa: PLC0415, workers do not scan

        return scan_ndjson(self, file, text, scope)

    def read_typed(self, descriptor: ChunkDescriptor, types: "Mapping[str, pl.DataType]") -> "pl.DataFrame | None":
        if descriptor.rows < self.typed_rows_min:
            return None
        return self._frame(text_range(descriptor), descriptor, types)

    def _frame(
        self, text: bytes, descriptor: ChunkDescriptor, types: "Mapping[str, pl.DataType] | None" = None
    ) -> "pl.DataFrame":
        from rowledger.sources.json_frames import JsonFrames, Unfit  # noqa: PLC0415, only workers parse

        assert descriptor.text is not None  # noqa: S101, `chunks` makes only such descriptors
        builder = JsonFrames(
            descriptor.text, encoding=self.encoding, columns_max=self.columns_max, wanted=_WANTED, types=types
        )
        try:
            frame = builder.frame_of_lines(text if text.endswith(b"\n") else text + b"\n")
        except Unfit as unfit:
            raise SourceError(
                f"{descriptor.origin}: {unfit}, from row {descriptor.origin_row} on; fix the file, or raise the source's "
                "columns_max"
            ) from None
        if frame.height != descriptor.rows:
            raise SourceError(
                f"{descriptor.origin}: {frame.height} rows were read where {descriptor.rows} were counted: an error of this "
                "program, please report it"
            )
        return frame
