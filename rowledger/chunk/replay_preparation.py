"""Prepare rows for the table from dead letters' payloads, in the same way as a chunk's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from rowledger.chunk.jobs import ReplayJob
from rowledger.chunk.preparation import prepare_rows
from rowledger.contract import Contract, PayloadOf, Refusal, Stage, frame_of_payloads, has_value, read_row_types
from rowledger.errors import DiscrepancyFound, RowledgerError, SourceError
from rowledger.ledger import DeadLetterToReplay
from rowledger.spec import Drift, TableSpec, WriteMode

__all__ = ["PreparedDeadLetters", "prepare_dead_letters"]

_OVERWRITES = Refusal(
    stage=Stage.KEY,
    reason="a row before it in the source has the same key and stays; this one would overwrite it: edit it, or discard it",
)
_NO_ROW = Refusal(
    stage=Stage.SOURCE,
    reason="a line that is not a row cannot be written: export it, make it a JSON object of columns, import it",
)


@dataclass(slots=True)
class PreparedDeadLetters:
    """Letters sorted by the verdict of transform and contract: row i of `good` belongs to letter `dead_letter_ids[i]`.

    If a letter has neither rows nor a refusal, the transform filtered its row.
    """

    good: pl.DataFrame
    dead_letter_ids: list[int] = field(default_factory=list)
    refused: dict[int, Refusal] = field(default_factory=dict)
    filtered_rows: int = 0


def prepare_dead_letters(
    spec: TableSpec, job: ReplayJob, letters: Sequence[DeadLetterToReplay], types: Mapping[int, bytes | None]
) -> PreparedDeadLetters:
    """Run all letters' rows through the current transform and contract. `types` are the source's row types by chunk."""
    prepared = PreparedDeadLetters(pl.DataFrame(schema={column.name: column.type.frame_type for column in job.columns}))
    groups: dict[tuple[str, bytes | None], list[DeadLetterToReplay]] = {}
    for letter in letters:
        if letter.payload_of == PayloadOf.LINE:
            prepared.refused[letter.dead_letter_id] = _NO_ROW
        elif spec.write_mode is WriteMode.UPSERT and letter.stage == Stage.KEY and not letter.is_edited:
            prepared.refused[letter.dead_letter_id] = _OVERWRITES
        else:
            row_types = types[letter.chunk_no] if letter.payload_of == PayloadOf.SOURCE else None
            groups.setdefault((letter.payload_of, row_types), []).append(letter)
    for (payload_of, row_types), members in groups.items():
        known = Contract.of(spec.row).payload_schema if row_types is None else read_row_types(row_types)
        _prepare_group(prepared, spec, job, members, known, is_transformed=payload_of == PayloadOf.TRANSFORMED)
    _require_all_accounted(letters, prepared)
    return prepared


def _prepare_group(
    prepared: PreparedDeadLetters,
    spec: TableSpec,
    job: ReplayJob,
    letters: Sequence[DeadLetterToReplay],
    types: Mapping[str, pl.DataType],
    *,
    is_transformed: bool,
) -> None:
    """Prepare letters together; if that fails as a whole, as for an unknown column, halve them to find the letters at fault."""
    spans = [letters]
    while spans:
        span = spans.pop()
        try:
            frame = frame_of_payloads([letter.payload for letter in span], types)
            if is_transformed or spec.transform is None:
                _require_known_columns(spec, job, frame)
            rows = prepare_rows(
                spec,
                job.columns,
                frame,
                [letter.dead_letter_id for letter in span],
                job.partition,
                dead_letters_max=len(span),
                is_transformed=is_transformed,
            )
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - an edited payload, a user's function
            if len(span) == 1:
                # Only the text of Rowledger's own errors is known to contain no values.
                is_ours = isinstance(error, RowledgerError)
                reason = str(error) if is_ours else f"{type(error).__name__} while it was prepared"
                prepared.refused[span[0].dead_letter_id] = Refusal(stage=Stage.CONTRACT, reason=reason)
            else:
                middle = len(span) // 2
                spans += [span[middle:], span[:middle]]
            continue
        for letter in rows.rejected:  # the first refused row of a letter decides for the letter
            prepared.refused.setdefault(letter.row_no, letter)
        prepared.good = prepared.good.vstack(rows.good)
        prepared.dead_letter_ids += rows.row_nos.tolist()
        prepared.filtered_rows += rows.counts.filtered_rows


def _require_known_columns(spec: TableSpec, job: ReplayJob, frame: pl.DataFrame) -> None:
    """Raise SourceError for columns that the table lacks, such as a mistyped name, unless `drift` discards them."""
    own = {column.name for column in job.columns}
    unknown = [
        name
        for name in Contract.of(spec.row).drift_of(frame.schema).unknown
        if name not in own and (spec.drift is not Drift.EVOLVE or has_value(frame[name]).any())
    ]
    if unknown and spec.drift in (Drift.FREEZE, Drift.EVOLVE):
        raise SourceError(
            f"the row has columns that the table does not have: {unknown}; fix their names, or take them out"
        )


def _require_all_accounted(letters: Sequence[DeadLetterToReplay], prepared: PreparedDeadLetters) -> None:
    """Raise DiscrepancyFound unless as many letters are without a row as the transform filtered."""
    accounted = prepared.refused.keys() | set(prepared.dead_letter_ids)
    missing = sum(letter.dead_letter_id not in accounted for letter in letters)
    if missing != prepared.filtered_rows:
        raise DiscrepancyFound(f"{missing} dead letters are without a row, but {prepared.filtered_rows} were filtered")
