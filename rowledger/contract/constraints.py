"""The constraints in a field's annotation: which have a column rule, and which only pydantic understands."""

# ruff: noqa: ANN401, the row model decides what an annotation, a bound or a default may be

import re
from collections.abc import Iterable
from typing import Any

import annotated_types as at
from pydantic import AfterValidator, BeforeValidator, Json, PlainValidator, Strict, WrapValidator
from pydantic.fields import FieldInfo

from rowledger.contract.draft import Draft
from rowledger.contract.rules import Bound
from rowledger.contract.sql_types import SizedText, SqlType, char, pg_enum
from rowledger.errors import ContractError
from rowledger.spec import ColumnType, TypeName

__all__ = ["JSON_MARKER", "gather"]

JSON_MARKER: Any = Json  # a class at run time; type checkers see an alias
_VALIDATORS = (AfterValidator, BeforeValidator, PlainValidator, WrapValidator)


def gather(draft: Draft, metadata: Iterable[Any]) -> None:  # noqa: C901, PLR0912, one branch per marker
    """Collect constraints from annotated-types and pydantic markers; those without a column form leave values to pydantic."""
    found = draft.constraints
    for item in metadata:
        match item:
            case None | str() | at.Unit() | at.DocInfo():
                pass
            case SqlType(type=pinned):
                draft.pinned = pinned
            case SizedText(length=length):
                name = TypeName.CHAR if isinstance(item, char) else TypeName.VARCHAR
                draft.pinned = ColumnType(name, length=length)
                _add(found, "max_length", length)
            case pg_enum():
                draft.pinned = ColumnType(TypeName.ENUM, of=item.sql)
            case FieldInfo():
                gather(draft, item.metadata)
            case at.Ge() | at.Gt() | at.Le() | at.Lt():
                op = type(item).__name__.lower()
                found.setdefault("bounds", []).append(Bound(op, getattr(item, op)))  # type: ignore[arg-type]
            case at.MultipleOf(multiple_of=value):
                _add(found, "multiple_of", value)
            case at.MinLen(min_length=value):
                _add(found, "min_length", value)
            case at.MaxLen(max_length=value):
                _add(found, "max_length", value)
            case at.GroupedMetadata() if not hasattr(item, "pattern"):
                gather(draft, item)
            case Strict(strict=strict):
                found["is_strict"] = strict
            case _ if isinstance(item, _VALIDATORS):
                draft.validators.append(f"{type(item).__name__} {getattr(item.func, '__name__', 'of its own')}")
                draft.is_taken_charge_of |= not isinstance(item, AfterValidator)
            case _ if item is JSON_MARKER or isinstance(item, JSON_MARKER):
                draft.is_json, draft.nullable = True, False  # a null is not JSON text
                draft.go_by_value("Json")
            case _ if hasattr(item, "__dict__") and _is_constraint_holder(item):
                for key, value in vars(item).items():
                    _add_general(draft, found, key, value)
            case _ if _means_something(item):
                draft.go_by_value(f"{getattr(item, '__name__', type(item).__name__)} in its annotation")
            case _:
                pass  # another library's marker, which pydantic ignores too


def _means_something(item: Any) -> bool:
    """Whether pydantic interprets a marker that has no rule here; serializers do not affect a scalar's value."""
    is_ours_to_read = isinstance(item, at.BaseMetadata) or hasattr(item, "__get_pydantic_core_schema__")
    return is_ours_to_read and "Serializer" not in type(item).__name__


def _is_constraint_holder(item: Any) -> bool:
    """Whether a marker only holds constraints by name, as pydantic's own do."""
    known = {
        "max_digits", "decimal_places", "allow_inf_nan", "pattern", "strict", "min_length", "max_length", "strip_whitespace",
        "coerce_numbers_to_str", "union_mode", "fail_fast",
    }  # fmt: skip
    return type(item).__module__.startswith("pydantic") and bool(known & set(vars(item)))


def _add_general(draft: Draft, found: dict[str, Any], key: str, value: Any) -> None:
    match key, value:
        case (_, None) | ("fail_fast" | "union_mode", _):
            pass
        case "max_digits" | "decimal_places" | "min_length" | "max_length", _:
            _add(found, key, value)
        case "allow_inf_nan", bool():
            found["finite"] = not value
        case "strict", bool():
            found["is_strict"] = value
        case (("strip_whitespace" | "to_lower" | "to_upper"), bool()):
            found[key] = value
        case "pattern", str():
            _add(found, key, value)
        case "pattern", re.Pattern():
            draft.go_by_value("a compiled pattern")
        case _, False:
            pass
        case _:
            draft.go_by_value(key)


def _add(found: dict[str, Any], key: str, value: Any) -> None:
    """Add a constraint. The tighter of two lengths applies; any other constraint may be declared only once."""
    old = found.get(key)
    if old is None:
        found[key] = value
    elif old != value:
        if key not in {"min_length", "max_length"}:
            raise ContractError(f"{key} is declared twice, as {old!r} and {value!r}; keep one")
        found[key] = max(old, value) if key == "min_length" else min(old, value)
