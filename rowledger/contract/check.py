"""A compiled row model: the columns that it declares, and what a source or a table must have for them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from rowledger.contract.checked import Checked
from rowledger.contract.column_fit import can_hold
from rowledger.contract.compile import compile_model
from rowledger.contract.drift import SourceDrift, drift_of, require_names
from rowledger.contract.kinds import Kind
from rowledger.contract.rules import FieldRules
from rowledger.errors import SourceError, TargetMismatch
from rowledger.spec import Column, ColumnType, Drift, Partition, Source

if TYPE_CHECKING:  # the supervisor has a contract, and no frames
    import polars as pl

__all__ = ["Contract"]


@dataclass(frozen=True)
class Contract:
    """A compiled row model. `row_by_row` names the model's Python code that requires validation row by row, if any."""

    model: type[BaseModel]
    rules: tuple[FieldRules, ...]
    row_by_row: str | None = None

    @staticmethod
    @cache
    def of(row: type[BaseModel]) -> "Contract":
        """Compile a row model, once per process; raises ContractError."""
        return Contract(row, *compile_model(row))

    @property
    def name(self) -> str:
        return self.model.__name__

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(rule.column for rule in self.rules)

    @property
    def value_by_value(self) -> dict[str, str]:
        """Columns whose every distinct value goes to pydantic, with the construct that requires it."""
        return {rule.name: rule.by_value for rule in self.rules if rule.by_value}

    @property
    def payload_schema(self) -> "dict[str, pl.DataType]":
        """The types in which a dead letter's payload is read back if its source's types are no longer known."""
        from rowledger.spec import DYNAMIC  # noqa: PLC0415, the supervisor reads no payloads

        return {
            rule.sources[0]: DYNAMIC if rule.by_value or rule.element or rule.members else rule.column.type.frame_type
            for rule in self.rules
        }

    @property
    def documents(self) -> frozenset[str]:
        """The source's columns that become JSON documents unchanged; columns of JSON texts are not among them."""
        return frozenset(
            name for rule in self.rules if rule.kind is Kind.JSON and rule.by_value != "Json" for name in rule.sources
        )

    @property
    def numbers_apart(self) -> frozenset[str]:
        """The source's columns whose fields may take 1 and not 1.0, or the other way around."""
        return frozenset(name for rule in self.rules if rule.tells_numbers_apart for name in rule.sources)

    def drift_of(self, schema: "Mapping[str, pl.DataType]") -> SourceDrift:
        """The source's unknown and missing columns, by name alone."""
        return drift_of(self.rules, schema)

    def columns_for(self, schema: "Mapping[str, pl.DataType]") -> list[Column]:
        """The nullable columns that the source's unknown columns would become in the table; raises SourceError."""
        unknown = self.drift_of(schema).unknown
        for rule in self.rules:
            if rule.name in unknown:
                raise SourceError(
                    f"the source's column {rule.name!r} cannot become a column of the table, because field {rule.field}, which "
                    f"reads {rule.sources[0]!r}, has the column of this name; give the field another serialization_alias, or "
                    "leave the column out of the source"
                )
        from rowledger.contract.undeclared_columns import columns_for  # noqa: PLC0415, few tables evolve

        return columns_for(unknown)

    def require_columns(self, names: Iterable[str]) -> None:
        """Raise SourceError for unknown or missing columns of a source, as `Drift.FREEZE` does."""
        without_types: dict[str, Any] = dict.fromkeys(names)
        found = self.drift_of(without_types)
        require_names(found.unknown)
        if found.unknown or found.missing:
            from rowledger.contract.unmatched_columns import told_unmatched  # noqa: PLC0415, only for an error

            raise SourceError(told_unmatched(self.model, self.rules, list(found.unknown), found.missing))

    def misfits(self, types: Mapping[str, ColumnType]) -> list[Column]:
        """The columns, with the contract's types, whose type in the target cannot hold them."""
        return [rule.column for rule in self._misfits(types)]

    def _misfits(self, types: Mapping[str, ColumnType]) -> list[FieldRules]:
        return [rule for rule in self.rules if rule.name in types and not can_hold(rule, types[rule.name])]

    def require_writable(self, types: Mapping[str, ColumnType]) -> None:
        """Raise TargetMismatch, listing every column whose type in the target cannot hold it."""
        problems = [
            f"column {rule.name!r} is {types[rule.name].sql} in the table, but {self.name} declares it as {rule.kind} "
            f"({rule.column.type.sql})"
            for rule in self._misfits(types)
        ]
        if problems:
            raise TargetMismatch(f"{'; '.join(problems)}; alter the table or the row model")

    def types_of_texts(self, targets: Mapping[str, ColumnType], source: Source) -> "dict[str, pl.DataType]":
        """The types in which `source.read_typed` may give columns of text without changing what `check` makes of them.

        All other columns stay text. `targets` are the table's column types by name.
        """
        if self.row_by_row is not None:
            return {}
        from rowledger.contract.typed_texts import types_of_texts  # noqa: PLC0415, only for sources of texts

        return types_of_texts(self.rules, targets, source)

    def check(
        self,
        frame: "pl.DataFrame",
        *,
        types: Mapping[str, ColumnType] | None = None,
        bounds: Partition | None = None,
        drift: Drift = Drift.FREEZE,
        evolved: Sequence[Column] = (),
        types_inferred: bool = False,
        letters_max: int | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Checked:
        """Separate the good rows, cast to the target's types, from the refused ones.

        `types` are the table's actual column types by name; the default is the contract's. Rows that break a condition of
        `bounds` are refused. `drift` says what happens to source columns that the contract does not declare; `evolved` are
        those that the table already has. `types_inferred` says that the frame's types were inferred from its values.
        If more than `letters_max` rows are refused, only that many and examples of other reasons become dead letters.
        `on_progress` is called with 1 for each row or column that is done. Raises SourceError for a column whose type never
        fits, unless types are inferred, and for unknown or missing columns under FREEZE; and TargetMismatch.
        """
        from rowledger.contract.check_frame import check_frame  # noqa: PLC0415, the supervisor checks no rows

        return check_frame(
            self,
            frame,
            types=types or {},
            bounds=bounds,
            drift=drift,
            evolved=evolved,
            types_inferred=types_inferred,
            letters_max=letters_max,
            on_progress=on_progress,
        )
