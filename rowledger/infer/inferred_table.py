"""An inferred table, and the Python module that declares it: its row model and its TableSpec."""

import math
import re
from collections.abc import Iterator, Sequence, Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from rowledger.counted import counted
from rowledger.infer.field_type import DATE, TIMESTAMP, TIMESTAMPTZ, FieldType
from rowledger.infer.file_partitions import FilePartitions
from rowledger.infer.names import class_name, spec_name
from rowledger.infer.trial import Refused
from rowledger.spec import DeadLetterBudget, Source

__all__ = ["InferredColumn", "InferredTable", "model_text"]

_WIDTH = 88  # ruff's own; a wider setting leaves what is broken with a comma at its end
_FROM_ROWLEDGER = {"SmallInt", "Integer"}
_FROM_PYDANTIC = {"AwareDatetime", "Json"}
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class InferredColumn:
    """One column of the table, and the field of the row model.

    `name` is the field's and the table's, `source_name` the file's. `is_optional` says that some rows lack it. `comment` says
    what to know about the column, without a value of a row.
    """

    name: str
    source_name: str
    field_type: FieldType
    nullable: bool
    is_optional: bool = False
    comment: str = ""

    @property
    def type(self) -> str:
        """The short name of the SQL type."""
        return self.field_type.name


@dataclass(frozen=True, slots=True)
class InferredTable:
    """A table that a file was taken for. `notes` says what to check by hand; none of them quotes a value of a row."""

    name: str
    file_name: str
    source: Source
    columns: tuple[InferredColumn, ...]
    key: tuple[str, ...]
    rows: int
    refused: Refused
    notes: tuple[str, ...] = ()
    partitions: FilePartitions | None = None
    """What the files of the table have in their paths, and a column in its rows: a date."""

    @property
    def partition_candidates(self) -> tuple[str, ...]:
        """The columns of dates and timestamps, by which partitions can be told apart."""
        return tuple(column.name for column in self.columns if column.field_type in (DATE, TIMESTAMP, TIMESTAMPTZ))

    @property
    def budget(self) -> DeadLetterBudget | None:
        """A budget for twice as many dead letters as the file would cause; None where the default suffices."""
        default, refused = DeadLetterBudget(), self.refused.rows
        if refused <= default.allowed_rows(self.rows):
            return None
        share = min(1.0, max(default.share_max, math.ceil(2e4 * refused / self.rows) / 1e4))
        return DeadLetterBudget(rows_max=max(default.rows_max, 2 * refused), share_max=share)

    def module_text(self, *, spec: bool = True) -> str:
        """A Python module with the row model and, unless `spec` is False, the TableSpec, as ruff formats it by default."""
        text = (
            f'"""Table {self.name}, inferred from {counted(self.rows, "row")} of {_printable(self.file_name)}."""\n\n'
        )
        text += model_text(self.columns, self.name, _names_of_spec(self) if spec else set())
        if spec:
            text += f"\n\n{spec_name(self.name)} = TableSpec(\n{''.join(_spec_lines(self))})\n"
        return text


def model_text(columns: Sequence[InferredColumn], name: str, others: AbstractSet[str] = frozenset()) -> str:
    """The imports and the row model of a table; `others` of the library are imported too."""
    fields = "\n".join(_fields(columns))
    imports = "\n\n".join(_imports(columns, fields, others))
    return f'{imports}\n\n\nclass {class_name(name)}(BaseModel):\n    """One row of table {name}."""\n\n{fields}\n'


def _names_of_spec(table: InferredTable) -> set[str]:
    return {type(table.source).__name__, "TableSpec", *(["DeadLetterBudget"] if table.budget is not None else [])}


def _imports(columns: Sequence[InferredColumn], fields: str, others: AbstractSet[str]) -> Iterator[str]:
    annotations = " ".join(column.field_type.plain for column in columns)
    words = set(_WORD.findall(annotations))
    standard = ["import datetime as dt"] if "dt." in annotations else []
    standard += ["from decimal import Decimal"] if "Decimal" in words else []
    standard += ["from typing import Any"] if "Any" in words else []
    standard += ["from uuid import UUID"] if "UUID" in words else []
    if standard:
        yield "\n".join(standard)
    pydantic = {"BaseModel", *(words & _FROM_PYDANTIC), *(["Field"] if "= Field(" in fields else [])}
    library = (words & _FROM_ROWLEDGER) | others
    parts = [_import("pydantic", sorted(pydantic)), *([_import("rowledger", sorted(library))] if library else [])]
    yield "\n".join(parts)


def _fields(columns: Sequence[InferredColumn]) -> Iterator[str]:
    for column in columns:
        if column.comment:
            yield from (f"    # {line}" for line in _wrapped(column.comment, _WIDTH - 6))
        arguments = ["default=None"] if column.is_optional else []
        arguments += [] if column.name == column.source_name else [f"alias={_literal(column.source_name)}"]
        kind = column.field_type
        if kind.digits is not None:
            arguments += [f"max_digits={kind.digits[0]}", f"decimal_places={kind.digits[1]}"]
        or_null = " | None" if column.nullable and kind.plain != "Any" else ""
        start = f"    {column.name}: {kind.plain}{or_null}"
        if not arguments:
            yield start
        elif arguments == ["default=None"]:
            yield f"{start} = None"
        else:
            yield from _field_call(f"{start} = Field", arguments)


def _field_call(start: str, arguments: Sequence[str]) -> Iterator[str]:
    inside = ", ".join(arguments)
    if len(line := f"{start}({inside})") <= _WIDTH:
        yield line
    elif len(inside) <= _WIDTH - 8:
        yield f"{start}(\n        {inside}\n    )"
    else:
        yield f"{start}(\n" + "".join(f"        {argument},\n" for argument in arguments) + "    )"


def _spec_lines(table: InferredTable) -> Iterator[str]:
    yield f"    name={_literal(table.name)},\n"
    yield f"    row={class_name(table.name)},\n"
    yield from _call("source", type(table.source).__name__, _settings(table.source))
    if table.partitions is not None:
        hint = f"{table.partitions.told} In Dagster: partitions_def={table.partitions.definition}"
        yield from (f"    # {line}\n" for line in _wrapped(hint, _WIDTH - 6))
        yield f"    partition_by={_literal(table.partitions.column)},\n"
    if table.key:
        yield "    # No two rows of the file have the same key. Check that it is one by its meaning.\n"
        yield from _broken("key", table.key, "    ")
    if (budget := table.budget) is not None:
        yield f"    # Of the file, {counted(table.refused.rows, 'row')} would be refused.\n"
        yield from _call("dead_letters", "DeadLetterBudget", budget.model_dump(exclude_defaults=True))


def _settings(source: BaseModel) -> dict[str, Any]:
    """The source's path and the settings that are not its defaults."""
    fields = type(source).model_fields
    given = {name: getattr(source, name) for name in fields if name != "kind"}
    changed = {name: value for name, value in given.items() if name != "path" and value != fields[name].default}
    return {"path": given["path"], **changed}


def _call(name: str, function: str, arguments: dict[str, Any]) -> Iterator[str]:
    parts = [f"{key}={_literal(value)}" for key, value in arguments.items()]
    line = f"    {name}={function}({', '.join(parts)}),\n"
    if len(line) <= _WIDTH + 1:
        yield line
        return
    yield f"    {name}={function}(\n"
    for key, value in arguments.items():
        yield from _broken(key, value, "        ")
    yield "    ),\n"


def _broken(key: str, value: Any, indent: str) -> Iterator[str]:  # noqa: ANN401, any setting of a source
    line = f"{indent}{key}={_literal(value)},\n"
    if len(line) <= _WIDTH + 1 or not isinstance(value, tuple):
        yield line
        return
    yield f"{indent}{key}=(\n"
    yield from (f"{indent}    {_literal(item)},\n" for item in value)
    yield f"{indent}),\n"


def _import(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= _WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _literal(value: Any) -> str:  # noqa: ANN401, any setting of a source
    """The value as Python source text, with double quotes as ruff prefers them."""
    if isinstance(value, tuple):
        items = [_literal(item) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    text = repr(value)
    if isinstance(value, str) and text.startswith("'") and '"' not in text:
        return f'"{text[1:-1]}"'
    return text


def _printable(text: str) -> str:
    """The text for a docstring."""
    return "".join(letter if letter.isprintable() and letter not in '\\"' else "_" for letter in text)


def _wrapped(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line
