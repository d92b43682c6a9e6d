"""What was found in a file, as lines for a terminal. They quote no value of a row."""

from rowledger.counted import counted
from rowledger.infer.inferred_table import InferredTable

__all__ = ["summary_of"]

_REASONS_MAX = 20
_NO_KEY = "none found; duplicates are not looked for, and write mode upsert needs one: if rows have a key, name it"


def summary_of(table: InferredTable, *, written_to: str | None = None) -> list[str]:
    """Columns, candidate key, the dead letters that the row model would cause, and what to check by hand."""
    written = f", written to {written_to}" if written_to is not None else ""
    lines = [f"table {table.name}: {counted(table.rows, 'row')}, {counted(len(table.columns), 'column')}{written}"]
    width = max((len(column.name) for column in table.columns), default=0)
    for column in table.columns:
        null = "null" if column.nullable else "not null"
        source = f", {column.source_name!r} in the file" if column.source_name != column.name else ""
        lines.append(f"  {column.name:<{width}}  {column.type} {null}{source}")
    lines.append(f"candidate key: {', '.join(table.key) or _NO_KEY}")
    if table.partitions is not None:
        lines.append(f"partitions by {table.partitions.column}: {table.partitions.told}")
    elif table.partition_candidates:
        lines.append(f"partition_by could be: {', '.join(table.partition_candidates)}")
    lines.append(f"dead letters: {table.refused.rows:,} of {counted(table.rows, 'row')}")
    lines += [
        f"  {counted(count, 'row')}, {'a line' if column is None else column}: {reason}"
        for column, reason, count in table.refused.reasons[:_REASONS_MAX]
    ]
    if notes := table.notes:
        lines += ["check by hand:", *(f"  {note}" for note in notes)]
    return lines
