"""Tables inferred from files that a test writes."""

import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from rowledger.infer import InferredTable, infer_table
from rowledger.spec.table import TableSpec

__all__ = ["imported", "inferred", "lines", "types_of"]


def inferred(folder: Path, content: str | bytes, name: str = "things.csv") -> InferredTable:
    """The table of a file with this content."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return infer_table(file)


def lines(header: str, line: Callable[[int], str], rows: int = 300) -> str:
    """A text with the header and a line for each number."""
    return "\n".join([header, *(line(number) for number in range(rows)), ""])


def types_of(table: InferredTable) -> dict[str, str]:
    """The columns' types by name, with `null` where they may be null."""
    return {column.name: column.type + (" null" if column.nullable else "") for column in table.columns}


def imported(table: InferredTable) -> TableSpec:
    """The spec of the table's module, which is imported from its text."""
    module = ModuleType(f"inferred_{random.randrange(10**9)}")
    exec(compile(table.module_text(), f"{table.name}.py", "exec"), module.__dict__)
    (spec,) = (value for value in vars(module).values() if isinstance(value, TableSpec))
    return spec
