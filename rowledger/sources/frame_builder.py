"""Build Arrow tables and frames from rows of Python values.

No value is converted to one that is not equal to it (`value_columns`), and a key that a row lacks is not null.
"""

import functools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import polars as pl
import pyarrow as pa

from rowledger.contract import polars_series
from rowledger.sources.plain_values import (
    PLAIN_TYPES,
    Unfit,
    holds_signaling_nan,
    json_text,
    plain_value,
    type_name,
)
from rowledger.sources.row_columns import Fault, RowColumns
from rowledger.sources.row_readers import RowReader, row_reader
from rowledger.sources.value_columns import UnrepresentableValue, array_of
from rowledger.spec import ABSENT_PREFIX, DECIMAL_TEXT, FAULT, LINE, RESERVED_PREFIX

__all__ = ["Fault", "FrameBuilder", "Unfit", "frame_of_rows", "frame_of_table", "holds_decimal_texts"]

_Row = dict[str, Any]
_Array = Any
"""A `pyarrow.Array` of any kind; the stubs are too narrow."""

_nulls: Any = pa.nulls

_LINE_BYTES_MAX = 65_536
_MARGIN = 8  # levels
_PARTS_OF_FAULT = attrgetter("reason"), attrgetter("line")
_DECIMAL_TEXT_FIELD = DECIMAL_TEXT.fields[0].name


class FrameBuilder:
    """Builds tables from rows, batch by batch, with the columns in one order and their types as stable as the values allow."""

    def __init__(self, columns: Sequence[str], *, columns_max: int) -> None:
        """`columns` are the contract's: a table has them, marked as absent, even where every row of a batch lacks them."""
        self._types: dict[str, pa.DataType] = dict.fromkeys(columns, pa.null())
        self._columns_max = columns_max
        self._waiting = RowColumns()
        self._are_large = False
        self._readers: dict[type, RowReader] = {}

    def add(self, item: object) -> None:
        """Add an item to the next table, as a row or a fault. Later changes of the item do not affect the result.

        Raises Unfit when the rows have more than `columns_max` columns.
        """
        run = self._waiting.run
        names: tuple[str, ...]
        values: Sequence[Any]
        try:
            if type(item) is dict:
                names, values = tuple(item), [*item.values()]
            else:
                names, values = self._reader(type(item))(item)
            kinds = [*map(type, values)]
            if kinds == run.kinds and names == run.names:  # like the row before it, which was checked
                run.flat += values
                run.rows += 1
                return
            names, values = self._checked(names, values, kinds)
        except Exception as error:  # noqa: BLE001 - an item of any class may raise anything when it is read
            self._waiting.add_fault(_fault_of(error, item))
        else:
            self._place(self._waiting, names, values)
            if not PLAIN_TYPES.issuperset(kinds):
                self._waiting.run.kinds = []  # so that a list of the next row is copied too

    def take(self, item: object) -> _Row | Fault:
        """The item as a row of plain values, or a fault. Later changes of the item do not affect the result."""
        try:
            names, values = self._reader(type(item))(item)
            names, values = self._checked(names, values, map(type, values))
        except Exception as error:  # noqa: BLE001 - as above
            return _fault_of(error, item)
        return dict(zip(names, values, strict=True))

    @property
    def waiting_rows(self) -> int:
        """Rows and faults of the next table."""
        return len(self._waiting)

    def last_row_bytes(self) -> int:
        """The approximate size of the row that was added last; a number or a nested value counts as 8 bytes."""
        return self._waiting.last_row_bytes()

    def table(self, first: int = 0, *, are_large: bool = False) -> pa.Table:
        """The waiting rows and faults from number `first` on as a table, in the types of the spool; they go on waiting.

        Where the rows `are_large`, it takes longer and less memory.
        A fault, or a row with a value that no column can hold, has its reason in `FAULT` and a rendering in `LINE`.
        """
        self._are_large = are_large
        return self._table(self._waiting, first)

    def forget(self) -> None:
        """Let the next table begin after the rows that are waiting."""
        self._waiting = RowColumns()

    def table_of(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
        """Rows of plain values, all with columns of these names, as `table` would give them."""
        collected = RowColumns()
        try:
            _require_names(names)
        except Unfit as unfit:
            for row in rows:
                collected.add_fault(_fault(str(unfit), dict(zip(names, row, strict=True))))
        else:
            self._meet(names)
            collected.add_alike(tuple(names), rows)
        return self._table(collected, 0)

    def frame(self, rows: Iterable[_Row | Fault]) -> pl.DataFrame:
        """These rows and faults as a frame, in their order; raises Unfit as `add` does."""
        collected = RowColumns()
        for row in rows:
            if type(row) is dict:
                self._place(collected, tuple(row), [*row.values()])
            else:
                collected.add_fault(row)  # type: ignore[arg-type]
        return frame_of_table(self._table(collected, 0))

    def _reader(self, kind: type) -> RowReader:
        reader = self._readers.get(kind)
        if reader is None:
            reader = self._readers[kind] = row_reader(kind)
        return reader

    def _checked(
        self, names: Sequence[str], values: Sequence[Any], kinds: Iterable[type]
    ) -> tuple[tuple[str, ...], Sequence[Any]]:
        """The names, as texts of no subclass, and plain values; raises Unfit."""
        if not self._types.keys() >= set(names):
            _require_names(names)
        plain = values if PLAIN_TYPES.issuperset(kinds) else _plain_values(names, values)
        return tuple(map(str.__str__, names)), plain

    def _place(self, rows: RowColumns, names: tuple[str, ...], values: Sequence[Any]) -> None:
        if names != rows.run.names:
            self._meet(names)
        rows.add(names, values)

    def _meet(self, names: Iterable[str]) -> None:
        for name in names:
            self._types.setdefault(name, pa.null())
        if len(self._types) > self._columns_max:
            raise Unfit(f"the rows have more than {self._columns_max} columns, the limit (columns_max)")

    def _table(self, rows: RowColumns, first: int) -> pa.Table:
        try:
            return self._columns(rows, first)
        except (UnicodeEncodeError, UnrepresentableValue, RecursionError):  # only then is each value checked
            sound = RowColumns()
            for row in map(_without_unrepresentable_values, rows):
                if type(row) is dict:
                    sound.add(tuple(row), [*row.values()])
                else:
                    sound.add_fault(row)  # type: ignore[arg-type]
            return self._columns(sound, first)

    def _columns(self, rows: RowColumns, first: int) -> pa.Table:
        columns: dict[str, _Array] = {}
        for name in self._types:
            values, kinds, absent = rows.column(name, first)
            columns[name] = self._column(name, values, kinds)
            if absent is not None:
                columns[ABSENT_PREFIX + name] = array_of(absent)
        faults = rows.faults(first)
        if faults is not None or not columns:  # a table without columns would have no rows
            faults = faults or [None] * (len(rows) - first)
            reasons, lines = ([fault and part(fault) for fault in faults] for part in _PARTS_OF_FAULT)
            columns[FAULT] = array_of(reasons) if any(faults) else _nulls(len(reasons), pa.large_string())
            columns[LINE] = array_of(lines) if any(faults) else _nulls(len(lines), pa.large_binary())
        return pa.Table.from_arrays(list(columns.values()), names=list(columns))

    def _column(self, name: str, values: Sequence[Any], kinds: set[type]) -> _Array:
        """The column. If all its values are null, it keeps its previous type; if it was DECIMAL_TEXT before, it stays so."""
        keeps_scales = holds_decimal_texts(self._types[name])
        made = array_of(values, kinds, keeps_scales=keeps_scales, are_large=self._are_large)
        if pa.types.is_null(made.type):
            return _nulls(len(made), self._types[name])
        self._types[name] = made.type
        return made


def frame_of_table(table: pa.Table) -> pl.DataFrame:
    """The table that a builder has made as a frame."""
    columns = zip(table.column_names, table.columns, strict=True)
    return pl.DataFrame({name: polars_series(name, column) for name, column in columns}, height=table.num_rows)


def frame_of_rows(rows: Iterable[object]) -> pl.DataFrame:
    """The rows as one frame, in their order."""
    builder = FrameBuilder((), columns_max=sys.maxsize)
    return builder.frame([builder.take(row) for row in rows])


# ---- rows ---------------------------------------------------------------------------------------------------------------


def _require_names(names: Sequence[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise Unfit(f"has a column whose name is of type {type_name(name)}")
        if name.startswith(RESERVED_PREFIX):
            raise Unfit(f"has a column whose name begins with {RESERVED_PREFIX!r}, which is reserved")
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                raise Unfit("has a column whose name has half a surrogate pair, which is no character") from None


def _plain_values(names: Sequence[str], values: Sequence[Any]) -> list[Any]:
    plain = []
    for name, value in zip(names, values, strict=True):
        try:
            plain.append(plain_value(value))
        except Unfit as unfit:
            raise Unfit(f"column {name!r} {unfit}") from None
        except RecursionError:
            raise Unfit(f"column {name!r} is nested too deeply") from None
    return plain


def _without_unrepresentable_values(row: _Row | Fault) -> _Row | Fault:
    """The row, or a fault for half a surrogate pair, which UTF-8 cannot encode, for sNaN, and for too many levels."""
    if type(row) is dict:
        for name, value in row.items():
            try:
                # With a margin, since building a column takes more of the stack than this.
                text = json_text(functools.reduce(lambda inner, _: [inner], range(_MARGIN), value))
                if holds_signaling_nan(value):
                    return _fault(f"column {name!r} holds a signaling NaN (sNaN), which is not a number", row)
                text.encode()
            except RecursionError:
                return _fault(f"column {name!r} is nested too deeply", row)
            except UnicodeEncodeError:
                return _fault(f"column {name!r} holds a text with half a surrogate pair, which is no character", row)
    return row


def _fault_of(error: Exception, item: object) -> Fault:
    reason = str(error) if isinstance(error, Unfit) else f"cannot be read: it raised {type(error).__qualname__}"
    return _fault(reason, item)


def _fault(reason: str, item: object) -> Fault:
    # What cannot be encoded becomes \u…, as in JSON.
    return Fault(reason, _likeness(item).encode(errors="backslashreplace")[:_LINE_BYTES_MAX])


def _likeness(item: object) -> str:
    """An item that is not a row as JSON, with the names of their types for values that JSON cannot express."""
    try:
        return json_text(plain_value(item, unfit=_like))
    except Exception:  # noqa: BLE001 - an item of any class may raise anything when it is read
        return json.dumps(f"<{type_name(item)}>")


def _like(value: object) -> object:
    """The substitute for a value that JSON cannot express: its type's name; a mapping with its keys converted to texts."""
    if not isinstance(value, Mapping):
        return f"<{type_name(value)}>"
    made: _Row = {name: plain_value(item, unfit=_like) for name, item in value.items() if isinstance(name, str)}
    for key, item in value.items():
        if not isinstance(key, str):
            name = json_text(plain_value(key, unfit=_like))
            while name in made:
                name += f" <{type_name(key)}>"
            made[name] = plain_value(item, unfit=_like)
    return made


def holds_decimal_texts(kind: Any) -> bool:  # noqa: ANN401, the stubs know too little of a type's parts
    """Whether the Arrow type contains DECIMAL_TEXT at any depth."""
    if isinstance(kind, pa.StructType):
        return any(part.name == _DECIMAL_TEXT_FIELD or holds_decimal_texts(part.type) for part in kind)
    return isinstance(kind, pa.LargeListType) and holds_decimal_texts(kind.value_type)
