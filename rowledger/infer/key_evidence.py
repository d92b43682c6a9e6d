"""Whether columns that differ in every row are a key by what they are, or differ by accident, as measures and texts do."""

from collections.abc import Sequence

import polars as pl

__all__ = ["identifies_alone", "identifies_together", "is_moment", "named_as_keys"]

_KEY_NAMES = {"id", "identifier", "key", "uuid", "guid", "uid", "code", "no", "nr", "num", "number", "sku", "isbn"}
_ATTRIBUTES = {
    "area",
    "color",
    "colour",
    "dial",
    "fax",
    "house",
    "mobile",
    "phone",
    "post",
    "postal",
    "telephone",
    "zip",
}
"""Words before `code` or `number` with which it is a property that several rows may share."""
_MOMENTS = {"date", "day", "hour", "month", "period", "quarter", "time", "week", "year", "yr"}
_NAMES_AND_PROSE = {"address", "comment", "description", "name", "note", "notes", "remark", "surname", "text", "title"}
_INDEX = "column_1"
"""The first column, if it has no name in the file: R and pandas write the names of the rows there."""
_CODE = r"^(?:[A-Z0-9][A-Z0-9_./:#-]*|[^\s0-9]*[0-9]\S*)$"
_CODE_DIGITS_MIN = 4
_FEW_ROWS = 1_000
"""Fewer rows say little of a text: a first name differs in each of 63."""
_FEW_CODES = 100
_HALF = 0.5
_UUID_BYTES = 16
_DUPLICATES_MIN = 2.5
"""Among values by chance, so many pairs of equal rows must be likely where there are none. At 2.5, that is one in 12."""
_DUPLICATES_OF_MOMENTS_MIN = 1.0


def named_as_keys(names: Sequence[str]) -> frozenset[str]:
    """The names that are those of keys: order_id, code, invoice_no; not zip_code, nor vote_no beside vote_yes."""
    words = {name: name.split("_") for name in names}
    keys = _KEY_NAMES - ({"no"} if any("yes" in parts for parts in words.values()) else set())
    return frozenset(name for name, parts in words.items() if parts[-1] in keys and not _ATTRIBUTES & set(parts))


def is_moment(column: pl.Series) -> bool:
    """Whether the column says when: by its type or its name."""
    return column.dtype in (pl.Date, pl.Datetime) or bool(_MOMENTS & set(column.name.split("_")))


def identifies_alone(column: pl.Series, others: Sequence[pl.Series], *, is_first: bool) -> bool:
    """Whether a column without equal values identifies a row, if its name does not say so.

    `others` are the columns beside it that are not named as keys; `is_first` is its place.
    """
    dtype = column.dtype
    if dtype in (pl.Date, pl.Datetime):
        return _is_series(column) or (is_first and dtype == pl.Date and _is_increasing(column))
    if dtype.is_integer() or dtype.is_decimal():
        return _is_number_of_row(column, is_first=is_first)
    if dtype == pl.String:
        return _is_name_of_row(column, others, is_first=is_first)
    return dtype == pl.Binary and bool((column.bin.size() == _UUID_BYTES).all())


def identifies_together(columns: Sequence[pl.Series], combinations: int) -> bool:
    """Whether rows would be equal in these columns by chance: of so many combinations, few are taken twice by few rows."""
    rows = len(columns[0])
    likely = rows**2 / 2 / combinations
    has_moment = any(map(is_moment, columns)) and not all(map(is_moment, columns))
    return likely >= (_DUPLICATES_OF_MOMENTS_MIN if has_moment else _DUPLICATES_MIN)


def _is_number_of_row(column: pl.Series, *, is_first: bool) -> bool:
    low, high = int(column.min() or 0), int(column.max() or 0)  # type: ignore[arg-type]
    if high - low + 1 == len(column):  # a count of the rows
        return True
    if len(column) ** 2 / 2 / (high - low + 1) >= _DUPLICATES_MIN:
        return True
    has_fixed_digits = len(str(low)) == len(str(high)) >= _CODE_DIGITS_MIN and low > 0
    return is_first and (has_fixed_digits or _is_increasing(column))


def _is_name_of_row(column: pl.Series, others: Sequence[pl.Series], *, is_first: bool) -> bool:
    if is_first and column.name == _INDEX and any(not other.name.startswith("column_") for other in others):
        return True
    is_long = len(column) >= _FEW_ROWS
    if _NAMES_AND_PROSE & set(column.name.split("_")):
        return is_first and is_long
    if bool(column.str.contains(_CODE).all()):
        return is_first or len(column) >= _FEW_CODES
    # The one text that tells the rows apart: the state of a table of states, among measures.
    return is_first and (
        is_long or not any(other.dtype == pl.String and other.n_unique() > _HALF * len(other) for other in others)
    )


def _is_series(column: pl.Series) -> bool:
    """Whether most moments have the same distance, or all have nearly the same, as months do."""
    steps = column.sort().cast(pl.Int64 if column.dtype == pl.Datetime else pl.Int32).diff().drop_nulls()
    least, most = int(steps.min() or 0), int(steps.max() or 0)  # type: ignore[arg-type]
    usual = int(steps.unique_counts().max() or 0)  # type: ignore[arg-type]
    return most <= 2 * least or usual >= _HALF * len(steps)


def _is_increasing(column: pl.Series) -> bool:
    return column.is_sorted() or column.is_sorted(descending=True)
