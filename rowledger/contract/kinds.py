"""The kinds of Python values that a field holds, and the Python types that have a column type."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, IPvAnyAddress, IPvAnyInterface, IPvAnyNetwork, NaiveDatetime

from rowledger.spec import TypeName

__all__ = ["BEYOND_INTEGERS", "EXACT_INTEGER_MAX", "NULL_REASON", "SCALARS", "Kind"]

EXACT_INTEGER_MAX = 2**53
"""Up to this, a double holds every integer."""
BEYOND_INTEGERS = "an integer beyond 2^53 is not exact in double precision"

NULL_REASON = "is null, but the column is not nullable"


class Kind(StrEnum):
    """The kind of Python value that a field holds, which decides how source columns are read into it."""

    BOOL = "boolean"
    INT = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    TEXT = "text"
    BYTES = "bytes"
    UUID = "UUID"
    DATE = "date"
    TIMESTAMP = "naive timestamp"
    TIMESTAMPTZ = "timestamp with zone"
    TIME = "time"
    LIST = "list"
    JSON = "JSON document"
    ANY = "value of several types"
    INTERVAL = "duration"
    IP_ADDRESS = "IP address"
    IP_INTERFACE = "IP interface"
    IP_NETWORK = "IP network"


# The kind of each Python type, and the column type of its fields unless the annotation says more.
SCALARS: dict[Any, tuple[Kind, TypeName]] = {
    bool: (Kind.BOOL, TypeName.BOOLEAN),
    int: (Kind.INT, TypeName.BIGINT),
    float: (Kind.FLOAT, TypeName.DOUBLE),
    Decimal: (Kind.DECIMAL, TypeName.NUMERIC),
    str: (Kind.TEXT, TypeName.TEXT),
    bytes: (Kind.BYTES, TypeName.BYTEA),
    UUID: (Kind.UUID, TypeName.UUID),
    date: (Kind.DATE, TypeName.DATE),
    # A plain datetime is PostgreSQL's timestamp: values with a zone are refused, never shifted.
    datetime: (Kind.TIMESTAMP, TypeName.TIMESTAMP),
    NaiveDatetime: (Kind.TIMESTAMP, TypeName.TIMESTAMP),
    AwareDatetime: (Kind.TIMESTAMPTZ, TypeName.TIMESTAMPTZ),
    time: (Kind.TIME, TypeName.TIME),
    timedelta: (Kind.INTERVAL, TypeName.INTERVAL),
    IPv4Address: (Kind.IP_ADDRESS, TypeName.INET),
    IPv6Address: (Kind.IP_ADDRESS, TypeName.INET),
    IPvAnyAddress: (Kind.IP_ADDRESS, TypeName.INET),
    IPv4Interface: (Kind.IP_INTERFACE, TypeName.INET),
    IPv6Interface: (Kind.IP_INTERFACE, TypeName.INET),
    IPvAnyInterface: (Kind.IP_INTERFACE, TypeName.INET),
    IPv4Network: (Kind.IP_NETWORK, TypeName.CIDR),
    IPv6Network: (Kind.IP_NETWORK, TypeName.CIDR),
    IPvAnyNetwork: (Kind.IP_NETWORK, TypeName.CIDR),
}
