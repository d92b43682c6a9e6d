"""The types of a source's columns, kept beside its dead letters: JSON alone cannot tell a date from a text."""

import io
from collections.abc import Mapping

import polars as pl

from rowledger.spec import RESERVED_PREFIX

__all__ = ["read_row_types", "write_row_types"]


def write_row_types(schema: Mapping[str, pl.DataType]) -> bytes:
    """The types as an Arrow file without rows; reserved columns are left out."""
    own = {name: dtype for name, dtype in schema.items() if not name.startswith(RESERVED_PREFIX)}
    file = io.BytesIO()
    pl.DataFrame(schema=own).write_ipc(file)
    return file.getvalue()


def read_row_types(content: bytes) -> dict[str, pl.DataType]:
    """What `write_row_types` was given."""
    return dict(pl.read_ipc_schema(io.BytesIO(content)))
