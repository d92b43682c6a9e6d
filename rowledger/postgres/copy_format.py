"""The format of COPY for a load: binary, which is faster on both sides, where every column has a binary encoder."""

from collections.abc import Sequence

from rowledger.spec import Column, ColumnType, TypeName

__all__ = ["describe_format", "has_binary_encoder"]

# A binary array contains the OID of its element type, and for a built-in type the server accepts only the right one. The
# encoder knows the OIDs of these types. For user-defined types the server does not check the OID.
_BINARY_ELEMENTS = {
    TypeName.BOOLEAN, TypeName.SMALLINT, TypeName.INTEGER, TypeName.BIGINT, TypeName.REAL, TypeName.DOUBLE,
    TypeName.NUMERIC, TypeName.TEXT, TypeName.CITEXT, TypeName.ENUM, TypeName.BYTEA, TypeName.DATE, TypeName.TIME,
    TypeName.TIMESTAMP, TypeName.INTERVAL,
}  # fmt: skip


def describe_format(columns: Sequence[Column]) -> str:
    """One line for the log: the format in which these columns are written, and why."""
    if odd := [f"{column.name} ({column.type.sql})" for column in columns if not has_binary_encoder(column.type)]:
        return f"text COPY, because of {', '.join(odd)}"
    return "binary COPY"


def has_binary_encoder(column_type: ColumnType) -> bool:
    """Whether values of the type are written in binary form."""
    if column_type.name is TypeName.OTHER:
        return False
    if not column_type.array:
        return True
    return column_type.name in _BINARY_ELEMENTS and not column_type.element.is_numeric_text
