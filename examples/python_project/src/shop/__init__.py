"""A small Dagster project with tables that Rowledger loads."""
