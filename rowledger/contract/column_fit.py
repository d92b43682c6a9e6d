"""Which column types can hold the values of a field."""

from rowledger.contract.kinds import Kind
from rowledger.contract.rules import FieldRules
from rowledger.spec import INTEGER_LIMITS, ColumnType, TypeName

__all__ = ["accepts", "can_hold", "writes_json"]

_WRITABLE: dict[Kind, set[TypeName]] = {
    Kind.BOOL: {TypeName.BOOLEAN},
    Kind.INT: {*INTEGER_LIMITS, TypeName.NUMERIC},
    Kind.FLOAT: {TypeName.DOUBLE, TypeName.REAL},
    Kind.DECIMAL: {TypeName.NUMERIC},
    Kind.BYTES: {TypeName.BYTEA},
    Kind.UUID: {TypeName.UUID},
    Kind.DATE: {TypeName.DATE},
    Kind.TIMESTAMP: {TypeName.TIMESTAMP},
    Kind.TIMESTAMPTZ: {TypeName.TIMESTAMPTZ},
    Kind.TIME: {TypeName.TIME},
    Kind.INTERVAL: {TypeName.INTERVAL},
    Kind.IP_ADDRESS: {TypeName.INET},
    Kind.IP_INTERFACE: {TypeName.INET},
    Kind.IP_NETWORK: {TypeName.CIDR, TypeName.INET},
}


def accepts(kind: Kind, target: ColumnType) -> bool:
    """Whether a column of that type can hold values of the kind without a change of meaning."""
    return target.takes_text if kind is Kind.TEXT else not target.array and target.name in _WRITABLE[kind]


def can_hold(rules: FieldRules, target: ColumnType) -> bool:
    """Whether a column of that type can hold values of the field without a change of meaning."""
    match rules.kind:
        case Kind.ANY:
            return True  # each value is checked against the column
        case Kind.JSON:
            return writes_json(rules, target)
        case Kind.LIST if target.array and rules.element is not None:
            return accepts(rules.element.kind, target.element)
        case Kind.LIST:
            return target.array or writes_json(rules, target)
        case kind:
            return not target.array and accepts(kind, target)


def writes_json(rules: FieldRules, target: ColumnType) -> bool:
    """Whether the column holds the value's JSON text. The text of a text field is JSON already."""
    return target.name in {TypeName.JSON, TypeName.JSONB} and not target.array and rules.kind is not Kind.TEXT
