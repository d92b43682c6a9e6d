"""What a load would find in the first rows of a partition: their columns, and what the contract refuses. Writes nothing."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from rowledger.chunk import prepare_rows
from rowledger.contract import Contract, Stage
from rowledger.errors import SourceError
from rowledger.ledger import RefusalCause, RowPlace
from rowledger.load.source_columns import source_names
from rowledger.machine import in_thread, spool_folder
from rowledger.settings import WriterSettings, settings
from rowledger.spec import ChunkDescriptor, Column, Partition, SourceContext, TableSpec, TypeName

__all__ = ["SourceSample", "check_source"]

_EXAMPLES_MAX = 5
_EXACT_NUMBERS = {TypeName.NUMERIC, TypeName.JSONB}  # these hold more digits than a double


@dataclass(frozen=True, slots=True)
class SourceSample:
    """The first rows of a partition. `has_more` says whether the source has others; `causes` are why rows are refused."""

    rows: int
    good_rows: int
    has_more: bool
    causes: tuple[RefusalCause, ...]

    @property
    def refused_rows(self) -> int:
        return sum(cause.rows for cause in self.causes)


async def check_source(
    spec: TableSpec, partition: Partition, columns: Sequence[Column], *, landing_dir: Path, rows_max: int
) -> SourceSample:
    """Read the first rows of the source, run them through transform and contract, and count the refusals.

    `columns` are the target's, or the contract's where there is none. The source, and the user's functions, run in a thread of
    this process. Raises SourceError, TransformFailed, and TargetMismatch.
    """
    limit_s = WriterSettings().planning_timeout_s
    with spool_folder(settings().spool_dir, uuid.uuid4().hex) as spool_dir:
        scope = _scope(spec, columns, landing_dir=landing_dir, spool_dir=spool_dir, rows_max=rows_max)
        try:
            return await in_thread(lambda: _sample(spec, partition, columns, scope), timeout_s=limit_s)
        except TimeoutError:
            raise SourceError(
                f"table {spec.name}, partition {partition.key}: its first rows did not come within {limit_s:g} s; see what "
                "the source waits for"
            ) from None


def _scope(
    spec: TableSpec, columns: Sequence[Column], *, landing_dir: Path, spool_dir: Path, rows_max: int
) -> SourceContext:
    contract = Contract.of(spec.row)
    return SourceContext(
        landing_dir=landing_dir,
        spool_dir=spool_dir,
        chunk_rows_max=rows_max,
        columns=source_names(contract, columns),
        exact_numbers=any(column.type.name in _EXACT_NUMBERS for column in columns),
        documents=None if spec.transform else contract.documents,
        numbers_apart=contract.numbers_apart,
        disk_free_min_bytes=settings().disk_free_min_bytes,
    )


def _sample(spec: TableSpec, partition: Partition, columns: Sequence[Column], scope: SourceContext) -> SourceSample:
    chunks = spec.source.chunks(partition, scope)
    try:
        first = next(chunks, None)
        if first is None:
            return SourceSample(0, 0, has_more=False, causes=())
        sample = _judged(spec, partition, columns, first)
        has_more = next(chunks, None) is not None
    finally:
        if (close := getattr(chunks, "close", None)) is not None:
            close()  # a generator's `finally` blocks run in the thread that started it
    return replace(sample, has_more=has_more)


def _judged(spec: TableSpec, partition: Partition, columns: Sequence[Column], chunk: ChunkDescriptor) -> SourceSample:
    frame = spec.source.read(chunk)
    prepared = prepare_rows(spec, columns, frame, range(frame.height), partition, dead_letters_max=frame.height)
    reasons: Counter[tuple[str, str | None, str]] = Counter()
    rows: dict[tuple[str, str | None, str], list[int]] = {}
    for letter in prepared.rejected:
        cause = (str(letter.stage), letter.column, letter.reason)
        reasons[cause] += 1
        if len(places := rows.setdefault(cause, [])) < _EXAMPLES_MAX:
            places.append(letter.row_no)
    repeated = _repeated(spec, prepared.good)
    if repeated:
        reasons[Stage.KEY, None, f"same key ({', '.join(spec.key)}) as an earlier row of these"] += repeated
    causes = tuple(
        RefusalCause(
            rows=count,
            stage=stage,
            column=column,
            constraint=None,
            sqlstate=None,
            reason=reason,
            first_rows=tuple(
                RowPlace(row, chunk.origin, partition.key) for row in sorted(rows.get((stage, column, reason), ()))
            ),
        )
        for (stage, column, reason), count in reasons.most_common()
    )
    return SourceSample(frame.height, prepared.good.height - repeated, has_more=False, causes=causes)


def _repeated(spec: TableSpec, good: pl.DataFrame) -> int:
    """How many of the good rows have the key of an earlier one."""
    return good.height - good.select(spec.key).n_unique() if spec.key and good.height else 0
