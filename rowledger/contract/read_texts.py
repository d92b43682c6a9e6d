"""Readers of texts, bytes, UUIDs and addresses, by the type of the source's column."""

import polars as pl
from pydantic import ValidationError

from rowledger.contract.kinds import Kind
from rowledger.contract.reading import Family, Reader, Reading, all_doubtful, as_is, blank, matching
from rowledger.contract.rules import FieldRules

__all__ = ["TEXTS"]

_PLAIN_UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_UUID_BYTES = 16


def _text_from_bytes(_rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(_decoded(source))


def _decoded(source: pl.Series) -> pl.Series:
    """UTF-8 as text, anything else as null. Polars' cast fails as a whole, so the column is halved to isolate each fault."""
    try:
        return source.cast(pl.String)
    except pl.exceptions.ComputeError:
        if len(source) == 1:
            return pl.Series(source.name, [None], dtype=pl.String)
        middle = len(source) // 2
        return pl.concat([_decoded(source[:middle]), _decoded(source[middle:])])


def _bytes_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(source.cast(pl.Binary))


def _uuid_from_bytes(_rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(blank(source, source.bin.size() != _UUID_BYTES))


def _uuid_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = matching(source, _PLAIN_UUID)
    return Reading(values.str.replace_all("-", "", literal=True).str.decode("hex", strict=False))


def _address_from_text(rules: FieldRules, source: pl.Series) -> Reading:
    """Addresses of the IP versions that the field's validator accepts."""
    from rowledger.contract.read_addresses import addresses_from_text  # noqa: PLC0415, few tables hold addresses

    v4, v6 = (_takes(rules, address) for address in ("0.0.0.0", "::"))  # noqa: S104 - no server listens here
    return Reading(addresses_from_text(source, v4=v4, v6=v6))


def _takes(rules: FieldRules, value: str) -> bool:
    try:
        rules.adapter.validate_python(value)
    except ValidationError:
        return False
    return True


TEXTS: dict[Kind, dict[Family, Reader]] = {
    Kind.TEXT: {"text": as_is, "bytes": _text_from_bytes},
    Kind.BYTES: {"bytes": as_is, "text": _bytes_from_text},
    Kind.UUID: {"bytes": _uuid_from_bytes, "text": _uuid_from_text},
    Kind.IP_ADDRESS: {"text": _address_from_text},
    Kind.IP_INTERFACE: {"text": all_doubtful},
    Kind.IP_NETWORK: {"text": all_doubtful},
}  # fmt: skip
