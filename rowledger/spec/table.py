"""The table spec: what a user declares to get a guarded, partitioned asset."""

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator
from pydantic_core import PydanticSerializationError

from rowledger.counted import counted
from rowledger.errors import SpecError
from rowledger.spec.by_class import ByClass
from rowledger.spec.field_names import column_names, former_columns
from rowledger.spec.importing import mistake
from rowledger.spec.reference import refusal_of, resolve
from rowledger.spec.row_model import RowModel
from rowledger.spec.servers import ServersByFunction, ServersByKey
from rowledger.spec.source import Source
from rowledger.spec.transform import FrameTransform, RowTransform

__all__ = ["DeadLetterBudget", "Drift", "QualifiedName", "TableSpec", "WriteMode"]

_SOURCES = (
    ("arrow", "rowledger.sources.arrow_ipc:ArrowFiles"),
    ("csv", "rowledger.sources.csv:CsvFiles"),
    ("given", "rowledger.sources.python:GivenRows"),
    ("json", "rowledger.sources.json_files:JsonFiles"),
    ("ndjson", "rowledger.sources.ndjson:NdjsonFiles"),
    ("parquet", "rowledger.sources.parquet:ParquetFiles"),
    ("python", "rowledger.sources.python:PythonRows"),
    ("sql", "rowledger.sources.sql:SqlQuery"),
)
_TRANSFORMS = (
    ("frame", "rowledger.spec.transform:FrameTransform"),
    ("row", "rowledger.spec.transform:RowTransform"),
)
_SERVERS = (
    ("function", "rowledger.spec.servers:ServersByFunction"),
    ("key", "rowledger.spec.servers:ServersByKey"),
)
_ASSET_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_DIMENSIONS_MAX = 2  # Dagster has no more


class WriteMode(StrEnum):
    """What publishing does with the rows that are already in the table."""

    REPLACE = "replace"  # the new rows replace the partition's old ones
    APPEND = "append"  # the new rows are added; rows of the same source are added only once
    UPSERT = "upsert"  # a row replaces the one with its key, or is added


class Drift(StrEnum):
    """What happens when the source has columns that the contract does not declare."""

    FREEZE = "freeze"  # the load fails before its first write
    EVOLVE = "evolve"  # each becomes a nullable column of the table, and its values are loaded
    DISCARD_VALUE = "discard_value"  # the columns are not loaded; their non-null values are counted
    DISCARD_ROW = "discard_row"  # a row that has a value in such a column becomes a dead letter


class QualifiedName(BaseModel):
    """Schema and name of a table, both unquoted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_name: str = Field(min_length=1, max_length=63)
    table: str = Field(min_length=1, max_length=63)

    def __str__(self) -> str:
        return f"{self.schema_name}.{self.table}"

    @property
    def parts(self) -> tuple[str, str]:
        """Schema and name, in the form that `quoted` and the queries take."""
        return self.schema_name, self.table


def _named(text: str) -> QualifiedName:
    """`flights` is `public.flights`; a name that contains a dot must be given as a QualifiedName."""
    schema, _, table = text.rpartition(".")
    return QualifiedName(schema_name=schema or "public", table=table)


def _parse_name(value: object) -> object:
    return _named(value) if isinstance(value, str) else value


if TYPE_CHECKING:

    class _Target:
        """What type checkers take the field for: it is set by a name or a QualifiedName, and is a QualifiedName."""

        def __get__(self, spec: object, owner: type) -> QualifiedName: ...
        def __set__(self, spec: object, value: QualifiedName | str) -> None: ...

else:
    _Target = Annotated[QualifiedName, BeforeValidator(_parse_name)]


class DeadLetterBudget(BaseModel):
    """How many refused rows a load of one partition may have and still be published.

    Both limits apply. The share is a fraction of the partition's enqueued rows, from 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_max: int = Field(default=1_000, ge=0)
    share_max: float = Field(default=0.01, ge=0, le=1)

    def allowed_rows(self, enqueued_rows: int) -> int:
        """Dead letters that a partition of this many rows may have."""
        return min(self.rows_max, int(self.share_max * enqueued_rows))

    def told(self, enqueued_rows: int) -> str:
        """The budget of a partition of this many rows, as a text that shows how it is computed."""
        return (
            f"{self.allowed_rows(enqueued_rows)} (rows_max {self.rows_max}, share_max {self.share_max:g} of "
            f"{counted(enqueued_rows, 'row')})"
        )


class TableSpec(BaseModel):
    """One target table: where its rows come from, what they must look like, how they are partitioned and written."""

    # An error must not quote a URL that was given where the name of its variable belongs.
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    name: str = Field(description="Name of the asset and of everything made from it.")
    target: _Target = Field(  # type: ignore[assignment]
        default_factory=lambda values: _named(values["name"]), description="Target table; `public.<name>` if not given."
    )
    row: Annotated[type[BaseModel], RowModel("row")] = Field(
        description='The contract: the pydantic model of one row, or its columns as data, `{"columns": {…}}`.'
    )
    source: Annotated[SerializeAsAny[Source], ByClass("source", _SOURCES)]
    partition_by: str | dict[str, str] | None = Field(
        default=None,
        description="The column that holds the partition, or, where a key has several dimensions, the columns by the name of "
        "their dimension. Without it a partition's rows cannot be told from those of others.",
    )
    key: tuple[str, ...] = Field(default=(), description="Columns that identify a row; become the primary key.")
    write_mode: WriteMode = WriteMode.REPLACE
    dead_letters: DeadLetterBudget = DeadLetterBudget()
    transform: Annotated[FrameTransform | RowTransform | None, ByClass("transform", _TRANSFORMS)] = Field(
        default=None, description="A function that changes or filters rows before the contract sees them."
    )
    drift: Drift = Field(default=Drift.FREEZE, description="What to do about source columns that are not in `row`.")
    sensitive: tuple[str, ...] = Field(
        default=(), description="Columns whose values are never shown in listings of dead letters."
    )
    servers: Annotated[ServersByKey | ServersByFunction | None, ByClass("servers", _SERVERS)] = Field(
        default=None,
        description="Which server each partition is on, where the table is on several; otherwise on that of the load.",
    )
    description: str = ""
    upstream: tuple[str, ...] = Field(default=(), description="Assets that make the source, such as a landing asset.")

    @model_validator(mode="after")
    def _consistent(self) -> "TableSpec":
        if not _ASSET_NAME.match(self.name):
            raise SpecError(f"table spec name {self.name!r} must be letters, digits and underscores")
        self._require_dimensions()
        mistakes = [self._unknown_columns(), self._unknown_placeholders(), self._unknown_dimension()]
        if self.write_mode is WriteMode.UPSERT and not self.key:
            mistakes.append("write mode upsert needs a key, by which the row to update is found")
        if self.transform is not None and self.drift is Drift.EVOLVE:
            mistakes.append(
                "drift EVOLVE does not go with a transform, which decides what columns there are; name them in the row model"
            )
        if told := "; ".join(filter(None, mistakes)):
            raise SpecError(f"table {self.name}: {told}")
        return self

    def _unknown_columns(self) -> str:
        """What is wrong with the columns that the spec names; empty if the row model has all of them."""
        columns = column_names(self.row)
        roles = {"key": self.key, "sensitive": self.sensitive, "partition": self.partition_columns}
        unknown = {role: [name for name in names if name not in columns] for role, names in roles.items()}
        if not any(unknown.values()):
            return ""
        told = " and ".join(f"{role} columns {names}" for role, names in unknown.items() if names)
        aliases = self._told_of_aliases([*dict.fromkeys(name for names in unknown.values() for name in names)])
        return f"{told} are not in {self.row.__name__}: {columns}{aliases}"

    def _told_of_aliases(self, names: Sequence[str]) -> str:
        """Which columns of the table are meant by names that are aliases, for an error."""
        meant = former_columns(self.row)
        told = [
            f"{name!r} is the source's name, the table's column is {meant[name]!r}" for name in names if name in meant
        ]
        return f"; {'; '.join(told)}" if told else ""

    def _require_dimensions(self) -> None:
        """Raise SpecError if a dimension's name cannot be a placeholder, or if two dimensions name the same column."""
        if not isinstance(self.partition_by, dict):
            return
        for name in self.partition_by:
            if not name.isidentifier() or name in ("landing", "partition_key"):
                raise SpecError(
                    f"table {self.name}: dimension {name!r} must be named by a word that a path can hold as a placeholder"
                )
        columns = self.partition_columns
        if not columns or len(set(columns)) < len(columns):
            raise SpecError(
                f"table {self.name}: partition_by names the columns {columns}; give each dimension a column of its own"
            )

    def _unknown_placeholders(self) -> str:
        """What is wrong with placeholders of the source that no partition of the table has, as far as the spec can tell.

        In write mode REPLACE, `partition_by` names all dimensions. Otherwise a key may have dimensions that no column holds,
        and the load checks the placeholders when it knows its partitions.
        """
        dimensions = sorted(self.partition_by) if isinstance(self.partition_by, dict) else []
        if self.write_mode is WriteMode.REPLACE or len(dimensions) == _DIMENSIONS_MAX:
            return self._others_than(("partition_key", *dimensions))
        return ""

    def _unknown_dimension(self) -> str:
        """What is wrong with the dimension by which servers are found, as far as the spec can tell (see above)."""
        dimension = self.servers.dimension if isinstance(self.servers, ServersByKey) else None
        known = sorted(self.partition_by) if isinstance(self.partition_by, dict) else []
        may_have_others = self.write_mode is not WriteMode.REPLACE and len(known) < _DIMENSIONS_MAX
        if dimension is None or dimension in known or may_have_others:
            return ""
        return f"servers are found by the dimension {dimension!r}, and partition_by names {known or 'no dimensions'}"

    def require_placeholders(self, known: Sequence[str]) -> None:
        """Raise SpecError if the source's templates name placeholders other than `known` and `landing`."""
        if told := self._others_than(known):
            raise SpecError(f"table {self.name}: {told}")

    def _others_than(self, known: Sequence[str]) -> str:
        if not (unknown := sorted(self.source.placeholders - {*known})):
            return ""
        return (
            f"its source names {', '.join(f'{{{name}}}' for name in unknown)}; the placeholders are "
            f"{', '.join(f'{{{name}}}' for name in ('landing', *known))}, and {{lower}} and {{upper}} for windows of time"
        )

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """The columns whose values decide to which partition a row belongs, in the order of their dimensions' names."""
        match self.partition_by:
            case None:
                return ()
            case str(column):
                return (column,)
            case dict(columns):
                return tuple(column for _, column in sorted(columns.items()))

    def as_json(self) -> str:
        """The spec as JSON, from which `from_json` makes an equal spec in any process that can import what it names.

        Raises SpecError for a spec that does not survive this.
        """
        try:
            text = json.dumps(  # an error of `model_dump_json` has no cause
                self.model_dump(mode="json", round_trip=True, warnings=False)
            )
            copy = TableSpec.from_json(text)
        except PydanticSerializationError as error:
            told = refusal_of(error) or (
                f"no JSON can be made of it: {error}; hold plain values in it, and annotate a field that holds a class or a "
                "function with ByReference"
            )
            raise SpecError(f"table {self.name}: {' '.join(str(told).split())}") from None
        except SpecError as error:
            raise SpecError(f"table {self.name}: its JSON gives no such spec back: {error}") from None
        for field in type(self).model_fields:
            if getattr(copy, field, None) != getattr(self, field):
                raise SpecError(
                    f"table {self.name}: {field} comes back from JSON, as worker processes get it, with another value; hold "
                    "plain values in it, and name secrets by their environment variables"
                )
        return text

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The spec that `as_json` wrote; raises SpecError, on one line, for an invalid or unimportable part."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise SpecError(mistake(error, None)) from error

    @classmethod
    def from_reference(cls, reference: str) -> Self:
        """The spec that a reference names, `module:NAME` or `path/file.py:NAME`; raises SpecError."""
        found = resolve(reference)
        if not isinstance(found, cls):
            raise SpecError(
                f"{reference} is not a TableSpec: it is of the class {type(found).__name__}; name a TableSpec"
            )
        return found
