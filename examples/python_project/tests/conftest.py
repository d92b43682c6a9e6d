"""Rowledger's fixtures: `rowledger_database` is a database for one test."""

pytest_plugins = ["rowledger.testing"]
