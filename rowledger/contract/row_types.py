"""The types of a source's columns as the ledger keeps them beside dead letters."""

import io
from collections.abc import Mapping

import polars as pl

from rowledger.spec import RESERVED_PREFIX

__all__ = ["read_row_types", "write_row_types"]


def write_row_types(schema: Mapping[str, pl.DataType]) -> bytes:
    """The types as an Arrow file without rows; reserved columns are left out."""
    own = {name: dtype for name, dtype in schema.items() if not name.startswith(RESERVED_PREFIX)}
    return pl.DataFrame(schema=own).write_ipc(None).getvalue()


def read_row_types(content: bytes) -> dict[str, pl.DataType]:
    """The types that `write_row_types` wrote."""
    return dict(pl.read_ipc_schema(io.BytesIO(content)))
