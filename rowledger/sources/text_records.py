"""Where the records of a text begin and end, and which of them are damaged."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from rowledger.spec import TextRange

__all__ = ["Positions", "Records", "ScannedText", "marked_positions", "positions_of"]

Positions = npt.NDArray[np.int64]


def positions_of(byte: int, content: npt.NDArray[np.uint8]) -> Positions:
    """Where the byte is in the content."""
    return marked_positions(content == byte)


def marked_positions(is_found: npt.NDArray[np.bool_]) -> Positions:
    """The places of few marks.

    Eight bytes at a time are looked at first, since most of them have none: that takes half of the time of `flatnonzero`.
    """
    whole = len(is_found) // 8 * 8
    words = is_found[:whole].view(np.uint64)
    at = np.flatnonzero(words != 0)
    bits_before = words[at] - np.uint64(1)  # of the one that is set, unless a word has several
    if (words[at] & bits_before).any():
        return np.flatnonzero(is_found)
    at *= 8
    at += np.bitwise_count(bits_before) >> 3
    return np.concatenate([at, np.flatnonzero(is_found[whole:]) + whole])


@dataclass(frozen=True, slots=True)
class Records:
    """The complete records of a text, from `starts` to `ends` without line ends; they use `consumed` bytes of the text.

    `damaged` has the reason for each damaged record, by the record's start. A blank line is a record of no bytes.
    """

    starts: Positions
    ends: Positions
    damaged: dict[int, str]
    consumed: int

    @property
    def nexts(self) -> Positions:
        """Where the line end of each record ends, which is where the next one starts."""
        return np.append(self.starts[1:], self.consumed)

    def since(self, number: int) -> Self:
        """The records from this number on."""
        if number == 0:
            return self
        starts = self.starts[number:]
        first = int(starts[0]) if len(starts) else self.consumed
        damaged = {start: reason for start, reason in self.damaged.items() if start >= first}
        return type(self)(starts, self.ends[number:], damaged, self.consumed)

    def followed_by(self, others: Self) -> Self:
        """These records and those of the text after them."""
        starts, ends = (
            np.concatenate([mine, theirs + self.consumed])
            for mine, theirs in ((self.starts, others.starts), (self.ends, others.ends))
        )
        damaged = self.damaged | {start + self.consumed: reason for start, reason in others.damaged.items()}
        return type(self)(starts, ends, damaged, self.consumed + others.consumed)

    def to_bytes(self) -> bytes:
        """The records as an Arrow file, without `consumed`."""
        import pyarrow as pa  # noqa: PLC0415, few texts have damaged records

        reasons = [self.damaged.get(start) for start in self.starts.tolist()]
        batch = pa.record_batch({"start": self.starts, "end": self.ends, "reason": pa.array(reasons, pa.string())})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()

    @classmethod
    def from_bytes(cls, content: bytes, *, consumed: int) -> Self:
        """The records that `to_bytes` wrote."""
        import pyarrow as pa  # noqa: PLC0415, as above

        batch = pa.ipc.open_file(pa.py_buffer(content)).get_batch(0)
        starts, ends = (np.asarray(batch[name]) for name in ("start", "end"))
        reasons = zip(starts.tolist(), batch["reason"].to_pylist(), strict=True)
        damaged = {start: reason for start, reason in reasons if reason is not None}
        return cls(starts, ends, damaged, consumed)


@dataclass(frozen=True, slots=True)
class ScannedText:
    """A part of a file's text, and its records, which begin where those of the part before it ended.

    The positions of `records` count from the beginning of `text`, which is byte `offset` of the file's whole text. `is_row`
    marks the records that are rows; None where all are. `facts` is an empty range, with what the file says about its records.
    Chunks of the file have `chunk_share` times as much text as others may have.
    """

    text: bytes
    offset: int
    records: Records
    is_row: npt.NDArray[np.bool_] | None
    facts: TextRange
    chunk_share: float = 1.0
