"""A small Dagster project whose table is declared in YAML."""
