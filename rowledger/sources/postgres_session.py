"""The session in which a query on PostgreSQL runs: its settings, and the query's parameters."""

from collections.abc import Mapping

__all__ = ["BOUNDS", "ORPHANS_STAY", "ORPHAN_CHECK", "session_settings", "with_parameters_bound"]

BOUNDS = {"lower", "upper"}
"""Placeholders of a query that are instants; all others are texts."""

ORPHAN_CHECK = ("savepoint checked", "set local client_connection_check_interval = '2s'")
"""Statements for a transaction, so that a query ends when the process that reads it is killed, and not with its next rows.

Servers before 14, and those on systems that cannot poll a socket, refuse the second: `ORPHANS_STAY` is for them.
"""
ORPHANS_STAY = "rollback to savepoint checked"


def session_settings(timezone: str, *, row_security: bool) -> dict[str, str]:
    """All settings on which the text of a value or the number of rows depends, to override those of the role and the database.

    lc_monetary is not set: the number of decimals of an amount of money depends on it.
    """
    return {
        "timezone": timezone,
        "datestyle": "ISO",  # the order of day and month stays the server's: only dates in the query's text depend on it
        "intervalstyle": "iso_8601",
        "bytea_output": "hex",
        "xmlbinary": "base64",
        "extra_float_digits": "1",
        "array_nulls": "on",
        "standard_conforming_strings": "on",
        "quote_all_identifiers": "off",
        "row_security": "on" if row_security else "off",
    }


def with_parameters_bound(query: str, parameters: Mapping[str, str], settings: dict[str, str]) -> str:
    """The query with its placeholders as settings that it reads, since COPY takes no parameters; `settings` gets these."""
    for number, (name, value) in enumerate(parameters.items()):
        settings[f"rowledger.parameter_{number}"] = value
        kind = "timestamptz" if name in BOUNDS else "text"
        query = query.replace(f"{{{name}}}", f"current_setting('rowledger.parameter_{number}')::{kind}")
    return query
