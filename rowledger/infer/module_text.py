"""The Python module of an inferred table: its row model and its TableSpec."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from rowledger.counted import counted
from rowledger.infer.columns import InferredColumn
from rowledger.infer.file_partitions import FilePartitions
from rowledger.infer.names import class_name, spec_name
from rowledger.spec import DeadLetterBudget, Source

__all__ = ["SpecParts", "literal", "module_text"]

_WIDTH = 88  # ruff's own; a wider setting leaves what is broken with a comma at its end
_FROM_ROWLEDGER = {"SmallInt", "Integer"}
_FROM_PYDANTIC = {"AwareDatetime", "Json"}
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class SpecParts:
    """What the TableSpec has besides its name and its row model. Of `rows` of the file `refused` become dead letters."""

    source: Source
    partitions: FilePartitions | None = None
    key: tuple[str, ...] = ()
    rows: int = 0
    refused: int = 0


def module_text(
    columns: Sequence[InferredColumn], *, name: str, file_name: str, rows: int, spec: SpecParts | None
) -> str:
    """The module of a table; without `spec` only its row model. It is formatted as ruff formats by default."""
    model = class_name(name)
    fields = "\n".join(_fields(columns))
    text = f'"""Table {name}, inferred from {counted(rows, "row")} of {_printable(file_name)}."""\n\n'
    text += "\n\n".join(_imports(columns, fields, spec))
    text += f'\n\n\nclass {model}(BaseModel):\n    """One row of table {name}."""\n\n{fields}\n'
    if spec is not None:
        text += f"\n\n{spec_name(name)} = TableSpec(\n{''.join(_spec_lines(name, model, spec))})\n"
    return text


def _imports(columns: Sequence[InferredColumn], fields: str, spec: SpecParts | None) -> Iterator[str]:
    annotations = " ".join(column.plain for column in columns)
    words = set(_WORD.findall(annotations))
    standard = ["import datetime as dt"] if "dt." in annotations else []
    standard += ["from decimal import Decimal"] if "Decimal" in words else []
    standard += ["from typing import Any"] if "Any" in words else []
    standard += ["from uuid import UUID"] if "UUID" in words else []
    if standard:
        yield "\n".join(standard)
    pydantic = {"BaseModel", *(words & _FROM_PYDANTIC), *(["Field"] if "= Field(" in fields else [])}
    library = words & _FROM_ROWLEDGER
    if spec is not None:
        library |= {type(spec.source).__name__, "TableSpec"} | ({"DeadLetterBudget"} if _needs_budget(spec) else set())
    parts = [_import("pydantic", sorted(pydantic)), *([_import("rowledger", sorted(library))] if library else [])]
    yield "\n".join(parts)


def _needs_budget(spec: SpecParts) -> bool:
    return spec.refused > DeadLetterBudget().allowed_rows(spec.rows)


def _fields(columns: Sequence["InferredColumn"]) -> Iterator[str]:
    for column in columns:
        if column.comment:
            yield from (f"    # {line}" for line in _wrapped(column.comment, _WIDTH - 6))
        arguments = [] if column.default is None else [f"default={column.default}"]
        arguments += [] if column.name == column.source_name else [f"alias={literal(column.source_name)}"]
        if column.digits is not None:
            arguments += [f"max_digits={column.digits[0]}", f"decimal_places={column.digits[1]}"]
        start = f"    {column.name}: {column.plain}"
        if not arguments:
            yield start
        elif arguments == [f"default={column.default}"]:
            yield f"{start} = {column.default}"
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


def _spec_lines(name: str, model: str, spec: SpecParts) -> Iterator[str]:
    yield f"    name={literal(name)},\n"
    yield f"    row={model},\n"
    yield from _call("source", type(spec.source).__name__, _settings(spec.source))
    if spec.partitions is not None:
        hint = f"{spec.partitions.told} In Dagster: partitions_def={spec.partitions.definition}"
        yield from (f"    # {line}\n" for line in _wrapped(hint, _WIDTH - 6))
        yield f"    partition_by={literal(spec.partitions.column)},\n"
    if spec.key:
        yield "    # No two rows of the file have the same key. Check that it is one by its meaning.\n"
        yield from _broken("key", spec.key, "    ")
    if _needs_budget(spec):
        share = min(1.0, round(2 * spec.refused / spec.rows, 4))
        rows_max = max(DeadLetterBudget().rows_max, 2 * spec.refused)
        share_max = f", share_max={share}" if share > DeadLetterBudget().share_max else ""
        yield f"    # Of the file, {counted(spec.refused, 'row')} would be refused.\n"
        yield f"    dead_letters=DeadLetterBudget(rows_max={rows_max}{share_max}),\n"


def _settings(source: BaseModel) -> dict[str, Any]:
    """The source's path and the settings that are not its defaults."""
    fields = type(source).model_fields
    given = {name: getattr(source, name) for name in fields if name != "kind"}
    changed = {name: value for name, value in given.items() if name != "path" and value != fields[name].default}
    return {"path": given["path"], **changed}


def _call(name: str, function: str, arguments: dict[str, Any]) -> Iterator[str]:
    parts = [f"{key}={literal(value)}" for key, value in arguments.items()]
    line = f"    {name}={function}({', '.join(parts)}),\n"
    if len(line) <= _WIDTH + 1:
        yield line
        return
    yield f"    {name}={function}(\n"
    for key, value in arguments.items():
        yield from _broken(key, value, "        ")
    yield "    ),\n"


def _broken(key: str, value: Any, indent: str) -> Iterator[str]:  # noqa: ANN401, any setting of a source
    line = f"{indent}{key}={literal(value)},\n"
    if len(line) <= _WIDTH + 1 or not isinstance(value, tuple):
        yield line
        return
    yield f"{indent}{key}=(\n"
    yield from (f"{indent}    {literal(item)},\n" for item in value)
    yield f"{indent}),\n"


def _import(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= _WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def literal(value: Any) -> str:  # noqa: ANN401, any setting of a source
    """The value as Python source text, with double quotes as ruff prefers them."""
    if isinstance(value, tuple):
        items = [literal(item) for item in value]
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
