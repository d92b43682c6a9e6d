"""Sort rows into good, refused and filtered ones, in the same way for a worker, the search for duplicates and a replay."""

import base64
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from rowledger.contract import Contract, DeadLetter, PayloadOf, Stage, payloads_of, uuids_for_people
from rowledger.ledger import RowCounts
from rowledger.spec import FAULT, LINE, Column, FrameTransform, Partition, RowTransform, TableSpec

if TYPE_CHECKING:
    from rowledger.chunk.transform import Transformed

__all__ = ["PreparedRows", "Refusal", "prepare_rows"]

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row that had passed the contract was refused later. `server_text` may quote any of its values."""

    stage: Stage
    reason: str
    column: str | None = None
    sqlstate: str | None = None
    constraint: str | None = None
    server_text: str = ""


@dataclass(frozen=True)
class PreparedRows:
    """The outcome for the rows of one frame: `rows + added = good + rejected + filtered`.

    `good` has the table's columns in their frame types. `good[i]` comes from row `row_nos[i]` of the partition, and is part
    `parts[i]` of it, or the only part if `parts` is None. If it becomes a dead letter, that shows row `shown_at[i]` of
    `shown`.
    """

    good: pl.DataFrame
    row_nos: Sequence[int]
    parts: Positions | None
    rejected: list[DeadLetter]
    shown: pl.DataFrame
    shown_at: Positions
    payload_of: PayloadOf
    counts: RowCounts
    discarded_values: int

    def refusals(self, offsets: Sequence[int], causes: Iterable[Refusal]) -> list[DeadLetter]:
        """A dead letter for each `good[offset]`, with its place in the source, its payload and its cause."""
        payloads = payloads_of(self.shown[self.shown_at[list(offsets)]])
        return [
            DeadLetter(
                row_no=self.row_nos[offset],
                part=0 if self.parts is None else int(self.parts[offset]),
                stage=cause.stage,
                reason=cause.reason,
                payload=payload,
                payload_of=self.payload_of,
                column=cause.column,
                sqlstate=cause.sqlstate,
                constraint=cause.constraint,
                traceback=cause.server_text,
            )
            for offset, cause, payload in zip(offsets, causes, payloads, strict=True)
        ]


@dataclass
class _Rows:
    """Rows in preparation, and their origins: `frame[i]` is part `parts[i]` of source row `origins[i]`.

    `origins` is None while rows and source rows are the same, `parts` while each row is the only one of its source row.
    """

    frame: pl.DataFrame
    origins: Positions | None = None
    parts: Positions | None = None

    def origins_of(self, positions: Positions | None) -> Positions:
        """The source rows of the given positions; None means all positions."""
        if positions is None:
            return np.arange(self.frame.height) if self.origins is None else self.origins
        return positions if self.origins is None else self.origins[positions]

    def parts_of(self, positions: Positions | None) -> Positions | None:
        return self.parts if self.parts is None or positions is None else self.parts[positions]


class _Preparation:
    """The preparation of one frame: faults, transform, contract."""

    def __init__(
        self,
        spec: TableSpec,
        columns: Sequence[Column],
        source: pl.DataFrame,
        row_nos: Sequence[int],
        partition: Partition,
        dead_letters_max: int,
        on_progress: Callable[[int], None],
    ) -> None:
        self._spec = spec
        self._columns = columns
        self._partition = partition
        self._dead_letters_max = dead_letters_max
        self._on_progress = on_progress
        self._rejected: list[DeadLetter] = []
        self._counts = RowCounts()
        self._discarded_values = 0
        self._source, self._row_nos = source, row_nos

    def run(self, *, is_transformed: bool) -> PreparedRows:
        self._set_faults_aside()
        payload_of = PayloadOf.TRANSFORMED if is_transformed else PayloadOf.SOURCE
        rows = _Rows(self._source)
        transform = None if is_transformed else self._spec.transform
        if isinstance(transform, FrameTransform):
            from rowledger.chunk.transform import transform_frame  # noqa: PLC0415, most specs have none

            outcome = transform_frame(
                transform,
                uuids_for_people(rows.frame),
                refusals_max=self._refusals_left,
                on_progress=self._on_progress,
            )
            rows = self._follow(rows, outcome)
        if isinstance(transform, RowTransform):
            from rowledger.chunk.row_transform import transform_rows  # noqa: PLC0415, as above

            _, positions = self._check(rows, PayloadOf.SOURCE)
            rows = rows if positions is None else _Rows(rows.frame[positions], rows.origins_of(positions))
            outcome = transform_rows(
                transform,
                Contract.of(self._spec.row),
                rows.frame,
                refusals_max=self._refusals_left,
                on_progress=self._on_progress,
            )
            rows = self._follow(rows, outcome)
        if transform is not None and transform.adds_rows:
            payload_of = PayloadOf.TRANSFORMED
        good, positions = self._check(rows, payload_of)
        origins = rows.origins_of(positions)
        if payload_of is PayloadOf.TRANSFORMED and not is_transformed:
            shown, shown_at = rows.frame, np.arange(rows.frame.height) if positions is None else positions
        else:
            shown, shown_at = self._source, origins
        return PreparedRows(
            good=good,
            row_nos=self._row_nos if positions is None and rows.origins is None else self._numbers(origins),
            parts=rows.parts_of(positions),
            rejected=self._rejected,
            shown=shown,
            shown_at=shown_at,
            payload_of=payload_of,
            counts=self._counts,
            discarded_values=self._discarded_values,
        )

    @property
    def _refusals_left(self) -> int:
        return self._dead_letters_max - len(self._rejected)

    def _numbers(self, origins: Positions) -> list[int]:
        """The numbers of source rows in the partition."""
        if isinstance(self._row_nos, range):
            return list((origins + self._row_nos.start).tolist())
        return [self._row_nos[origin] for origin in origins]

    def _set_faults_aside(self) -> None:
        """Make dead letters of lines that are not rows in the source's format."""
        if FAULT not in self._source.columns:
            return
        is_fault = self._source[FAULT].is_not_null()
        faults = self._source.filter(is_fault).select(FAULT, LINE)
        for position, (fault, line) in zip(is_fault.arg_true(), faults.iter_rows(), strict=True):
            self._rejected.append(
                DeadLetter(
                    row_no=self._row_nos[position],
                    stage=Stage.SOURCE,
                    reason=fault,
                    payload=_line_payload(line),
                    payload_of=PayloadOf.LINE,
                )
            )
        if self._rejected:
            kept = np.flatnonzero(~is_fault.to_numpy())
            self._row_nos = self._numbers(kept)
        self._source = self._source.filter(~is_fault).drop(FAULT, LINE)

    def _follow(self, rows: _Rows, outcome: "Transformed") -> _Rows:
        """The rows that a transform returned; those that it refused become dead letters."""
        origins = rows.origins_of(np.array([position for position, _, _ in outcome.refused], dtype=np.int64))
        self._rejected += [
            DeadLetter(
                row_no=self._row_nos[origin],
                stage=Stage.TRANSFORM,
                reason=reason,
                payload=payload,
                traceback=traceback,
            )
            for origin, payload, (_, reason, traceback) in zip(
                origins, payloads_of(self._source[origins]), outcome.refused, strict=True
            )
        ]
        self._counts += outcome.counts
        return _Rows(outcome.frame, rows.origins_of(outcome.positions), outcome.parts)

    def _check(self, rows: _Rows, payload_of: PayloadOf) -> tuple[pl.DataFrame, Positions | None]:
        """The good rows, and their positions among the checked rows; None if all are good."""
        if rows.frame.is_empty() and self._spec.transform is not None:
            # If a transform refused or filtered all rows, the columns that it returns are unknown.
            return pl.DataFrame(schema={column.name: column.type.frame_type for column in self._columns}), None
        contract = Contract.of(self._spec.row)
        own = {column.name for column in contract.columns}
        checked = contract.check(
            rows.frame,
            types={column.name: column.type for column in self._columns},
            bounds=self._partition,
            drift=self._spec.drift,
            types_inferred=self._spec.source.spools,
            on_progress=self._on_progress,
            evolved=[column for column in self._columns if column.name not in own],
        )
        self._discarded_values += checked.discarded_values
        refused = np.array([letter.row_no for letter in checked.rejected], dtype=np.int64)
        origins, parts = rows.origins_of(refused), rows.parts_of(refused)
        payloads: Iterable[str] = (letter.payload for letter in checked.rejected)
        if payload_of is PayloadOf.SOURCE and rows.origins is not None:
            payloads = payloads_of(self._source[origins])
        self._rejected += [
            replace(letter, row_no=self._row_nos[origin], part=int(part), payload=payload, payload_of=payload_of)
            for letter, origin, part, payload in zip(
                checked.rejected, origins, itertools.repeat(0) if parts is None else parts, payloads, strict=False
            )
        ]
        positions = None if checked.good_rows is None else checked.good_rows.to_numpy()
        return checked.good, positions


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
    preparation = _Preparation(spec, columns, source, row_nos, partition, dead_letters_max, on_progress)
    return preparation.run(is_transformed=is_transformed)


def _line_payload(line: bytes | None) -> str:
    try:
        text: object = (line or b"").decode()
    except UnicodeDecodeError:
        text = {"base64": base64.b64encode(line or b"").decode("ascii")}
    return json.dumps({"line": text}, ensure_ascii=False)
