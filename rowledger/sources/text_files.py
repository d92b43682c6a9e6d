"""The declaration of text files: their encoding, their compression, and limits. How they are read is `text_reading`."""

import codecs
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from rowledger.errors import SourceError, SpecError
from rowledger.sources.file_source import FileSource
from rowledger.sources.source_file import SourceFile

__all__ = ["ENDINGS", "Compression", "TextFiles"]

ENDINGS = (".gz", ".gzip", ".zst", ".zstd")
"""The endings of compressed files."""

Compression = Literal["auto", "none", "gzip", "zstd"]

_UNFIT_CODECS = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf_7"}


class TextFiles(FileSource):
    """Text files in any encoding, which may be compressed."""

    may_repeat: ClassVar[bool] = True

    encoding: str = Field(default="utf-8", description="Encoding of the files, by a name that Python knows.")
    compression: Compression = Field(
        default="auto", description="gzip or zstd; auto: by the file's ending (.gz, .zst) or its first bytes."
    )
    record_bytes_max: int = Field(
        default=64 * 2**20, ge=1024, le=2**30, description="Bytes that one line or record may have, decompressed."
    )
    expansion_max: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="Decompressed bytes that one compressed byte may become, counted from 16 MiB on.",
    )
    columns_max: int = Field(
        default=1_600, ge=1, le=100_000, description="Columns a file may have; a PostgreSQL table has 1,600 at most."
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)  # accepts only text encodings
            name = codecs.lookup(value).name
        except LookupError:
            raise SpecError(f"encoding {value!r} is not known; write e.g. utf-8, utf-16, latin-1 or cp1252") from None
        if name.replace("-", "_") in _UNFIT_CODECS:
            raise SpecError(
                f"encoding {value!r} does not say for each byte whether it is right; convert the file first"
            )
        return value

    def require_short(self, size: int, file: SourceFile) -> None:
        """Raise SourceError if a record of this size is longer than `record_bytes_max`."""
        if size > self.record_bytes_max:
            raise SourceError(
                f"{file.origin}: a record of {size:,} bytes or more, {self.record_bytes_max:,} are allowed; fix the file's "
                "line ends and quotes, or raise the source's record_bytes_max"
            )
