"""A dead letter as a load records it: a row that could not be written, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the supervisor counts dead letters, and writes none
    import polars as pl

__all__ = ["DeadLetter", "PayloadOf", "Refusal", "Stage", "payloads_of"]


class Stage(StrEnum):
    """The stage at which a row was refused."""

    SOURCE = "source"  # by its own format: a line that is not a row
    TRANSFORM = "transform"  # by the spec's transform, which raised
    CONTRACT = "contract"  # by the row model
    COPY = "copy"  # by the server, during COPY
    KEY = "key"  # by the key: an earlier row of the source has the same key
    CRASH = "crash"  # by no check: every worker that took the row died


class PayloadOf(StrEnum):
    """What a dead letter's payload holds."""

    SOURCE = "source"  # the row as the source has it
    LINE = "line"  # a line of the source that is not a row
    TRANSFORMED = "transformed"  # one of several rows that a transform made of one row


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a row could not be written.

    `reason` may be logged: it may quote the row model's rules, but never the row's values. `traceback` may quote anything, and
    stays in the database; for a row that the server refused, it is the server's message.
    """

    stage: Stage
    reason: str
    column: str | None = None
    sqlstate: str | None = None
    constraint: str | None = None
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(Refusal):
    """A row that could not be written, and why.

    `row_no` counts from 0 in the partition's source as a whole; `part` counts the rows that a transform made of it. `payload`
    is the row as JSON text with its exact values.
    """

    row_no: int
    payload: str
    part: int = 0
    payload_of: PayloadOf = PayloadOf.SOURCE


def payloads_of(rows: "pl.DataFrame") -> Iterable[str]:
    """The payloads of these rows, as `row_payloads` writes them."""
    if rows.is_empty():
        return ()
    from rowledger.contract.write_payloads import row_payloads  # noqa: PLC0415, a clean chunk has no dead letter

    return row_payloads(rows)
