"""The type in a field's annotation, and the parts of the annotation that only pydantic understands."""

# ruff: noqa: ANN401, the row model decides what an annotation, a bound or a default may be

import collections.abc
import dataclasses
import types
from enum import Enum
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from pydantic import BaseModel

from rowledger.contract.constraints import JSON_MARKER, gather
from rowledger.contract.draft import Draft
from rowledger.contract.kinds import SCALARS

__all__ = ["part_of", "unwrap"]


_COLLECTIONS = {
    list,
    tuple,
    set,
    frozenset,
    collections.abc.Sequence,
    collections.abc.Set,
    collections.abc.MutableSequence,
}
_SETS = {set, frozenset, collections.abc.Set}
_MAPPINGS = {
    dict,
    collections.abc.Mapping,
    collections.abc.MutableMapping,
    collections.OrderedDict,
    collections.defaultdict,
}


def unwrap(draft: Draft, annotation: Any) -> None:  # noqa: C901, PLR0912, one branch per construct
    """Find the type inside Optional, Annotated, NewType and type aliases."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *metadata = arguments
        unwrap(draft, inner)
        gather(draft, metadata)
    elif origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not type(None)]
        if len(members) == 1:
            unwrap(draft, members[0])
        else:
            draft.alternatives = tuple(part_of(draft, member) for member in members)
            draft.nullable = draft.nullable or any(member.nullable for member in draft.alternatives)
            draft.go_by_value("a union of types")
        draft.nullable = draft.nullable or len(members) < len(arguments)
    elif origin is Literal:
        draft.nullable = draft.nullable or None in arguments
        _set_allowed(draft, "a Literal", [value for value in arguments if value is not None])
    elif isinstance(annotation, NewType):
        unwrap(draft, annotation.__supertype__)
    elif hasattr(annotation, "__value__"):  # the `type` statement of Python 3.12
        unwrap(draft, annotation.__value__)
    elif hasattr(origin, "__value__"):  # the same for a generic alias
        unwrap(draft, origin.__value__[arguments])
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        if "_missing_" in vars(annotation):
            draft.go_by_value("an Enum with _missing_")
        _set_allowed(draft, "an Enum", [member.value for member in annotation])
    elif annotation is JSON_MARKER:
        draft.is_json = True
        draft.go_by_value("Json")
    elif origin in _COLLECTIONS and (origin is not tuple or arguments[1:] == (...,)):
        draft.base, draft.item = origin, arguments[0]
        if origin in _SETS:
            draft.go_by_value("a set")
    else:
        draft.base = annotation
        draft.nullable = draft.nullable or annotation in (Any, object)
        draft.is_json = draft.is_json or _is_document(annotation, origin)


def _is_document(annotation: Any, origin: Any) -> bool:
    """Whether the type holds several values, or any value, which PostgreSQL stores as jsonb."""
    base = origin or annotation
    return (
        base in (Any, object)
        or base in _MAPPINGS
        or base in _COLLECTIONS
        or hasattr(base, "__required_keys__")  # a TypedDict of any module
        or dataclasses.is_dataclass(base)
        or (isinstance(base, type) and (issubclass(base, BaseModel) or hasattr(base, "_fields")))
    )


def part_of(draft: Draft, annotation: Any) -> Draft:
    """A member of a union, an element of a list or a nested field; its Python code is the whole field's."""
    part = Draft(draft.where, draft.config, is_taken_charge_of=draft.is_taken_charge_of, within=draft.within)
    unwrap(part, annotation)
    draft.validators += part.validators
    draft.is_taken_charge_of |= part.is_taken_charge_of
    return part


def _set_allowed(draft: Draft, construct: str, values: list[Any]) -> None:
    """The values of a Literal or an Enum, which become a rule if all are of one type that compares as in pydantic."""
    if any(isinstance(value, Enum) for value in values):  # a Literal of an Enum's members
        draft.go_by_value(f"{construct} of an Enum's members")
        values = [value.value if isinstance(value, Enum) else value for value in values]
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= set(SCALARS):
        draft.is_json = True
        draft.go_by_value(f"{construct} of {sorted(kind.__name__ for kind in kinds)}")
        return
    draft.base = kinds.pop()
    draft.allowed = tuple(values)
    if draft.base not in (str, int, bool):
        draft.go_by_value(f"{construct} of {draft.base.__name__}")
