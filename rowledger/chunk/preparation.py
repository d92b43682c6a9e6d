"""Sort rows into good, refused and filtered ones, in the same way for a worker, the search for duplicates and a replay."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from rowledger.contract import (
    Contract,
    DeadLetter,
    PayloadOf,
    Refusal,
    Stage,
    payloads_of,
    uuids_for_people,
    with_plain_texts,
)
from rowledger.ledger import RowCounts
from rowledger.spec import FAULT, LINE, Column, FrameTransform, Partition, RowTransform, TableSpec

if TYPE_CHECKING:
    from rowledger.chunk.transform import Transformed

__all__ = ["PreparedRows", "prepare_rows", "without_faults"]

Integers = npt.NDArray[np.int64]

_LETTERS_BEYOND_BUDGET = (
    10_000  # the load will be rejected: more say nothing new, and would need memory by the hundred MiB
)


@dataclass(frozen=True)
class PreparedRows:
    """The outcome for the rows of one frame: `rows + added = good + rejected + rows_left_out + filtered`.

    `rows_left_out` counts refused rows beyond the budget, for which no dead letters were made.

    `good` has the table's columns in their frame types. `good[i]` is part `parts[i]`, from 0, of row `row_nos[i]` of the
    partition. If it becomes a dead letter, that shows row `shown_at[i]` of `shown`.
    """

    good: pl.DataFrame
    row_nos: Integers
    parts: Integers
    rejected: list[DeadLetter]
    shown: pl.DataFrame
    shown_at: Integers
    payload_of: PayloadOf
    counts: RowCounts
    discarded_values: int
    rows_left_out: int

    def refusals(self, causes: Mapping[int, Refusal]) -> list[DeadLetter]:
        """The dead letters of rows of `good` that were refused later, for these causes by their offsets."""
        if not causes:
            return []  # what most chunks have; polars would wake its thread to select no row
        payloads = payloads_of(self.shown[self.shown_at[[*causes]]])
        return [
            DeadLetter(
                row_no=int(self.row_nos[offset]),
                part=int(self.parts[offset]),
                payload=payload,
                payload_of=self.payload_of,
                **asdict(cause),
            )
            for (offset, cause), payload in zip(causes.items(), payloads, strict=True)
        ]


@dataclass
class _Rows:
    """Rows in preparation, and their origins: `frame[i]` is part `parts[i]` of source row `origins[i]`."""

    frame: pl.DataFrame
    origins: Integers
    parts: Integers


@dataclass
class _Preparation:
    """The preparation of one frame: faults, transform, contract."""

    spec: TableSpec
    columns: Sequence[Column]
    source: pl.DataFrame
    row_nos: Integers
    partition: Partition
    dead_letters_max: int
    on_progress: Callable[[int], None]
    rejected: list[DeadLetter] = field(default_factory=list)
    counts: RowCounts = field(default_factory=RowCounts)
    discarded_values: int = 0
    rows_left_out: int = 0

    def run(self, *, is_transformed: bool) -> PreparedRows:
        self._set_faults_aside()
        payload_of = PayloadOf.TRANSFORMED if is_transformed else PayloadOf.SOURCE
        source = self.source
        if not is_transformed:
            source = with_plain_texts(source, Contract.of(self.spec.row).rules, self.spec.source)
        rows = _Rows(source, np.arange(source.height), np.zeros(source.height, dtype=np.int64))
        transform = None if is_transformed else self.spec.transform
        if isinstance(transform, FrameTransform):
            from rowledger.chunk.transform import transform_frame  # noqa: PLC0415, most specs have none

            outcome = transform_frame(
                transform,
                uuids_for_people(rows.frame),
                refusals_max=self._refusals_left,
                on_progress=self.on_progress,
            )
            rows = self._follow(rows, outcome)
        if isinstance(transform, RowTransform):
            from rowledger.chunk.row_transform import transform_rows  # noqa: PLC0415, as above

            _, positions = self._check(rows, PayloadOf.SOURCE)
            rows = _Rows(rows.frame[positions], rows.origins[positions], rows.parts[positions])
            outcome = transform_rows(
                transform,
                Contract.of(self.spec.row),
                rows.frame,
                refusals_max=self._refusals_left,
                on_progress=self.on_progress,
            )
            rows = self._follow(rows, outcome)
        if transform is not None and transform.adds_rows:
            payload_of = PayloadOf.TRANSFORMED
        good, positions = self._check(rows, payload_of)
        origins = rows.origins[positions]
        shows_source = is_transformed or payload_of is PayloadOf.SOURCE
        return PreparedRows(
            good=good,
            row_nos=self.row_nos[origins],
            parts=rows.parts[positions],
            rejected=self.rejected,
            shown=self.source if shows_source else rows.frame,
            shown_at=origins if shows_source else np.arange(rows.frame.height)[positions],
            payload_of=payload_of,
            counts=self.counts,
            discarded_values=self.discarded_values,
            rows_left_out=self.rows_left_out,
        )

    @property
    def _refusals_left(self) -> int:
        return self.dead_letters_max - len(self.rejected)

    def _set_faults_aside(self) -> None:
        """Make dead letters of lines that are not rows in the source's format."""
        if FAULT not in self.source.columns:
            return
        is_fault = self.source[FAULT].is_not_null().to_numpy()
        faults = self.source.filter(is_fault).select(FAULT, LINE)
        self.rejected += [
            DeadLetter(
                row_no=row_no,
                stage=Stage.SOURCE,
                reason=fault,
                payload=_line_payload(line),
                payload_of=PayloadOf.LINE,
            )
            for row_no, (fault, line) in zip(self.row_nos[is_fault].tolist(), faults.iter_rows(), strict=True)
        ]
        self.row_nos = self.row_nos[~is_fault]
        self.source = without_faults(self.source)

    def _follow(self, rows: _Rows, outcome: "Transformed") -> _Rows:
        """The rows that a transform returned; those that it refused become dead letters."""
        origins = rows.origins[[position for position, _, _ in outcome.refused]]
        self.rejected += [
            DeadLetter(
                row_no=row_no,
                stage=Stage.TRANSFORM,
                reason=reason,
                payload=payload,
                traceback=traceback,
            )
            for row_no, payload, (_, reason, traceback) in zip(
                self.row_nos[origins].tolist(), payloads_of(self.source[origins]), outcome.refused, strict=True
            )
        ]
        self.counts += outcome.counts
        return _Rows(outcome.frame, rows.origins[outcome.positions], outcome.parts)

    def _check(self, rows: _Rows, payload_of: PayloadOf) -> tuple[pl.DataFrame, Integers | slice]:
        """The good rows, and their positions among the checked rows; a slice, which copies nothing, where all are good."""
        if rows.frame.is_empty() and self.spec.transform is not None:
            # If a transform refused or filtered all rows, the columns that it returns are unknown.
            schema = {column.name: column.type.frame_type for column in self.columns}
            return pl.DataFrame(schema=schema), np.arange(0)
        contract = Contract.of(self.spec.row)
        own = {column.name for column in contract.columns}
        checked = contract.check(
            rows.frame,
            types={column.name: column.type for column in self.columns},
            bounds=self.partition,
            drift=self.spec.drift,
            types_inferred=self.spec.source.is_streamed,
            on_progress=self.on_progress,
            evolved=[column for column in self.columns if column.name not in own],
            letters_max=max(self._refusals_left + 1, _LETTERS_BEYOND_BUDGET),
        )
        self.discarded_values += checked.discarded_values
        self.rows_left_out += checked.rows_left_out
        refused = [letter.row_no for letter in checked.rejected]
        origins, parts = rows.origins[refused], rows.parts[refused]
        payloads: Iterable[str] = [letter.payload for letter in checked.rejected]
        if payload_of is PayloadOf.SOURCE and rows.frame is not self.source:
            payloads = payloads_of(self.source[origins])
        self.rejected += [
            replace(letter, row_no=row_no, part=part, payload=payload, payload_of=payload_of)
            for letter, row_no, part, payload in zip(
                checked.rejected, self.row_nos[origins].tolist(), parts.tolist(), payloads, strict=True
            )
        ]
        good_rows = checked.good_rows
        return checked.good, slice(None) if good_rows is None else good_rows.to_numpy()


def prepare_rows(
    spec: TableSpec,
    columns: Sequence[Column],
    source: pl.DataFrame,
    row_nos: Sequence[int],
    partition: Partition,
    *,
    dead_letters_max: int,
    is_transformed: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> PreparedRows:
    """Sort the rows of a source frame; `row_nos[i]` is the number of `source[i]` in the partition.

    Once a transform has refused more than `dead_letters_max` rows, the remaining rows are not tried: the load will be rejected
    anyway, and a function that fails for every row is called about twice per refused row. If `is_transformed`, the rows come
    from the dead letters of a transform that adds rows, and do not run through it again. `on_progress` is called with the
    number of steps done. Raises SourceError, TransformFailed, TargetMismatch.
    """
    numbers = (
        np.arange(row_nos.start, row_nos.stop) if isinstance(row_nos, range) else np.array(row_nos, dtype=np.int64)
    )
    preparation = _Preparation(spec, columns, source, numbers, partition, dead_letters_max, on_progress)
    return preparation.run(is_transformed=is_transformed)


def without_faults(source: pl.DataFrame) -> pl.DataFrame:
    """The rows of a source frame without the lines that are not rows in the source's format."""
    return source.filter(source[FAULT].is_null()).drop(FAULT, LINE) if FAULT in source.columns else source


def _line_payload(line: bytes | None) -> str:
    try:
        text: object = (line or b"").decode()
    except UnicodeDecodeError:
        text = {"base64": base64.b64encode(line or b"").decode("ascii")}
    return json.dumps({"line": text}, ensure_ascii=False)
