"""The types inside nested types, of Arrow and of polars. The stubs of both know too little of a type's parts."""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

__all__ = ["LISTS", "arrow_types_in", "entries_type", "with_inner_types"]

_pa: Any = pa

_LIST_OF: dict[Any, Any] = {
    pa.ListType: pa.list_,
    pa.LargeListType: pa.large_list,
    pa.ListViewType: pa.list_view,
    pa.LargeListViewType: pa.large_list_view,
}
LISTS = (*_LIST_OF, pa.FixedSizeListType)


def arrow_types_in(kind: Any) -> Iterator[Any]:  # noqa: ANN401
    """The type and every type inside it. For an extension, a dictionary or runs these are the types of what is stored."""
    match kind:
        case pa.BaseExtensionType():
            yield from arrow_types_in(kind.storage_type)
        case pa.DictionaryType() | pa.RunEndEncodedType():
            yield from arrow_types_in(kind.value_type)
        case _:
            yield kind
            for number in range(kind.num_fields):
                yield from arrow_types_in(kind.field(number).type)


def with_inner_types(kind: Any, convert: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    """The type, a list, map or struct with the types of its items or fields converted."""
    fields = [field.with_type(convert(field.type)) for field in map(kind.field, range(kind.num_fields))]
    match kind:
        case pa.StructType():
            return pa.struct(fields)
        case pa.MapType():
            [entries] = fields
            return _pa.map_(*entries.type)
        case pa.FixedSizeListType():
            return _pa.list_(*fields, kind.list_size)
        case _ if type(kind) in _LIST_OF:
            return _LIST_OF[type(kind)](*fields)
    return kind


def entries_type(kind: Any) -> pa.DataType:  # noqa: ANN401
    """The type of a map's entries, a list of structs."""
    return pa.list_(pa.struct([pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)]))
